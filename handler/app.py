"""Event -> request -> model.predict -> response; knows no AWS."""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import orjson

from thampi.errors import BundleError
from thampi.runtime.encoding import encode
from thampi.runtime.model import BadRequest, Context

from . import events, journal, routes
from .events import Answer, Request
from .settings import MIB, Settings
from .startup import Startup

log = logging.getLogger("thampi")


class Invocation(Protocol):
    """What Lambda says of one call; awslambdaric's LambdaContext."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the call."""


class Refusal(Exception):  # noqa: N818 - an answer, not an accident
    """The caller asked for something that can't be had: a 4xx, or 5xx when the fault is ours."""

    def __init__(self, status: int, kind: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ModelFailed(Exception):  # noqa: N818 - its name is what a direct caller reads as errorType
    """Raised for a direct call, so that Lambda sees a function error."""


class Application:
    """Answers every event that one environment is given."""

    def __init__(self, settings: Settings, startup: Startup, write: Callable[[bytes], None] = journal.write) -> None:
        self._settings, self._startup, self._write = settings, startup, write
        self._cold = not settings.waits_for_init

    def handle(self, event: Any, invocation: Invocation) -> Any:
        """Answer one event: a proxy response for a proxy event, the body itself (bytes) for a direct one."""
        began = time.perf_counter()
        if isinstance(event, dict) and "thampi" in event and "data" not in event:
            return self._control(event["thampi"], invocation)
        request = events.read(event)
        route, answer = self._answer(request, event, invocation)
        latency_ms = (time.perf_counter() - began) * 1000
        request_id = invocation.aws_request_id
        self._write(
            journal.line(
                self._settings,
                request_id=request_id,
                route=route,
                status=answer.status,
                latency_ms=latency_ms,
                cold_start=self._cold,
            )
        )
        self._cold = False
        if request is not None:
            return events.write(request, answer)
        if answer.status >= 500:
            raise ModelFailed(orjson.loads(answer.body)["error"]["message"])
        return answer.body

    def _answer(self, request: Request | None, event: Any, invocation: Invocation) -> tuple[str, Answer]:
        """Return which route was taken and its answer; whatever goes wrong is an answer, too."""
        route = "direct" if request is None else routes.find(request, self._settings.name) or "none"
        headers = {"content-type": "application/json", "x-request-id": invocation.aws_request_id}
        try:
            if request is None:
                status, body = 200, self._predict(_data_of(event), {}, invocation)
            else:
                status, body = self._respond(route, request, invocation)
        except Refusal as refusal:
            error = {
                "type": refusal.kind,
                "message": refusal.message,
                "request_id": invocation.aws_request_id,
            }
            return route, Answer(refusal.status, orjson.dumps({"error": error}), headers | refusal.headers)
        if request is not None and request.method == "OPTIONS":
            headers = headers | {"allow": ", ".join(routes.METHODS[route])}  # type: ignore[index]
        return route, Answer(status, body, headers)

    def _respond(self, route: str, request: Request, invocation: Invocation) -> tuple[int, bytes]:
        if route == "none":
            shown = f"/{self._settings.name or '{name}'}"
            raise Refusal(404, "not_found", f"nothing is at {request.path}; there are POST {shown}/predict, "
                                            f"GET {shown}/ping and GET {shown}")  # fmt: skip
        allowed = routes.METHODS[route]  # type: ignore[index]
        if request.method not in allowed:
            message = f"{request.method} is not for {request.path}: use {allowed[0]}"
            raise Refusal(405, "method_not_allowed", message, allow=", ".join(allowed))
        if request.method == "OPTIONS":
            return 204, b""
        if route == "predict":
            data = _data_of(_json_of(request, self._settings.max_body_bytes))
            return 200, self._predict(data, request.headers, invocation)
        body = self._ping() if route == "ping" else self._about()
        return 200, b"" if request.method == "HEAD" else body

    def _predict(self, data: Any, headers: Any, invocation: Invocation) -> bytes:
        model = self._loaded()
        properties = self._properties()
        context = Context(
            request_id=invocation.aws_request_id,
            headers=headers,
            name=self._settings.name,
            stage=self._settings.stage,
            properties=properties,
            _remaining=invocation.get_remaining_time_in_millis,
        )
        try:
            return encode({"properties": properties, "result": model.predict(data, context)})
        except BadRequest as error:
            raise Refusal(400, "bad_request", str(error)) from error
        except (Exception, SystemExit):
            log.exception("the model failed on request %s", invocation.aws_request_id)
            message = "the model failed on this request; the log has the reason under the request's id"
            raise Refusal(500, "model_failed", message) from None

    def _loaded(self) -> Any:
        try:
            return self._startup.model()
        except BundleError as error:
            raise _unavailable(error) from None

    def _ping(self) -> bytes:
        """Say that the environment lives, without calling the model; 503 when it never will answer."""
        if self._startup.failure is not None:
            raise _unavailable(self._startup.failure)
        return orjson.dumps({"ping": "pong"})

    def _about(self) -> bytes:
        try:
            about = self._startup.about()
        except BundleError as error:
            raise _unavailable(error) from None
        return orjson.dumps(
            {
                "name": self._settings.name,
                "stage": self._settings.stage,
                "properties": self._properties(),
                "python": about.python,
                "distributions": about.distributions,
                "example": about.example,
            }
        )

    def _properties(self) -> dict[str, Any]:
        return self._startup.about().properties(self._settings.served_time_utc)

    def _control(self, word: Any, invocation: Invocation) -> bytes:
        """Answer thampi's own questions: is it alive, is the model loaded, does it answer its example."""
        if word not in ("ping", "warm", "trial"):
            message = f"`thampi` is one of ping, warm and trial, not {word!r}"
            error = {"type": "bad_request", "message": message, "request_id": invocation.aws_request_id}
            return orjson.dumps({"error": error})
        answer: dict[str, Any] = {"thampi": word}
        if word != "ping":
            try:
                self._startup.model()
            except BundleError as error:
                raise ModelFailed(str(error)) from None
        if word == "trial" and self._startup.about().example is not None:
            try:
                body = self._predict(self._startup.about().example, {}, invocation)
            except Refusal as refusal:
                raise ModelFailed(f"the example was answered with {refusal.status}: {refusal.message}") from None
            answer["answer"] = orjson.Fragment(body)
        return orjson.dumps(answer)


def _unavailable(failure: BundleError) -> Refusal:
    return Refusal(503, "model_unavailable", f"the model can't be loaded: {failure.message}")


def _json_of(request: Request, max_bytes: int) -> Any:
    """Return the request's body as a value; refuse what is too large, of another type, or not JSON."""
    body = request.body
    if body is not None and len(body) > max_bytes:
        message = f"the body has {len(body) / MIB:.1f} MB, and the limit is {max_bytes / MIB:g} MB"
        raise Refusal(413, "too_large", message)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        message = f"the body is sent as {kind}: send JSON, with the header Content-Type: application/json"
        raise Refusal(415, "unsupported_media_type", message)
    if not body:
        message = "the body is marked as base64 and isn't" if body is None else 'the body is empty: send {"data": …}'
        raise Refusal(400, "not_json", message)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {error}") from None


def _data_of(value: Any) -> Any:
    if not isinstance(value, dict) or "data" not in value:
        raise Refusal(400, "no_data", 'the request has no `data`: send {"data": …}')
    return value["data"]
