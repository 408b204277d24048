"""AWS's Runtime Interface Emulator in a container: asks it, and tells apart what it answers.

Its status says nothing: a function that raised is a 200, and so is a timeout. It starts the function at the first
invocation, has no header for function errors, and crashes when two invocations overlap. How a process ended that
could not start it says in its log only.
"""

import contextlib
import http.client
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from thampi.local import invoked
from thampi.local.invoked import Invoked
from thampi.local.wire import LOOPBACK

_INVOCATIONS = "/2015-03-31/functions/function/invocations"
_TIMED_OUT = re.compile(rb"Task timed out after [0-9.]+ seconds")
_EXITED = re.compile(r"Runtime exited (?:with error: (?P<how>.+)|without providing a reason)")
_OWN = re.compile(r"(START|END|REPORT) RequestId: |.{10,30} \[[A-Z]+\] \(rapid\) ")
_EXIT_LOGGED = re.compile(r"Process runtime-\d+ exited: (?P<how>.+)")
_LOG_LAG_S = 1  # the log comes by way of the engine
_BEYOND_S = 60  # the emulator itself ends what takes too long; this is for one that hangs


@dataclass(frozen=True)
class Emulator:
    """The emulator on a port of this machine; show it its log with `hear`."""

    port: int
    memory_mb: int
    timeout_s: int
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    _exits: "queue.SimpleQueue[str]" = field(default_factory=queue.SimpleQueue, repr=False, compare=False)

    def await_listening(self, is_running: Callable[[], bool], limit_s: float = 30) -> bool:
        """Wait until it takes requests; False when its container stops, or it doesn't within the limit."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            # An engine's proxy takes connections before the emulator does: only an answer says that it's there.
            with contextlib.suppress(OSError, http.client.HTTPException):
                self._exchange("GET", "/", b"", 5)
                return True
            if not is_running():
                return False
            time.sleep(0.05)
        return False

    def hear(self, line: str) -> bool:
        """Take notice of a line of the container's log; say whether it is the emulator's own, not the model's."""
        if exited := _EXIT_LOGGED.search(line):
            self._exits.put(exited["how"])
        return _OWN.match(line) is not None

    def invoke(self, payload: bytes) -> Invoked:
        """Have one event answered; the next caller waits until it's done. Never asks twice."""
        with self._turn:
            while not self._exits.empty():
                self._exits.get()
            try:
                status, body = self._exchange("POST", _INVOCATIONS, payload, self.timeout_s + _BEYOND_S)
            except TimeoutError:
                return invoked.timed_out(self.timeout_s)
            except (OSError, http.client.HTTPException) as error:
                how = f"the emulator gives no answer: {type(error).__name__}"
                return invoked.died(how, "if the next request fails as well, start `thampi run` again")
        return self._understand(status, body)

    def _exchange(self, method: str, path: str, payload: bytes, limit_s: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=limit_s)
        with contextlib.closing(connection):
            connection.request(method, path, payload, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def _understand(self, status: int, body: bytes) -> Invoked:
        if not body:
            return self._died(self._heard(), "")
        if _TIMED_OUT.fullmatch(body.strip()):
            return invoked.timed_out(self.timeout_s)
        error = _error_in(body)
        request_id = str(error.get("requestId", ""))
        if error.get("errorType") == "Runtime.ExitError":
            exited = _EXITED.search(str(error["errorMessage"]))
            return self._died(exited["how"] if exited and exited["how"] else "no reason given", request_id)
        if error or status != http.client.OK:
            return invoked.failed(body, request_id)
        return invoked.answered(body)

    def _heard(self) -> str:
        try:
            return self._exits.get(timeout=_LOG_LAG_S)
        except queue.Empty:
            return "no reason given"

    def _died(self, how: str, request_id: str) -> Invoked:
        advice = "the log has what it said last"
        if how in ("signal: killed", "no reason given"):
            advice = f"it probably needs more than memory_mb = {self.memory_mb}: raise it in thampi.toml"
        return invoked.died(how, advice, request_id)


def _error_in(body: bytes) -> dict[str, Any]:
    """Return the function error that an answer is, empty for all other answers."""
    if b'"errorType"' not in body or b'"errorMessage"' not in body:
        return {}  # without reading megabytes of an answer
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    is_error = isinstance(value, dict) and {"errorType", "errorMessage"} <= value.keys() and "statusCode" not in value
    return value if is_error else {}
