"""The AWS of this machine as a process: started once, kept, replaced, ended; a stand-in plays ministack."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from thampi.errors import CloudError, ConfigError
from thampi.local import cloud, cloud_process, installation, interpreter, lock
from thampi.operations import local

# What lies where the environment's Python would: it takes the lock, answers and writes its record as ministack_server
# does, and behaves as the file `behaviour` beside it says.
STAND_IN = f"""#!{sys.executable}
import http.server, json, os, signal, sys, time
from pathlib import Path

sys.path.insert(0, {str(Path(__file__).parents[2])!r})
behaviour = Path(__file__).with_name("behaviour").read_text().split()
words = sys.argv[4:]
with Path(__file__).with_name("asked").open("a") as asked:
    asked.write(json.dumps({{"words": words, "environment": dict(os.environ), "pid": os.getpid()}}) + "\\n")
if words[0] == "sweep":
    sys.exit()
port, folder, release = int(words[1]), Path(words[2]), words[3]

from thampi.local.ministack_server.__main__ import NO_ENGINE, PORT_TAKEN, _give_up, _lock

held = _lock(folder.with_name(f"{{folder.name}}.running"))
if "no-engine" in behaviour:
    _give_up(NO_ENGINE, "no Docker engine answers: no such file")
if "port-taken" in behaviour:
    _give_up(PORT_TAKEN, "in use")
if "dies" in behaviour:
    sys.exit("something that nobody thought of")

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass

def end(*_):
    if "deaf" not in behaviour:
        (folder / "record.json").unlink(missing_ok=True)
        os._exit(0)

signal.signal(signal.SIGTERM, end)
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answers)
if "slow" in behaviour:
    time.sleep(1)
