"""The same question has the same answer, on every machine that has the lock, and without asking anybody."""

import dataclasses
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.resolution.index import make_project, serving, wheel
from thampi import recipe
from thampi.dependencies.wanted import Dependencies, Indexes, Local
from thampi.errors import BuildError, ConfigError
from thampi.resolution import answer, lock, uv_command
from thampi.resolution.answer import Asked

BASE = "python:3.11-slim-bookworm"
PINNED = f"{BASE}@sha256:0123"


@pytest.fixture
def environ(tmp_path):
    return {**os.environ, "UV_CACHE_DIR": str(tmp_path / "uv-cache"), "UV_HTTP_RETRIES": "0"}


@pytest.fixture
def get(environ):
    """Ask for an answer; return it, the base, what was said, and the base images that were asked for."""

    def ask(asked, **given):
        said, pinned = [], []

        def pin(name):
            pinned.append(name)
            return given.pop("pinned", PINNED) if "pinned" in given else PINNED

        extra = {key: value for key, value in given.items() if key != "pinned"}
        resolved, base = answer.get(asked, environ=environ, say=said.append, pin=pin, **extra)
        return resolved, base, said, pinned

    return ask


@pytest.fixture
def nobody(monkeypatch):
    """From now on uv is not to be asked."""

    def refuse(*words, **_):
        raise AssertionError(f"uv was asked: {words}")

    return lambda: monkeypatch.setattr(uv_command.subprocess, "run", refuse)


def asked_for(folder, url, *lines, local=(), **more):
    wanted = Dependencies("requirements.txt", tuple(lines), indexes=Indexes(index_url=url), local=tuple(local))
    folder.mkdir(exist_ok=True)
    return Asked(dataclasses.replace(wanted, **more), "3.11", "linux/amd64", BASE, (2, 36), folder)


def versions(resolved):
    return {each.name: each.version for each in resolved.distributions}


def test_the_lock_answers_and_neither_uv_nor_an_index_nor_the_engine_is_asked(get, nobody, tmp_path):
    with serving({"pypi": dict([wheel("lib")])}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        first, base, said, pinned = get(asked)
        assert (base, pinned) == (PINNED, [BASE])
        assert said[-1].startswith("thampi.lock written")
        nobody()
        server.asked.clear()
        written = (tmp_path / "project/thampi.lock").read_bytes()
        again, base, said, pinned = get(asked)
        assert (again.requirements, base, said, pinned) == (first.requirements, PINNED, [], [])
        assert server.asked == []
        assert (tmp_path / "project/thampi.lock").read_bytes() == written


@pytest.mark.parametrize(
    "change",
    [
        {"requirements": ("lib", "more")},
        {"constraints": ("lib<9",)},
        {"options": ("--pre",)},
    ],
    ids=str,
)
def test_another_question_is_answered_anew_and_what_still_fits_stays(get, tmp_path, change):
    pypi = dict([wheel("lib", "1.0"), wheel("more")])
    with serving({"pypi": pypi}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        get(asked)
        pypi |= [wheel("lib", "2.0")]
        asked = dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, **change))
        resolved, _, said, pinned = get(asked)
        assert versions(resolved)["lib"] == "1.0"
        assert pinned == []  # the base that was locked stays
        assert said[-1].startswith("thampi.lock rewritten")
        assert ("more (new) -> 1.0" in said[-1]) is ("requirements" in change)


def test_an_index_that_the_file_names_is_part_of_the_question_and_one_of_the_machine_is_not(get, nobody, tmp_path):
    with serving({"pypi": dict([wheel("lib")]), "mirror": {}}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        get(asked)
        elsewhere = Indexes(index_url=server.url("mirror"))
        told = dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, indexes=elsewhere))
        written = dataclasses.replace(elsewhere, written=(server.url("mirror"),))
        other = dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, indexes=written))
        with pytest.raises(BuildError):
            get(other)
        nobody()
        get(told)


