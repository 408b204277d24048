"""Real models that are not iris: a text pipeline in a module of the project, and one that needs a system library."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import uv

from tests.e2e.conftest import LIKE_LAMBDA
from thampi import config, recipe
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder import smoke
from thampi.errors import BuildError
from thampi.operations import build as operation

pytestmark = pytest.mark.docker

REPO = Path(__file__).resolve().parents[2]
SPAM, HAM = "You won a free prize, click now", "Good morning, the report is attached, see you tomorrow"


# ---------------------------------------------------------------------------- a class in a module of the project


@pytest.fixture
def spam(copied, command):
    project = copied("spam")
    done = command("train.py", cwd=project)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("saved ")
    return project


def _judged(container):
    return [container.invoke({"data": {"text": text}})["result"]["label"] for text in (SPAM, HAM)]


def test_a_text_pipeline_whose_class_is_in_a_module_of_the_project_answers(spam, built, running, inside):
    image = built(spam)
    assert inside(image, "-c", "import importlib.util as u; print(u.find_spec('spamfilter'))")[0] == "None\n"
    with running(image, spam / "models/spam", *LIKE_LAMBDA) as container:
        assert _judged(container) == ["spam", "ham"]
        many = container.invoke({"data": {"texts": [HAM, SPAM]}})["result"]
        assert [each["label"] for each in many] == ["ham", "spam"]
        refused = container.invoke({"data": {"words": 1}})
        assert refused["error"]["type"] == "invalid_data"


def test_a_module_that_ships_as_a_file_is_imported_from_the_image(spam, command, built, running, inside):
    settings = spam / "thampi.toml"
    settings.write_text(settings.read_text() + '\ninclude = ["spamfilter.py"]\n')
    done = command("train.py", cwd=spam)  # saved again: now the pickle only names the module
    assert done.returncode == 0, done.stderr
    image = built(spam)
    told = "import spamfilter; print(spamfilter.__file__, spamfilter.__cached__)"
    file, bytecode = inside(image, "-c", told)[0].split()
    assert file == "/var/task/spamfilter.py"
    assert bytecode.startswith("/var/task/__pycache__/spamfilter.")
    assert inside(image, "-R", "/var/task", entrypoint="ls")[0].count(".pyc") == 1
    with running(image, spam / "models/spam", *LIKE_LAMBDA) as container:
        assert _judged(container) == ["spam", "ham"]


# ------------------------------------------------------------------------------------- a library of the system's own


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with LightGBM and thampi, as its user has it."""
    folder = tmp_path_factory.mktemp("venv")
    command = functools.partial(subprocess.run, check=True, capture_output=True)
    command([uv.find_uv_bin(), "venv", "--python", sys.executable, str(folder)])
    found = folder / "bin/python"
    requirements = REPO / "examples/lightgbm/requirements.txt"
    command([uv.find_uv_bin(), "pip", "install", "--python", str(found), "-r", str(requirements), "-e", str(REPO)])
    return str(found)


@pytest.fixture
def rents(copied, command, python):
    project = copied("lightgbm")
    done = command("train.py", cwd=project, python=python)
    assert done.returncode == 0, done.stderr
    return project


FLAT = {"area": 70, "rooms": 3, "floor": 2, "centre_km": 1.5}


def test_a_model_whose_library_needs_one_of_the_system_answers_with_it(rents, built, running):
    with running(built(rents), rents / "models/rents", *LIKE_LAMBDA) as container:
        assert 900 < container.invoke({"data": FLAT})["result"]["rent"] < 1700


def test_nobody_has_to_name_the_package_of_a_library_that_is_known(rents, command, built, running):
    settings = rents / "thampi.toml"
    settings.write_text("\n".join(line for line in settings.read_text().splitlines() if not line.startswith("apt")))
    done = command("thampi", "build", cwd=rents)
    assert done.returncode == 0, done.stderr
    assert "system package libgomp1 added: lightgbm needs it" in done.stderr
    with running(built(rents), rents / "models/rents", *LIKE_LAMBDA) as container:
        assert 900 < container.invoke({"data": FLAT})["result"]["rent"] < 1700


@pytest.fixture
def lacking(rents):
    """The plan of an image that lacks the package, as for a library that nobody knows; the base image is there."""
    plan = operation.plan(config.load(rents / "thampi.toml", "local", flags={}, environ={}))
    client, base = docker_client.find(os.environ), recipe.reference(recipe.BASE, plan.base)
    if not docker_build.has(client, base):
        docker_build.build(plan.base, base, client=client, show=lambda line: None)
    lines = [line for line in plan.model.dockerfile.splitlines() if "libgomp1" not in line]
    dockerfile = "\n".join(line for line in lines if "apt-get update" not in line and "/var/lib/apt" not in line)
    return replace(plan, model=replace(plan.model, dockerfile=f"{dockerfile}\n"), reference=f"{plan.reference}-lacking")


def test_without_it_the_trial_names_it_and_the_line_to_add_every_time(lacking):
    client = docker_client.find(os.environ)
    check = functools.partial(smoke.check, about=lacking.about, client=client)
    for _ in range(2):  # what failed once is not there the next time
        with pytest.raises(BuildError) as raised:
            docker_build.build(lacking.model, lacking.reference, client=client, show=lambda line: None, check=check)
        assert "`lightgbm" in raised.value.message
        assert "libgomp.so.1: cannot open shared object file" in raised.value.message
        assert raised.value.hint == 'add to thampi.toml, under [build]: apt = ["libgomp1"]'
        assert not docker_build.has(client, lacking.reference)


def test_an_image_without_it_that_got_through_answers_503_and_logs_its_name(rents, lacking, client, running):
    """Built past the trial, as another tool might."""
    told = docker_client.find(os.environ)
    docker_build.build(lacking.model, lacking.reference, client=told, show=lambda line: None)
    try:
        with running(lacking.reference, rents / "models/rents", *LIKE_LAMBDA) as container:
            event = json.loads((REPO / "tests/handler/events/http-api-v2.json").read_text())
            answer = container.invoke(event | {"body": json.dumps({"data": FLAT}), "isBase64Encoded": False})
            assert answer["statusCode"] == 503
            assert json.loads(answer["body"])["error"]["type"] == "model_unavailable"
            assert "libgomp.so.1" in container.logs()
            assert "Traceback" in container.logs()
    finally:
        client.run("rmi", "--force", lacking.reference)
