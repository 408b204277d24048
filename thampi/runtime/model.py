"""Model and Context: what users subclass and receive.

The classes say `__module__ = "thampi"`: a pickle stores that name, so it is part of the bundle's format, and the
file that they live in may move without breaking a saved model.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST_INVOCATION_MS = 900_000  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html


@dataclass(frozen=True)
class Context:
    """What a model may know of its surroundings.

    `name` and `stage` are the project's and the stage's; `properties` is what the endpoint says of this model
    (`instance_id`, `trained_time_utc`, `tags`, …). `request_id` and `headers` (lower-case names) belong to the
    request; in `initialize`, which no request has asked for, they are None and empty.
    """

    __module__ = "thampi"

    request_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    stage: str = "local"
    properties: Mapping[str, Any] = field(default_factory=dict)
    _remaining: Callable[[], int] | None = field(default=None, repr=False, compare=False)

    def remaining_ms(self) -> int:
        """Return the milliseconds left before Lambda ends this request; without a deadline, the longest there is."""
        return LONGEST_INVOCATION_MS if self._remaining is None else self._remaining()


class Model(ABC):
    """A model that can be served: subclass it, keep what you trained in it, and write `predict`.

    Two hooks and one method more are there for those who want them. A request's data goes through `before`, then
    `predict`, and what that returns through `after`. With `predict_batch(self, items, context)`, a request whose
    `data` is a list is answered by one call, which returns a list of as many results; `before` and `after` see each
    item alone.

    The type hints say what callers may send and what they get: that of the first argument (of `before`, where there is
    one), and that of what is returned (by `after`, where there is one). `save` turns them into the bundle's signature.
    """

    __module__ = "thampi"

    def initialize(self, context: Context) -> None:  # noqa: B027 - empty on purpose: most models need no more
        """Prepare what can't be saved (a connection, a session); called once, before the first request."""

    def restored(self, context: Context) -> None:  # noqa: B027 - empty on purpose, like initialize
        """Renew what environments of one snapshot must not share (connections, ids, generators of your own).

        Called in each environment that starts from a snapshot (`snapstart = true`), before its first request, and after
        the generators of random, numpy and torch were seeded anew.
        """

    @abstractmethod
    def predict(self, args: Any, context: Context) -> Any:
        """Return the answer to one request.

        `args` is the value of `data` in the request, or what `before` has made of it; an instance of the type that its
        hint names, where that is a dataclass, a pydantic model, a msgspec Struct, an enum, a date and the like. The
        answer is anything that JSON can say, numpy and pandas included. Raise `thampi.BadRequest` when the caller is to
        blame: that is a 400, all else a 500.
        """

    def before(self, data: Any, context: Context) -> Any:
        """Return what `predict` gets for the `data` of a request; left out, it gets the data itself.

        Raise `thampi.BadRequest` as in `predict`.
        """
        return data

    def after(self, result: Any, context: Context) -> Any:
        """Return what the caller gets for a result of `predict`; left out, the result itself."""
        return result


class BadRequest(Exception):  # noqa: N818 - it names the answer that the caller gets
    """Raised in `predict`, `before` or `after` when the caller's data is wrong: a 400 with the message in it."""

    __module__ = "thampi"
