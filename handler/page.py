"""The page to try a model in a browser: page.html, with what is known of the model in it.

All that the page knows of the model is JSON in a block that no browser runs, and its script puts it on the page as
text. So no tag, name or example can become markup. It asks for nothing but the endpoint itself, by paths beside its
own address, so that it works behind any prefix.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_TEMPLATE = Path(__file__).with_name("page.html")
_FACTS = "{{facts}}"
_TITLE = "{{title}}"
# An example that is larger stays out of the page, which asks for it when somebody wants it.
_LARGEST_EXAMPLE = 200_000
# What only its writers read: how lines are indented, and comments of a line of their own.
_FOR_WRITERS = re.compile(r"\n\s*(?://[^\n]*(?=\n))?")
_CSS = re.compile(r"\s*([{};:,>])\s+")
_QUALITY = re.compile(r"\s*q\s*=\s*([0-9.]+)\s*")


@dataclass(frozen=True)
class Page:
    """A page as it goes out, and the headers that belong to it."""

    body: bytes
    headers: Mapping[str, str]


def is_preferred(accept: str) -> bool:
    """Say whether an Accept header wants HTML rather than JSON: browsers say so, programs don't.

    Each kind has the quality of the most exact range that covers it:
    https://www.rfc-editor.org/rfc/rfc9110.html#section-12.5.1.
    """
    ranges = dict(_range(each) for each in accept.lower().split(","))
    html, json = (
        next((ranges[name] for name in (kind, f"{kind.partition('/')[0]}/*", "*/*") if name in ranges), 0.0)
        for kind in ("text/html", "application/json")
    )
    return html > json


def _range(text: str) -> tuple[str, float]:
    kind, *parameters = text.split(";")
    quality = next((found[1] for each in parameters if (found := _QUALITY.fullmatch(each))), "1")
    try:
        return kind.strip(), float(quality)
    except ValueError:
        return kind.strip(), 0.0


def render(facts: Mapping[str, Any]) -> Page:
    """Make the page from what `GET /{name}` says."""
    template = _small(_TEMPLATE.read_text("utf-8"))
    known = dict(facts)
    if len(orjson.dumps(known["example"])) > _LARGEST_EXAMPLE:
        known |= {"example": None, "example_left_out": True}
    text = orjson.dumps(known).decode()
    # Within a script's text, `</script` ends it and `<!--` changes its meaning; in JSON, both can be said otherwise.
    text = text.replace("<", "\\u003c")
    body = template.replace(_TITLE, _escaped(f"{known['name'] or 'model'} · {known['stage']}")).replace(_FACTS, text)
    return Page(body.encode(), _headers(template))


def _small(template: str) -> str:
    """Return the template without what only its writers need; in it, no text goes over several lines."""
    style = template.index("<style>"), template.index("</style>")
    css = _CSS.sub(r"\1", template[slice(*style)]).replace(";}", "}")
    return re.sub("\n+", "\n", _FOR_WRITERS.sub("\n", f"{template[: style[0]]}{css}{template[style[1] :]}"))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _headers(template: str) -> dict[str, str]:
    """Return the headers: nothing runs but the page's own script, and nothing is asked for but the endpoint."""
    style, script = (
        base64.b64encode(hashlib.sha256(re.findall(f"<{tag}>(.*?)</{tag}>", template, re.DOTALL)[0].encode()).digest())
        for tag in ("style", "script")
    )
    policy = {
        "default-src": "'none'",
        "style-src": f"'sha256-{style.decode()}'",
        "script-src": f"'sha256-{script.decode()}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
