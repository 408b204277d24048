"""thampi's own questions, by a direct call: is it alive, is the model loaded, does it answer its example."""

from collections.abc import Callable
from typing import Any

import orjson

from thampi.errors import BundleError

from .refusals import Refusal
from .startup import Startup

WORDS = ("ping", "warm", "trial")


class ModelFailed(Exception):  # noqa: N818 - its name is what a direct caller reads as errorType
    """Raised for a direct call, so that Lambda sees a function error."""


def asked(event: Any) -> bool:
    """Say whether an event is such a question: `{"thampi": "ping"}`."""
    return isinstance(event, dict) and "thampi" in event and "data" not in event


def is_ping(body: bytes) -> bool:
    """Say whether an event, as it came, is `{"thampi": "ping"}`, which needs no model."""
    if len(body) > 100:
        return False
    try:
        return bool(orjson.loads(body) == {"thampi": "ping"})
    except orjson.JSONDecodeError:
        return False


def answer(word: Any, startup: Startup, predict: Callable[[Any], bytes], request_id: str) -> bytes:
    """Answer `ping` at once, `warm` with the model loaded, `trial` with what the model says to its example."""
    if word not in WORDS:
        shown = f"`{word}`" if isinstance(word, str) else f"a {type(word).__name__}"
        return Refusal(400, "bad_request", f"`thampi` is one of ping, warm and trial, not {shown}").body(request_id)
    found: dict[str, Any] = {"thampi": word}
    if word != "ping":
        try:
            startup.model()
        except BundleError as error:
            raise ModelFailed(str(error)) from None
    if word == "trial" and startup.about().example is not None:
        try:
            found["answer"] = orjson.Fragment(predict(startup.about().example))
        except Refusal as refusal:
            raise ModelFailed(f"the example was answered with {refusal.status}: {refusal.message}") from None
    return orjson.dumps(found)
