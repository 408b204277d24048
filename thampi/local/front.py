"""Plain HTTP on localhost in front of one environment, as API Gateway stands in front of Lambda.

A request becomes the event of an HTTP API, and the function's answer becomes the answer. There is one environment, so
one request is in flight and the others wait for their turn: the emulator crashes when two overlap.
"""

import base64
import contextlib
import errno
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from thampi.errors import ConfigError
from thampi.local import wire
from thampi.local.invoked import Invoked

LARGEST_EVENT = 6_291_456  # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PLACES = 200  # for those who wait: each has an open file, and macOS gives a process 256
_DIRECT = re.compile(r"/2015-03-31/functions/[^/]+/invocations")
_MB = 1024 * 1024
# A host of API Gateway's own: behind any other, the handler expects the path mapping of a custom domain.
_DOMAIN = "thampi.execute-api.localhost.amazonaws.com"

Invoke = Callable[[bytes], Invoked]


class Front:
    """A port of this machine: taken when it is made, answering while `serving`."""

    def __init__(self, port: int) -> None:
        with _explained(port):
            self._server = _Server(port)
        self.port = self._server.server_port

    @contextlib.contextmanager
    def serving(self, invoke: Invoke) -> Iterator[None]:
        """Answer requests with `invoke`, one at a time, while the block runs."""
        self._server.invoke = invoke
        with contextlib.ExitStack() as stack:
            with _explained(self.port):
                stack.enter_context(wire.serving(self._server))
            yield

    def close(self) -> None:
        """Let the port go."""
        self._server.server_close()


