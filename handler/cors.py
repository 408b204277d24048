"""Which other sites' pages may read an answer, said where no gateway in front says it.

What browsers do with it: https://fetch.spec.whatwg.org/#http-cors-protocol. A page of an origin that is not allowed
gets the same answers without these headers, and its browser keeps them from it. Preflights are answered on every path,
with 204: a request to a path that isn't there then gets its 404, which the page can read.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from thampi.errors import ConfigError

from .events import Request

_KEYS = {"origins", "methods", "headers", "credentials", "max_age_s"}
# Of our headers, those that a page may not read unless it is told so.
_EXPOSED = "age, allow, retry-after, x-request-id, x-thampi-cache"
_ASKED = "access-control-request-method"
_WANTED = "access-control-request-headers"
_LONGEST_WISH = 4096  # bytes of header names that are said back


class Cors:
    """What is allowed, rendered once."""

    def __init__(
        self, origins: list[str], methods: list[str], headers: list[str], credentials: bool, max_age_s: int
    ) -> None:
        """`origins` and `headers` may hold "*"; `max_age_s` is how long a browser keeps what a preflight said."""
        said = {"access-control-expose-headers": _EXPOSED}
        if credentials:
            said["access-control-allow-credentials"] = "true"
        self._methods = frozenset(methods)
        self._of = {origin: {"access-control-allow-origin": origin, **said} for origin in origins}
        # What all callers get, one that can't be read included; nothing when it depends on the caller.
        self.for_anyone: Mapping[str, str] = self._of.get("*", {})
        self._any_header = "*" in headers
        self._before = {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-max-age": str(max_age_s),
            **({"access-control-allow-headers": ", ".join(headers)} if headers and not self._any_header else {}),
        }

    def add(self, request: Request, headers: dict[str, str]) -> bool:
        """Add to the headers of an answer who may read it; say whether it is that to a preflight, which is a 204.

        For an origin, or with a method, that is not allowed nothing is added.
        """
        preflight = request.method == "OPTIONS" and "origin" in request.headers and _ASKED in request.headers
        if not self.for_anyone:  # caches must not give one origin what was said to another
            headers["vary"] = f"{headers['vary']}, origin" if "vary" in headers else "origin"
        method = request.headers[_ASKED] if preflight else request.method
        allowed = self.for_anyone or self._of.get(request.headers.get("origin", ""))
        if allowed and method in self._methods:
            headers.update(allowed)
            if preflight:
                headers.update(self._before)
                if self._any_header and (names := _sayable(request.headers.get(_WANTED, ""))):
                    # Browsers take "*" neither for `authorization` nor with credentials: say what was asked for.
                    headers["access-control-allow-headers"] = names
        return preflight


def read(text: str) -> Cors:
    """Read what `thampi push` sets: JSON with origins, methods, headers, credentials and max_age_s."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or set(said) != _KEYS or not _fits(**said):
        raise ConfigError(
            f"THAMPI_CORS is {text!r}",
            hint='`thampi push` sets it, like {"origins": ["https://app.example.com"], "methods": ["GET", "POST"], '
            '"headers": ["content-type"], "credentials": false, "max_age_s": 600}',
        )
    if said["credentials"] and "*" in said["origins"]:
        raise ConfigError(
            'THAMPI_CORS allows credentials to pages of every origin ("*")',
            hint="name the origins, or do without credentials: browsers take no such permission",
        )
    return Cors(**said)


def _fits(origins: Any, methods: Any, headers: Any, credentials: Any, max_age_s: Any) -> bool:
    lists = (origins, methods, headers)
    texts = all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in lists)
    return texts and isinstance(credentials, bool) and type(max_age_s) is int


def _sayable(wanted: str) -> str:
    """Return of the header names that a caller lists those that are some, so that nothing else is said back."""
    names = [name.strip() for name in wanted[:_LONGEST_WISH].split(",")]
    return ", ".join(name for name in names if name.isascii() and name.replace("-", "").replace("_", "").isalnum())
