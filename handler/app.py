"""Event -> request -> model.predict -> response; knows no AWS."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from thampi.errors import BundleError
from thampi.runtime.encoding import encode
from thampi.runtime.model import BadRequest, Context
from thampi.runtime.signature.mistakes import InvalidDataError, WrongBatchError

from . import control, events, journal, payload, routes
from .control import ModelFailed
from .events import Request
from .refusals import Refusal, unavailable
from .routes import Route
from .settings import Settings
from .startup import Startup

if TYPE_CHECKING:
    from thampi.runtime.calling import Ask

    from .cache import Cache
    from .cors import Cors
    from .telling import Telling

log = logging.getLogger("thampi")

# Lambda refuses an event of more than 6 MB; its emulator cuts it off there, and what is left is no JSON.
_CUT_OFF = 6_000_000
# Lambda counts all of a response: "Exceeded maximum allowed payload size (6291556 bytes)".
_LARGEST_ANSWER = 6_291_556
_ROOM = 64 * 1024  # for status and headers
# As a text in JSON a body gets longer, at most twice as long: one of this size gets through in any case.
_SURELY_PASSES = _LARGEST_ANSWER // 2 - _ROOM
_NO_HEADERS: Mapping[str, str] = {}


class Invocation(Protocol):
    """What Lambda says of one call; awslambdaric's LambdaContext."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the call."""


