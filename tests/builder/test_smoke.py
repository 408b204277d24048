"""A finished image is tried before it gets its name; what fails is told with what to add.

Without an engine, a docker that runs Python right here stands for the image: the script inside is the real one.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import thampi
from thampi.builder import client as docker_client
from thampi.builder import smoke
from thampi.errors import BuildError
from thampi.runtime import bundle
from thampi.runtime.bundle import About


class Held(thampi.Model):
    """A model of two files."""

    def __init__(self):
        self.held = np.random.default_rng(1).random(100_000)

    def predict(self, args, context):
        return args


SCRIPT = Path(__file__).resolve().parents[2] / "images/smoke.py"


def about(*modules, **distributions):
    named = {name.replace("_", "-"): version for name, version in distributions.items()}
    return About("id", "2026-01-01T00:00:00Z", modules=modules, distributions=named)


@pytest.fixture
def image(docker, environ, tmp_path):
    """An image whose site-packages are a folder: `modules` by their names, `thampi_handler` among them."""
    site = tmp_path / "site"

    def make(**modules):
        for name, text in {"thampi_handler.__main__": "", "thampi_handler.app": "", **modules}.items():
            path = site.joinpath(*name.split(".")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        run = f'while [ "$1" != -c ]; do shift; done; PYTHONPATH={site} exec {sys.executable} -S "$@"'
        return docker(otherwise=run)

    return make


@pytest.fixture
def check(image, environ):
    def check_(asked, **modules):
        smoke.check("x:1", asked, client=docker_client.find(environ(image(**modules))))

    return check_


@pytest.fixture
def refusal(check):
    def refusal_(asked, **modules):
        with pytest.raises(BuildError) as raised:
            check(asked, **modules)
        return raised.value

    return refusal_


def test_an_image_in_which_all_can_be_imported_passes(check):
    check(about("json", "mine", "package.inner"), mine="", **{"package.inner": ""})


def test_an_original_bundle_that_names_no_modules_passes(check):
    check(about())


def test_it_runs_as_lambda_would(image, environ):
    fake = image()
    smoke.check("thampi-x:1", about("json"), client=docker_client.find(environ(fake)))
    [words] = [line.partition(" -c ")[0].split() for line in fake.asked if line.startswith("run ")]
    assert words[0] == "run"
    assert {"--rm", "--network=none", "--read-only", "--tmpfs=/tmp:exec", "--ipc=none", "--user=993"} <= set(words)
    assert words[-3:] == ["--entrypoint", "python3", "thampi-x:1"]


def test_a_model_that_is_in_the_image_has_to_be_what_was_saved_byte_by_byte(image, environ, tmp_path):
    saved = Path(thampi.save(Held(), "held", tmp_path, verify=False))
    saved_about = dataclasses.replace(bundle.read(saved), modules=())
    client = docker_client.find(environ(image()))

    def check():
        smoke.check("x:1", saved_about, client=client, model_dir=str(saved))

    check()
    [pickle] = saved.glob("*.pkl")
    good = pickle.read_bytes()
    pickle.write_bytes(good[:-9] + bytes([good[-9] ^ 1]) + good[-8:])
    with pytest.raises(BuildError) as raised:
        check()
    assert raised.value.message == f"the model in the image is not what was saved: {pickle.name} (other bytes)"
    pickle.write_bytes(good)
    check()
    [buffers] = saved.glob("*.buffers")
    buffers.unlink()
    with pytest.raises(BuildError, match=rf"{buffers.name} \(No such file or directory\)"):
        check()


def test_a_library_that_greets_on_stdout_is_no_answer(check):
    check(about("greets"), greets='import os; print("{}"); os.write(1, b"hello")')


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libgomp.so.1", "libgomp1"),
        ("libGL.so.1", "libgl1"),
        ("libsndfile.so.1", "libsndfile1"),
        ("libxml2.so.2", "libxml2"),
    ],
)
@pytest.mark.parametrize("kind", ["OSError", "ImportError"])
def test_a_missing_system_library_is_named_with_the_line_to_add(refusal, library, package, kind):
    text = f'raise {kind}("{library}: cannot open shared object file: No such file or directory")'
    told = refusal(about("mine"), mine=text)
    assert told.message == (
        f"`mine`, which the model needs, can't be imported in the image: {kind}: {library}: cannot open shared object "
        "file: No such file or directory"
    )
    assert told.hint == f'add to thampi.toml, under [build]: apt = ["{package}"]'


def test_all_missing_system_libraries_are_told_at_once(refusal):
    said = 'raise OSError("{}: cannot open shared object file")'
    told = refusal(
        about("a", "b", "c"), a=said.format("libGL.so.1"), b=said.format("libgomp.so.1"), c=said.format("libGL.so.1")
    )
    assert told.hint == 'add to thampi.toml, under [build]: apt = ["libgl1", "libgomp1"]'


def test_a_system_library_that_nobody_knows_comes_with_a_way_to_find_it(refusal):
    told = refusal(about("a"), a='raise OSError("libodd.so.7: cannot open shared object file")')
    assert "libodd.so.7" in told.hint
    assert "https://packages." in told.hint


@pytest.mark.parametrize(
    ("system", "hint"),
    [
        ({}, "https://packages.debian.org/search?searchon=contents&suite=bookworm&keywords=libodd.so.7"),
        ({"ID": "debian", "VERSION_CODENAME": "trixie"}, "packages.debian.org/search?searchon=contents&suite=trixie"),
        ({"ID": "ubuntu", "VERSION_CODENAME": "noble"}, "packages.ubuntu.com/search?searchon=contents&suite=noble"),
        ({"ID": "amzn", "PRETTY_NAME": "Amazon Linux 2023"}, "it is Amazon Linux 2023, and build.apt is for Debian's"),
    ],
)
def test_where_to_look_depends_on_the_linux_of_the_image(system, hint):
    assert hint in smoke._system_libraries(["libodd.so.7"], [], system)


@pytest.mark.parametrize(
    ("said", "package"),
    [
        ("sndfile library not found", "libsndfile1"),
        ("failed to find libmagic.  Check your installation", "libmagic1"),
        ("PortAudio library not found", "libportaudio2"),
        ("Unable to find zbar shared library", "libzbar0"),
        ("Couldn't locate OpenSlide shared library. Try `pip install openslide-bin`.", "libopenslide0"),
        ("- couldn't import psycopg 'python' implementation: libpq library not found", "libpq5"),
        ("cannot load library 'libcairo-2.dll': libcairo-2.dll: cannot open shared object file", "libcairo2"),
        ("cannot load library 'libgobject-2.0-0': libgobject-2.0-0: cannot open", "libpango-1.0-0"),
        ("tesseract is not installed or it's not in your PATH", "tesseract-ocr"),
    ],
)
def test_libraries_that_say_it_in_words_of_their_own_are_understood(refusal, said, package):
    told = refusal(about("mine"), mine=f"raise OSError({said!r})")
    assert told.hint == f'add to thampi.toml, under [build]: apt = ["{package}"]'


def test_a_library_for_a_gpu_is_no_matter_of_packages(refusal):
    told = refusal(about("a"), a='raise ImportError("libcudart.so.12: cannot open shared object file")')
    assert "Lambda has not" in told.hint
    assert "packages.debian.org" not in told.hint


def test_a_missing_module_is_named_with_what_brings_it(refusal):
    told = refusal(about("sklearn.neighbors", "json", numpy_nowhere="2.4.6", scikit_learn_nowhere="1.9.1"))
    assert told.message == (
        "`sklearn.neighbors`, which the model needs, can't be imported in the image: "
        "ModuleNotFoundError: No module named 'sklearn'"
    )
    assert told.hint == "add to the dependency file: numpy-nowhere==2.4.6, scikit-learn-nowhere==1.9.1"


def test_a_missing_module_that_nothing_was_recorded_for_is_named(refusal):
    assert refusal(about("mystery.inner")).hint == (
        "add to the dependency file: the package that has `mystery`; if it is a module of your own, name it in "
        "build.include"
    )


@pytest.mark.parametrize(
    ("module", "brings"),
    [("pkg_resources", "setuptools<81"), ("pkg_resources.extern", "setuptools<81"), ("distutils.core", "setuptools")],
)
def test_what_older_installers_brought_along_is_named_by_what_brings_it_now(refusal, module, brings):
    text = f"raise ModuleNotFoundError({f'No module named {module}'!r}, name={module!r})"
    told = refusal(about("old", numpy="2.4.6"), old=text)
    assert told.hint == f"add to the dependency file: {brings}"


def test_versions_that_are_others_than_those_the_model_was_saved_with_are_told(refusal, tmp_path):
    metadata = tmp_path / "site/broken-1.0.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    told = refusal(about("broken", broken="2.0"), broken="from json import nothing_like_it")
    assert "ImportError: cannot import name" in told.message
    assert told.hint == "the model was saved with broken==2.0 (there 1.0)"


@pytest.mark.parametrize(
    ("raised", "cure"),
    [
        ('ImportError("/lib/libm.so.6: version `GLIBC_2.38\' not found (required by x.so)")', "a newer Linux than"),
        ('ImportError("libstdc++.so.6: version `GLIBCXX_3.4.32\' not found")', "set build.base_image"),
        ("OSError(30, 'Read-only file system', '/var/task/x')", "only /tmp can be written"),
        ("PermissionError(13, 'Permission denied', '/usr/x')", "only /tmp can be written"),
        ("OSError('[Errno -3] Temporary failure in name resolution')", "have it do so in `initialize`"),
        ("ValueError('numpy.dtype size changed, may indicate binary incompatibility')", "major version of numpy"),
        ("ImportError('numpy.core.multiarray failed to import')", "major version of numpy"),
        ("ValueError('whatever')", "`thampi freeze` writes what was installed there"),
    ],
)
def test_a_failure_always_comes_with_a_cure(refusal, raised, cure):
    assert cure in refusal(about("mine"), mine=f"raise {raised}").hint


def test_changed_versions_are_told_beside_the_cure(refusal, tmp_path):
    metadata = tmp_path / "site/numpy-1.26.0.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.26.0\n")
    text = "raise ValueError('numpy.dtype size changed')"
    hint = refusal(about("mine", numpy="2.4.6"), mine=text).hint.splitlines()
    assert hint[0] == "the model was saved with numpy==2.4.6 (there 1.26.0)"
    assert "major version of numpy" in hint[1]


@pytest.mark.parametrize("text", ["raise SystemExit(1)", "1/0", "raise KeyboardInterrupt", "import nothing.like_it"])
def test_whatever_a_module_raises_is_a_refusal(refusal, text):
    assert refusal(about("mine"), mine=text).message.startswith("`mine`, which the model needs")


def test_a_module_that_ends_the_process_is_named_with_its_last_words(refusal):
    told = refusal(
        about("json", "bad", "after"), bad="import os, sys; print('oh', file=sys.stderr, flush=True); os._exit(139)"
    )
    assert told.message.splitlines() == [
        "importing `bad`, which the model needs, ended the process in the image (exit code 139)",
        "  oh",
    ]
    assert "write the versions that the model was saved with" in told.hint


def test_the_handler_has_to_live_with_the_users_versions_of_its_own_libraries(refusal):
    told = refusal(about(), **{"thampi_handler.app": "from orjson import Nothing"})
    assert told.message.startswith("`thampi_handler.app`, which the handler needs, can't be imported")


def test_an_engine_that_does_not_run_containers_is_no_fault_of_the_model(docker, environ):
    fake = docker(otherwise="echo 'docker: Error response from daemon: cgroups: cannot find' >&2; exit 125")
    with pytest.raises(BuildError) as raised:
        smoke.check("x:1", about("json"), client=docker_client.find(environ(fake)))
    assert raised.value.message.startswith("the engine doesn't run the image to try it:")
    assert "cgroups: cannot find" in raised.value.message
    assert raised.value.hint


def test_an_image_of_another_platform_that_can_not_run_is_told_as_that(docker, environ):
    fake = docker(otherwise="echo 'exec /usr/local/bin/python3: exec format error' >&2; exit 1")
    with pytest.raises(BuildError) as raised:
        smoke.check("x:1", about("json"), client=docker_client.find(environ(fake)))
    assert "another platform" in raised.value.hint


def test_the_platform_that_is_tried_is_said_to_the_engine(image, environ):
    fake = image()
    smoke.check("x:1", about("json"), client=docker_client.find(environ(fake)), platform="linux/arm64")
    [words] = [line for line in fake.asked if line.startswith("run ")]
    assert "--platform linux/arm64 --entrypoint python3 x:1" in words


def test_the_script_tells_what_is_installed():
    told = {"modules": ["json"], "distributions": ["pytest", "no-such-thing"]}
    done = subprocess.run([sys.executable, SCRIPT, json.dumps(told)], capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [
        {"importing": "json"},
        {"installed": {"pytest": pytest.__version__, "no-such-thing": None}, "system": answers[1]["system"]},
    ]
    release = Path("/etc/os-release")
    if release.exists():
        assert f"ID={answers[1]['system']['ID']}" in release.read_text().replace('"', "")


RECOMMENDED = sorted({*smoke._PACKAGES.values(), *(package for _, package in smoke._MISSED)})


@pytest.mark.parametrize("package", RECOMMENDED)
def test_every_package_that_is_recommended_has_a_name_that_apt_takes(package):
    assert re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package)


@pytest.mark.docker
def test_every_package_that_is_recommended_is_one_of_debian(client, python_image):
    script = f"apt-get update -qq && apt-get install -qq --dry-run --no-install-recommends {' '.join(RECOMMENDED)}"
    proxies = [f"--env={name}" for name in ("http_proxy", "HTTP_PROXY") if os.environ.get(name)]
    done = client.run("run", "--rm", *proxies, python_image, "sh", "-c", script)
    assert done.returncode == 0, done.stderr
