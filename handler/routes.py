"""Which path means what: `/{name}`, `/{name}/predict`, `/{name}/ping`, `/{name}/openapi.json`.

Whatever a gateway put before them is taken off.
"""

from functools import lru_cache
from typing import Literal

from .events import Request

Route = Literal["about", "predict", "ping", "openapi"]

METHODS: dict[Route, tuple[str, ...]] = {
    "about": ("GET", "HEAD", "OPTIONS"),
    "predict": ("POST", "OPTIONS"),
    "ping": ("GET", "HEAD", "OPTIONS"),
    "openapi": ("GET", "HEAD", "OPTIONS"),
}


def find(request: Request, name: str) -> Route | None:
    """Return the route that a request's path means, for the project `name` (empty: any); None for no route.

    What may stand before our path is taken off only where the rest is one of ours, so that a stage or a mapping can
    have the name of the project.
    """
    return _find(request.path, request.prefix, name)


@lru_cache(maxsize=64)
def _find(path: str, prefix: str, name: str) -> Route | None:
    segments = [segment for segment in path.split("/") if segment]
    for start in range(len(segments)):
        route = _exact(segments[start:], name)
        if route is not None:
            return route
        if not _is_prefix(segments[: start + 1], prefix):
            return None
    return None


def _exact(segments: list[str], name: str) -> Route | None:
    if name and segments[:1] != [name]:
        return None
    match segments[1:]:
        case []:
            return "about"
        case ["predict"]:
            return "predict"
        case ["ping"]:
            return "ping"
        case ["openapi.json"]:
            return "openapi"
    return None


def _is_prefix(segments: list[str], prefix: str) -> bool:
    return prefix == "*" or segments == [prefix]
