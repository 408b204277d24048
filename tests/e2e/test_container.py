"""thampi run with a real engine: the image under the emulator, with Lambda's world around it."""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

import docker
import pytest

import thampi
from thampi import liveness
from thampi.builder import container
from thampi.config import Stage
from thampi.errors import BuildError, BundleError
from thampi.operations import run as operation

pytestmark = pytest.mark.docker

FLOWER = {"input": [5.9, 3.2, 4.8, 1.8]}
TIMEOUT_S, MEMORY_MB, TMP_MB = 3, 256, 513
NAME = "container-test"  # of what is served here; its containers are found by it


class Probe(thampi.Model):
    """Looks around in the world that it lives in, and misbehaves on demand."""

    def predict(self, args, context):
        import os
        import time

        print(f"working on {args}", flush=True)
        match args:
            case {"do": "exit"}:
                os._exit(3)
            case {"do": "sleep", "seconds": seconds}:
                time.sleep(seconds)
            case {"do": "eat"}:
                eaten = []
                while True:
                    eaten.append(bytearray(b"x") * 10_000_000)
            case {"do": "look"}:
                return self.look()
            case {"do": "write", "path": path}:
                with open(path, "w") as file:
                    file.write("x")
        return {"pid": os.getpid()}

    def look(self):
        import os

        with open("/proc/self/status") as file:
            status = dict(line.strip().split(":\t", 1) for line in file if ":\t" in line)
        room = os.statvfs("/tmp")
        return {
            "ids": [os.getuid(), os.getgid()],
            "capabilities": status["CapEff"],
            "no_new_privileges": status["NoNewPrivs"],
            "tmp_mb": room.f_blocks * room.f_frsize // 1024 // 1024,
            "shared_memory": os.path.exists("/dev/shm"),
            "environment": dict(os.environ),
        }


class Needy(Probe):
    """Needs a library that the iris image doesn't have, or fails as it is told to."""

    def __init__(self, how):
        self.how = how
        if how == "library":
            import pandas

            self.table = pandas.DataFrame({"a": [1]})

    def initialize(self, context):
        import os
        import time

        match self.how:
            case "eat":
                self.eaten = [bytearray(b"x") * 10_000_000 for _ in range(1000)]
            case "exit":
                print("about to exit", flush=True)
                os._exit(7)
            case "wait":
                print("about to wait", flush=True)
                time.sleep(60)


# --------------------------------------------------------------------------------------------------------- fixtures


@pytest.fixture(scope="module")
def engine():
    found = docker.from_env()
    yield found
    found.close()


@pytest.fixture(scope="session")
def probe_dir(tmp_path_factory):
    return thampi.save(Probe(), "probe", tmp_path_factory.mktemp("models"), verify=False)


def stage_of(model_dir, name=NAME, **settings):
    settings = {"timeout_s": TIMEOUT_S, "memory_mb": MEMORY_MB, "ephemeral_storage_mb": TMP_MB, **settings}
    return Stage(project_dir=model_dir.parent, name=name, stage="local", model_dir=model_dir, **settings)


def containers_of(engine, name=NAME):
    found = engine.api.containers(all=True, filters={"name": f"thampi-{name}-local-"})
    return [each["Names"][0].lstrip("/") for each in found]


class Served:
    """A run on a thread, and what it said."""

    def __init__(self, stage, image):
        self.name, self.said, self.logged, self.urls = stage.name, [], [], queue.SimpleQueue()
        self.stop, self.failure = threading.Event(), None
        self.thread = threading.Thread(target=self._run, args=(stage, image))
        self.thread.start()
        url = self.urls.get(timeout=60)
        if self.failure:
            raise self.failure
        self.port = int(url.split(":")[2].split("/")[0])

    def _run(self, stage, image):
        try:
            operation.run(
                stage,
                image,
                port=0,
                say=self.said.append,
                log=self.logged.append,
                ready=self.urls.put,
                stop=self.stop,
            )
        except Exception as error:
            self.failure = error
        self.urls.put("")

    def predict(self, data):
        return predict(self.port, self.name, data)


def predict(port, name, data):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        body = json.dumps({"data": data})
        connection.request("POST", f"/{name}/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@contextlib.contextmanager
def serving(stage, image):
    served = Served(stage, image)
    try:
        yield served
    finally:
        served.stop.set()
        served.thread.join(20)
        assert not served.thread.is_alive()


@pytest.fixture(scope="module")
def probe(probe_dir, iris_image):
    with serving(stage_of(probe_dir, environment={"THRESHOLD": "0.7"}), iris_image) as served:
        yield served


def wait_until(happened, seconds=10):
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.05)


# ---------------------------------------------------------------------------------------------------- what it serves


