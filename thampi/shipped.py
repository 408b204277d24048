"""Finds what is shipped beside the package: `handler/`, `images/`, `Dockerfile.base`, the example."""

from pathlib import Path


def folder() -> Path:
    """Return the folder that holds them: the checkout, or `thampi/shipped` inside an installed wheel."""
    package = Path(__file__).resolve().parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent
