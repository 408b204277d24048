"""The tutorial's image answers under plain `docker run`, and holds what it should and nothing else."""

import base64
import json
from pathlib import Path

import packaging.version
import pytest

import thampi
from tests.e2e.conftest import LIKE_LAMBDA, unique

pytestmark = pytest.mark.docker

EVENTS = Path(__file__).resolve().parents[1] / "handler/events"
FLOWER = {"input": [5.9, 3.2, 4.8, 1.8]}
BODY = json.dumps({"data": FLOWER})


@pytest.fixture(scope="module")
def iris(running, iris_image, iris_bundle):
    """The tutorial's container in Lambda's conditions."""
    with running(iris_image, iris_bundle, *LIKE_LAMBDA) as container:
        yield container


def _event(name, body):
    event = json.loads((EVENTS / f"{name}.json").read_text())
    if isinstance(body, bytes):
        return event | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return event | {"body": body, "isBase64Encoded": False}


# ------------------------------------------------------------------------------------------------------------- answers


def test_the_tutorials_request_is_answered_with_the_tutorials_answer(iris, iris_bundle):
    about = json.loads((iris_bundle / "thampi.json").read_text())
    answer = iris.invoke({"data": FLOWER})
    assert answer["result"] == {"result": 2}
    served = answer["properties"].pop("served_time_utc")
    assert served.endswith("Z")
    assert answer["properties"] == {
        "instance_id": about["instance_id"],
        "tags": {"accuracy": 0.9},
        "thampi_data_version": "0.1",
        "trained_time_utc": about["trained_time_utc"],
    }


@pytest.mark.parametrize("shape", ["http-api-v2", "http-api-v1", "rest-v1", "function-url", "alb", "alb-multi-value"])
@pytest.mark.parametrize("body", [BODY, BODY.encode()], ids=["text", "base64"])
def test_each_of_awss_events_gets_a_proxy_response(iris, shape, body):
    answer = iris.invoke(_event(shape, body))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["result"] == {"result": 2}
    assert answer["isBase64Encoded"] is False


@pytest.mark.parametrize("shape", ["http-api-v2", "rest-v1", "alb"])
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("not JSON", 400),
        ("", 400),
        ('{"input": 1}', 400),
        (b"\x89PNG\r\n\x1a\n\x00\xff", 400),
        ("x" * (5 * 1024 * 1024 + 1), 413),
    ],
    ids=["not JSON", "empty", "no data", "binary", "too large"],
)
def test_a_body_that_is_no_request_gets_the_answer_of_the_list(iris, shape, body, status):
    answer = iris.invoke(_event(shape, body))
    assert answer["statusCode"] == status
    error = json.loads(answer["body"])["error"]
    assert set(error) == {"type", "message", "request_id"}


def test_a_request_that_the_model_fails_on_is_a_500_without_its_traceback_which_is_in_the_log(iris):
    answer = iris.invoke(_event("http-api-v2", '{"data": {"input": [1.5]}}'))
    assert answer["statusCode"] == 500
    assert "Traceback" not in answer["body"]
    assert "Traceback" in iris.logs()
    assert iris.invoke({"data": FLOWER})["result"] == {"result": 2}


def test_data_that_is_not_like_the_example_is_a_422_with_its_path(iris):
    answer = iris.invoke(_event("http-api-v2", '{"data": {"input": [5.9, "3.2", 4.8, 1.8]}}'))
    assert answer["statusCode"] == 422
    assert [each["path"] for each in json.loads(answer["body"])["error"]["mistakes"]] == ["/data/input/1"]


def test_plain_docker_run_without_any_option_answers_too(running, iris_image, iris_bundle):
    with running(iris_image, iris_bundle) as container:
        assert container.invoke({"data": FLOWER})["result"] == {"result": 2}


def test_without_a_model_the_answer_is_a_503_and_the_log_says_what_is_missing(running, iris_image):
    with running(iris_image, None, *LIKE_LAMBDA) as container:
        assert container.invoke(_event("http-api-v2", BODY))["statusCode"] == 503
        assert "no saved model in /opt/model" in container.logs()


# ------------------------------------------------------------------------------------------------- what the image holds

_LOOK = """
import importlib.util, json, os, stat, sys, sysconfig
from pathlib import Path
site = sysconfig.get_path("purelib")
roots = [site, "/opt/thampi", "/var/task"]
closed, uncompiled, dated = [], [], []
for root in roots:
    for path in [Path(root), *Path(root).rglob("*")]:
        mode = path.stat().st_mode
        wanted = 0o005 if path.is_dir() else 0o004
        if mode & wanted != wanted or mode & 0o002:
            closed.append(str(path))
        if path.suffix == ".py":
            compiled = Path(importlib.util.cache_from_source(path))
            if not compiled.exists():
                uncompiled.append(str(path))
            elif int.from_bytes(compiled.read_bytes()[4:8], "little") != 1:  # PEP 552: a hash, not to be checked
                dated.append(str(path))
places = ["/tmp", "/mnt", "/run/secrets", "/root/.cache", "/opt/model", "/var/lib/apt/lists"]
left = [str(path) for place in places if os.access(place, os.R_OK | os.X_OK) for path in Path(place).rglob("*")
        if path.is_file() and path.name != "lock"]
print(json.dumps({"closed": closed, "uncompiled": uncompiled, "dated": dated, "left": left}))
"""


@pytest.fixture(scope="module")
def found(client, iris_image):
    """What the image's files are like; without a /tmp of the container's own, which would hide the image's."""
    words = ("run", "--rm", "--network=none", "--read-only", "--user=993", "--entrypoint=python3", iris_image)
    return json.loads(client.run(*words, "-c", _LOOK).stdout)