(folder / "record.json").write_text(json.dumps({{"release": release, "since": time.time(), "addresses": ["here"]}}))
server.serve_forever()
"""


@pytest.fixture
def environ(tmp_path):
    """A user's environment, with an installation that is the stand-in; what was started is ended."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "THAMPI_LOCAL_PORT": str(free_port()),
        "AWS_PROFILE": "work",
        "HTTP_PROXY": "http://proxy.invalid:1",
    }
    install(environ)
    yield environ
    with contextlib.suppress(ProcessLookupError, TypeError):
        os.killpg(cloud.status(environ).pid, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
    children.clear()


children: list[int] = []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def install(environ, behaviour=""):
    python = interpreter.python(installation._folder(environ))
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(STAND_IN)
    python.chmod(0o755)
    python.with_name("behaviour").write_text(behaviour)
    return python


def asked(environ, word="start"):
    """What the stand-in was started with."""
    path = interpreter.python(installation._folder(environ)).with_name("asked")
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [line for line in lines if line["words"][0] == word]


def ensure(environ, say=lambda text: None):
    found = cloud.ensure_running(environ, say=say)
    children.append(cloud.status(environ).pid)
    return found


def place(environ):
    return cloud._place(environ)


def impatient(environ):
    return replace(place(environ), answers_within_s=0.3, starts_within_s=0.5, stops_within_s=0.3, largest_log=1000)


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def get(environ):
    connection = http.client.HTTPConnection("127.0.0.1", int(environ["THAMPI_LOCAL_PORT"]), timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status


def test_it_is_started_once_and_says_how_it_is_reached(environ):
    said = []
    found, port = ensure(environ, said.append), environ["THAMPI_LOCAL_PORT"]
    assert found == cloud.Cloud(f"http://127.0.0.1:{port}", f"localhost:{port}")
    assert (found.region, found.account, found.credentials) == ("us-east-1", "000000000000", ("test", "test"))
    assert "test" not in repr(found)
    assert get(environ) == 200
    assert ensure(environ, said.append) == found
    assert len(asked(environ)) == 1
    assert len(said) == 1
    assert f"http://localhost:{port}" in said[0]


def test_its_environment_is_ours_and_not_the_users(environ):
    ensure(environ | {"DOCKER_HOST": "unix:///somewhere", "LAMBDA_EXECUTOR": "local", "BIND_HOST": "0.0.0.0"})
    told = asked(environ)[0]["environment"]
    assert not {"AWS_PROFILE", "HTTP_PROXY", "BIND_HOST"} & told.keys()
    assert told["DOCKER_HOST"] == "unix:///somewhere"
    assert told["GATEWAY_PORT"] == environ["THAMPI_LOCAL_PORT"]
    assert (told["LAMBDA_EXECUTOR"], told["LAMBDA_STRICT"]) == ("docker", "1")
    assert (told["PERSIST_STATE"], told["S3_PERSIST"]) == ("1", "1")
    assert (told["IOT_MTLS_ENABLED"], told["SFTP_ENABLED"]) == ("0", "0")
    assert not {"ecs", "eks", "rds", "ec2", "transfer", "iot"} & set(told["SERVICES"].split(","))
    state = environ["XDG_STATE_HOME"]
    assert all(told[name].startswith(state) for name in ("STATE_DIR", "S3_DATA_DIR", "TMPDIR"))


def test_it_leads_a_group_of_its_own_so_that_a_ctrl_c_in_the_terminal_is_not_for_it(environ):
    ensure(environ)
    pid = cloud.status(environ).pid
    assert os.getpgid(pid) == pid
    assert os.getsid(pid) == pid


def test_only_its_user_can_read_what_it_holds(environ):
    ensure(environ)
    assert place(environ).folder.stat().st_mode & 0o077 == 0
    assert place(environ).folder.parent.stat().st_mode & 0o077 == 0


def test_two_terminals_that_start_it_at_once_get_the_same_one(environ):
    install(environ, "slow")
    program = (
        "import os; from thampi.local import cloud;"
        "print(cloud.ensure_running(os.environ, say=lambda text: None), cloud.status(os.environ).pid)"
    )
    terminals = [
        subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = {terminal.communicate()[0] for terminal in terminals}
    assert [terminal.returncode for terminal in terminals] == [0] * 4
    assert len(said) == 1
    assert len(asked(environ)) == 1
    assert get(environ) == 200


def test_who_waits_for_another_terminal_says_so_once(environ):
    ensure(environ)
    said = []
    with lock.held(place(environ).starting, waiting=lambda: None):
        waiting = threading.Thread(target=lambda: cloud.stop(environ, say=said.append))
        waiting.start()
        time.sleep(1)
        assert len(said) == 1
        assert "another thampi" in said[0]
        assert cloud.status(environ).running
    waiting.join()
    assert not cloud.status(environ).running


def test_stopping_ends_the_process_and_nothing_else(environ):
    ensure(environ)
    pid = cloud.status(environ).pid
    assert cloud.stop(environ, say=print) is True
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert cloud.stop(environ, say=print) is False
    assert asked(environ, "sweep") == []


def test_one_that_does_not_listen_is_killed_and_its_containers_are_swept_up(environ):
    install(environ, "deaf")
    ensure(environ)
    assert cloud_process.end(impatient(environ), environ) is True
    assert not cloud.status(environ).running
    swept = asked(environ, "sweep")
    assert len(swept) == 1
    assert swept[0]["environment"]["MINISTACK_HOSTNAME"] == asked(environ)[0]["environment"]["MINISTACK_HOSTNAME"]


def test_a_process_number_of_a_dead_one_is_nobodys(environ):
    """Somebody else may have it by now."""
    ensure(environ)
    pid = cloud.status(environ).pid
    kill(pid)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as other:
        place(environ).running.write_text(str(other.pid))
        assert not cloud.status(environ).running
        cloud.stop(environ, say=print)
        assert other.poll() is None
        other.kill()


def test_one_that_was_killed_is_started_again_by_the_next_use(environ):
    ensure(environ)
    first = cloud.status(environ).pid
    kill(first)
    status = cloud.status(environ)
    assert (status.running, status.answers, status.pid, status.addresses) == (False, False, None, ())
    ensure(environ)
    assert cloud.status(environ).pid != first
    assert get(environ) == 200


def test_stopping_one_that_was_killed_sweeps_up_its_containers(environ):
    ensure(environ)
    kill(cloud.status(environ).pid)
    assert cloud.stop(environ, say=print) is True
    assert len(asked(environ, "sweep")) == 1
    assert cloud.stop(environ, say=print) is False


def test_one_that_hangs_is_replaced(environ):
    ensure(environ)
    first = cloud.status(environ).pid
    os.kill(first, signal.SIGSTOP)
    assert local.status(environ=environ)["state"] == "running, but it does not answer"
    said = []
    cloud_process.start(impatient(environ), environ, say=said.append)
    children.append(cloud.status(environ).pid)
    assert children[-1] != first
    assert said[0] == "replacing the local AWS that runs: it hangs"
    assert get(environ) == 200


def test_another_versions_one_is_replaced(environ):
    ensure(environ)
    first, record = cloud.status(environ).pid, place(environ).record
    record.write_text(json.dumps(json.loads(record.read_text()) | {"release": "another"}))
    said = []
    ensure(environ, said.append)
    assert cloud.status(environ).pid != first
    assert said[0] == "replacing the local AWS that runs: it is another version's"
    assert get(environ) == 200


def test_one_whose_starter_was_killed_meanwhile_is_taken_as_it_is(environ):
    install(environ, "slow")
    program = "import os; from thampi.local import cloud; cloud.ensure_running(os.environ, say=lambda text: None)"
    with subprocess.Popen([sys.executable, "-c", program], env=environ) as starter:
        while not lock.is_held(place(environ).running):
            time.sleep(0.01)
        starter.kill()
    ensure(environ)
    assert len(asked(environ)) == 1


def test_a_port_that_another_program_has_is_one_clear_line(environ):
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(environ["THAMPI_LOCAL_PORT"])))
        other.listen()
        with pytest.raises(CloudError, match=f"port {environ['THAMPI_LOCAL_PORT']} is taken") as raised:
            cloud.ensure_running(environ, say=print)
    assert "THAMPI_LOCAL_PORT=" in raised.value.hint
    assert asked(environ) == []
    install(environ, "port-taken")  # between our look and its own
    with pytest.raises(CloudError, match="is taken by another program"):
        cloud.ensure_running(environ, say=print)


def test_a_missing_engine_is_one_clear_line(environ):
    install(environ, "no-engine")
    with pytest.raises(CloudError) as raised:
        cloud.ensure_running(environ, say=print)
    assert (
        raised.value.message == "the local AWS can't start: it runs images, and no Docker engine answers: no such file"
    )
    assert raised.value.hint.startswith("start Docker")
    assert not cloud.status(environ).running


def test_one_that_dies_says_its_last_line_and_where_the_others_are(environ):
    install(environ, "dies")
    with pytest.raises(CloudError, match="something that nobody thought of") as raised:
        cloud.ensure_running(environ, say=print)
    assert str(place(environ).log) in raised.value.hint


def test_one_that_never_gets_ready_is_killed(environ):
    install(environ, "slow deaf")
    with pytest.raises(CloudError, match="can't start"):
        cloud_process.start(impatient(environ), environ, say=print)
    assert not cloud.status(environ).running


def test_a_state_folder_that_can_not_be_written_is_one_clear_line(environ, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CloudError, match="can't keep its state") as raised:
        cloud.ensure_running(environ | {"XDG_STATE_HOME": str(tmp_path / "file")}, say=print)
    assert "XDG_STATE_HOME" in raised.value.hint


@pytest.mark.parametrize("port", ["x", "80", "65536", "-4566", "٤٥٦٦"])
def test_a_port_that_is_none_is_refused(environ, port):
    with pytest.raises(ConfigError, match="THAMPI_LOCAL_PORT"):
        cloud.status(environ | {"THAMPI_LOCAL_PORT": port})


def test_each_port_has_its_own(environ):
    other = environ | {"THAMPI_LOCAL_PORT": str(free_port())}
    first, second = ensure(environ), ensure(other)
    assert first.registry != second.registry
    assert cloud.status(environ).folder != cloud.status(other).folder
    cloud.stop(other, say=print)
    assert get(environ) == 200


def test_the_log_does_not_grow_for_ever(environ):
    ensure(environ)
    log = place(environ).log
    log.write_text("x" * 2000)
    cloud.stop(environ, say=print)
    cloud_process.start(replace(place(environ), largest_log=1000), environ, say=print)
    assert log.stat().st_size < 1000
    assert log.with_name("log.old").stat().st_size >= 2000


def test_stopping_keeps_what_it_holds_and_resetting_does_not(environ):
    ensure(environ)
    held = place(environ).folder / "s3/000000000000/bucket/model"
    held.parent.mkdir(parents=True)
    held.write_text("a model")
    cloud.stop(environ, say=print)
    ensure(environ)
    assert held.read_text() == "a model"
    assert cloud.reset(environ, say=print) is True
    assert not cloud.status(environ).running
    assert not place(environ).folder.exists()
    assert cloud.reset(environ, say=print) is False


def test_a_reset_that_was_killed_is_finished_by_the_next(environ):
    ensure(environ)
    cloud.stop(environ, say=print)
    place(environ).folder.rename(place(environ).folder.with_name(f"{environ['THAMPI_LOCAL_PORT']}.going-77"))
    cloud.reset(environ, say=print)
    assert {path.suffix for path in place(environ).folder.parent.iterdir()} == {".starting", ".running"}


def test_the_commands_say_what_they_did(environ):
    said = []
    assert local.status(environ=environ)["state"] == "stopped"
    local.stop(environ=environ, say=said.append)
    assert said.pop() == "the local AWS isn't running"
    url = local.start(environ=environ, say=said.append)
    children.append(cloud.status(environ).pid)
    assert url == f"http://127.0.0.1:{environ['THAMPI_LOCAL_PORT']}"
    assert "access key test" in said[-1]
    told = local.status(environ=environ)
    assert (told["state"], told["url"], told["listens_on"]) == ("running", url, ["here"])
    assert json.loads(json.dumps(told)) == told
    local.stop(environ=environ, say=said.append)
    assert "kept" in said[-1]
    local.reset(environ=environ, say=said.append)
    assert "forgotten everything" in said[-1]
    local.reset(environ=environ, say=said.append)
    assert said[-1] == "the local AWS holds nothing"


def test_an_installation_that_can_not_be_fetched_is_one_clear_line_and_leaves_nothing(environ):
    cache = Path(environ["XDG_CACHE_HOME"])
    folder = installation._folder(environ)
    folder.rename(cache / "away")
    closed = f"http://127.0.0.1:{free_port()}/simple"
    with pytest.raises(CloudError, match="can't be installed") as raised:
        cloud.ensure_running(
            environ | {"UV_DEFAULT_INDEX": closed, "UV_NO_CACHE": "1", "UV_HTTP_RETRIES": "0"}, say=print
        )
    assert "\n" not in raised.value.message
    assert "check the network" in raised.value.hint
    assert list(folder.parent.iterdir()) == []


def test_an_installation_whose_python_was_uninstalled_is_made_again(environ, tmp_path):
    python = interpreter.python(installation._folder(environ))
    assert installation.find(environ) == python
    python.unlink()
    python.symlink_to(tmp_path / "gone")
    assert installation.find(environ) is None


def test_the_pins_name_one_version_of_everything():
    lines = Path(installation.__file__).with_name("ministack.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all("==" in line.partition(";")[0] for line in pins)
    assert {"ministack", "docker", "cryptography", "hypercorn"} <= {line.partition("==")[0] for line in pins}
    assert installation.version() == "1.5.33"