def event(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes, *, source_ip: str, request_id: str
) -> dict[str, Any]:
    """Make the event of an HTTP API (payload 2.0) from a request.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    path, query = _split(target)
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]},{value}" if key in joined else value
    cookies = [cookie.strip() for cookie in joined.pop("cookie", "").split(";") if cookie.strip()]
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameters[name] = f"{parameters[name]},{value}" if name in parameters else value
    now = time.time()
    made: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": _DOMAIN.partition(".")[0],
            "domainName": _DOMAIN,
            "domainPrefix": _DOMAIN.partition(".")[0],
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        made["cookies"] = cookies
    if parameters:
        made["queryStringParameters"] = parameters
    if body:
        try:
            made["body"] = body.decode()
        except UnicodeDecodeError:
            made |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    return made


def _split(target: str) -> tuple[str, str]:
    """Return path and query of a request's target, which a proxy's client writes as a whole URL."""
    parts = urlsplit(target) if "://" in target.partition("?")[0] else None
    if parts is not None:
        return parts.path or "/", parts.query
    path, _, query = target.partition("?")
    return path or "/", query


class _Full(Exception):  # noqa: N818 - an answer, not an accident
    pass


class _Turns:
    """Lets one at a time pass, in the order in which they came."""

    def __init__(self, places: int) -> None:
        self._places, self._lock = places, threading.Lock()
        self._taken, self._waiting = False, deque[threading.Event]()

    @contextlib.contextmanager
    def turn(self) -> Iterator[bool]:
        """Hold the turn while the block runs; yield whether one had to wait. Raises _Full without waiting."""
        mine = threading.Event()
        with self._lock:
            waits = self._taken
            if waits and len(self._waiting) >= self._places:
                raise _Full
            self._taken = True
            if waits:
                self._waiting.append(mine)
        if waits:
            mine.wait()
        try:
            yield waits
        finally:
            with self._lock:
                if self._waiting:
                    self._waiting.popleft().set()
                else:
                    self._taken = False


class _Server(wire.Server):
    invoke: Invoke

    def __init__(self, port: int) -> None:
        super().__init__(port, _Exchange)
        self.turns = _Turns(PLACES)


class _Exchange(wire.Exchange):
    server: _Server

    def _answer(self) -> None:
        self._request_id = str(uuid.uuid4())
        try:
            self._pass_on(self.body(LARGEST_EVENT))
        except wire.Refused as refused:
            self._refuse_unread(refused)
        except _Full:
            self._refuse(503, "busy", f"{PLACES} requests are waiting already: send fewer at once")

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer  # noqa: N815 - as http.server says

    def _pass_on(self, body: bytes) -> None:
        direct = _DIRECT.fullmatch(_split(self.path)[0]) is not None
        if direct and self.command != "POST":
            return self._refuse(405, "method_not_allowed", "a direct invocation is a POST", [("Allow", "POST")])
        payload = (body or b"{}") if direct else self._event(body)
        if len(payload) > LARGEST_EVENT:
            return self._refuse(413, "too_large", _too_large(len(payload)))
        with self.server.turns.turn() as waited:
            if waited and self.is_gone():
                self.close_connection = True
                return None
            invoked = self.server.invoke(payload)
        self._request_id = invoked.request_id or self._request_id
        return self._give_directly(invoked) if direct else self._give(invoked)

    def _event(self, body: bytes) -> bytes:
        made = event(
            self.command,
            self.path,
            self.headers.items(),
            body,
            source_ip=str(self.client_address[0]),
            request_id=self._request_id,
        )
        return orjson.dumps(made)

    def _give_directly(self, invoked: Invoked) -> None:
        """Answer as Lambda's Invoke does: 200 also for a function that failed, and a header that says so."""
        headers = [("X-Amz-Executed-Version", "$LATEST"), ("X-Amzn-RequestId", self._request_id)]
        if invoked.ending != "answered":
            headers.append(("X-Amz-Function-Error", "Unhandled"))
        self.respond(200, invoked.body, headers)

    def _give(self, invoked: Invoked) -> None:
        if invoked.ending != "answered":
            status, kind = _REFUSALS[invoked.ending]
            return self._refuse(status, kind, invoked.message)
        try:
            status, headers, body = _unwrap(invoked.body)
        except (ValueError, TypeError, AttributeError):
            return self._refuse(502, "function_failed", "API Gateway could make no HTTP of the function's answer")
        return self.respond(status, body, headers)

    def _refuse(self, status: int, kind: str, message: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        error = {"type": kind, "message": message, "request_id": self._request_id}
        self.respond(status, orjson.dumps({"error": error}), [("X-Request-Id", self._request_id), *headers])

    def _refuse_unread(self, refused: wire.Refused) -> None:
        """Refuse a request that was not read to its end, which ends the connection, too."""
        self.close_connection = True
        if refused.status == 413:
            self._refuse(413, "too_large", _too_large(refused.size))
        else:
            self._refuse(refused.status, "bad_request", refused.message)

    def handle_expect_100(self) -> bool:
        """Tell the client to go on, unless what it wants to send is too large already."""
        self._request_id = str(uuid.uuid4())
        try:
            if (size := wire.declared_length(self.headers)) > LARGEST_EVENT:
                raise wire.Refused(413, "", size)
        except wire.Refused as refused:
            self._refuse_unread(refused)
            return False
        return super().handle_expect_100()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no HTTP, or of a method that nobody has, in our own format."""
        self._request_id = str(uuid.uuid4())
        self._refuse_unread(wire.Refused(int(code), message or "the request can't be read"))


_REFUSALS = {"failed": (502, "function_failed"), "died": (502, "died"), "timed out": (504, "timed_out")}


def _too_large(size: int) -> str:
    return f"the request has {size / _MB:.1f} MB as an event, and Lambda takes no more than 6 MB"


def _unwrap(answer: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return status, headers and body of a proxy response; what has no status is a body by itself."""
    value = orjson.loads(answer)
    if not isinstance(value, dict) or "statusCode" not in value:
        return 200, [], answer
    headers = [(str(name), str(content)) for name, content in (value.get("headers") or {}).items()]
    headers += [("Set-Cookie", str(cookie)) for cookie in value.get("cookies") or ()]
    text = value.get("body") or ""
    body = base64.b64decode(text, validate=True) if value.get("isBase64Encoded") else text.encode()
    return int(value["statusCode"]), headers, body


@contextlib.contextmanager
def _explained(port: int) -> Iterator[None]:
    """Turn the refusals of a port into what the user can do about them."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
            raise
        why = "is taken by another program" if error.errno == errno.EADDRINUSE else "is not for this user"
        raise ConfigError(
            f"port {port} {why}", hint="take another one: --port 8081, or --port 0 for any free one"
        ) from error