def test_the_tutorials_model_answers_and_its_container_is_gone_afterwards(iris_image, iris_bundle, engine):
    name = "container-iris"
    with serving(stage_of(iris_bundle, name, memory_mb=512, timeout_s=30), iris_image) as served:
        status, body = served.predict(FLOWER)
        assert (status, body["result"]) == (200, {"result": 2})
        assert len(containers_of(engine, name)) == 1
    assert served.failure is None
    assert containers_of(engine, name) == []


def test_twenty_at_once_are_all_answered_though_the_emulator_takes_one_at_a_time(probe):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(probe.predict({}))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [status for status, _ in answers] == [200] * 20


def test_a_model_that_takes_too_long_is_a_504_and_the_next_request_is_answered(probe):
    status, body = probe.predict({"do": "sleep", "seconds": 30})
    assert (status, body["error"]["type"]) == (504, "timed_out")
    assert f"timeout_s = {TIMEOUT_S}" in body["error"]["message"]
    assert probe.predict({})[0] == 200


def test_a_model_that_needs_too_much_memory_is_a_502_that_names_the_setting_and_the_next_request_is_answered(probe):
    status, body = probe.predict({"do": "eat"})
    assert (status, body["error"]["type"]) == (502, "died")
    assert f"memory_mb = {MEMORY_MB}" in body["error"]["message"]
    assert probe.predict({})[0] == 200


def test_a_model_that_ends_its_process_is_a_502_and_the_next_request_is_answered(probe):
    status, body = probe.predict({"do": "exit"})
    assert (status, body["error"]["type"]) == (502, "died")
    assert "exit status 3" in body["error"]["message"]
    assert probe.predict({})[0] == 200


def test_what_the_model_prints_reaches_the_log_without_the_emulators_own_lines(probe):
    probe.predict({"word": "here"})
    wait_until(lambda: "working on {'word': 'here'}" in probe.logged)
    assert not [line for line in probe.logged if "(rapid)" in line or "RequestId: " in line]


def test_nobody_but_this_machine_reaches_the_emulator(probe, engine):
    found = engine.api.inspect_container(containers_of(engine)[0])
    assert {binding["HostIp"] for binding in found["NetworkSettings"]["Ports"]["8080/tcp"]} == {"127.0.0.1"}


# ---------------------------------------------------------------------------------------------------- Lambda's world


