"""Installed modules get their bytecode, which a later build takes from the one before it where the file is the same."""

import importlib.util
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

BYTECODE = Path(__file__).resolve().parents[1] / "images/bytecode.py"


@pytest.fixture
def site(tmp_path):
    site = tmp_path / "site"
    (site / "lib").mkdir(parents=True)
    (site / "lib/__init__.py").write_text("VALUE = 1\n")
    (site / "lib/other.py").write_text("VALUE = 2\n")
    return site


def write(site):
    """Write all bytecode; return what each module got, by its name."""
    subprocess.run([sys.executable, str(BYTECODE), str(site), str(site.parent / "kept")], check=True)
    return {path.name.partition(".")[0]: path.read_bytes() for path in site.rglob("*.pyc")}


def kept(site):
    return [path for path in (site.parent / "kept").rglob("*") if path.is_file()]


def forget(site):
    for path in site.rglob("*.pyc"):
        path.unlink()


def expected(file, tmp_path):
    target = tmp_path / "expected.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(file), str(target), doraise=True, invalidation_mode=mode)
    return target.read_bytes()


@pytest.mark.parametrize("count", [0, 200], ids=["a few", "many, for which there are more processes"])
def test_it_is_what_python_itself_would_write_whatever_the_times(site, tmp_path, count):
    for number in range(count):
        (site / f"lib/more{number}.py").write_text(f"VALUE = {number}\n")
    found = write(site)
    assert len(found) == count + 2
    for file in site.rglob("*.py"):
        assert found[file.stem] == expected(file, tmp_path)
    forget(site)
    assert write(site) == found  # from what is kept
    assert len(kept(site)) == count + 2


def test_what_was_compiled_once_is_taken_from_there(site):
    found = write(site)
    for path in kept(site):  # a mark that a compiler would not make
        content = path.read_bytes()[:-8].replace(b"VALUE", b"TAKEN")
        path.write_bytes(content + len(content).to_bytes(8, "little"))
    forget(site)
    assert write(site) == {name: content.replace(b"VALUE", b"TAKEN") for name, content in found.items()}


@pytest.mark.parametrize("change", ["text", "path"])
def test_another_text_or_path_is_another_bytecode(site, tmp_path, change):
    write(site)
    if change == "text":
        (site / "lib/other.py").write_text("VALUE = 3\n")
    else:
        site = site.rename(tmp_path / "elsewhere")
        forget(site)
    assert write(site)["other"] == expected(site / "lib/other.py", tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[:20], lambda content: b"", lambda content: b"?" + content])
def test_what_is_kept_and_broken_is_compiled_again(site, damage):
    found = write(site)
    for path in kept(site):
        path.write_bytes(damage(path.read_bytes()))
    forget(site)
    assert write(site) == found
    forget(site)
    assert write(site) == found


def test_what_does_not_compile_is_let_alone(site):
    (site / "lib/python2.py").write_text("print 1\n")
    (site / "lib/nothing.py").write_bytes(b"\0")
    (site / "lib/latin.py").write_bytes(b"x = '\xe9'\n")
    assert set(write(site)) == {"__init__", "other"}


def test_what_the_base_has_already_is_not_written_again(site):
    write(site)
    times = {path: path.stat().st_mtime_ns for path in site.rglob("*.pyc")}
    write(site)
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*.pyc")} == times


def test_it_is_found_where_python_looks(site):
    write(site)
    for file in site.rglob("*.py"):
        assert Path(importlib.util.cache_from_source(str(file))).is_file()
