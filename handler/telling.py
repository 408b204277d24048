"""What the endpoint says of itself: as JSON, as an OpenAPI document, and for browsers as a page to try the model.

Each is made when somebody first asks for it, and kept as long as the environment lives.
"""

from typing import Any

import orjson

from thampi.runtime.bundle import About

from . import openapi, page
from .events import Request
from .openapi import Place
from .routes import Route
from .settings import Settings

# A caller behind an ALB chooses the host that a document is made for: the number of those kept has an end.
_KEPT = 16


class Telling:
    """The texts of one environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._documents: dict[tuple[str, Place], bytes] = {}
        self._pages: dict[str, page.Page] = {}

    def answer(self, route: Route, request: Request, about: About, headers: dict[str, str]) -> bytes:
        """Return what `about` or `openapi` answers, and add to the headers what belongs to it."""
        if route == "openapi":
            return self._document(request, about)
        if not self._settings.page:
            return _json(about, self._settings)
        headers["vary"] = "accept"
        if not page.is_preferred(request.headers.get("accept", "")):
            return _json(about, self._settings)
        made = self._page(about)
        headers |= made.headers
        return made.body

    def _document(self, request: Request, about: About) -> bytes:
        key = (about.instance_id, openapi.place(request, self._settings.stage))
        if key not in self._documents:
            if len(self._documents) >= _KEPT:
                self._documents.clear()
            self._documents[key] = openapi.document(about, self._settings, key[1])
        return self._documents[key]

    def _page(self, about: About) -> page.Page:
        if about.instance_id not in self._pages:
            self._pages = {about.instance_id: page.render(facts(about, self._settings))}
        return self._pages[about.instance_id]


def facts(about: About, settings: Settings) -> dict[str, Any]:
    """Return what `GET /{name}` says as JSON."""
    return {
        "name": settings.name,
        "stage": settings.stage,
        "properties": about.properties(settings.served_time_utc),
        "python": about.python,
        "distributions": about.distributions,
        "example": about.example,
        "signature": _shown(about.signature),
    }


def _shown(signature: Any) -> dict[str, Any] | None:
    """Return of a signature what callers need: the schemas, and whether a list is answered item by item."""
    if not isinstance(signature, dict):
        return None
    return {key: signature.get(key) for key in ("request", "answer", "batch")}


def _json(about: About, settings: Settings) -> bytes:
    return orjson.dumps(facts(about, settings))
