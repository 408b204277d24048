"""What a request carries: its body as JSON, and in that the `data` that the model gets."""

from typing import Any

import orjson

from .events import Request
from .refusals import Refusal
from .settings import MIB


def json_of(request: Request, max_bytes: int) -> Any:
    """Return the request's body as a value; refuse what is too large, empty, of another type, or not JSON."""
    return value_of(body_of(request, max_bytes))


def body_of(request: Request, max_bytes: int) -> bytes:
    """Return the request's body as it came; refuse what is too large, empty, or of another type than JSON."""
    body = request.body
    if body is None:
        raise Refusal(400, "not_json", "the body can't be read: it is no text, or marked as base64 and isn't")
    if len(body) > max_bytes:
        message = f"the body has {len(body) / MIB:.2f} MB, and the limit is {max_bytes / MIB:g} MB"
        raise Refusal(413, "too_large", message)
    if not body:  # before its type: a gateway makes one up for a request that has neither
        raise Refusal(400, "not_json", 'the body is empty: send {"data": …}')
    if request.headers.get("content-type") != "application/json" or "content-encoding" in request.headers:
        _check_type(request)
    return body


def value_of(body: bytes) -> Any:
    """Return what a body says; refuse one that is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "not_json", f"the body is not JSON: {error}") from None


def data_of(value: Any) -> Any:
    """Return the `data` of a request's body, or of a direct call's event; refuse a value that has none."""
    if isinstance(value, bytes):  # what __main__ hands on when an event can't be parsed
        raise Refusal(400, "not_json", "the event is not JSON")
    if not isinstance(value, dict) or "data" not in value:
        raise Refusal(400, "no_data", 'the request has no `data`: send {"data": …}')
    return value["data"]


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        message = f"the body is sent as {kind}: send JSON, with the header Content-Type: application/json"
        raise Refusal(415, "unsupported_media_type", message)
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise Refusal(415, "unsupported_media_type", f"the body is sent with Content-Encoding {coding}: send it plain")
