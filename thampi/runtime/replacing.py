"""A bundle is made aside and put in place in one step: a crash leaves the old one or the new one.

The first save renames a finished folder. A later save moves the data files in beside the old ones (their names are
made of their content, so none is overwritten by another) and then replaces thampi.json, which is the commit.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from thampi.runtime import bundle

_DATA_FILE = re.compile(r"model-[0-9a-f]{8}\.(pkl|buffers)")


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give a new folder beside `folder` to make a bundle in; it is gone afterwards, and so are those of the dead."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.saving-"
    for other in folder.parent.glob(f"{prefix}*"):
        _remove_if_abandoned(other)
    staged = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    staged.chmod(0o755)  # it becomes the bundle's folder, and Lambda's user is not the one who saves
    try:
        with _lock(staged):
            yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def put_in_place(staged: Path, folder: Path) -> None:
    """Make the bundle in `staged` the one in `folder`."""
    for path in staged.iterdir():
        path.chmod(0o644)
        _sync(path)
    _sync(staged)
    try:
        staged.rename(folder)  # refused when there is one already, unless that is empty
    except OSError:
        if not folder.is_dir():
            raise
        with _lock(folder):
            _replace(staged, folder)
    _sync(folder.parent)


def _replace(staged: Path, folder: Path) -> None:
    for path in staged.iterdir():
        if path.name != bundle.MANIFEST:
            path.replace(folder / path.name)
    _sync(folder)
    (staged / bundle.MANIFEST).replace(folder / bundle.MANIFEST)
    _sync(folder)
    named = {file.name for file in bundle.read(folder).files.values()}
    for path in folder.iterdir():
        if path.name not in named and (_DATA_FILE.fullmatch(path.name) or path.name == bundle.ORIGINAL_PICKLE):
            path.unlink()


def _remove_if_abandoned(staged: Path) -> None:
    """Remove what a killed save left; leave what a living one is filling."""
    try:
        with _lock(staged, wait=False):
            if os.name == "nt":  # there a folder with an open file can't be renamed: that is its lock
                staged = staged.rename(staged.with_name(f"{staged.name}-dead"))
            shutil.rmtree(staged, ignore_errors=True)
    except OSError:
        return


@contextlib.contextmanager
def _lock(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder against other saves on this machine; the kernel lets go when the process dies."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    """Have the disk hold it before the next step relies on it."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
