"""What a warm request costs: our handler against a stock awslambdaric handler that echoes, and against itself.

Each side is a fresh process of its own, asked by the same thin Lambda Runtime API, and answers with the numbers that it
was sent. The stock one is the least that anyone could write, `return event`, called directly: JSON in, a dict out,
encoded by awslambdaric. Ours is asked by a function URL's event, whose body is JSON inside of JSON both ways, and
directly; and once more for a model whose requests are checked by its signature and go through `before` and `after`,
against the plain one. A time is from the event's first byte to the answer's last; a round's is the median of its
requests.

    python -m benchmarks.request [--quick] [--json PATH]
"""

import contextlib
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import thampi
from benchmarks import measuring
from benchmarks.measuring import Row
from thampi import runtime_files

BOUNDS = {
    "1 KB URL event / stock echo": 0.85,
    "1 MB URL event / stock echo": 0.20,
    "1 KB described / URL event": 1.10,
    "1 MB described / URL event": 1.10,
}
PATIENCE_S = 900  # for an answer: the longest that Lambda lets a request take
STOCK = "def handler(event, context):\n    return event\n"


class Echo(thampi.Model):
    """Answers with what it was asked."""

    def predict(self, args: Any, context: thampi.Context) -> Any:
        return args


class Described(thampi.Model):
    """Does as much, says by its hints what it takes and gives, and has both hooks."""

    def before(self, data: list[float], context: thampi.Context) -> Any:
        return data

    def predict(self, args: Any, context: thampi.Context) -> Any:
        return args

    def after(self, result: Any, context: thampi.Context) -> list[float]:
        return result


class Environment:
    """One process that answers events, and the Runtime API that it asks for them."""

    def __init__(self, *command: str, python: str = sys.executable, before: Sequence[str] = (), **environ: str) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._process = subprocess.Popen(
            [*before, python, "-m", *command],
            env={"PATH": os.environ["PATH"], "AWS_LAMBDA_RUNTIME_API": address} | environ,
            cwd="/",  # Python looks for modules there first, and the repo has a `thampi`, too
            stdout=subprocess.DEVNULL,
        )
        self._connection = self._accepted()
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer, self._left, self._received = bytearray(1 << 18), bytearray(), 0.0
        self._receive()  # the first request for an event: the init is over

    def __enter__(self) -> "Environment":
        return self

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._listener.close()

    def invoke(self, event: bytes) -> tuple[float, bytes]:
        """Return the seconds that an answer took, and the answer; the process may take `PATIENCE_S` for it."""
        head = (
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: an-id\r\n"
            f"Lambda-Runtime-Deadline-Ms: {(time.time() + PATIENCE_S) * 1000:.0f}\r\n"
            "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:210987654321:function:f\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(event)}\r\n\r\n"
        )
        message = head.encode() + event
        began = time.perf_counter()
        self._connection.sendall(message)
        path, answer = self._receive()
        took = self._received - began
        if not path.endswith("/response"):
            raise RuntimeError(f"{path}: {answer[:500]!r}")
        self._connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        self._receive()  # it asks for the next
        return took, answer

    def _accepted(self) -> socket.socket:
        """Return the connection over which the process asks for events."""
        self._listener.settimeout(0.5)
        for _ in range(2 * PATIENCE_S):
            with contextlib.suppress(TimeoutError):
                return self._listener.accept()[0]
            if self._process.poll() is not None:
                break
        self._process.kill()
        self._process.wait()
        self._listener.close()
        raise RuntimeError("the process has asked for no event")

    def _receive(self) -> tuple[str, bytes]:
        """Return path and body of the next request."""
        while b"\r\n\r\n" not in self._left:
            self._more()
        head, _, rest = bytes(self._left).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", 0))
        self._left = bytearray(rest)
        while len(self._left) < size:
            self._more()
        body, self._left = bytes(self._left[:size]), self._left[size:]
        return lines[0].split(" ")[1], body

    def _more(self) -> None:
        size = self._connection.recv_into(self._buffer)
        self._received = time.perf_counter()  # before anything is parsed: that is no time of the process
        if not size:
            raise RuntimeError("the process has ended")
        self._left += memoryview(self._buffer)[:size]


