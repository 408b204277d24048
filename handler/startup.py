"""The model's way into memory: once at the start, and again on a request when what failed may have passed."""

import logging
from pathlib import Path

from thampi.errors import BundleError
from thampi.runtime import loading, s3
from thampi.runtime.bundle import About
from thampi.runtime.fetch import Source
from thampi.runtime.model import Context, Model

from .settings import Settings

log = logging.getLogger("thampi")


class InitializeError(BundleError):
    """The model is there, and its own `initialize` raised: what that needs may answer the next time."""


class Startup:
    """Holds the model, or the reason why there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._about: About | None = None
        self._loaded: Model | None = None  # unpickled
        self._ready: Model | None = None  # and initialized
        self.failure: BundleError | None = None

    def begin(self) -> None:
        """Load the model; keep a failure, and log it with its traceback, for the requests to come."""
        before, self.failure = self.failure, None
        try:
            self._ready = self._make_ready()
        except KeyboardInterrupt:
            raise
        except BundleError as error:
            self.failure = error
        except BaseException as error:  # unpickling runs code of others, which may even call sys.exit()
            self.failure = BundleError(
                f"the model in {self._settings.model} can't be loaded: {type(error).__name__}: {error}", hint=None
            )
            self.failure.__cause__ = error
        if self.failure is not None and (before is None or before.message != self.failure.message):
            log.error("the model can't be loaded: %s", self.failure, exc_info=self.failure.__cause__ or self.failure)

    def model(self) -> Model:
        """Return the model; raise the BundleError that keeps it from being there."""
        if self._ready is None and (self.failure is None or _may_pass(self.failure, self._settings.model)):
            self.begin()
        if self._ready is not None:
            return self._ready
        assert self.failure is not None
        raise self.failure.with_traceback(None)  # or each request would add its frames, and what they hold

    def about(self) -> About:
        """Return what is known of the model, which may be readable even where the model itself is not."""
        if self._about is None:
            self._about = self._read()
        return self._about

    def _make_ready(self) -> Model:
        if self._loaded is None:
            self._about = None  # what failed may have been a copy under way: read it as it is now
            self._loaded = loading.unpickle(self._source(), self.about())
        context = Context(
            name=self._settings.name,
            stage=self._settings.stage,
            properties=self.about().properties(self._settings.served_time_utc),
        )
        try:
            self._loaded.initialize(context)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InitializeError(f"`initialize` failed: {type(error).__name__}: {error}", hint=None) from error
        return self._loaded

    def _read(self) -> About:
        if isinstance(self._source(), s3.Prefix) and not self._settings.manifest_sha256:
            raise BundleError(
                f"THAMPI_MANIFEST_SHA256 is not set, and nobody vouches for {self._settings.model}",
                hint="`thampi push` sets it",
            )
        return loading.read(self._source(), self._settings.manifest_sha256)

    def _source(self) -> Source:
        model = self._settings.model
        return s3.Prefix(model) if model.startswith("s3://") else Path(model)


def _may_pass(failure: BundleError, folder: str) -> bool:
    """Say whether asking again can help: a file that can't be read now may be there later, a missing library won't.

    An OSError alone says little: a library that lacks a system package raises one (without errno), too, and so does a
    model that opens a file of its own. Unpickling again for those would make each request wait for nothing.
    """
    if isinstance(failure, InitializeError | s3.UnreachableError):
        return True
    cause = failure.__cause__
    if not isinstance(cause, OSError) or cause.errno is None:
        return False
    return cause.filename is None or Path(str(cause.filename)).is_relative_to(folder)
