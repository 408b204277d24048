"""A lock between processes, which the one that holds it loses however it ends."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_ASK_AGAIN_S = 0.05
_PATIENCE_S = 0.5


@contextlib.contextmanager
def held(path: Path, *, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for the time of the block; `waiting` is called once when somebody else has it for a while.

    The file stays: removed, it would be another lock for those who wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        impatient_at: float | None = time.monotonic() + _PATIENCE_S
        while not _take(handle):
            if impatient_at is not None and time.monotonic() > impatient_at:
                waiting()
                impatient_at = None
            time.sleep(_ASK_AGAIN_S)
        yield
    finally:
        os.close(handle)


def is_held(path: Path) -> bool:
    """Say whether a living process has the lock."""
    try:
        handle = os.open(path, os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not _take(handle, shared=True)
    finally:
        os.close(handle)


def _take(handle: int, *, shared: bool = False) -> bool:
    """Try to take it; shared, so that those who only ask don't see each other."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
