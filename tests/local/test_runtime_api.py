"""The Runtime API that we serve, with the real awslambdaric at its other end."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import thampi.local
from thampi.local.runtime_api import Runtime

# A function of its own, in place of thampi's handler: what is tried here is the process around it.
HANDLER = """
import os, re, subprocess, sys, time
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

def handle(event, context):
    print("asked for", event["do"])
    if event["do"] == "raise":
        raise ValueError("no such flower")
    if event["do"] == "exit":
        os._exit(3)
    if event["do"] == "sleep":
        time.sleep(event["seconds"])
    if event["do"] == "hold the interpreter":
        print("holding", flush=True)
        re.match("(a+)+b", "a" * 64)
    if event["do"] == "start another":
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid
    if event["do"] == "answer much":
        return "x" * event["size"]
    if event["do"] == "end soon":
        import threading
        threading.Timer(0.3, os._exit, [5]).start()
    return {
        "pid": os.getpid(), "event": event, "remaining_ms": context.get_remaining_time_in_millis(),
        "request_id": context.aws_request_id, "environment": dict(os.environ), "path": sys.path, "cwd": os.getcwd(),
        "stdin": sys.stdin.read(), "client": sys.modules["runtime_client"].__file__, "argv": sys.argv,
    }

if __name__ == "__main__":
    print("starting")
    exec(os.environ.get("FIRST", ""))
    bootstrap.run("__main__.handle", LambdaRuntimeClient(os.environ["AWS_LAMBDA_RUNTIME_API"], False))
"""


@pytest.fixture
def make(tmp_path):
    """Return what makes a Runtime; each is closed after the test."""
    made = []
    staged, folder = tmp_path / "staged", tmp_path / "task"
    (staged / "thampi_handler").mkdir(parents=True)
    (staged / "thampi_handler/__init__.py").touch()
    (staged / "thampi_handler/__main__.py").write_text(HANDLER)
    folder.mkdir()

    def make(*, timeout_s=20, path=(), log=None, **environment):
        runtime = Runtime(
            Path(sys.executable),
            path=[*path, staged],
            folder=folder,
            environment=environment,
            name="thampi-iris-local",
            memory_mb=512,
            timeout_s=timeout_s,
            log=log or (lambda line: None),
        )
        made.append(runtime)
        return runtime

    yield make
    for runtime in made:
        runtime.close()


def ask(runtime, do, **more):
    return runtime.invoke(json.dumps({"do": do, **more}).encode())


def pid_of(runtime):
    return json.loads(ask(runtime, "tell").body)["pid"]


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


def test_an_event_is_answered_by_a_process_that_lives_on(make):
    runtime = make()
    first, second = ask(runtime, "tell", word="Überraschung"), ask(runtime, "tell")
    assert first.ending == second.ending == "answered"
    told = json.loads(first.body)
    assert told["event"] == {"do": "tell", "word": "Überraschung"}
    assert told["pid"] == json.loads(second.body)["pid"] != os.getpid()
    assert told["request_id"] == first.request_id != second.request_id


def test_the_function_knows_how_much_time_is_left(make):
    told = json.loads(ask(make(timeout_s=7), "tell").body)
    assert 5000 < told["remaining_ms"] <= 7000


def test_the_process_has_lambdas_environment_and_not_ours(make, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    monkeypatch.setenv("MY_SETTING", "ours")
    told = json.loads(ask(make(THRESHOLD="0.7"), "tell").body)
    found = told["environment"]
    assert found["THRESHOLD"] == "0.7"
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "thampi-iris-local"
    assert found["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert found["TZ"] == "UTC"
    assert "AWS_SECRET_ACCESS_KEY" not in found
    assert "MY_SETTING" not in found


def test_the_process_imports_what_the_image_would_and_nothing_of_ours(make, tmp_path):
    told = json.loads(ask(make(), "tell").body)
    assert told["path"][:2] == [str(tmp_path / "task"), str(tmp_path / "staged")]
    assert str(Path(thampi.local.__file__).parent) not in told["path"]
    assert told["cwd"] == str(tmp_path / "task")
    assert told["stdin"] == ""


def test_what_the_process_prints_reaches_the_log_line_by_line(make):
    lines = []
    runtime = make(log=lines.append)
    ask(runtime, "raise")
    wait_until(lambda: any("no such flower" in line for line in lines))
    assert lines[:2] == ["starting", "asked for raise"]
    assert any("Traceback" in line for line in lines)


def test_a_function_that_raises_has_failed_and_says_with_what(make):
    runtime = make()
    ending = ask(runtime, "raise")
    assert ending.ending == "failed"
    assert json.loads(ending.body)["errorType"] == "ValueError"
    assert ending.message == "ValueError: no such flower"
    assert ask(runtime, "tell").ending == "answered"


def test_a_process_that_ends_in_the_middle_has_died_and_the_next_request_starts_another(make):
    lines = []
    runtime = make(log=lines.append)
    before = pid_of(runtime)
    ending = ask(runtime, "exit")
    assert ending.ending == "died"
    assert "exit status 3" in ending.message
    assert json.loads(ending.body)["errorType"] == "Runtime.ExitError"
    assert lines.count("starting") == 1
    assert pid_of(runtime) != before
    assert lines.count("starting") == 2


def test_a_process_that_is_killed_has_died_by_that_signal(make):
    runtime = make()
    pid = pid_of(runtime)
    threading.Timer(0.3, os.kill, [pid, signal.SIGKILL]).start()
    assert "SIGKILL" in ask(runtime, "sleep", seconds=20).message


def test_a_process_that_ended_while_nobody_asked_costs_no_request(make):
    runtime = make()
    ending = ask(runtime, "end soon")
    pid = json.loads(ending.body)["pid"]
    wait_until(lambda: not runs(pid))
    assert ask(runtime, "tell").ending == "answered"


def test_when_the_time_is_up_the_process_is_killed_and_the_next_request_starts_another(make):
    lines = []
    runtime = make(timeout_s=1, log=lines.append)
    before = pid_of(runtime)
    began = time.monotonic()
    ending = ask(runtime, "sleep", seconds=20)
    assert ending.ending == "timed out"
    assert 1 <= time.monotonic() - began < 4
    assert "timeout_s = 1" in ending.message
    assert "Task timed out after 1.00 seconds" in json.loads(ending.body)["errorMessage"]
    assert any("Task timed out" in line for line in lines)
    assert not runs(before)
    assert pid_of(runtime) != before


def test_a_process_that_cant_start_is_an_ending_and_is_tried_again(make, tmp_path):
    mended = tmp_path / "mended"
    runtime = make(FIRST=f"if not os.path.exists({str(mended)!r}): raise SystemExit('the disk is gone')")
    ending = ask(runtime, "tell")
    assert ending.ending == "died"
    assert "exit status 1" in ending.message
    mended.touch()
    assert ask(runtime, "tell").ending == "answered"


def test_what_a_process_reports_of_its_start_is_what_the_caller_hears(make):
    report = "LambdaRuntimeClient(os.environ['AWS_LAMBDA_RUNTIME_API'], False).post_init_error"
    told = {"errorMessage": "no model", "errorType": "BundleError", "stackTrace": []}
    ending = ask(make(FIRST=f"{report}({told}); sys.exit(1)"), "tell")
    assert (ending.ending, ending.message) == ("failed", "BundleError: no model")


def test_an_answer_that_lambda_would_not_let_through_has_failed_and_the_process_lives_on(make):
    runtime = make()
    pid = pid_of(runtime)
    assert ask(runtime, "answer much", size=6_200_000).ending == "answered"
    ending = ask(runtime, "answer much", size=6_400_000)
    assert ending.ending == "failed"
    assert "6.1 MB" in ending.message
    assert pid_of(runtime) == pid


def test_an_event_of_six_megabytes_arrives_whole(make):
    text = "x" * 6_000_000
    assert json.loads(ask(make(), "tell", text=text).body)["event"]["text"] == text


def test_requests_at_the_same_time_are_answered_one_after_the_other(make):
    runtime = make()
    endings = []
    threads = [threading.Thread(target=lambda: endings.append(ask(runtime, "tell"))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ending.ending for ending in endings] == ["answered"] * 10
    assert len({json.loads(ending.body)["pid"] for ending in endings}) == 1


def test_closing_ends_the_process_and_what_it_started_in_the_middle_of_a_request(make):
    runtime = make()
    started = json.loads(ask(runtime, "start another").body)
    pid = pid_of(runtime)
    endings = []
    thread = threading.Thread(target=lambda: endings.append(ask(runtime, "sleep", seconds=60)))
    thread.start()
    time.sleep(0.3)
    runtime.close()
    thread.join(5)
    assert [ending.ending for ending in endings] == ["died"]
    wait_until(lambda: not runs(pid) and not runs(started))
    assert ask(runtime, "tell").ending == "died"
    assert not runs(pid)


def test_what_a_dead_process_started_does_not_outlive_it(make):
    runtime = make()
    started = json.loads(ask(runtime, "start another").body)
    ask(runtime, "exit")
    wait_until(lambda: not runs(started))


PARENT = """
import json, os, sys
from pathlib import Path
from thampi.local.runtime_api import Runtime

