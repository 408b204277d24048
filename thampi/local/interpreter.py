"""A Python environment that uv makes: where its interpreter lies, and how a finished one gets to its place."""

import contextlib
import sys
from pathlib import Path


def python(environment: Path) -> Path:
    """Return the interpreter of an environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def put_in_place(made: Path, wanted: Path) -> None:
    """Move a finished environment to `wanted`, unless another process was faster with the same.

    One that stands there without its interpreter, which was uninstalled, goes aside: to the folder that `made` lies in.
    """
    if wanted.exists() and not python(wanted).exists():
        with contextlib.suppress(FileNotFoundError):
            wanted.rename(made.parent / "broken")
    try:
        made.rename(wanted)
    except OSError:
        if not python(wanted).exists():
            raise
