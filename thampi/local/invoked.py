"""How one invocation ended: the one thing that the emulator, the process and the front agree on."""

from dataclasses import dataclass
from typing import Literal

import orjson

# answered: the function's answer; failed: it raised, or its answer was refused; the other two: no answer came
Ending = Literal["answered", "failed", "timed out", "died"]


@dataclass(frozen=True)
class Invoked:
    """What came of one invocation."""

    ending: Ending
    body: bytes  # the answer, or {"errorType", "errorMessage", …} as Lambda gives it to a direct caller
    message: str = ""  # unless answered: what happened and what to do, for people
    request_id: str = ""


def answered(body: bytes, request_id: str = "") -> Invoked:
    """Make the ending of an invocation that went well."""
    return Invoked("answered", body, request_id=request_id)


def failed(body: bytes, request_id: str = "") -> Invoked:
    """Make the ending of one that raised; `body` is what Lambda's runtime interface client says of it."""
    return Invoked("failed", body, reason(body), request_id)


def timed_out(timeout_s: int, request_id: str = "") -> Invoked:
    """Make the ending of one that took too long."""
    body = _error("Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds")
    message = f"no answer within timeout_s = {timeout_s}; raise it in thampi.toml, or ask for less in one request"
    return Invoked("timed out", body, message, request_id)


def died(how: str, advice: str, request_id: str = "") -> Invoked:
    """Make the ending of one whose process ended, and say how (`exit status 1`)."""
    body = _error("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with error: {how}")
    return Invoked("died", body, f"the model's process ended without an answer ({how}); {advice}", request_id)


def reason(body: bytes) -> str:
    """Return what a function error says: `ValueError: no such flower`; an error of another form as it is."""
    try:
        said = orjson.loads(body)
        return f"{said['errorType']}: {said['errorMessage']}"
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return body.decode(errors="replace")


def _error(kind: str, message: str) -> bytes:
    return orjson.dumps({"errorType": kind, "errorMessage": message})
