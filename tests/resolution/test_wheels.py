"""A wheel that is made here says nothing of when and by whom."""

import io
import zipfile

import pytest

from tests.resolution.index import make_project, wheel
from thampi.dependencies.wanted import Local
from thampi.resolution import wheels


def test_the_same_files_are_the_same_wheel_whoever_packed_them():
    one = wheel("mine")[1]
    other = wheel("mine", when=(2031, 12, 31, 23, 59, 58), order=-1)[1]
    assert one != other
    assert wheels.normalised(one) == wheels.normalised(other)
    assert wheels.normalised(wheel("mine", requires=["x"])[1]) != wheels.normalised(one)
    with zipfile.ZipFile(io.BytesIO(wheels.normalised(other))) as made:
        assert made.testzip() is None
        assert {entry.date_time for entry in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert made.read("mine.py") == b"VERSION = '1.0'\n"
        assert made.read("mine-1.0.dist-info/RECORD").splitlines() == sorted(
            made.read("mine-1.0.dist-info/RECORD").splitlines()
        )


def test_what_may_be_run_still_may():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, mode in (("mine/tool", 0o100700), ("mine/data", 0o100666)):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            archive.writestr(entry, "x")
    with zipfile.ZipFile(io.BytesIO(wheels.normalised(packed.getvalue()))) as made:
        modes = {entry.filename: entry.external_attr >> 16 for entry in made.infolist()}
    assert modes == {"mine/tool": 0o100755, "mine/data": 0o100644}


@pytest.mark.parametrize(
    ("path", "counts"),
    [
        ("src/mine/new.py", True),
        ("src/mine/__init__.py", True),
        ("src/build/x.py", True),
        ("src/mine/__pycache__/x.pyc", False),
        ("mine.egg-info/PKG-INFO", False),
        (".git/index", False),
        (".venv/pyvenv.cfg", False),
        ("build/lib/mine/__init__.py", False),
        ("node_modules/x/index.js", False),
    ],
)
def test_what_a_project_is_made_of_is_its_files_and_no_leftovers(tmp_path, path, counts):
    project = make_project(tmp_path / "mine")
    local = Local("./mine", str(project))
    before = wheels.source_of(local)
    (project / path).parent.mkdir(parents=True, exist_ok=True)
    (project / path).write_text("changed")
    assert (wheels.source_of(local) != before) is counts


def test_a_repository_is_made_of_what_its_url_says():
    assert wheels.source_of(Local("x", "git+https://host/x@main")) == "git+https://host/x@main"
