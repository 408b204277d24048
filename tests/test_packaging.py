"""What is built from the checkout works where there is none: in an empty environment, in another folder."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import uv

import thampi
from tests import sharing

REPO = Path(__file__).resolve().parents[1]
NOT_INSTALLED = ("__pycache__", ".pyc")


def _uv(*words, cwd=REPO):
    done = subprocess.run([uv.find_uv_bin(), *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The wheel and the source distribution, both made from the checkout."""
    place = sharing.folder(tmp_path_factory)

    def make():
        folder = place / "built"
        _uv("build", "--quiet", "--wheel", "--sdist", "--out-dir", str(folder))
        return [str(path) for path in (*folder.glob("*.whl"), *folder.glob("*.tar.gz"))]

    with sharing.once(place, "built", make) as (wheel, source):
        yield Path(wheel), Path(source)


@pytest.fixture(scope="session")
def installed(tmp_path_factory, built):
    """The bin folder of an empty environment, outside of the checkout, that the wheel was installed into."""
    place = sharing.folder(tmp_path_factory)

    def make():
        folder = place / "installed"
        _uv("venv", "--quiet", "--python", sys.executable, str(folder))
        _uv("pip", "install", "--quiet", "--python", str(folder / "bin/python"), str(built[0]), cwd=place)
        return str(folder / "bin")

    with sharing.once(place, "installed", make) as folder:
        yield Path(folder)


@pytest.fixture
def run(installed, tmp_path):
    """Run a command of that environment in an empty folder, with nothing of the checkout in reach."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def run_(command, *words):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "THAMPI_", "VIRTUAL"))}
        environ = kept | {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        words = [str(installed / command), *words]
        return subprocess.run(words, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)

    run_.folder = folder
    return run_


def _names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _checkout(folder, ending=""):
    files = (path for path in (REPO / folder).rglob(f"*{ending}") if path.is_file())
    return {
        path.relative_to(REPO).as_posix()
        for path in files
        if not str(path).endswith(NOT_INSTALLED) and "__pycache__" not in path.parts
    }


def test_the_wheel_has_what_a_build_needs(built):
    names = _names(built[0])
    shipped = {"Dockerfile.base", *_checkout("handler"), *_checkout("images"), *_checkout("examples/iris")}
    shipped = {name for name in shipped if "/models/" not in name}
    assert {f"thampi/shipped/{name}" for name in shipped} <= names


def test_the_wheel_has_every_file_of_the_package(built):
    assert {name for name in _checkout("thampi") if "/shipped/" not in name} <= _names(built[0])


def test_the_wheel_brings_one_package_and_no_tests(built):
    names = _names(built[0])
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"thampi", f"thampi-{thampi.__version__}.dist-info"}
    assert not any("test" in part for name in names for part in name.split("/")[:-1])
    assert not any(name.endswith(NOT_INSTALLED) for name in names)


def test_the_wheel_is_for_any_system_and_names_its_command(built):
    assert built[0].name == f"thampi-{thampi.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(built[0]) as archive:
        scripts = archive.read(f"thampi-{thampi.__version__}.dist-info/entry_points.txt").decode()
    assert "thampi = thampi.cli:main" in scripts


def test_the_source_distribution_builds_the_same_wheel(built, tmp_path):
    _uv("build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(built[1]), cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    assert _names(wheel) == _names(built[0])


def test_the_source_distribution_has_the_tests_and_nothing_that_was_made(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py", "Dockerfile.base"} <= names
    assert not any(name.endswith(NOT_INSTALLED) or name.startswith((".git/", ".venv/")) for name in names)
    assert not any("/models/" in name for name in names if name.startswith("examples/"))


def test_the_installed_thampi_says_what_it_can_do(run):
    done = run("thampi", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "build" in done.stdout


def test_it_is_the_installed_one_that_runs(run):
    told = run("python", "-c", "import thampi, thampi.shipped as s; print(thampi.__file__, s.folder())")
    package, shipped = told.stdout.split()
    assert REPO not in Path(package).parents
    assert Path(shipped) == Path(package).parent / "shipped"


def test_from_init_to_a_dockerfile_with_nothing_but_the_wheel(run):
    done = run("thampi", "init", "--name", "iris", "--example")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in run.folder.iterdir()) == ["requirements.txt", "thampi.toml", "train.py"]
    (run.folder / "train.py").write_text(
        "import thampi\n"
        "class Doubler(thampi.Model):\n"
        "    def predict(self, args, context):\n"
        "        return {'result': args['input'] * 2}\n"
        "thampi.save(Doubler(), 'iris-sklearn', './models', example={'input': 2})\n"
    )
    done = run("python", "train.py")
    assert done.returncode == 0, done.stderr
    done = run("thampi", "build", "--print")
    assert done.returncode == 0, done.stderr
    assert "FROM thampi-base:" in done.stdout
    assert "sh /mnt/tools/install.sh" in done.stdout


def test_the_checkout_and_the_wheel_make_the_same_image(run):
    """The digest names the image: an editable install must not build another one than the wheel does."""
    told = (
        "from pathlib import Path; from thampi import recipe; from thampi.resolution.resolved import Resolved;"
        "base = recipe.make_base('3.11', 'linux/amd64');"
        "given = {'title': 'requirements.txt', 'apt': ['git'], 'include': [], 'project_dir': Path()};"
        "print(recipe.make(base, Resolved(('numpy==2.4.6',)), **given).digest);"
        "print(recipe.make(base, Resolved(packages=('a#b',)), **given).digest)"
    )
    here = subprocess.run([sys.executable, "-c", told], cwd=REPO, capture_output=True, text=True, check=True)
    assert run("python", "-c", told).stdout == here.stdout
