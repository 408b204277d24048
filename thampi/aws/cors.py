"""Which other sites' pages may call an endpoint, in the words that HTTP APIs and function URLs have in common.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
https://docs.aws.amazon.com/lambda/latest/api/API_Cors.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# Of an answer's headers those that a page may read: the same that the handler names where it is the one who says it.
EXPOSED = ("age", "allow", "retry-after", "x-request-id", "x-thampi-cache")


@dataclass(frozen=True)
class Cors:
    """The rules, as wanted and as read alike: in an order of their own, names of headers in lower case."""

    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    credentials: bool
    max_age_s: int
    exposed: tuple[str, ...] = EXPOSED


def make(
    *, origins: Iterable[str], methods: Iterable[str], headers: Iterable[str], credentials: bool, max_age_s: int
) -> Cors:
    """Make the rules that are wanted."""
    lower = (each.lower() for each in headers)
    return Cors(_sorted(origins), _sorted(methods), _sorted(lower), credentials, max_age_s)


def read(said: Mapping[str, Any] | None) -> Cors | None:
    """Return the rules that AWS says there are; None for none."""
    if not said:
        return None
    return Cors(
        _sorted(said.get("AllowOrigins") or ()),
        _sorted(said.get("AllowMethods") or ()),
        _sorted(each.lower() for each in said.get("AllowHeaders") or ()),
        bool(said.get("AllowCredentials")),
        int(said.get("MaxAge") or 0),
        _sorted(each.lower() for each in said.get("ExposeHeaders") or ()),
    )


def written(wanted: Cors) -> dict[str, Any]:
    """Return the rules as AWS takes them."""
    return {
        "AllowOrigins": list(wanted.origins),
        "AllowMethods": list(wanted.methods),
        "AllowHeaders": list(wanted.headers),
        "AllowCredentials": wanted.credentials,
        "MaxAge": wanted.max_age_s,
        "ExposeHeaders": list(wanted.exposed),
    }


def changes(found: Cors | None, wanted: Cors | None) -> tuple[str, ...]:
    """Say what would have to change, a line each; where none are wanted, those that somebody else has made stay.

    What is ours is known by that it lets a page read which request it was.
    """
    if found == wanted or (found and wanted is None and "x-request-id" not in found.exposed):
        return ()
    if found is None or wanted is None:
        return (f"cors: {_origins(found)} -> {_origins(wanted)}",)
    old, new = vars(found), vars(wanted)
    return tuple(f"cors.{key}: {_shown(old[key])} -> {_shown(new[key])}" for key in new if old[key] != new[key])


def _sorted(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*values}))


def _origins(rules: Cors | None) -> str:
    return "none" if rules is None else ", ".join(rules.origins)


def _shown(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value).lower()
