"""What `Annotated` says of a type beside the type, in keywords of JSON Schema.

pydantic's Field and StringConstraints, annotated_types and msgspec's Meta call the same things the same: so nothing of
theirs is imported, only asked for.
"""

import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Any

_WORDS: dict[str, tuple[str, type | UnionType]] = {
    "gt": ("exclusiveMinimum", int | float),
    "ge": ("minimum", int | float),
    "lt": ("exclusiveMaximum", int | float),
    "le": ("maximum", int | float),
    "multiple_of": ("multipleOf", int | float),
    "pattern": ("pattern", str | re.Pattern),
    "title": ("title", str),
    "description": ("description", str),
    "documentation": ("description", str),
    "examples": ("examples", list),
}
_EXTRA = ("json_schema_extra", "extra_json_schema")


def keywords(said: Iterable[Any], lengths: str) -> dict[str, Any]:
    """Return the keywords for the metadata of an Annotated; `lengths` is Items, Properties or Length.

    What isn't JSON (a bound that is a date) is left out: the type's own check is all there is of it.
    """
    words = _WORDS | {"min_length": (f"min{lengths}", int), "max_length": (f"max{lengths}", int)}
    found: dict[str, Any] = {}
    for each in _flat(said):
        for name, (keyword, kind) in words.items():
            value = getattr(each, name, None)
            if isinstance(value, kind):
                found[keyword] = value.pattern if isinstance(value, re.Pattern) else value
        for name in _EXTRA:
            extra = getattr(each, name, None)
            found |= extra if isinstance(extra, dict) else {}
    return found


def _flat(said: Iterable[Any]) -> Iterator[Any]:
    """Yield each thing that is said: pydantic's Field keeps its bounds in a list of their own."""
    for each in said:
        if not isinstance(each, str | type):  # a word beside a type may mean anything
            yield each
            inner = getattr(each, "metadata", None)
            yield from _flat(inner if isinstance(inner, list | tuple) else ())
