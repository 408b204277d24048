"""thampi.load: a saved model becomes the object again, or a BundleError that says why not."""

import hashlib
import os
import pickle
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thampi.errors import BundleError
from thampi.runtime import bundle, fetch, original, s3
from thampi.runtime.bundle import About
from thampi.runtime.fetch import Source
from thampi.runtime.model import Model


def load(source: str | os.PathLike[str], *, sha256: str | None = None) -> Model:
    """Return the model that was saved in the folder `source`, or pushed to `s3://bucket/prefix`.

    A pickle runs code: load only what you or your team saved. From S3, where others may write, that takes `sha256`,
    the hash of the bundle's thampi.json, which vouches for all the rest; for a folder it is optional.
    Raises BundleError, with what is missing or does not fit, before or instead of whatever the pickle would raise.
    """
    if str(source).startswith("s3://"):
        if sha256 is None:
            raise BundleError(
                f"{source} is loaded only when you say which model it must be",
                hint="thampi.load(source, sha256=…): `thampi info STAGE` prints it as model_sha256",
            )
        return begin(source, sha256=sha256).model()
    folder = Path(source)
    if sha256 is not None:
        return unpickle(folder, read(folder, sha256))
    while True:
        manifest = bundle.read_manifest(folder)
        try:
            return unpickle(folder, bundle.parse(manifest, str(folder / bundle.MANIFEST)))
        except BundleError:
            # A save to this folder sweeps the files that we were about to read: then there is a newer model to load.
            if bundle.read_manifest(folder) == manifest:
                raise


def read(source: Source, sha256: str = "") -> About:
    """Return what is known of a bundle; raise BundleError when its thampi.json is not the one with this hash."""
    manifest = source.read(bundle.MANIFEST) if isinstance(source, s3.Prefix) else bundle.read_manifest(source)
    if sha256 and hashlib.sha256(manifest).hexdigest() != sha256:
        raise BundleError(
            f"{source}/{bundle.MANIFEST} is not the one that was released",
            hint="push the model again: nothing is unpickled that the release does not vouch for",
        )
    return bundle.parse(manifest, f"{source}/{bundle.MANIFEST}")


def unpickle(folder: Source, about: About) -> Model:
    """Return the model of a bundle that was read; raises BundleError as `load` does."""
    return unpickle_with_types(folder, about)[0]


def unpickle_with_types(folder: Source, about: About) -> tuple[Model, Any]:
    """Return the model of a bundle, and the plan for its data that lies behind it in the pickle; None without one."""
    check_python(about, str(folder))
    if about.format:
        fetch.check(folder, about)
    with fetch.begin(folder, about=about) as fetched:
        return _unpickled(fetched, folder, about)


def begin(source: str | os.PathLike[str], *, sha256: str = "", files: Mapping[str, int] | None = None) -> "Loading":
    """Begin to load the bundle in a folder, or under `s3://bucket/prefix`, and return at once.

    `sha256` is the hash of its thampi.json; without it, nobody vouches for what is read but who put it there. `files`
    are the names and sizes of its data files, where they are known: then all of it is asked for at once.
    """
    return Loading(_source(source), sha256, files)


@dataclass(frozen=True)
class Figures:
    """How the loading of a model went."""

    bytes: int  # that were read
    fetch_ms: float  # from the beginning until the last byte was there and checked
    unpickle_ms: float  # without waiting for bytes
    requests: int
    retries: int

    @property
    def megabytes_per_s(self) -> float:
        """Return the speed of the reading, in millions of bytes a second."""
        return self.bytes / 1e3 / self.fetch_ms if self.fetch_ms else 0.0


class Loading:
    """A model on its way into memory."""

    def __init__(self, source: Source, sha256: str, files: Mapping[str, int] | None) -> None:
        self._source = source
        self._fetch = fetch.begin(source, sha256=sha256, files=files)
        self._figures: Figures | None = None
        self.types: Any = None  # the plan for the model's data, once `model` has returned

    def about(self) -> About:
        """Return what is known of the bundle, as soon as its thampi.json is there; raise BundleError without it."""
        return self._fetch.about()

    def model(self) -> Model:
        """Return the model: unpickled by the thread that calls this, while the bytes come. To be called once.

        Raises BundleError as `load` does; what has not come by then is given up.
        """
        about = self.about()
        check_python(about, str(self._source))
        began = time.perf_counter()
        with self._fetch as fetched:
            model, self.types = _unpickled(fetched, self._source, about)
            size, fetch_s, waited_s, requests, retries = fetched.figures()
        unpickle_s = time.perf_counter() - began - waited_s
        self._figures = Figures(size, 1e3 * fetch_s, 1e3 * unpickle_s, requests, retries)
        return model

    def cancel(self) -> None:
        """Give up what is still under way."""
        self._fetch.cancel()

    def figures(self) -> Figures:
        """Return how it went, once `model` has returned."""
        assert self._figures is not None
        return self._figures


def _source(source: str | os.PathLike[str]) -> Source:
    return s3.Prefix(str(source)) if str(source).startswith("s3://") else Path(source)


def _unpickled(fetched: fetch.Fetch, source: Source, about: About) -> tuple[Model, Any]:
    types = None
    try:
        if about.format == 0:
            model = original.unpickle(source)
        else:
            unpickler = pickle.Unpickler(fetched.pickle(), buffers=fetched.buffers())
            model = unpickler.load()
            types = unpickler.load() if about.signature and about.signature["types"] else None
    except BundleError:
        raise
    except Exception as error:
        raise explain(error, about, str(source)) from error
    if not isinstance(model, Model):
        raise BundleError(
            f"what is saved in {source} is a {type(model).__name__}, not a thampi.Model",
            hint="subclass thampi.Model, keep the trained object in it, and save that",
        )
    return model, types


def check_python(about: About, where: str) -> None:
    """Refuse a bundle of another Python: a pickle holds bytecode, which only its own minor version can run."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    saved = minor(about.python)
    if saved and saved != here:
        raise BundleError(
            f"the model in {where} was saved with Python {about.python}, and this is Python {here}",
            hint=f"load it with Python {saved}, or save it again with Python {here}",
        )


def minor(python: str) -> str:
    """Return `3.11` of `3.11.7`."""
    return ".".join(python.split(".")[:2])


def explain(error: Exception, about: About, where: str) -> BundleError:
    """Return what a failure while unpickling or importing means to the one who has to mend it."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        missing = _not_installed(about.distributions)
        return BundleError(
            f"the model in {where} needs `{name}`, which is not installed here",
            hint="add to the dependency file and build again: " + ", ".join(missing)
            if missing
            else f"add the package of `{name}` to the dependency file, or your own module to `build.include`",
        )
    changed = _other_versions(about.distributions)
    hint = "it was saved with " + ", ".join(changed) if changed else None
    return BundleError(
        f"the model in {where} can't be loaded: {type(error).__name__}: {error}",
        hint=original.HINT if about.format == 0 else hint,
    )


def _not_installed(distributions: Mapping[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in distributions.items() if _installed(name) is None]


def _other_versions(distributions: Mapping[str, str]) -> list[str]:
    return [
        f"{name}=={version} (here {_installed(name) or 'not installed'})"
        for name, version in distributions.items()
        if _installed(name) != version
    ]


def _installed(distribution: str) -> str | None:
    from importlib import metadata  # 20 ms that only a failure needs

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