def tell(text):  # in one piece: two threads do it
    os.write(1, f"{text}\\n".encode())

runtime = Runtime(Path(sys.executable), path=[Path(sys.argv[1])], folder=Path(sys.argv[1]), environment={}, name="f",
                  memory_mb=512, timeout_s=60, log=tell)
tell(json.loads(runtime.invoke(b'{"do": "start another"}').body))
tell(json.loads(runtime.invoke(b'{"do": "tell"}').body)["pid"])
runtime.invoke(json.dumps({"do": sys.argv[2], "seconds": 60}).encode())
"""


@pytest.mark.parametrize("busy_with", ["sleep", "hold the interpreter"])
def test_the_process_dies_with_the_one_that_started_it_even_when_that_is_killed(make, tmp_path, busy_with):
    make()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "staged"), busy_with], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        said = (line.strip() for line in parent.stdout)
        pids = [int(next(line for line in said if line.isdigit())) for _ in range(2)]
        next(line for line in said if line == f"asked for {busy_with}")
        time.sleep(0.2)
        assert all(map(runs, pids))
        parent.kill()
    wait_until(lambda: not any(map(runs, pids)), 5)


def test_where_awslambdaric_has_no_native_half_ours_takes_its_place(make, tmp_path):
    # As on macOS and Windows, `runtime_client` can't be imported.
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text("import sys; sys.modules['runtime_client'] = None")
    runtime = make(path=[hiding], timeout_s=3)
    told = json.loads(ask(runtime, "tell", word="ß").body)
    assert told["client"] == str(Path(thampi.local.__file__).with_name("runtime_client.py"))
    assert told["event"]["word"] == "ß"
    assert 1000 < told["remaining_ms"] <= 3000
    assert ask(runtime, "raise").message == "ValueError: no such flower"
    assert ask(runtime, "answer much", size=6_400_000).ending == "failed"
    assert ask(runtime, "sleep", seconds=10).ending == "timed out"
    assert pid_of(runtime) != told["pid"]


def test_a_proxy_in_the_environment_is_not_asked_for_the_runtime_api(make, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert ask(make(), "tell").ending == "answered"
