"""A bundle is made aside and put in place in one step: a crash leaves the old one or the new one.

The first save renames a finished folder. A later save moves the data files in beside the old ones (their names are
made of their content, so none is overwritten by another) and then replaces thampi.json, which is the commit.

Aside is `.{name}.saving-…`, a folder that a lock of the same name guards for as long as its save lives: what nobody
guards is a dead one's, and the next save sweeps it away. The commit itself has a lock that all saves share.
"""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from thampi.errors import BundleError
from thampi.runtime import bundle
from thampi.runtime.bundle import About

_DATA_FILE = re.compile(r"model-[0-9a-f]{8}\.(pkl|buffers)")
_LOCK = ".lock"
_DEAD_AFTER_S = 24 * 3600  # where a file system has no locks, nothing but age tells a dead save from a slow one
_ASK_AGAIN_S = 0.02


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` to make a bundle in; it is gone afterwards, and so are those of the dead."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.saving-"
    for other in {path.with_name(path.name.removesuffix(_LOCK)) for path in folder.parent.iterdir()}:
        if other.name.startswith(prefix):
            _remove_if_abandoned(other)
    with _guarded(prefix, folder.parent) as staged:
        staged.mkdir()
        staged.chmod(0o755)  # it becomes the bundle's folder, and Lambda's user is not the one who saves
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def put_in_place(staged: Path, folder: Path) -> None:
    """Make the bundle in `staged` the one in `folder`."""
    for path in staged.iterdir():
        path.chmod(0o644)
        _sync(path)
    _sync(staged)
    with _commit_lock(folder) as alone:
        try:
            staged.rename(folder)  # refused when there is one already, unless that is empty
        except OSError:
            if not folder.is_dir():
                raise
            _replace(staged, folder, alone)
        _sync(folder.parent)


def _replace(staged: Path, folder: Path, alone: bool) -> None:
    before = _read(folder)
    for path in staged.iterdir():
        if path.name != bundle.MANIFEST:
            path.replace(folder / path.name)
    _sync(folder)
    (staged / bundle.MANIFEST).replace(folder / bundle.MANIFEST)
    _sync(folder)
    _sweep(folder, before, alone)


def _sweep(folder: Path, before: About | None, alone: bool) -> None:
    """Remove what the bundle that was replaced named, and what a save that died on the way had moved in."""
    replaced = _names(before) | ({bundle.ORIGINAL_PICKLE} if before and before.format == 0 else set())
    named = _names(_read(folder))
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # on Windows somebody may be reading it; the model is saved all the same
            # Alone, what nothing names is a dead save's; else it may be what another is about to name.
            left_over = _DATA_FILE.fullmatch(path.name) and (alone or _is_old(path))
            if path.name not in named and (path.name in replaced or left_over):
                path.unlink()


def _read(folder: Path) -> About | None:
    try:
        return bundle.read(folder)
    except BundleError:  # none, or a broken one: it names nothing
        return None


def _names(about: About | None) -> set[str]:
    return {file.name for file in about.files.values()} if about else set()


def _remove_if_abandoned(staged: Path) -> None:
    """Remove what a killed save left; leave what a living one is filling."""
    lock = staged.with_name(staged.name + _LOCK)
    with contextlib.suppress(OSError):
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            abandoned = _try_lock(handle) or _is_old(lock, staged)
        except OSError:  # it lives, or another save is removing it
            abandoned = False
        if abandoned:
            shutil.rmtree(staged, ignore_errors=True)
            _remove_lock(lock, handle)
        else:
            os.close(handle)


@contextlib.contextmanager
def _guarded(prefix: str, parent: Path) -> Iterator[Path]:
    """Give a path that doesn't exist yet and hold its lock, so that no other save takes it for a dead one's."""
    while True:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=_LOCK, dir=parent)
        with contextlib.suppress(BlockingIOError):
            _try_lock(handle)
            if _is_at(handle, Path(name)):
                break
        os.close(handle)  # another save found it before it was locked, and is sweeping it away
    try:
        yield Path(name.removesuffix(_LOCK))
    finally:
        _remove_lock(Path(name), handle)


@contextlib.contextmanager
def _commit_lock(folder: Path) -> Iterator[bool]:
    """Hold the one lock of all saves to `folder`; yield whether it keeps the others out, which not every disk can."""
    lock = folder.with_name(f".{folder.name}.saving{_LOCK}")
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            alone = _try_lock(handle)
            if _is_at(handle, lock):
                break
            os.close(handle)  # the one who held it has removed it: the lock is another file by now
        except BlockingIOError:
            os.close(handle)
            time.sleep(_ASK_AGAIN_S)
    try:
        yield alone
    finally:
        _remove_lock(lock, handle)


def _try_lock(handle: int) -> bool:
    """Lock an open file, until it is closed or the process dies; raise BlockingIOError when another process has it.

    False says that there are no locks here: some network file systems have none.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(*error.args) from error
        return True
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return False
    return True


def _remove_lock(lock: Path, handle: int) -> None:
    # Removed while it is held, nobody can come to hold a file that is about to go. Windows keeps open files.
    if os.name != "nt":
        lock.unlink(missing_ok=True)
    os.close(handle)
    if os.name == "nt":
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _is_old(*paths: Path) -> bool:
    there = [path for path in paths if path.exists()]
    inside = [inner for path in there if path.is_dir() for inner in path.iterdir()]
    newest = max((path.stat().st_mtime for path in there + inside), default=0.0)
    return time.time() - newest > _DEAD_AFTER_S


def _sync(path: Path) -> None:
    """Have the disk hold it before the next step relies on it."""
    # Windows and some network file systems can't do that for a folder: there, only a power cut is left to fear.
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