def numbers(size: int) -> list[float]:
    """Return floats whose JSON takes about `size` bytes."""
    source = random.Random(size)
    return [source.random() for _ in range(size // 20)]


def url_event(body: str) -> bytes:
    """Return the event of a function URL."""
    path = Path(__file__).resolve().parents[1] / "tests/handler/events/function-url.json"
    return json.dumps(json.loads(path.read_text("utf-8")) | {"body": body}).encode()


def contender(
    start: Callable[[], Environment],
    event: bytes,
    wanted: Any,
    found_in: Callable[[Any], Any],
    count: int,
    refused: bytes | None = None,
) -> Callable[[], float]:
    """Return a turn: a fresh process, some requests to get warm, and the median of `count` more, in microseconds.

    The answer has to be `wanted`; an event that has to be `refused` shows that requests are checked.
    """

    def turn() -> float:
        with start() as environment:
            _, answer = environment.invoke(event)
            if found_in(json.loads(answer)) != wanted:
                raise RuntimeError(f"a wrong answer: {answer[:500]!r}")
            if refused is not None and json.loads(environment.invoke(refused)[1])["statusCode"] != 422:
                raise RuntimeError("a wrong request was not refused")
            for _ in range(count // 4):
                environment.invoke(event)
            return statistics.median(environment.invoke(event)[0] for _ in range(count)) * 1e6

    return turn


def measure(folder: Path, size: str, data: list[float], rounds: int, count: int) -> list[Row]:
    """Let the sides take their turns with one size of data."""
    opt = str(folder / "opt")

    def start_ours(model: str = "echo") -> Environment:
        where = str(folder / model)
        return Environment("thampi_handler", PYTHONPATH=opt, THAMPI_MODEL=where, THAMPI_NAME="iris")

    def result_of(answer: Any) -> Any:
        return json.loads(answer["body"])["result"]

    def start_stock() -> Environment:
        return Environment("awslambdaric", "stock.handler", PYTHONPATH=str(folder))

    body = json.dumps({"data": data})
    wrong = url_event(json.dumps({"data": [*data[:-1], "x"]}))
    turns = {
        "stock echo": contender(start_stock, body.encode(), data, lambda answer: answer["data"], count),
        "URL event": contender(start_ours, url_event(body), data, result_of, count),
        "described": contender(lambda: start_ours("described"), url_event(body), data, result_of, count, wrong),
        "direct": contender(start_ours, body.encode(), data, lambda answer: answer["result"], count),
    }
    found = measuring.interleaved(turns, rounds)
    rows = [Row(f"{size} {name}, p50 us", statistics.median(times)) for name, times in found.items()]
    for name, peer in (("URL event", "stock echo"), ("direct", "stock echo"), ("described", "URL event")):
        metric = f"{size} {name} / {peer}"
        rows.append(Row(metric, measuring.median_ratio(found[name], found[peer]), BOUNDS.get(metric)))
    return rows


def main() -> int:
    """Measure both sizes; print the table."""
    asked = measuring.arguments(__doc__)
    if hasattr(os, "sched_setaffinity"):
        # One processor for both ends: waking another takes as long as the request, and not always equally long.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rounds = 5 if asked.quick else 9
    with tempfile.TemporaryDirectory(prefix="thampi-") as name:
        folder = Path(name)
        runtime_files.stage_runtime(folder / "opt")
        (folder / "stock.py").write_text(STOCK, "utf-8")
        thampi.save(Echo(), "echo", folder, verify=False)
        thampi.save(Described(), "described", folder, verify=False)
        rows = measure(folder, "1 KB", numbers(1024), rounds, 400 if asked.quick else 1000)
        rows += measure(folder, "1 MB", numbers(1024 * 1024), rounds, 8 if asked.quick else 40)
    return measuring.report(rows, asked.json)


if __name__ == "__main__":
    sys.exit(main())
