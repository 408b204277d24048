"""thampi.load: a saved model becomes the object again, or a BundleError that says why not."""

import hashlib
import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

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
        prefix = s3.Prefix(str(source))
        return unpickle(prefix, read(prefix, sha256))
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
    check_python(about, str(folder))
    try:
        if isinstance(folder, Path) and about.format == 0:
            model = original.unpickle(folder)
        else:
            fetch.check(folder, about)
            with fetch.pickle_stream(folder, about) as stream:
                model = pickle.Unpickler(stream, buffers=fetch.buffers(folder, about)).load()
    except BundleError:
        raise
    except Exception as error:
        raise explain(error, about, str(folder)) from error
    if not isinstance(model, Model):
        raise BundleError(
            f"what is saved in {folder} is a {type(model).__name__}, not a thampi.Model",
            hint="subclass thampi.Model, keep the trained object in it, and save that",
        )
    return model


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
