"""What the emulator answers, told apart. Its answers here are those that were recorded."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from thampi.local.emulator import Emulator


class Recorded(ThreadingHTTPServer):
    """Answers every invocation with what it was told to, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, status, body, delay=0.0):
        self.status, self.body, self.delay, self.asked = status, body, delay, []
        self.active, self.overlapped = 0, False
        super().__init__(("127.0.0.1", 0), Exchange)


class Exchange(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(404, b"404 page not found\n")

    def do_POST(self):
        self.server.active += 1
        self.server.overlapped |= self.server.active > 1
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        time.sleep(self.server.delay)
        self.server.active -= 1
        if self.server.status is None:
            self.connection.close()
        else:
            self.answer(self.server.status, self.server.body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def emulate():
    """Return what starts a server with one recorded answer and gives it with its client."""
    with contextlib.ExitStack() as stack:

        def emulate(status, body, *, delay=0.0, timeout_s=5):
            server = Recorded(status, body, delay)
            stack.callback(server.server_close)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
            thread.start()
            stack.callback(server.shutdown)
            return server, Emulator(server.server_port, memory_mb=512, timeout_s=timeout_s)

        yield emulate


def ending_of(emulate, status, body):
    return emulate(status, body)[1].invoke(b"{}")


def test_the_event_goes_where_the_emulator_expects_it_and_its_answer_comes_back(emulate):
    server, client = emulate(200, b'{"statusCode": 200, "body": "{}"}')
    ending = client.invoke(b'{"data": 1}')
    assert (ending.ending, ending.body) == ("answered", b'{"statusCode": 200, "body": "{}"}')
    assert server.asked == [("/2015-03-31/functions/function/invocations", b'{"data": 1}')]


@pytest.mark.parametrize(
    "answer",
    [
        b"7",
        b'["errorType", "errorMessage"]',
        b'{"result": {"errorType": "none", "errorMessage": ""}}',
        b'{"statusCode": 200, "errorType": "a", "errorMessage": "b"}',
        b'"Task timed out after 2.00 seconds"',
    ],
)
def test_an_answer_that_only_looks_like_a_failure_is_an_answer(emulate, answer):
    assert ending_of(emulate, 200, answer).ending == "answered"


def test_a_function_that_raised_is_known_by_its_body(emulate):
    body = b'{"errorMessage": "no such flower", "errorType": "ModelFailed", "requestId": "r-1", "stackTrace": []}'
    ending = ending_of(emulate, 200, body)
    assert (ending.ending, ending.message, ending.request_id) == ("failed", "ModelFailed: no such flower", "r-1")
    assert ending.body == body


def test_a_timeout_is_known_by_its_text_and_named_by_its_setting(emulate):
    ending = ending_of(emulate, 200, b"Task timed out after 5.00 seconds")
    assert ending.ending == "timed out"
    assert "timeout_s = 5" in ending.message
    assert json.loads(ending.body)["errorType"] == "Sandbox.Timedout"


def test_a_process_that_exited_has_died_with_its_status(emulate):
    body = (
        b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: f9e7 Error: '
        b'Runtime exited with error: exit status 3"}'
    )
    ending = ending_of(emulate, 502, body)
    assert ending.ending == "died"
    assert "exit status 3" in ending.message
    assert "memory_mb" not in ending.message


def test_a_process_that_was_killed_probably_lacked_memory(emulate):
    body = (
        b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: e Error: '
        b'Runtime exited with error: signal: killed"}'
    )
    ending = ending_of(emulate, 502, body)
    assert ending.ending == "died"
    assert "memory_mb = 512" in ending.message


def test_an_empty_answer_means_that_the_process_died_and_only_the_log_says_how(emulate):
    _, client = emulate(200, b"", delay=0.2)
    logged = "21 Nov 2026 04:06:34,262 [WARNING] (rapid) Process runtime-1 exited: exit status 7"
    threading.Timer(0.1, client.hear, [logged]).start()
    ending = client.invoke(b"{}")
    assert ending.ending == "died"
    assert "exit status 7" in ending.message
    assert "memory_mb" not in ending.message


def test_an_empty_answer_and_a_log_that_is_silent_probably_mean_too_little_memory(emulate):
    _, client = emulate(200, b"")
    client.hear("Process runtime-1 exited: exit status 7")  # that was before
    assert "memory_mb = 512" in client.invoke(b"{}").message


def test_an_answer_that_is_too_large_has_failed_and_not_died(emulate):
    body = (
        b'{"errorType":"Function.ResponseSizeTooLarge","errorMessage":'
        b'"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}'
    )
    ending = ending_of(emulate, 502, body)
    assert ending.ending == "failed"
    assert "6291556" in ending.message


def test_a_function_that_could_not_start_has_failed_with_its_reason(emulate):
    body = b'{"errorType":"Runtime.ImportModuleError","errorMessage":"No module named \'sklearn\'"}'
    assert ending_of(emulate, 502, body).message == "Runtime.ImportModuleError: No module named 'sklearn'"


def test_a_connection_that_breaks_off_means_that_it_died(emulate):
    assert ending_of(emulate, None, b"").ending == "died"


def test_nobody_at_the_port_means_that_it_died(emulate):
    server, client = emulate(200, b"1")
    server.shutdown()
    server.server_close()
    ending = client.invoke(b"{}")
    assert ending.ending == "died"
    assert "ConnectionRefusedError" in ending.message
    assert "thampi run" in ending.message


def test_two_invocations_never_overlap(emulate):
    server, client = emulate(200, b"1", delay=0.02)
    threads = [threading.Thread(target=client.invoke, args=(b"{}",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(server.asked) == 10
    assert not server.overlapped


def test_a_request_that_failed_is_not_sent_again(emulate):
    server, client = emulate(None, b"")
    client.invoke(b"{}")
    assert len(server.asked) == 1


def test_waiting_ends_when_the_emulator_answers_when_its_container_stops_or_at_the_limit(emulate):
    server, client = emulate(200, b"1")
    assert client.await_listening(lambda: True)
    server.shutdown()
    server.server_close()
    assert not client.await_listening(lambda: False)
    began = time.monotonic()
    assert not client.await_listening(lambda: True, limit_s=0.3)
    assert time.monotonic() - began < 3


def test_a_proxy_in_the_environment_is_not_asked(emulate, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert ending_of(emulate, 200, b"1").ending == "answered"


@pytest.mark.parametrize(
    ("line", "own"),
    [
        ("START RequestId: fea1dc1c-d0e8-419f-856f-ae13008874c2 Version: $LATEST", True),
        ("END RequestId: fea1dc1c-d0e8-419f-856f-ae13008874c2", True),
        ("REPORT RequestId: fea1dc1c-d0e8-419f-856f-ae13008874c2\tInit Duration: 0.42 ms", True),
        ("21 Nov 2026 04:06:34,160 [INFO] (rapid) INIT START(type: on-demand, phase: init)", True),
        ("21 Nov 2026 04:06:34,262 [WARNING] (rapid) Process runtime-1 exited: exit status 3", True),
        ("[ERROR]\t2026-11-21T04:11:45.102Z\t\tthe model can't be loaded", False),
        ("the END RequestId: of my own", False),
        ("", False),
    ],
)
def test_the_emulators_own_lines_are_told_from_the_models(emulate, line, own):
    assert emulate(200, b"1")[1].hear(line) is own
