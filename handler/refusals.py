"""An answer other than the one that was asked for: its status, and the one shape that errors have."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from thampi.errors import BundleError

from .startup import InitializeError, StillLoadingError


class Refusal(Exception):  # noqa: N818 - an answer, not an accident
    """The request gets no answer of the model: a 4xx when the caller can mend it, a 5xx when the fault is ours."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        headers: dict[str, str] | None = None,
        mistakes: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.headers = status, kind, headers or {}
        self.message = _sayable(message)
        self.mistakes = [{key: _sayable(text) for key, text in each.items()} for each in mistakes]

    def body(self, request_id: str) -> bytes:
        """Return the JSON that says so; the request's id leads to the log, where the details are."""
        error: dict[str, Any] = {"type": self.kind, "message": self.message, "request_id": request_id}
        return orjson.dumps({"error": error | ({"mistakes": self.mistakes} if self.mistakes else {})})


def _sayable(text: str) -> str:
    """Return what JSON can carry of a text: what a model or a caller wrote may hold half a surrogate pair."""
    return text.encode("utf-8", "replace").decode()


def unavailable(failure: BundleError) -> Refusal:
    """Return what a request gets as long as there is no model.

    It says what is missing where those are our words. What an exception of the model's own says (a database's address,
    a user) is for the log.
    """
    if isinstance(failure, StillLoadingError):
        return Refusal(503, "model_loading", failure.message, {"retry-after": "5"})
    cause = failure.__cause__
    ours = cause is None or isinstance(cause, OSError | ModuleNotFoundError)
    if isinstance(failure, InitializeError) or not ours:
        return Refusal(503, "model_unavailable", "the model can't be loaded; the log has the reason")
    return Refusal(503, "model_unavailable", f"the model can't be loaded: {failure.message}")
