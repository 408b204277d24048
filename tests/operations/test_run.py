"""thampi run --no-docker, from a saved model to what an HTTP client hears. The container's road is in tests/e2e."""

import contextlib
import http.client
import json
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import thampi
from thampi.config import AnswerCache, Api, Cors, Stage
from thampi.errors import BundleError, ConfigError
from thampi.local import cache
from thampi.operations import build
from thampi.operations import run as operation
from thampi.operations.run import Libraries
from thampi.runtime import bundle

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
FLOWER = {"input": [5.9, 3.2, 4.8, 1.8]}
IRIS_S, PLAIN_S = 30, 2  # timeouts; the second one is to be exceeded


class Iris(thampi.Model):
    """The tutorial's model."""

    def __init__(self, classifier):
        self.classifier = classifier

    def predict(self, args, context):
        return {"result": int(self.classifier.predict([args["input"]])[0])}


class Plain(thampi.Model):
    """Does what it is told to; needs no library."""

    def predict(self, args, context):
        import os
        import time

        print(f"working on {args}", flush=True)
        match args:
            case {"do": "raise"}:
                raise ValueError("no such flower")
            case {"do": "exit"}:
                os._exit(3)
            case {"do": "sleep", "seconds": seconds}:
                time.sleep(seconds)
            case {"do": "import", "module": module}:
                import importlib

                return importlib.import_module(module).NAME
        return {"pid": os.getpid(), "threshold": os.environ.get("THRESHOLD"), "tmp": os.environ["TMPDIR"]}


class Unhappy(Plain):
    """Fails before the first request, in one of two ways."""

    def __init__(self, how):
        self.how = how

    def initialize(self, context):
        import os
        import time

        print(f"about to {self.how}", flush=True)
        if self.how == "exit":
            os._exit(7)
        if self.how == "wait":
            time.sleep(60)
        raise RuntimeError("no database at db.internal")


