"""The model's way into memory: once at the start, and again on a request when what failed may have passed."""

import hashlib
import logging
from pathlib import Path

from thampi.errors import BundleError
from thampi.runtime import bundle, loading
from thampi.runtime.bundle import About
from thampi.runtime.model import Context, Model

from .settings import Settings

log = logging.getLogger("thampi")


class Startup:
    """Holds the model, or the reason why there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._about: About | None = None
        self._model: Model | None = None
        self.failure: BundleError | None = None

    def begin(self) -> None:
        """Load the model; keep a failure, and log it with its traceback, for the requests to come."""
        try:
            self._model = self._load()
            self.failure = None
        except BundleError as error:
            if self.failure is None or self.failure.message != error.message:
                log.error("the model can't be loaded: %s", error, exc_info=error.__cause__ or error)
            self.failure = error

    def model(self) -> Model:
        """Return the model; raise the BundleError that keeps it from being there."""
        if self.failure is not None and _may_pass(self.failure):
            self.begin()
        if self.failure is not None:
            raise self.failure
        if self._model is None:
            self.begin()
            return self.model()
        return self._model

    def about(self) -> About:
        """Return what is known of the model, which may be readable even where the model itself is not."""
        if self._about is None:
            self._about = self._read()
        return self._about

    def _load(self) -> Model:
        about = self.about()
        model = loading.unpickle(Path(self._settings.model), about)
        context = Context(
            name=self._settings.name,
            stage=self._settings.stage,
            properties=about.properties(self._settings.served_time_utc),
        )
        try:
            model.initialize(context)
        except Exception as error:
            raise BundleError(f"`initialize` failed: {type(error).__name__}: {error}", hint=None) from error
        return model

    def _read(self) -> About:
        source, wanted = self._settings.model, self._settings.manifest_sha256
        if source.startswith("s3://"):
            raise BundleError(f"{source}: this version reads models from a folder only", hint=None)
        text = bundle.read_manifest(Path(source))
        if wanted and hashlib.sha256(text).hexdigest() != wanted:
            raise BundleError(
                f"{source}/{bundle.MANIFEST} is not the one that was released",
                hint="push the model again: nothing is unpickled that the release does not vouch for",
            )
        return bundle.parse(text, f"{source}/{bundle.MANIFEST}")


def _may_pass(failure: BundleError) -> bool:
    """A file that can't be read now may be there later; a library that is missing will be missing."""
    return isinstance(failure.__cause__, OSError) and not isinstance(failure.__cause__, ImportError)
