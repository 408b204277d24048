"""thampi.lock: written so that a diff is readable, read so strictly that nothing wrong is ever installed."""

import os
import re

import pytest

from thampi.errors import ConfigError
from thampi.resolution import lock
from thampi.resolution.lock import Entry
from thampi.resolution.resolved import Distribution, Resolved

HASH = f"--hash=sha256:{'a' * 64}"
RESOLVED = Resolved(
    requirements=(
        "--no-binary docopt",
        f"docopt==0.6.2 {HASH}",
        "mine @ file:///mnt/dependencies/wheels/mine-1.2-py3-none-any.whl  # from git+https://host/mine@0123#subdirectory=x",
        f"torch==2.9.0+cpu {HASH} --hash=sha256:{'b' * 64}",
        f"url @ https://host/url-3.0-py3-none-any.whl {HASH}",
    ),
    packages=("https://channel/linux-64/python-3.11.2-0.conda#abc",),
    distributions=(
        Distribution("python", "3.11.2"),
        Distribution("docopt", "0.6.2", has_wheel=False),
        Distribution("mine", "1.2"),
        Distribution("torch", "2.9.0+cpu"),
        Distribution("url", "3.0"),
    ),
    needed=("mine-1.2-py3-none-any.whl",),
)
ENTRY = Entry("linux/amd64", "3.11", "python:3.11@sha256:0123", "f00d", RESOLVED)


def other(**more):
    given = {"platform": "linux/arm64", "python": "3.12", "base": "x", "inputs": "y", "resolved": Resolved(), **more}
    return Entry(**given)


def test_what_is_written_is_what_is_read(tmp_path):
    assert lock.read(tmp_path) == ()
    assert lock.write(tmp_path, (), ENTRY) is None
    assert lock.read(tmp_path) == (ENTRY,)


def test_each_platform_and_python_has_its_own_and_the_order_is_always_the_same(tmp_path):
    entries = [ENTRY, other(), other(platform="linux/amd64")]
    texts = set()
    for order in (entries, entries[::-1]):
        (tmp_path / lock.FILE).unlink(missing_ok=True)
        for entry in order:
            assert lock.write(tmp_path, lock.read(tmp_path), entry) is None
        texts.add((tmp_path / lock.FILE).read_text())
    assert len(texts) == 1
    read = lock.read(tmp_path)
    assert lock.find(read, "linux/arm64", "3.12") == other()
    assert lock.find(read, "linux/arm64", "3.11") is None
    lock.write(tmp_path, read, other(base="newer"))
    assert lock.find(lock.read(tmp_path), "linux/arm64", "3.12").base == "newer"
    assert lock.find(lock.read(tmp_path), "linux/amd64", "3.11") == ENTRY


def test_a_changed_version_is_one_changed_line():
    newer = RESOLVED.requirements[3].replace("2.9.0", "2.9.1")
    changed = Resolved(
        **{**vars(RESOLVED), "requirements": (*RESOLVED.requirements[:3], newer, *RESOLVED.requirements[4:])}
    )
    before, after = lock.render([ENTRY]).splitlines(), lock.render([other(**{**vars(ENTRY), "resolved": changed})])
    assert [line for line in after.splitlines() if line not in before] == [f'    "{newer}",']
    assert before[0].startswith("# ")
    assert "Commit it" in before[0]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("version = 1", "", "does not say its version"),
        ("version = 1", "version = 2", "newer thampi"),
        ("version = 1", 'version = "1"', "does not say its version"),
        ('inputs = "f00d"\n', "", "no `inputs`"),
        ('base = "python:3.11@sha256:0123"', "base = 3", "no `base`"),
        (HASH + '"', '"', "without a hash: docopt"),
        ("requirements = [", "requirements = [ 1,", "no list of texts"),
        ("docopt==0.6.2 ", "docopt ", "no requirement: docopt"),
        ("shipped = [", "ships = [", "a key that nobody wrote: ships"),
        ("[[image]]", "[[image", "is broken"),
        ("[[image]]", "[image]", "no list of tables"),
        ("# from git+", "# by git+", "without a hash: mine"),
        ("<<<", "<<<", "is broken"),
    ],
)
def test_a_lock_that_somebody_broke_is_refused_with_the_cure(tmp_path, old, new, said):
    text = lock.render([ENTRY])
    broken = text.replace(old, new, 1) if old in text else f"<<<<<<< HEAD\n{text}"
    assert broken != text
    (tmp_path / lock.FILE).write_text(broken)
    with pytest.raises(ConfigError, match=re.escape(said)) as raised:
        lock.read(tmp_path)
    assert str(tmp_path / lock.FILE) in raised.value.message
    assert raised.value.hint


def test_two_answers_for_the_same_image_are_refused(tmp_path):
    (tmp_path / lock.FILE).write_text(lock.render([ENTRY, ENTRY]))
    with pytest.raises(ConfigError, match="same platform and Python"):
        lock.read(tmp_path)


def test_it_is_replaced_in_one_step_and_nothing_is_left_beside_it(tmp_path, monkeypatch):
    lock.write(tmp_path, (), ENTRY)
    before = (tmp_path / lock.FILE).read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", _no_space)
    assert "can't be written" in lock.write(tmp_path, (), other())
    assert (tmp_path / lock.FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [lock.FILE]


def _no_space(*_):
    raise OSError(28, "No space left on device")


def test_a_folder_that_can_not_be_written_is_said_and_is_no_failure(tmp_path):
    said = lock.write(tmp_path / "gone", (), ENTRY)
    assert "can't be written" in said
    assert "other versions" in said


def test_others_may_read_it_whatever_a_temporary_file_is(tmp_path):
    umask = os.umask(0o022)
    try:
        lock.write(tmp_path, (), ENTRY)
    finally:
        os.umask(umask)
    assert (tmp_path / lock.FILE).stat().st_mode & 0o777 == 0o644


def test_what_changed_is_said_by_name_and_version():
    after = Resolved(
        distributions=(Distribution("docopt", "0.6.3"), Distribution("new", "1"), Distribution("mine", "1.2"))
    )
    before = Resolved(
        distributions=(Distribution("docopt", "0.6.2"), Distribution("old", "2"), Distribution("mine", "1.2"))
    )
    assert lock.changes(before, after) == ["docopt 0.6.2 -> 0.6.3", "new (new) -> 1", "old 2 -> (gone)"]
    assert lock.changes(after, after) == []