# --------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="session")
def cache_home(tmp_path_factory):
    """Return a cache folder that all workers share: the environment with scikit-learn is made once."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "cache"


@pytest.fixture(autouse=True, scope="module")
def _use_cache(cache_home):
    import uv

    uv_cache = subprocess.run([uv.find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_CACHE_DIR", uv_cache.stdout.strip())
        patch.setenv("XDG_CACHE_HOME", str(cache_home))
        yield


@pytest.fixture(scope="session")
def iris_dir(tmp_path_factory):
    from sklearn.datasets import load_iris
    from sklearn.neighbors import KNeighborsClassifier

    model = Iris(KNeighborsClassifier().fit(*load_iris(return_X_y=True)))
    return thampi.save(model, "iris", tmp_path_factory.mktemp("models"), example=FLOWER, verify=False)


@pytest.fixture(scope="session")
def plain_dir(tmp_path_factory):
    return thampi.save(Plain(), "plain", tmp_path_factory.mktemp("models"), verify=False)


def stage_of(model_dir, **settings):
    settings = {"timeout_s": PLAIN_S, "memory_mb": 512, **settings}
    return Stage(project_dir=model_dir.parent, name=model_dir.name, stage="local", model_dir=model_dir, **settings)


def libraries_of(model_dir, **more):
    return replace(build.libraries(stage_of(model_dir)), **more)


class Served:
    """A run on a thread, and what it said."""

    def __init__(self, stage, libraries):
        self.said, self.logged, self.urls = [], [], queue.SimpleQueue()
        self.stop, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self._run, args=(stage, libraries))
        self.thread.start()
        self.url = self.urls.get(timeout=60)
        if self.failure:
            raise self.failure
        self.port = int(self.url.split(":")[2].split("/")[0])

    def _run(self, stage, libraries):
        try:
            operation.run(
                stage,
                libraries,
                port=0,
                say=self.said.append,
                log=self.logged.append,
                ready=self.urls.put,
                stop=self.stop,
            )
        except Exception as error:
            self.failure = error
        self.urls.put("")

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            return answer.status, answer.headers, json.loads(content) if content else None

    def predict(self, data):
        status, _, body = self.ask("POST", f"/{self.url.split('/')[3]}/predict", json.dumps({"data": data}))
        return status, body

    def end(self):
        self.stop.set()
        self.thread.join(20)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(stage, libraries):
    served = Served(stage, libraries)
    try:
        yield served
    finally:
        served.end()


@pytest.fixture(scope="module")
def iris(iris_dir, _use_cache):
    with serving(stage_of(iris_dir, timeout_s=IRIS_S), libraries_of(iris_dir)) as served:
        yield served


@pytest.fixture(scope="module")
def plain(plain_dir, _use_cache):
    with serving(stage_of(plain_dir, environment={"THRESHOLD": "0.7"}), libraries_of(plain_dir)) as served:
        yield served


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(happened, seconds=10):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


# --------------------------------------------------------------------------------------------------- what is answered


def test_a_prediction_is_answered_as_in_the_tutorial(iris, iris_dir):
    status, body = iris.predict(FLOWER)
    about = bundle.read(iris_dir)
    assert status == 200
    assert body["result"] == {"result": 2}
    assert body["properties"]["instance_id"] == about.instance_id
    assert body["properties"]["served_time_utc"].endswith("Z")


def test_ping_and_the_model_itself_have_their_places(iris):
    assert iris.ask("GET", "/iris/ping")[::2] == (200, {"ping": "pong"})
    status, _, body = iris.ask("GET", "/iris")
    assert (status, body["name"], body["stage"], body["example"]) == (200, "iris", "local", FLOWER)


def test_where_the_time_of_the_start_went_is_said_and_which_memory_would_do(iris):
    (told,) = [said for said in iris.said if said.startswith("cold start: ")]
    assert "imports" in told
    assert "of 512 MB" in told
    assert "cold start" not in "".join(iris.logged)


def test_what_was_said_ends_with_a_line_to_copy_that_works(iris):
    assert iris.url == f"http://localhost:{iris.port}/iris/predict"
    assert sum("nothing limits the model's memory" in said for said in iris.said) == 1  # --no-docker
    words = shlex.split(iris.said[-1])
    assert words[0] == "curl"
    assert words[-1] == iris.url
    status, _, body = iris.ask("POST", "/iris/predict", words[words.index("-d") + 1])
    assert (status, body["result"]) == (200, {"result": 2})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind"),
    [
        ("POST", "/iris/predict", "{", 400, "not_json"),
        ("POST", "/iris/predict", '{"input": []}', 400, "no_data"),
        ("POST", "/iris/predict", "", 400, "not_json"),
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", "/local/iris/ping", None, 404, "not_found"),
        ("GET", "/iris/predict", None, 405, "method_not_allowed"),
        ("POST", "/iris/predict", '{"data": "' + "x" * 5_300_000 + '"}', 413, "too_large"),
        ("POST", "/iris/predict", '{"data": "' + "x" * 7_000_000 + '"}', 413, "too_large"),
    ],
    ids=["no json", "no data", "empty", "no route", "no stage in the path", "method", "over 5 MB", "over 6 MB"],
)
def test_a_wrong_request_gets_its_4xx(iris, method, path, body, status, kind):
    found, headers, answer = iris.ask(method, path, body)
    assert (found, answer["error"]["type"]) == (status, kind)
    assert headers["x-request-id"] == answer["error"]["request_id"]
    assert (headers["allow"] == "POST, OPTIONS") == (status == 405)


def test_twenty_at_once_are_all_answered(iris):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(iris.predict(FLOWER))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [(status, body["result"]) for status, body in answers] == [(200, {"result": 2})] * 20


def test_a_direct_invocation_is_answered_as_the_emulator_would(iris):
    path = "/2015-03-31/functions/function/invocations"
    status, _, body = iris.ask("POST", path, json.dumps({"data": FLOWER}))
    assert (status, body["result"]) == (200, {"result": 2})


def test_a_model_that_raises_is_a_500_whose_reason_is_in_the_log_and_not_in_the_answer(plain):
    status, body = plain.predict({"do": "raise"})
    assert (status, body["error"]["type"]) == (500, "model_failed")
    assert "no such flower" not in json.dumps(body)
    wait_until(lambda: any("ValueError: no such flower" in line for line in plain.logged))
    assert any(body["error"]["request_id"] in line for line in plain.logged)


def test_a_model_that_ends_its_process_is_a_502_and_the_next_request_is_answered(plain):
    status, body = plain.predict({"do": "exit"})
    assert (status, body["error"]["type"]) == (502, "died")
    assert "exit status 3" in body["error"]["message"]
    assert plain.predict({})[0] == 200


def test_a_model_that_takes_too_long_is_a_504_and_the_next_request_is_answered(plain):
    status, body = plain.predict({"do": "sleep", "seconds": 30})
    assert (status, body["error"]["type"]) == (504, "timed_out")
    assert f"timeout_s = {PLAIN_S}" in body["error"]["message"]
    assert plain.predict({})[0] == 200


def test_the_stages_environment_reaches_the_model_and_its_files_are_its_own(plain, cache_home):
    _, body = plain.predict({})
    assert body["result"]["threshold"] == "0.7"
    assert Path(body["result"]["tmp"]).is_relative_to(cache_home)


def test_what_the_endpoint_does_for_browsers_and_with_kept_answers_it_does_here_too(plain_dir):
    page = {"Origin": "http://localhost:3000"}
    api = Api(page=False, cors=Cors(origins=(page["Origin"],)), cache=AnswerCache(ttl_s=60, size_mb=1))
    with serving(stage_of(plain_dir, api=api), libraries_of(plain_dir)) as served:
        path = f"/{plain_dir.name}/predict"
        wanted = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        status, headers, _ = served.ask("OPTIONS", path, headers=page | wanted)
        assert (status, headers["access-control-allow-origin"]) == (204, page["Origin"])
        for hit in ("miss", "hit"):
            status, headers, _ = served.ask("POST", path, '{"data": {}}', page)
            assert (status, headers["x-thampi-cache"]) == (200, hit)
            assert headers["access-control-allow-origin"] == page["Origin"]
        _, headers, _ = served.ask("GET", f"/{plain_dir.name}", headers={"Accept": "text/html"})
        assert headers["content-type"] == "application/json"


def test_what_the_project_ships_can_be_imported_and_nothing_else_of_it(plain_dir, tmp_path):
    (tmp_path / "features").mkdir()
    (tmp_path / "features/flowers.py").write_text("NAME = 'iris'")
    (tmp_path / "private.py").write_text("NAME = 'private'")
    shipped = {"features/flowers.py": tmp_path / "features/flowers.py"}
    stage = replace(stage_of(plain_dir), project_dir=tmp_path)
    with serving(stage, libraries_of(plain_dir, project_files=shipped)) as served:
        status, body = served.predict({"do": "import", "module": "features.flowers"})
        assert (status, body["result"]) == (200, "iris")
        assert served.predict({"do": "import", "module": "private"})[0] == 500
        wait_until(lambda: any("No module named 'private'" in line for line in served.logged))


# --------------------------------------------------------------------------------------------------- what is fatal


def fatal(stage, libraries):
    """Return how a run failed and what it said before; nothing of it is left."""
    said, before = [], runs_folders()
    with pytest.raises(BundleError) as caught:
        operation.run(stage, libraries, port=0, say=said.append, log=lambda line: None)
    assert runs_folders() == before
    return caught.value, said


def runs_folders(pid=None):
    """Return the folders that runs of one process (this one) have in the cache."""
    return sorted((cache.folder() / "runs").glob(f".*-{pid or os.getpid()}-*"))


def test_a_missing_library_ends_the_run_with_its_name_and_what_the_log_said(iris_dir):
    error, said = fatal(stage_of(iris_dir, timeout_s=IRIS_S), Libraries(["cloudpickle", "numpy"], MINOR))
    assert "`sklearn`" in error.message
    assert str(iris_dir) in error.message
    assert "ModuleNotFoundError: No module named 'sklearn'" in error.message  # from the log
    assert "scikit-learn==" in str(error.hint)
    assert not any("curl" in text for text in said)


@pytest.mark.parametrize(("how", "shown"), [("raise", "no database at db.internal"), ("exit", "exit status 7")])
def test_a_model_that_fails_before_its_first_request_ends_the_run_with_the_reason(tmp_path, how, shown):
    folder = thampi.save(Unhappy(how), "unhappy", tmp_path, verify=False)
    error, _ = fatal(stage_of(folder), libraries_of(folder))
    assert shown in error.message
    assert f"about to {how}" in error.message  # from the log


def test_a_folder_without_a_model_ends_the_run_at_once(tmp_path):
    error, said = fatal(stage_of(tmp_path), Libraries([], MINOR))
    assert "no saved model" in error.message
    assert said == []


def test_an_image_that_has_another_model_is_refused_before_anything_starts(plain_dir):
    with pytest.raises(BundleError) as raised:
        operation.run(stage_of(plain_dir), "thampi-plain:0", baked="0" * 64, port=0, say=print, log=print)
    assert raised.value.message.startswith(f"the image has another model than {plain_dir}")
    assert "thampi run" in raised.value.hint


def test_a_port_that_is_taken_is_said_before_anything_is_installed(plain_dir):
    said = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            operation.run(
                stage_of(plain_dir), Libraries(["no-such-package"], MINOR), port=port, say=said.append, log=said.append
            )
    assert str(port) in caught.value.message
    assert "--port" in str(caught.value.hint)
    assert said == []


# ------------------------------------------------------------------------------------------------------ how it ends

RUN = """
import os, sys
from pathlib import Path
from thampi.config import AnswerCache, Api, Cors, Stage
from thampi.operations import build
from thampi.operations import run as operation

