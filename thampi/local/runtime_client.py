"""The native half of awslambdaric, in Python: it is built on Linux only, and `thampi run --no-docker` is for all.

Loaded by `guarded.py` under the name that awslambdaric imports, where that can't be imported.
"""

import http.client
import os

_PREFIX = "/2018-06-01/runtime/invocation/"
_HEADERS = (
    "Lambda-Runtime-Aws-Request-Id",
    "Lambda-Runtime-Trace-Id",
    "Lambda-Runtime-Invoked-Function-Arn",
    "Lambda-Runtime-Client-Context",
    "Lambda-Runtime-Cognito-Identity",
    "Content-Type",
)
_user_agent = "thampi"


def initialize_client(user_agent: str) -> None:
    """Remember how to name ourselves."""
    global _user_agent
    _user_agent = user_agent


def next() -> tuple[bytes, dict[str, object]]:  # noqa: A001 - the name that awslambdaric calls
    """Wait for the next invocation; return its event and what Lambda says of it."""
    status, headers, body = _ask("GET", "next", None, {})
    if status != http.client.OK:
        raise RuntimeError(f"Failed to get next (HTTP {status})")
    told: dict[str, object] = {name: headers.get(name) for name in _HEADERS}
    told["Lambda-Runtime-Deadline-Ms"] = int(headers.get("Lambda-Runtime-Deadline-Ms", "0"))
    return body, told


def post_invocation_result(request_id: str, body: bytes, content_type: str, invocation_id: str | None = None) -> None:
    """Give the answer to an invocation."""
    _post(f"{request_id}/response", body, {"Content-Type": content_type})


def post_error(request_id: str, error: str, xray_fault: str, invocation_id: str | None = None) -> None:
    """Say how an invocation failed."""
    _post(f"{request_id}/error", error.encode(), {"Content-Type": "application/json"})


def _post(path: str, body: bytes, headers: dict[str, str]) -> None:
    status, _, answer = _ask("POST", path, body, headers)
    if status != http.client.ACCEPTED:
        raise RuntimeError(f"Failed to post {path} (HTTP {status}): {answer!r}")


def _ask(
    method: str, path: str, body: bytes | None, headers: dict[str, str]
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        connection.request(method, _PREFIX + path, body, {"User-Agent": _user_agent, **headers})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
