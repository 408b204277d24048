"""uv.lock, as uv itself writes and reads it."""

import shutil
import subprocess

import pytest
import uv

from thampi import dependencies
from thampi.errors import ConfigError

PROJECT = """
[project]
name = "demo"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["lib", "other"]
[project.optional-dependencies]
gpu = ["more"]
[dependency-groups]
dev = ["tool"]
[tool.uv]
package = true
[tool.uv.sources]
lib = { path = "lib" }
[[tool.uv.index]]
name = "here"
url = "./simple"
format = "flat"
default = true
"""


def wheel(folder, name, version="1.0"):
    """Write a wheel that has nothing but its name."""
    source = folder / "sources" / name
    source.mkdir(parents=True)
    (source / f"{name}.py").write_text("")
    (source / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\n[build-system]\nrequires = []\nbuild-backend = "none"\n'
    )
    import zipfile

    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        made.writestr(f"{name}.py", "")
        made.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")
    shutil.rmtree(folder / "sources")


@pytest.fixture
def locked(folder, project, quiet):
    """A project with a lock that uv made, without any network."""
    project("lib")
    for name in ("other", "more", "tool"):
        wheel(folder / "simple", name)
    (folder / "pyproject.toml").write_text(PROJECT)
    environ = {**quiet, "UV_NO_CONFIG": "false", "UV_CACHE_DIR": str(folder.parent / "cache"), "PATH": "/usr/bin:/bin"}
    words = [uv.find_uv_bin(), "lock", "--offline", "--no-python-downloads"]
    done = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "uv.lock"


@pytest.fixture
def read(quiet):
    def read_(file, *extras, **environ):
        known = {"cloudpickle": "3.1.2"}
        told = {**quiet, "PATH": "/usr/bin:/bin"} | environ
        return dependencies.read(file, known, environ=told, project_dir=file.parent, extras=extras)

    return read_


def test_what_is_locked_is_asked_for_exactly_without_the_project_and_its_development_tools(locked, read):
    found = read(locked)
    assert found.requirements == ("other==1.0", "cloudpickle==3.1.2")
    assert [local.name for local in found.local] == ["lib"]
    assert found.title == "uv.lock"
    assert found.notes[0].startswith("uv.lock: the project itself is not installed")


def test_chosen_extras_are_asked_for(locked, read):
    found = read(locked, "gpu")
    assert found.requirements == ("more==1.0", "other==1.0", "cloudpickle==3.1.2")
    assert found.title == "uv.lock[gpu]"


def test_it_is_looked_for_where_the_lock_says(locked, read):
    assert read(locked).indexes.find_links == (str(locked.parent / "simple"),)


def lock(folder, source):
    """Write a lock of one distribution, as uv writes it."""
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six"]\n'
    )
    (folder / "uv.lock").write_text(
        'version = 1\nrequires-python = ">=3.11"\n'
        '[[package]]\nname = "demo"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "six" }]\n'
        f'[[package]]\nname = "six"\nversion = "1.17.0"\nsource = {{ registry = "{source}" }}\n'
        f'wheels = [{{ url = "https://h.org/six-1.17.0-py2.py3-none-any.whl", hash = "sha256:{"ab" * 32}" }}]\n'
    )
    return folder / "uv.lock"


@pytest.mark.parametrize(
    ("source", "further"),
    [("https://pypi.org/simple", ()), ("https://h.org/simple", ("https://h.org/simple",))],
)
def test_hashes_and_the_index_of_the_lock_are_kept(read, folder, source, further):
    found = read(lock(folder, source))
    assert found.requirements[0] == f"six==1.17.0 --hash=sha256:{'ab' * 32}"
    assert found.indexes.extra_index_urls == further


def test_who_we_are_at_the_locks_index_stands_in_the_configuration(read, folder):
    found = read(lock(folder, "https://h.org/simple"), UV_INDEX="https://ann:s3cret@h.org/simple")
    assert found.indexes.extra_index_urls == ("https://h.org/simple",)
    assert found.indexes.credentials["h.org"].password == "s3cret"


def test_reading_changes_nothing(locked, read):
    before = {path: path.stat().st_mtime_ns for path in locked.parent.rglob("*")}
    read(locked)
    assert {path: path.stat().st_mtime_ns for path in locked.parent.rglob("*")} == before


def test_a_variable_that_means_another_project_is_not_heard(locked, read, tmp_path):
    assert read(locked, UV_PROJECT=str(tmp_path), UV_LOCKED="1", UV_OFFLINE="").local


def test_an_unknown_extra_is_refused_with_uvs_words(locked, read):
    with pytest.raises(ConfigError) as raised:
        read(locked, "gpus")
    assert "`gpus`" in raised.value.message
    assert "build.extras" in raised.value.hint


def test_a_broken_lock_is_refused_with_uvs_words(locked, read):
    locked.write_text("version = 1\n[[package\n")
    with pytest.raises(ConfigError) as raised:
        read(locked)
    assert f"{locked} can't be read: " in raised.value.message
    assert "uv lock" in raised.value.hint


def test_a_lock_without_its_project_is_refused(locked, read):
    (locked.parent / "pyproject.toml").unlink()
    with pytest.raises(ConfigError) as raised:
        read(locked)
    assert "has no pyproject.toml beside it" in raised.value.message
