"""A model that is baked in, `[build] model = "image"`: what of it goes into the image, and if that may be so large."""

from collections.abc import Mapping
from pathlib import Path

from thampi import recipe
from thampi.errors import ConfigError
from thampi.runtime import bundle, fetch, folder
from thampi.runtime.bundle import About


def files(model_dir: Path, manifest: bytes, about: About) -> dict[str, bytes | Path]:
    """Return the files of a saved model by their names: what decides the image as bytes, the rest as where it lies.

    The manifest has the hash of every byte of the others, so it decides for them; that of thampi 0.1.0 has none.
    Raises BundleError when a file is missing, or not of the size that was saved.
    """
    decides: dict[str, bytes | Path] = {bundle.MANIFEST: manifest}
    if about.format == 0:
        with folder.open_file(model_dir, bundle.ORIGINAL_PICKLE) as file:
            return decides | {bundle.ORIGINAL_PICKLE: file.read()}
    fetch.check(model_dir, about)
    return decides | {file.name: model_dir / file.name for file in about.files.values()}


def size_bytes(model: Mapping[str, bytes | Path]) -> int:
    """Return the size of all its files."""
    return sum(len(each) if isinstance(each, bytes) else each.stat().st_size for each in model.values())


def check_size(model_bytes: int, others_bytes: int) -> None:
    """Raise ConfigError when the model can't fit into one image with what is known of the rest, in bytes."""
    if model_bytes + others_bytes > recipe.LARGEST_BYTES:
        rest = f" and the rest of the image at least {_gb(others_bytes)}" if others_bytes else ""
        raise ConfigError(
            f"the model is {_gb(model_bytes)}{rest}, and Lambda takes images of {_gb(recipe.LARGEST_BYTES)} at most",
            hint='take model = "image" out of thampi.toml: what a function loads from S3 may be as large as its memory',
        )


def _gb(size: int) -> str:
    return f"{size / 1024**3:.2f} GB"