def tell(kind):
    return lambda text: os.write(1, f"{kind} {text}\\n".encode())  # in one piece: two threads do it

folder = Path(sys.argv[1])
stage = Stage(project_dir=folder.parent, name="model", stage="local", model_dir=folder, timeout_s=60)
libraries = build.libraries(stage)
try:
    operation.run(stage, libraries, port=0, say=tell("say"), log=tell("log"), ready=tell("ready"))
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextlib.contextmanager
def started(folder):
    """Start a run in a process of its own; give it with the lines that it says."""
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        yield process, iter(process.stdout.readline, "")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def line_with(lines, text):
    return next(line for line in lines if text in line)


def model_pid(ready):
    port = ready.split(":")[2].split("/")[0]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
    with contextlib.closing(connection):
        connection.request("POST", "/model/predict", '{"data": {}}')
        return json.loads(connection.getresponse().read())["result"]["pid"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_the_normal_end_of_a_run_and_leaves_nothing_behind(plain_dir, number):
    with started(plain_dir) as (process, lines):
        pid = model_pid(line_with(lines, "ready "))
        assert runs(pid)
        process.send_signal(number)
        assert process.wait(10) == 0
        assert not runs(pid)
        assert not runs_folders(process.pid)


def test_an_interruption_while_the_model_loads_is_one_of_the_work_and_leaves_nothing_behind(tmp_path):
    folder = thampi.save(Unhappy("wait"), "unhappy", tmp_path, verify=False)
    with started(folder) as (process, lines):
        line_with(lines, "about to wait")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert not runs_folders(process.pid)


def test_after_a_kill_no_process_is_left_and_the_next_run_clears_away_the_rest(plain_dir):
    with started(plain_dir) as (process, lines):
        pid = model_pid(line_with(lines, "ready "))
        process.kill()
        process.wait()
        wait_until(lambda: not runs(pid), 5)
    assert runs_folders(process.pid)
    with serving(stage_of(plain_dir), libraries_of(plain_dir)):
        assert not runs_folders(process.pid)