class Application:
    """Answers every event that one environment is given."""

    def __init__(
        self, settings: Settings, startup: Startup, write: Callable[[bytes], object] = journal.to_stdout
    ) -> None:
        self._settings, self._startup = settings, startup
        self._journal = journal.Journal(settings, write)
        self._cold = not settings.waits_for_init
        self._telling: Telling | None = None
        self._cors, self._cache = _cors(settings), _cache(settings)

    def handle(self, event: Any, invocation: Invocation) -> Any:
        """Answer one event: a proxy response for a proxy event, the body itself (bytes) for a direct one."""
        began = time.perf_counter()
        if control.asked(event):
            self._cold = False
            return control.answer(
                event["thampi"],
                self._startup,
                lambda data: self._predict_directly(data, invocation),
                invocation.aws_request_id,
            )
        if isinstance(event, bytes) and len(event) >= _CUT_OFF:
            return self._too_large(invocation, began)
        request = events.read(event)
        if request is None:
            return self._direct(event, invocation, began)
        return self._http(request, invocation, began)

    def _http(self, request: Request, invocation: Invocation, began: float) -> dict[str, Any]:
        """Answer a request; whatever goes wrong is an answer, too."""
        request_id, cors = invocation.aws_request_id, self._cors
        headers = {"content-type": "application/json", "x-request-id": request_id}
        route = routes.find(request, self._settings.name)
        try:
            status, body = self._respond(route, request, invocation, headers)
        except Exception as error:
            refusal = _refusal(error, request_id)
            status, body = refusal.status, refusal.body(request_id)
            headers |= refusal.headers
        if cors is not None and cors.add(request, headers):
            status, body = 204, b""  # a preflight, also to a path that isn't there
        response = events.write(request, status, body, headers)
        if len(body) > _SURELY_PASSES and (size := events.size_of(response, body)) > _LARGEST_ANSWER:
            refusal = _answer_too_large(size)
            status = refusal.status
            response = events.write(request, status, refusal.body(request_id), headers)
        self._note(request_id, route or "none", status, began, headers)
        return response

    def _direct(self, event: Any, invocation: Invocation, began: float) -> bytes:
        """Answer a direct call; a refusal is an answer, too, and what is our fault is raised, for Lambda to count."""
        request_id = invocation.aws_request_id
        try:
            body = self._predict_directly(payload.data_of(event), invocation)
        except Exception as error:
            refusal = _refusal(error, request_id)
            self._note(request_id, "direct", refusal.status, began)
            if refusal.status >= 500:
                raise ModelFailed(refusal.message) from None
            return refusal.body(request_id)
        self._note(request_id, "direct", 200, began)
        return body

    def _too_large(self, invocation: Invocation, began: float) -> dict[str, Any]:
        """Answer what was cut off, and so tells no longer who sent it, as a gateway's caller should hear it."""
        request_id = invocation.aws_request_id
        refusal = Refusal(413, "too_large", "the request has more than 6 MB, and Lambda takes no more")
        self._note(request_id, "none", refusal.status, began)
        headers = {"content-type": "application/json", "x-request-id": request_id}
        if self._cors is not None:
            headers |= self._cors.for_anyone
        return {
            "statusCode": refusal.status,
            "headers": headers,
            "body": refusal.body(request_id).decode(),
            "isBase64Encoded": False,
        }

    def _note(
        self, request_id: str, route: str, status: int, began: float, headers: Mapping[str, str] = _NO_HEADERS
    ) -> None:
        latency_ms = (time.perf_counter() - began) * 1000
        hit = None if self._cache is None else headers.get(self._cache.header) == "hit"
        self._journal.note(request_id, route, status, latency_ms, self._cold, hit)
        self._cold = False

    def _respond(
        self, route: Route | None, request: Request, invocation: Invocation, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Return status and body, and add to the headers what belongs to them; raise a Refusal instead."""
        if route is None:
            shown = f"/{self._settings.name or '{name}'}"
            there = f"POST {shown}/predict, GET {shown}/ping, GET {shown} and GET {shown}/openapi.json"
            raise Refusal(404, "not_found", f"nothing is at {request.path}; there are {there}")
        allowed = routes.METHODS[route]
        if request.method not in allowed:
            message = f"{request.method} is not for {request.path}: use {allowed[0]}"
            raise Refusal(405, "method_not_allowed", message, {"allow": ", ".join(allowed)})
        if request.method == "OPTIONS":
            headers["allow"] = ", ".join(allowed)
            return 204, b""
        if route == "predict" and self._cache is not None:
            return 200, self._remembered(self._cache, request, invocation, headers)
        if route == "predict":
            data = payload.data_of(payload.json_of(request, self._settings.max_body_bytes))
            return 200, self._predict(data, request.headers, invocation)
        return 200, self._ping() if route == "ping" else self._told(route, request, headers)

    def _remembered(self, cache: "Cache", request: Request, invocation: Invocation, headers: dict[str, str]) -> bytes:
        """Return what the model said to the same body before, or says now. A body is refused as it would be without."""
        body = payload.body_of(request, self._settings.max_body_bytes)

        def ask() -> bytes:
            return self._predict(payload.data_of(payload.value_of(body)), request.headers, invocation)

        return cache.answer(body, request.headers, headers, ask)

    def _predict_directly(self, data: Any, invocation: Invocation) -> bytes:
        """Return what a direct caller gets; refuse an answer that Lambda would not let through."""
        body = self._predict(data, {}, invocation)
        if len(body) > _LARGEST_ANSWER:
            raise _answer_too_large(len(body))
        return body

    def _predict(self, data: Any, headers: Mapping[str, str], invocation: Invocation) -> bytes:
        ask = self._asking()
        context = Context(
            request_id=invocation.aws_request_id,
            headers=headers,
            name=self._settings.name,
            stage=self._settings.stage,
            properties=self._properties(),
            _remaining=invocation.get_remaining_time_in_millis,
        )
        try:
            result = ask(data, context)
        except BadRequest as error:
            raise Refusal(400, "bad_request", str(error)) from None
        except InvalidDataError as error:
            raise Refusal(422, "invalid_data", str(error), mistakes=error.mistakes) from None
        except WrongBatchError as error:
            log.error("request %s: %s", invocation.aws_request_id, error)
            raise Refusal(500, "model_failed", str(error)) from None
        except KeyboardInterrupt:
            raise
        except BaseException:  # a model that calls sys.exit() must not take the environment with it
            log.exception("the model failed on request %s", invocation.aws_request_id)
            message = "the model failed on this request; the log has the reason under the request's id"
            raise Refusal(500, "model_failed", message) from None
        try:
            return encode({"properties": self._properties(), "result": result})
        except Exception:
            log.exception("the model's answer to request %s has no form in JSON", invocation.aws_request_id)
            message = "the model's answer has no form in JSON; the log has the reason under the request's id"
            raise Refusal(500, "model_failed", message) from None

    def _asking(self) -> "Ask":
        try:
            return self._startup.asking()
        except BundleError as error:
            raise unavailable(error) from None

    def _ping(self) -> bytes:
        """Say that the environment lives, without calling the model; 503 as long as it can't be loaded."""
        self._asking()
        return orjson.dumps({"ping": "pong"})

    def _told(self, route: Route, request: Request, headers: dict[str, str]) -> bytes:
        """Say what is served; a model that can't be loaded is described as long as its thampi.json can be read."""
        try:
            about = self._startup.about()
        except BundleError as error:
            raise unavailable(error) from None
        if self._telling is None:
            from .telling import Telling  # no prediction waits for it

            self._telling = Telling(self._settings)
        return self._telling.answer(route, request, about, headers)

    def _properties(self) -> dict[str, Any]:
        return self._startup.about().properties(self._settings.served_time_utc)


def _cors(settings: Settings) -> "Cors | None":
    """Return who of other sites may read our answers, where a gateway in front doesn't say it."""
    if not settings.cors:
        return None
    from . import cors

    return cors.read(settings.cors)


def _cache(settings: Settings) -> "Cache | None":
    """Return the place for answers that are given again, where the project wants that."""
    if not settings.cache_ttl_s:
        return None
    from .cache import Cache

    # What Lambda might not let through is made anew each time: it may be a 413 in the end.
    return Cache(settings.cache_ttl_s, settings.cache_bytes, _SURELY_PASSES)


def _answer_too_large(size: int) -> Refusal:
    """Return what is said instead of an answer that Lambda would throw away, for words of its own."""
    return Refusal(
        413,
        "too_large",
        f"the model's answer has {size:,} bytes as Lambda counts it, and the limit is {_LARGEST_ANSWER:,}: ask for "
        "less at a time, or have the model write it to S3 and answer where it is",
    )


def _refusal(error: Exception, request_id: str) -> Refusal:
    """Return what an error means to the caller; one that is no refusal is our own bug."""
    if isinstance(error, Refusal):
        return error
    log.error("thampi itself failed on request %s", request_id, exc_info=error)
    return Refusal(500, "internal", "thampi failed on this request; the log has the reason")