def test_a_refresh_takes_what_is_newer_and_says_what_changed(get, tmp_path):
    pypi = dict([wheel("lib", "1.0")])
    with serving({"pypi": pypi}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        get(asked)
        pypi |= [wheel("lib", "2.0")]
        newer = f"{BASE}@sha256:4567"
        resolved, base, said, pinned = get(asked, refresh=True, pinned=newer)
    assert versions(resolved) == {"lib": "2.0"}
    assert (base, pinned) == (newer, [BASE])
    assert "lib 1.0 -> 2.0" in said[-1]
    assert f"base image {PINNED} -> {newer}" in said[-1]


def test_another_base_image_is_asked_for_and_the_libraries_stay(get, nobody, tmp_path):
    with serving({"pypi": dict([wheel("lib")])}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        get(asked)
        nobody()
        _, base, said, pinned = get(dataclasses.replace(asked, base_image="mine:1"), pinned="mine:1@sha256:9")
    assert (base, pinned) == ("mine:1@sha256:9", ["mine:1"])
    assert "base image" in said[-1]


def test_without_writing_nothing_is_written_and_a_broken_lock_is_refused(get, tmp_path):
    with serving({"pypi": dict([wheel("lib")])}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        get(asked, write=False)
        assert list((tmp_path / "project").iterdir()) == []
        (tmp_path / "project/thampi.lock").write_text("<<<<<<< HEAD\n")
        with pytest.raises(ConfigError, match=r"thampi\.lock is broken"):
            get(asked)


def test_a_folder_that_can_not_be_written_is_said_and_the_build_goes_on(get, tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "write", lambda *_: "it can't be written")
    with serving({"pypi": dict([wheel("lib")])}) as server:
        resolved, _, said, _ = get(asked_for(tmp_path / "project", server.url("pypi"), "lib"))
    assert versions(resolved) == {"lib": "1.0"}
    assert said[-1] == "it can't be written"


def test_two_clones_with_other_times_rights_and_places_have_the_same_recipe(get, nobody, tmp_path):
    """The project that is shipped is copied as git would do it; a lock of one clone answers in the other."""
    one = tmp_path / "one"
    make_project(one / "mine")
    with serving({"pypi": dict([wheel("lib")])}) as server:
        asked = asked_for(one, server.url("pypi"), local=[Local("./mine", str(one / "mine"), "mine")])
        first, base, *_ = get(asked)
        other = tmp_path / "elsewhere/two"
        shutil.copytree(one, other)
        for path in [other, *other.rglob("*")]:
            path.chmod(0o700 if path.is_dir() else 0o600)
            os.utime(path, (1, 1))
        (other / "mine/src/mine/__pycache__").mkdir()
        (other / "mine/src/mine/__pycache__/x.pyc").touch()
        moved = asked_for(other, server.url("pypi"), local=[Local("./mine", str(other / "mine"), "mine")])
        nobody()
        second, again, said, _ = get(moved)
    assert said == []

    def digest(resolved, image, folder):
        ground = recipe.make_base("3.11", "linux/amd64", image)
        made = recipe.make(ground, resolved, title=str(folder), apt=[], include=["mine/src"], project_dir=folder)
        return made.digest

    assert digest(first, base, one) == digest(second, again, other)
    (other / "mine/src/mine/__init__.py").write_text("ONE = 2\n")
    with pytest.raises(AssertionError, match="uv was asked"):
        get(moved)


# ----------------------------------------------------------------------------------------------- what has to be shipped


@pytest.fixture
def ship(environ):
    def find(asked, resolved):
        return answer.ship(asked, resolved, environ=environ, say=lambda sentence: None)

    return find


def test_what_a_lock_only_names_is_found_again_or_made_again(get, ship, tmp_path):
    name, content = wheel("lib")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / name).write_bytes(content)
    project = make_project(tmp_path / "mine")
    with serving({"pypi": {}}) as server:
        asked = asked_for(
            tmp_path / "project", server.url("pypi"), "lib", local=[Local("./mine", str(project), "mine")]
        )
        indexes = dataclasses.replace(asked.dependencies.indexes, find_links=(str(tmp_path / "links"),))
        asked = dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, indexes=indexes))
        first, *_ = get(asked)
        locked, *_ = get(asked)
        assert locked.shipped == {}
        assert locked.needed == first.needed == (name, "mine-1.2-py3-none-any.whl")
        found = ship(asked, locked)
        assert found == dict(first.shipped)  # to the byte, though it was packed at another time
        (tmp_path / "links" / name).write_bytes(wheel("lib", when=(2021, 1, 1, 0, 0, 0))[1])
        with pytest.raises(BuildError, match=r"another one than thampi\.lock names"):
            ship(asked, locked)


def test_what_is_not_here_any_more_is_told_by_its_name(get, ship, tmp_path):
    name, content = wheel("lib", "2.0")
    (tmp_path / name).write_bytes(content)
    with serving({"pypi": dict([wheel("lib", "1.0")])}) as server:
        asked = asked_for(tmp_path / "project", server.url("pypi"), "lib")
        indexes = dataclasses.replace(asked.dependencies.indexes, find_links=(str(tmp_path),))
        known = dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, indexes=indexes))
        get(known)
        locked, *_ = get(asked)
        with pytest.raises(BuildError, match=rf"names {name}, which") as raised:
            ship(asked, locked)
    assert "--refresh" in raised.value.hint


def test_of_a_branch_the_commit_that_was_locked_is_made_again(get, ship, tmp_path):
    project = make_project(tmp_path / "mine")

    def git(*words):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=project, check=True)

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "-m", "one")
    with serving({"pypi": dict([wheel("lib")])}) as server:
        local = Local("mine @ git+…", f"git+file://{project}@main", "mine")
        asked = asked_for(tmp_path / "project", server.url("pypi"), local=[local])
        first, *_ = get(asked)
        (project / "src/mine/__init__.py").write_text("TWO = 2\n")
        git("commit", "--quiet", "-am", "two")
        locked, *_ = get(asked)
        assert locked.requirements == first.requirements
        assert ship(asked, locked)["mine-1.2-py3-none-any.whl"] == first.shipped["mine-1.2-py3-none-any.whl"]
        refreshed, *_ = get(asked, refresh=True)
    assert refreshed.requirements != first.requirements
    assert not list(Path(tmp_path / "project").glob("*.whl"))