def test_the_model_has_no_rights_little_room_and_its_stages_environment(probe):
    status, body = probe.predict({"do": "look"})
    assert status == 200
    found = body["result"]
    assert found["ids"] == [993, 990]
    assert int(found["capabilities"], 16) == 0
    assert found["no_new_privileges"] == "1"
    assert found["tmp_mb"] == TMP_MB
    assert found["shared_memory"] is False
    told = found["environment"]
    assert told["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == str(MEMORY_MB)
    assert told["AWS_LAMBDA_FUNCTION_NAME"] == f"thampi-{NAME}-local"
    assert told["THAMPI_STAGE"] == "local"
    assert told["THRESHOLD"] == "0.7"


@pytest.mark.parametrize("path", ["/opt/model/x", "/opt/thampi/x", "/var/task/x", "/x"])
def test_the_disk_can_be_read_only(probe, path):
    assert probe.predict({"do": "write", "path": path})[0] == 500
    wait_until(lambda: any("Read-only file system" in line and path in line for line in probe.logged))


def test_but_tmp_can_be_written(probe):
    assert probe.predict({"do": "write", "path": "/tmp/x"})[0] == 200


def test_memory_and_swap_together_are_what_the_stage_has(probe, engine):
    settings = engine.api.inspect_container(containers_of(engine)[0])["HostConfig"]
    assert settings["Memory"] == settings["MemorySwap"] == MEMORY_MB * 1024 * 1024


# --------------------------------------------------------------------------------------------------- what is fatal


@pytest.mark.parametrize(
    ("how", "shown"),
    [
        ("library", "`pandas`"),
        ("exit", "exit status 7"),
        ("eat", f"memory_mb = {MEMORY_MB}"),
        ("wait", f"timeout_s = {TIMEOUT_S}"),
    ],
)
def test_a_model_that_cant_be_loaded_ends_the_run_with_the_reason(iris_image, tmp_path, engine, how, shown):
    folder = thampi.save(Needy(how), "needy", tmp_path, verify=False)
    with pytest.raises(BundleError) as caught:
        operation.run(
            stage_of(folder, "container-needy"), iris_image, port=0, say=lambda text: None, log=lambda line: None
        )
    assert shown in str(caught.value)
    assert str(folder) in caught.value.message
    assert "/opt/model" not in str(caught.value)
    assert containers_of(engine, "container-needy") == []


def test_an_image_that_is_not_there_is_one_to_build(probe_dir):
    with pytest.raises(BuildError) as caught:
        operation.run(
            stage_of(probe_dir, "container-none"),
            "thampi-nobody:0",
            port=0,
            say=lambda text: None,
            log=lambda line: None,
        )
    assert "thampi-nobody:0" in caught.value.message
    assert "thampi build" in str(caught.value.hint)


def test_a_container_that_stops_by_itself_ends_the_run(iris_image, probe_dir, engine):
    name = "container-stopped"
    with serving(stage_of(probe_dir, name), iris_image) as served:
        engine.api.kill(containers_of(engine, name)[0])
        served.thread.join(10)
    assert isinstance(served.failure, BuildError)
    assert "stopped by itself" in served.failure.message
    assert containers_of(engine, name) == []


# ------------------------------------------------------------------------------------------------------ how it ends

RUN = """
import os, sys
from pathlib import Path
from thampi.config import Stage
from thampi.operations import run as operation

def tell(kind):
    return lambda text: os.write(1, f"{kind} {text}\\n".encode())  # in one piece: two threads do it

folder = Path(sys.argv[2])
stage = Stage(project_dir=folder.parent, name=sys.argv[3], stage="local", model_dir=folder, timeout_s=60)
try:
    operation.run(stage, sys.argv[1], port=0, say=tell("say"), log=tell("log"), ready=tell("ready"))
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextlib.contextmanager
def started(image, folder, name):
    """Start a run in a process of its own; give it with the lines that it says."""
    process = subprocess.Popen([sys.executable, "-c", RUN, image, str(folder), name], stdout=subprocess.PIPE, text=True)
    try:
        yield process, iter(process.stdout.readline, "")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_the_normal_end_and_leaves_no_container(iris_image, probe_dir, engine, number):
    name = "container-interrupted"
    with started(iris_image, probe_dir, name) as (process, lines):
        next(line for line in lines if line.startswith("ready "))
        assert len(containers_of(engine, name)) == 1
        process.send_signal(number)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # who is impatient changes nothing
        assert process.wait(20) == 0
        assert containers_of(engine, name) == []


def test_an_interruption_while_the_model_loads_leaves_no_container_either(iris_image, tmp_path, engine):
    name = "container-loading"
    folder = thampi.save(Needy("wait"), "needy", tmp_path, verify=False)
    with started(iris_image, folder, name) as (process, lines):
        next(line for line in lines if "about to wait" in line)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert containers_of(engine, name) == []


def test_an_interruption_at_any_moment_of_the_start_leaves_no_container(iris_image, probe_dir, engine):
    name = "container-early"
    for after_s in (0.5, 0.7, 0.9):
        with started(iris_image, probe_dir, name) as (process, _):
            time.sleep(after_s)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) in (0, 130, -signal.SIGTERM)
            assert containers_of(engine, name) == []


def test_after_a_kill_the_next_run_removes_the_container_and_no_other(iris_image, probe_dir, engine, probe):
    name = "container-killed"
    with started(iris_image, probe_dir, name) as (process, lines):
        next(line for line in lines if line.startswith("ready "))
        process.kill()
        process.wait()
    assert len(containers_of(engine, name)) == 1
    elsewhere = engine.api.create_container(
        iris_image, labels={"thampi.run": str(process.pid), "thampi.host": f"not {liveness.host()}"}
    )
    try:
        container.remove_leftovers(engine)
        assert containers_of(engine, name) == []
        assert len(containers_of(engine)) == 1  # that of `probe`, which is ours and alive
        assert engine.api.inspect_container(elsewhere["Id"])
    finally:
        engine.api.remove_container(elsewhere["Id"])
    assert probe.predict({})[0] == 200


# ------------------------------------------------------------------------------------------- the container by itself


def start(image, model_dir, prefix="thampi-container-alone-local"):
    return container.start(
        image,
        name_prefix=prefix,
        environment={},
        model_dir=model_dir,
        memory_mb=MEMORY_MB,
        tmp_mb=TMP_MB,
        timeout_s=TIMEOUT_S,
    )


def test_a_container_runs_until_it_is_stopped_and_stopping_it_twice_is_fine(iris_image, probe_dir):
    running = start(iris_image, probe_dir)
    try:
        assert running.is_running()
        assert running.name.startswith(f"thampi-container-alone-local-{os.getpid()}-")
        socket.create_connection(("127.0.0.1", running.port), 5).close()
    finally:
        running.stop()
    assert not running.is_running()
    assert list(running.lines()) == []
    running.stop()


def test_its_lines_end_when_it_does(iris_image, probe_dir):
    running = start(iris_image, probe_dir)
    try:
        lines = running.lines()
        assert "thampi_handler" in next(lines)
        threading.Timer(0.3, running.stop).start()
        for _ in lines:
            pass
    finally:
        running.stop()


def test_an_image_that_has_another_entry_point_is_explained(engine, probe_dir):
    ground = next(tag for image in engine.api.images() for tag in image["RepoTags"] or () if "slim-bookworm" in tag)
    with pytest.raises(BuildError) as caught:
        operation.run(
            stage_of(probe_dir, "container-other"), ground, port=0, say=lambda text: None, log=lambda line: None
        )
    assert "container" in caught.value.message
    assert containers_of(engine, "container-other") == []
