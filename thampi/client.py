"""thampi.Client: asks a model of thampi from Python, wherever it is served.

with thampi.Client("https://…/mymodel/predict") as client:
    client.predict({"input": [5.9, 3.2, 4.8, 1.8]})
"""

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from thampi.asking.asker import Asker, Authorize, openly
from thampi.asking.failures import (
    EndpointError,
    InvalidDataError,
    LostAnswerError,
    ModelFailedError,
    QuotaExceededError,
    RefusedError,
    ThrottledError,
    TimedOutError,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
)
from thampi.errors import ConfigError

__all__ = [
    "Client",
    "EndpointError",
    "InvalidDataError",
    "LostAnswerError",
    "ModelFailedError",
    "QuotaExceededError",
    "RefusedError",
    "ThrottledError",
    "TimedOutError",
    "TooLargeError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnreachableError",
]

_A_DAY_S = 86_400
Token = str | Callable[[], str]


class Client:
    """Asks one model; safe to share between threads, and its connections stay open for the next request."""

    def __init__(
        self,
        url: str | None = None,
        *,
        stage: str | None = None,
        api_key: str | None = None,
        token: Token | None = None,
        sign: bool = False,
        profile: str | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
    ) -> None:
        """Get ready to ask the model at `url`, or at the endpoint of `stage`; nothing is asked yet.

        `url` is what `thampi push` prints, with or without /predict. `stage` is one of the thampi.toml in this folder
        or above: its URL is looked up at AWS, and requests are signed, or carry what callers are given when the
        endpoint wants that: a key (THAMPI_API_KEY, or one of the stage that AWS tells), or a token (THAMPI_TOKEN).
        What is given as `api_key` or `token` goes before.
        `api_key` is sent as x-api-key; `token` as a bearer token, or asked for one at each request, if it can be
        called. `sign` signs requests to a `url` with AWS credentials, those of `profile` or those that boto3 finds.
        `timeout_s` is how long nothing may come of an answer: without it, as long as the endpoint could take.

        A request is sent again, up to three times, where the model can't have run: nobody there, too many requests, a
        model that is still being loaded. With `idempotent`, which says that running the model twice does no harm,
        also after failures of the model, timeouts and lost connections.

        Raises ConfigError for what can't go together, CloudError when the stage's endpoint can't be found.
        """
        if (url is None) == (stage is None):
            raise ConfigError("a client needs a URL or a stage, one of them", hint='Client("https://…/{name}/predict")')
        if token is not None and sign:
            raise ConfigError("a request is signed or carries a token, not both", hint="give `token` or `sign`")
        if profile is not None and not sign:
            raise ConfigError("`profile` is for signing", hint="add sign=True; a stage has its own profile")
        if timeout_s is not None and not 0 < timeout_s <= _A_DAY_S:
            raise ConfigError(f"timeout_s is {timeout_s}", hint="it is in seconds: more than 0, and a day at most")
        self._given: dict[str, Any] = {"url": url, "stage": stage, "api_key": api_key, "token": token, "sign": sign}
        self._given |= {"profile": profile, "timeout_s": timeout_s, "idempotent": idempotent}
        keys = _keys(api_key, token)
        if stage is not None:
            url, authorize, timeout_s = _of_stage(stage, sign, timeout_s, is_given=bool(api_key or token))
        else:
            authorize = _signing(url or "", profile) if sign else openly
        self._asker = Asker(url or "", _both(authorize, keys), timeout_s=timeout_s, idempotent=idempotent)

    @property
    def url(self) -> str:
        """The URL of the model, without /predict."""
        return self._asker.url

    @property
    def timeout_s(self) -> float:
        """How many seconds nothing may come of an answer."""
        return self._asker.timeout_s

    def predict(self, data: Any) -> Any:
        """Return what the model makes of `data`; numpy, pandas, dates and decimals become JSON as in its answers.

        Raises one of the kinds of EndpointError; TypeError when `data` holds what has no form in JSON.
        """
        return self._asker.predict(data)["result"]

    def ask(self, data: Any) -> dict[str, Any]:
        """Return the whole answer to `data`: `result`, and `properties` that say which model it is of."""
        return self._asker.predict(data)

    def about(self) -> dict[str, Any]:
        """Return what the endpoint says of its model: properties, example, libraries."""
        return self._asker.about()

    def ping(self) -> None:
        """Return when the model is loaded, without running it; raises UnavailableError when it can't be."""
        self._asker.ping()

    def close(self) -> None:
        """Close the connections; a request after that opens one again."""
        self._asker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_asker"):  # else it was refused before it had one
            self.close()

    def __reduce__(self) -> Any:
        # For pools of processes: each has connections of its own, to the same place.
        return functools.partial(type(self), **self._given), ()

    def __repr__(self) -> str:
        return f"thampi.Client({self.url!r})"


def _of_stage(name: str, sign: bool, timeout_s: float | None, *, is_given: bool) -> tuple[str, Authorize, float]:
    """Return what asking a stage's endpoint needs; only this needs the project's settings and AWS."""
    from thampi import config
    from thampi.operations import place, predict

    if sign:
        raise ConfigError("a stage's endpoint says itself whether requests are signed", hint="leave `sign` out")
    stage = config.load(config.find(Path.cwd()), name, flags={}, environ=os.environ)
    there = place.find(stage, environ=os.environ, say=_unsaid)
    found = predict.reach(stage, there, None if is_given else os.environ)
    return found.url, found.authorize, found.timeout_s if timeout_s is None else timeout_s


def _signing(url: str, profile: str | None) -> Authorize:
    from thampi.aws import signing

    return signing.of_url(url, profile)


def _keys(api_key: str | None, token: Token | None) -> Callable[[], dict[str, str]]:
    """Return what makes the headers of a key and a token, which are checked: a header is no place for a line's end."""
    fixed = {} if api_key is None else {"x-api-key": _checked("api_key", api_key)}
    if token is None:
        return lambda: fixed
    if callable(token):
        return lambda: {**fixed, "Authorization": f"Bearer {_checked('token', token())}"}
    fixed["Authorization"] = f"Bearer {_checked('token', token)}"
    return lambda: fixed


def _checked(what: str, secret: str) -> str:
    secret = secret.strip()  # as read from a file
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ConfigError(f"`{what}` has to be one word of plain ASCII", hint="was more read than the secret itself?")
    return secret


def _both(authorize: Authorize, keys: Callable[[], dict[str, str]]) -> Authorize:
    def made(method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Mapping[str, str]:
        more = keys()
        return {**more, **authorize(method, url, {**headers, **more}, body)}

    return made


def _unsaid(line: str) -> None:
    """A library says nothing of what it does on the way."""
