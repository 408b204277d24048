"""The model's way into memory: once at the start, and again on a request when what failed may have passed."""

import contextlib
import importlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Any

from thampi.errors import BundleError
from thampi.runtime import loading, s3
from thampi.runtime.bundle import About
from thampi.runtime.loading import Loading
from thampi.runtime.model import Context, Model

from . import cold_start, journal
from .cold_start import ColdStart
from .settings import Settings

if TYPE_CHECKING:
    from thampi.runtime.calling import Ask
    from thampi.runtime.signature.checking import Checker

log = logging.getLogger("thampi")


class InitializeError(BundleError):
    """The model is there, and its own `initialize` raised: what that needs may answer the next time."""


class StillLoadingError(BundleError):
    """The model will be there, and this request can't wait for it."""


class Startup:
    """Holds the model, or the reason why there is none."""

    def __init__(
        self, settings: Settings, age_s: float = 0.0, write: Callable[[bytes], object] = journal.to_stdout
    ) -> None:
        """`age_s` is how long the process has been there; `write` gets the line about the cold start."""
        self._settings, self._write = settings, write
        self._began = time.perf_counter() - age_s
        self._loading: Loading | None = None
        self._about: About | None = None
        self._took: dict[str, float] = {}
        self._loaded: Model | None = None  # unpickled
        self._ask: Ask | None = None  # asks it: checks the data, runs its hooks
        self._ready: Model | None = None  # and initialized
        self._busy: int | None = None  # the thread that loads
        self.failure: BundleError | None = None

    def fetch(self) -> None:
        """Set the model's bytes on their way, and return at once; what fails fails in `begin`."""
        with contextlib.suppress(BundleError):
            self._loading = self._fetching()

    def begin(self) -> None:
        """Load the model; keep a failure, and log it with its traceback, for the requests to come."""
        before, self.failure = self.failure, None
        self._busy = get_ident()
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
        finally:
            self._busy = None
            loading, self._loading = self._loading, None
            if loading is not None and self._loaded is None:
                loading.cancel()
        if self.failure is None:
            self._say()
        elif before is None or before.message != self.failure.message:
            log.error("the model can't be loaded: %s", self.failure, exc_info=self.failure.__cause__ or self.failure)

    def model(self) -> Model:
        """Return the model; raise the BundleError that keeps it from being there."""
        if self._busy not in (None, get_ident()):
            waited = time.perf_counter() - self._began
            raise StillLoadingError(
                f"the model is still being loaded, since {waited:.0f} s",
                hint="raise timeout_s in thampi.toml, or memory_mb, which brings more CPU",
            )
        if self._ready is None and (self.failure is None or _may_pass(self.failure, self._settings.model)):
            self.begin()
        if self._ready is not None:
            return self._ready
        assert self.failure is not None
        raise self.failure.with_traceback(None)  # or each request would add its frames, and what they hold

    def restored(self) -> None:
        """Tell the model that this environment has just been made of a snapshot; what it raises ends the process."""
        if self._ready is not None:
            self._ready.restored(self._context())

    def asking(self) -> "Ask":
        """Return the function that asks the model; raises as `model` does."""
        self.model()
        assert self._ask is not None
        return self._ask

    def about(self) -> About:
        """Return what is known of the model, which may be readable even where the model itself is not."""
        if self._about is None:
            under_way = self._loading or self._fetching()
            self._about = under_way.about()
            if under_way is not self._loading:
                under_way.cancel()
        return self._about

    def _make_ready(self) -> Model:
        if self._loaded is None:
            self._loaded = self._load()
        began = time.perf_counter()
        try:
            self._loaded.initialize(self._context())
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise InitializeError(f"`initialize` failed: {type(error).__name__}: {error}", hint=None) from error
        self._took["initialize_ms"] = _ms_since(began)
        return self._loaded

    def _context(self) -> Context:
        """Return what the model may know where no request has asked for it."""
        return Context(
            name=self._settings.name,
            stage=self._settings.stage,
            properties=self.about().properties(self._settings.served_time_utc),
        )

    def _load(self) -> Model:
        self._took = {"python_ms": _ms_since(self._began)}
        self._about = None  # what failed may have been a copy under way: read it as it is now
        if self._loading is None:
            self._loading = self._fetching()
        about = self.about()
        loading.check_python(about, self._settings.model)
        began = time.perf_counter()
        self._import(about)
        checker = _checker(about)
        self._took["import_ms"] = _ms_since(began)
        model = self._loading.model()
        self._ask = _asking(model, about, checker, self._loading.types)
        figures = self._loading.figures()
        self._took |= {
            "fetch_ms": figures.fetch_ms,
            "fetch_mb": figures.bytes / 1e6,
            "fetch_mb_per_s": figures.megabytes_per_s,
            "unpickle_ms": figures.unpickle_ms,
        }
        return model

    def _import(self, about: About) -> None:
        """Import what the pickle will ask for, in its order, while its bytes are on their way."""
        for name in about.modules:
            try:
                importlib.import_module(name)
            except Exception as error:
                raise loading.explain(error, about, self._settings.model) from error

    def _fetching(self) -> Loading:
        settings = self._settings
        if settings.model.startswith("s3://") and not settings.manifest_sha256:
            raise BundleError(
                f"THAMPI_MANIFEST_SHA256 is not set, and nobody vouches for {settings.model}",
                hint="`thampi push` sets it",
            )
        return loading.begin(settings.model, sha256=settings.manifest_sha256, files=settings.files or None)

    def _say(self) -> None:
        """Write the line about the cold start; a log that is gone must cost no model."""
        took = ColdStart(
            total_ms=_ms_since(self._began),
            **self._took,
            peak_mb=cold_start.peak_mb(),
            memory_mb=self._settings.memory_mb,
        )
        with contextlib.suppress(OSError):
            self._write(took.line())


def _checker(about: About) -> "Checker | None":
    """Compile the signature, while the model's bytes are on their way; a bundle without one needs nothing for it."""
    if about.signature is None:
        return None
    from thampi.runtime.signature import checking

    return checking.checker(about.signature)


def _asking(model: Model, about: About, checker: "Checker | None", types: Any) -> "Ask":
    if about.signature is None:
        return model.predict
    from thampi.runtime import calling

    return calling.make(model, about.signature, checker, types)


def _ms_since(began: float) -> float:
    return (time.perf_counter() - began) * 1000


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