def test_every_file_of_ours_and_of_the_libraries_can_be_read_by_any_user(found):
    assert found["closed"] == []


def test_every_module_has_bytecode_that_stays_valid_whatever_its_times(found):
    assert found["uncompiled"] == []
    assert found["dated"] == []


def test_nothing_of_the_build_is_left_behind(found):
    assert found["left"] == []


def test_nothing_is_compiled_at_the_start(inside, iris_image):
    """The file system is read-only: what has no bytecode is compiled at each cold start again."""
    _, said = inside(iris_image, "-v", "-c", "import thampi_handler.app, thampi_handler.__main__, sklearn.neighbors")
    loaded = [line for line in said.splitlines() if line.startswith("# code object from")]
    assert len(loaded) > 500
    assert [line for line in loaded if ".pyc" not in line] == []


def test_the_images_environment_says_nothing_about_this_machine(client, iris_image):
    shown = client.run("image", "inspect", iris_image).stdout
    history = client.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", iris_image).stdout
    for word in (str(Path.home()), "ca-certificates.crt", "PIP_", "UV_", "_PROXY", "_proxy"):
        assert f"{word}" not in shown.replace("PIP_CERT=/run/secrets/ca", "")
        assert f"{word}" not in history.replace("PIP_CERT=/run/secrets/ca", "")


def test_tests_and_stubs_of_libraries_are_left_out_and_what_they_need_is_not(inside, iris_image):
    look = "import sysconfig, pathlib; print(*pathlib.Path(sysconfig.get_path('purelib')).glob('*/**/tests'))"
    assert all("scipy" in path or "numpy" in path for path in inside(iris_image, "-c", look)[0].split())
    inside(iris_image, "-c", "import numpy.testing, scipy.stats, scipy.special, sklearn.utils.estimator_checks")


def test_the_image_is_for_one_platform_and_has_an_absolute_entrypoint(client, iris_image):
    [image] = json.loads(client.run("image", "inspect", iris_image).stdout)
    assert image["Os"] == "linux"
    assert image["Config"]["Entrypoint"] == ["/opt/thampi/bin/entrypoint"]


# -------------------------------------------------------------------------------------------------- the user's own pins


class Newest(thampi.Model):
    """A small model that needs one small library."""

    def predict(self, args, context):
        return {"result": str(max(args["input"], key=packaging.version.Version))}


@pytest.fixture
def small(tmp_path):
    """A project with a small model, under a name that no image has."""

    def make(requirements):
        thampi.save(Newest(), "newest", tmp_path / "models", example={"input": ["1.2", "1.10"]}, verify=False)
        file = f"[build]\ndependency_file = {json.dumps('requirements.txt')}\n" if requirements else ""
        (tmp_path / "requirements.txt").write_text(requirements)
        (tmp_path / "thampi.toml").write_text(f'name = "{unique("newest")}"\nmodel_dir = "models/newest"\n{file}')
        return tmp_path

    return make


def _answers(container):
    return container.invoke({"data": {"input": ["1.2", "1.10"]}})["result"] == {"result": "1.10"}


def test_a_version_that_the_user_pins_is_the_one_that_the_handler_imports(small, built, inside, running):
    project = small("packaging\norjson==3.11.5\n")
    image = built(project)
    told = "import thampi_handler.app, orjson; print(orjson.__version__, orjson.__file__)"
    version, path = inside(image, "-c", told)[0].split()
    assert version == "3.11.5"
    assert not path.startswith("/opt/thampi")
    with running(image, project / "models/newest", *LIKE_LAMBDA) as container:
        assert _answers(container)


def test_a_version_that_the_handler_can_not_work_with_is_refused_by_the_build(small, command):
    done = command("thampi", "build", cwd=small("packaging\norjson==3.9.0\n"))
    assert (done.returncode, done.stdout) == (4, "")
    assert "you require orjson==3.9.0 and orjson>=" in done.stderr
    assert "hint: the handler needs that library, too" in done.stderr


def test_without_a_dependency_file_the_image_has_what_the_model_was_saved_with(small, built, inside, running):
    project = small("")
    image = built(project)
    recorded = json.loads((project / "models/newest/thampi.json").read_text())["distributions"]
    assert "packaging" in recorded
    told = "import sys; from importlib.metadata import version; print(*(version(name) for name in sys.argv[1:]))"
    assert inside(image, "-c", told, *recorded)[0].split() == list(recorded.values())
    with running(image, project / "models/newest", *LIKE_LAMBDA) as container:
        assert _answers(container)


@pytest.mark.parametrize(("option", "version"), [("--pre\n", "2.0.0rc2"), ("", "1.1.4")])
def test_pre_in_the_file_allows_pre_releases_as_it_does_for_pip(small, built, inside, option, version):
    image = built(small(f"{option}packaging\nflask<2.0.1,!=2.0.0\n"))
    told = "from importlib.metadata import version; print(version('flask'))"
    assert inside(image, "-c", told)[0] == f"{version}\n"


def test_what_a_model_needs_and_the_dependency_file_forgot_is_told_and_no_image_is_left(small, command, client):
    project = small("six\n")
    done = command("thampi", "build", cwd=project)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the model imports packaging, which requirements.txt does not install" in done.stderr
    assert "hint: write in requirements.txt: packaging==" in done.stderr
    name = json.loads((project / "thampi.toml").read_text().splitlines()[0].partition("= ")[2])
    assert client.run("images", "--quiet", f"thampi-{name}").stdout == ""
