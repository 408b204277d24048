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
    """A model that can be served: subclass it, keep what you trained in it, and write `predict`."""

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

        `args` is the value of `data` in the request. The answer is anything that JSON can say, numpy and pandas
        included. Raise `thampi.BadRequest` when the caller is to blame: that is a 400, all else a 500.
        """


class BadRequest(Exception):  # noqa: N818 - it names the answer that the caller gets
    """Raised in `predict` when the caller's data is wrong; the message is the caller's to read (HTTP 400)."""

    __module__ = "thampi"
