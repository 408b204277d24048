"""A Lambda Runtime API as small as it can be, and the handler as the image runs it, answering what it is given.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from thampi import runtime_files

PATIENCE_S = 30
TIMEOUT_S = 60  # of the function


class RuntimeApi:
    """What Lambda holds of one environment: the events that wait, the answers that came."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.answers: dict[str, queue.Queue[tuple[str, bytes]]] = {}
        self.init_errors: queue.Queue[tuple[dict[str, str], Any]] = queue.Queue()
        self.restore_errors: queue.Queue[Any] = queue.Queue()
        self.asked = threading.Event()  # for a first event: the init is over
        self.restored = threading.Event()
        self.timeout_s: float = TIMEOUT_S

    def send(self, body: bytes) -> queue.Queue[tuple[str, bytes]]:
        request_id = str(uuid.uuid4())
        self.answers[request_id] = queue.Queue()
        self.waiting.put((request_id, body))
        return self.answers[request_id]


def _front_of(api: RuntimeApi) -> type[BaseHTTPRequestHandler]:
    class Front(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.endswith("/runtime/restore/next"):
                api.restored.set()
                self.answer(200)
                return
            assert self.path == "/2018-06-01/runtime/invocation/next"
            api.asked.set()
            request_id, body = api.waiting.get()
            deadline = int((time.time() + api.timeout_s) * 1000)
            self.answer(
                200,
                body,
                {
                    "Lambda-Runtime-Aws-Request-Id": request_id,
                    "Lambda-Runtime-Deadline-Ms": str(deadline),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:210987654321:function:f",
                },
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            *_, name, kind = self.path.split("/")
            if name == "init":
                api.init_errors.put((dict(self.headers), json.loads(body)))
            elif name == "restore":
                api.restore_errors.put(json.loads(body))
            else:
                api.answers[name].put((kind, body))
            self.answer(202, b'{"status": "OK"}')

        def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    return Front


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Say nothing: a process that is killed closes no connection."""


class Running:
    """The handler in a process of its own."""

    def __init__(self, api: RuntimeApi, process: subprocess.Popen[bytes], log: Path) -> None:
        self.api, self.process, self._log = api, process, log

    def invoke(self, event: Any) -> Any:
        """Return the answer to an event; raise FunctionError when it is one."""
        answer = self.api.send(event if isinstance(event, bytes) else json.dumps(event).encode())
        kind, body = self.hear(answer)
        if kind == "error":
            raise FunctionError(json.loads(body))
        return json.loads(body)

    def hear(self, answer: queue.Queue[Any]) -> Any:
        """Return what comes; a process that has ended has nothing more to say."""
        for _ in range(PATIENCE_S * 10):
            with contextlib.suppress(queue.Empty):
                return answer.get(timeout=0.1)
            assert self.process.poll() is None or not answer.empty(), f"it ended: {self.log}"
        raise AssertionError(f"no answer: {self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines that CloudWatch would make metrics of."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith('{"_aws"')]

    @property
    def cold_starts(self) -> list[dict[str, Any]]:
        """The lines about loading the model."""
        return [json.loads(line) for line in self.log.splitlines() if line.startswith('{"thampi":"cold start"')]


class FunctionError(Exception):
    """What a direct caller gets for a failure."""

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said["errorMessage"])
        self.said = said


@contextlib.contextmanager
def running(folder: Path, **environ: str) -> Iterator[Running]:
    """Run the handler from its files as they lie in the image, in `folder`."""
    staged, cwd, log = folder / "opt-thampi", folder / "task", folder / "log"
    runtime_files.stage_runtime(staged)
    cwd.mkdir()
    api = RuntimeApi()
    server = _Server(("127.0.0.1", 0), _front_of(api))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(staged),
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}",
        "THAMPI_NAME": "iris",
    } | environ
    command = [sys.executable, "-m", "thampi_handler"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Running(api, process, log)
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()
