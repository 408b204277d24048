"""The user's cache folder, and what is there for one piece of work only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from thampi.local import cache

KILLED = """
import os, sys
from pathlib import Path
from thampi.local import cache
with cache.aside(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("done")
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_the_folder_is_the_users_and_can_be_chosen(tmp_path):
    assert cache.folder({"XDG_CACHE_HOME": str(tmp_path)}, "darwin") == tmp_path / "thampi"
    assert cache.folder({"XDG_CACHE_HOME": "relative"}, "linux") == Path.home() / ".cache/thampi"
    assert cache.folder({}, "linux") == Path.home() / ".cache/thampi"
    assert cache.folder({}, "darwin") == Path.home() / "Library/Caches/thampi"
    assert cache.folder({"LOCALAPPDATA": str(tmp_path)}, "win32") == tmp_path / "thampi/cache"


def test_a_folder_aside_is_there_for_the_block_and_no_longer(tmp_path):
    with cache.aside(tmp_path / "new") as folder:
        (folder / "file").touch()
        assert folder.parent == tmp_path / "new"
    assert list((tmp_path / "new").iterdir()) == []


def test_it_goes_when_the_block_fails_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), cache.aside(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_out_stays(tmp_path):
    with cache.aside(tmp_path) as folder:
        (folder / "made").mkdir()
        (folder / "made").rename(tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_two_at_once_have_one_each(tmp_path):
    with cache.aside(tmp_path) as first, cache.aside(tmp_path) as second:
        assert first != second
        assert first.is_dir()
        assert second.is_dir()


def test_what_a_killed_process_left_goes_with_the_next(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    left = Path(killed.stdout.strip())
    assert (left / "half").exists()
    others = tmp_path / f".aside-elsewhere-{os.getpid()}-x"
    others.mkdir()
    (tmp_path / "kept").mkdir()
    with cache.aside(tmp_path):
        assert not left.exists()
        assert others.exists()  # another machine's, on a shared disk: who knows whether it's at work
        assert (tmp_path / "kept").exists()
