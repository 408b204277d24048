"""One endpoint, asked: a value becomes a request, and the answer a value, or the failure that says why not."""

import json
import random
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from thampi.asking import failures, retrying
from thampi.asking.answer import Answer
from thampi.asking.connections import Connections
from thampi.asking.failures import EndpointError, UnexpectedAnswerError
from thampi.errors import ConfigError
from thampi.runtime.encoding import encode
from thampi.version import __version__

# The headers that let a request in: of a method, a URL, the headers so far and a body.
Authorize = Callable[[str, str, Mapping[str, str], bytes | None], Mapping[str, str]]

_HEADERS = {"Accept": "application/json", "User-Agent": f"thampi/{__version__}"}
_WAIT_S = 60.0  # HTTP and REST APIs give up after half of it
_FUNCTION_URL_WAIT_S = 905.0  # a function URL waits as long as Lambda does, 15 minutes


class Asker:
    """One endpoint, for any number of threads; its connections stay open until `close`."""

    def __init__(self, url: str, authorize: Authorize, *, timeout_s: float | None, idempotent: bool = False) -> None:
        """Keep what asking needs; nothing is sent yet. Raises ConfigError when `url` is none."""
        self.url = _checked(url)
        self.timeout_s = wait_s(self.url) if timeout_s is None else timeout_s
        self.idempotent = idempotent
        self._authorize = authorize
        self._connections = Connections(urlsplit(self.url))

    def predict(self, data: Any) -> dict[str, Any]:
        """Return the whole answer to `data`: `properties` and `result`.

        Raises EndpointError, or one of its kinds; TypeError when `data` holds what has no form in JSON.
        """
        answer = self._ask("POST", "/predict", encode({"data": data}))
        if "result" not in answer:
            raise self._unexpected("/predict", "JSON without a result")
        return answer

    def about(self) -> dict[str, Any]:
        """Return what the endpoint says of its model; raises as `predict` does."""
        return self._ask("GET", "")

    def ping(self) -> None:
        """Return when the model is loaded; raises as `predict` does."""
        self._ask("GET", "/ping")

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        attempt = 1
        while True:
            try:
                return self._ask_once(method, path, body)
            except EndpointError as failure:
                idempotent = self.idempotent or method == "GET"
                pause = retrying.pause_s(failure, attempt, idempotent=idempotent, chance=random.random())  # noqa: S311
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1

    def _ask_once(self, method: str, path: str, body: bytes | None) -> dict[str, Any]:
        url = self.url + path
        headers = _HEADERS if body is None else {**_HEADERS, "Content-Type": "application/json"}
        headers = {**headers, **self._authorize(method, url, headers, body)}
        answer = self._connections.exchange(method, urlsplit(url).path, headers, body, self.timeout_s)
        if answer.status != 200:
            raise failures.of(url, answer)
        return self._read(path, answer)

    def _read(self, path: str, answer: Answer) -> dict[str, Any]:
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._unexpected(path, failures.shown(answer.body))
        return found

    def _unexpected(self, path: str, what: str) -> UnexpectedAnswerError:
        return UnexpectedAnswerError(
            f"what answers at {self.url}{path} is no model of thampi: {what}",
            hint="is it the URL that `thampi push` printed, and does no proxy answer in its place?",
            url=self.url + path,
            status=200,
            may_have_run=True,
        )


def openly(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Mapping[str, str]:
    """Return no headers: anybody is let in."""
    return {}


def wait_s(url: str) -> float:
    """Return how long to wait for an answer: longer than the endpoint itself does."""
    is_function_url = ".lambda-url." in (urlsplit(url).hostname or "")
    return _FUNCTION_URL_WAIT_S if is_function_url else _WAIT_S


def _checked(url: str) -> str:
    """Return the URL of the model, without /predict; raise ConfigError for what is no URL that can be asked."""
    hint = "give it as `thampi push` prints it: https://…/{name}/predict"
    try:
        parts = urlsplit(url.strip())
        is_whole = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_whole = None
    if not is_whole:
        raise ConfigError(f"{url!r} is no URL of an endpoint", hint=hint)
    if parts.query or parts.fragment or parts.username is not None or re.search(r"[^\x21-\x7e]", url.strip()):
        raise ConfigError(f"the URL of {parts.hostname} has more than scheme, host and path", hint=hint)
    path = parts.path.rstrip("/").removesuffix("/predict")
    if not path:
        raise ConfigError(f"{url!r} names no model", hint=hint)
    return f"{parts.scheme}://{parts.netloc}{path}"
