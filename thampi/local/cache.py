"""The user's cache folder for thampi, and folders in it that are there for one piece of work."""

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from thampi import liveness


def folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Return where thampi keeps what it can make again."""
    chosen = environ.get("XDG_CACHE_HOME", "")
    if Path(chosen).is_absolute():
        return Path(chosen) / "thampi"
    if platform == "darwin":
        return Path.home() / "Library/Caches/thampi"
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "thampi/cache"
    return Path.home() / ".cache/thampi"


def aside_prefix() -> str:
    """Return what the names of such folders begin with on this machine; the number of their process follows."""
    return f".aside-{re.sub('[^A-Za-z0-9]', '_', liveness.host())}-"


@contextlib.contextmanager
def aside(parent: Path) -> Iterator[Path]:
    """Make a new folder in `parent` for the time of the block; one left by a process that was killed is removed first.

    What shall stay is moved out of it, in one step.
    """
    parent.mkdir(parents=True, exist_ok=True)
    ours = aside_prefix()
    for left in parent.glob(f"{ours}*"):
        owner = left.name.removeprefix(ours).partition("-")[0]
        if owner.isdigit() and not liveness.is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{ours}{os.getpid()}-", dir=parent))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
