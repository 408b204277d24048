"""What of a model's signature the gateway itself can check, before it calls the function: JSON Schema draft 4.

API Gateway's models are of draft 4, and of that its documentation takes `anyOf`, `oneOf`, `additionalProperties`,
`exclusiveMinimum` and `discriminator` away; a keyword that it doesn't know makes it refuse the model
(https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html). So few words are written:
types, names that must be there, lengths, bounds, values that are text. What several alternatives have in common is
said, `$ref`s are written out, what contains itself is described once.

One rule holds: the gateway never refuses what the handler takes. The handler checks again, and knows more. That is why

- whole numbers are any numbers: draft 4 has no 1.0 among the whole ones, and 1.0000000000000000001 is 1 to the handler;
- a bound is one step of a float further away, and enums have no numbers: the gateway compares the decimals as they
  were sent, the handler what they are as floats;
- patterns and formats are left out: regular expressions and dates are read by another library there.
"""

import contextlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

# By type of JSON, what is known of values of that type; a type that isn't there can't be sent.
Allowed = Mapping[str, Mapping[str, Any]]

DRAFT = "http://json-schema.org/draft-04/schema#"
LARGEST = 100_000  # characters; AWS allows 400 KB for all models of an API

_TYPES = ("null", "boolean", "number", "string", "array", "object")
_ANYTHING: Allowed = {kind: {} for kind in _TYPES}
_NOTHING: Allowed = {}
# What makes another schema's words mean something else; nothing of ours writes them, a user's own words may.
_STRANGE = ("$schema", "$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef")
_REF = "#/$defs/"
_DEPTHS = (24, 6, 3, 1)  # how deep is described: less where all of it would be too long
_MOST = 10_000  # schemas within schemas, with `$ref`s written out


def make(signature: Mapping[str, Any] | None) -> str | None:
    """Return the schema of a request's body, `{"data": …}`, as text; None when there is nothing to check.

    `signature` is that of a bundle (see `thampi.runtime.signature.describing`). Equal schemas have equal texts.
    """
    request = (signature or {}).get("request")
    if not request:
        return None
    for depth in _DEPTHS:
        with contextlib.suppress(_TooLongError):
            written = _write(_Reader(request.get("$defs", {})).read(request, frozenset(), depth))
            body = {"$schema": DRAFT, "type": "object", "required": ["data"], "properties": {"data": written}}
            text = json.dumps(body, sort_keys=True, separators=(",", ":"))
            if len(text) <= LARGEST:
                return text if written else None
    return None


class _TooLongError(Exception):
    """The schema would get too long."""


class _Reader:
    """Reads schemas of 2020-12 of which every `$ref` leads to these definitions."""

    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self._definitions, self._left = definitions, _MOST

    def read(self, schema: Any, inside: frozenset[str], depth: int) -> Allowed:
        """Return what a schema allows, or more; `inside` are the definitions that it is a part of."""
        if schema is False:
            return _NOTHING
        self._left -= 1
        if self._left < 0:
            raise _TooLongError
        if not isinstance(schema, Mapping) or any(key in schema for key in _STRANGE):
            return _ANYTHING
        return reduce(_both, self._conditions(schema, inside, depth))

    def _conditions(self, schema: Mapping[str, Any], inside: frozenset[str], depth: int) -> Iterable[Allowed]:
        """Yield what all must hold of what a schema allows."""
        yield self._own(schema, inside, depth)
        if "$ref" in schema:
            name = str(schema["$ref"]).removeprefix(_REF)
            # What contains itself is described once; below, only that it is there.
            if name in self._definitions and name not in inside:
                yield self.read(self._definitions[name], inside | {name}, depth)
        for each in schema.get("allOf", ()):
            yield self.read(each, inside, depth)
        for several in (schema[word] for word in ("anyOf", "oneOf") if word in schema):
            yield reduce(_either, (self.read(each, inside, depth) for each in several))
        if "const" in schema:
            yield _of_values([schema["const"]])
        if "enum" in schema:
            yield _of_values(schema["enum"])

    def _own(self, schema: Mapping[str, Any], inside: frozenset[str], depth: int) -> Allowed:
        said = schema.get("type", list(_TYPES))
        kinds = {"number" if each == "integer" else each for each in ([said] if isinstance(said, str) else said)}
        known = {
            "number": _bounds(schema),
            "string": _lengths(schema, "Length"),
            "array": _lengths(schema, "Items") | (self._items(schema, inside, depth - 1) if depth else {}),
            "object": self._parts(schema, inside, depth - 1) if depth else {},
        }
        return {kind: known.get(kind, {}) for kind in _TYPES if kind in kinds}

    def _items(self, schema: Mapping[str, Any], inside: frozenset[str], depth: int) -> dict[str, Any]:
        first = schema.get("prefixItems", [])
        no_others = isinstance(schema.get("maxItems"), int) and schema["maxItems"] <= len(first)
        others = [] if first and no_others else [schema.get("items", True)]
        items = reduce(_either, (self.read(each, inside, depth) for each in (*first, *others)))
        return {} if items in (_ANYTHING, _NOTHING) else {"items": items}

    def _parts(self, schema: Mapping[str, Any], inside: frozenset[str], depth: int) -> dict[str, Any]:
        parts = {name: self.read(each, inside, depth) for name, each in schema.get("properties", {}).items()}
        known = {name: part for name, part in parts.items() if part not in (_ANYTHING, _NOTHING)}
        required = sorted(set(schema.get("required", ())))
        return ({"required": required} if required else {}) | ({"properties": known} if known else {})


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for word, other, beyond in (
        ("minimum", "exclusiveMinimum", -math.inf),
        ("maximum", "exclusiveMaximum", math.inf),
    ):
        bound = schema.get(word, schema.get(other))
        if bound is not None and abs(bound) < 1e300:
            found[word] = math.nextafter(float(bound), beyond)
    return found


def _lengths(schema: Mapping[str, Any], of: str) -> dict[str, Any]:
    return {word: int(schema[word]) for word in (f"min{of}", f"max{of}") if word in schema}


def _of_values(values: Sequence[Any]) -> Allowed:
    """Return what one among some values may be; those of a type that is compared in other ways there are any of it."""
    found: dict[str, dict[str, Any]] = {}
    for value in values:
        kind = _kind(value)
        if kind == "string":
            found.setdefault(kind, {"enum": []})["enum"].append(value)
        else:
            found.setdefault(kind, {})
    return found


def _kind(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, int | float):
        return "number"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _both(one: Allowed, other: Allowed) -> Allowed:
    """Return what the one and the other allow, or more: each keyword holds by itself, and one of each is enough."""
    return {kind: {**other[kind], **known} for kind, known in one.items() if kind in other}


def _either(one: Allowed, other: Allowed) -> Allowed:
    """Return what the one or the other allows, or more: of a type that both know, what they say in common."""
    return {
        kind: _in_common(one[kind], other[kind]) if kind in one and kind in other else {**one, **other}[kind]
        for kind in _TYPES
        if kind in one or kind in other
    }


def _in_common(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in (word for word in one if word in other):
        first, second = one[word], other[word]
        if word == "properties":
            parts = {name: _either(first[name], second[name]) for name in first if name in second}
            found[word] = {name: part for name, part in parts.items() if part != _ANYTHING}
        elif word == "items":
            found[word] = _either(first, second)
        elif word == "required":
            found[word] = sorted({*first} & {*second})
        elif word == "enum":
            found[word] = [*first, *second]
        else:
            found[word] = (min if word.startswith("min") else max)(first, second)
    return {word: value for word, value in found.items() if value not in ({}, [], _ANYTHING)}


def _write(allowed: Allowed) -> dict[str, Any]:
    """Return the schema; an empty one where anything, or nothing that is known, may be sent."""
    if allowed in (_ANYTHING, _NOTHING):
        return {}
    kinds = list(allowed)
    # A list of values is one of all types: null fits into it, another type doesn't.
    listed = "enum" in allowed.get("string", {}) and {*kinds} <= {"null", "string"}
    written: dict[str, Any] = {"type": kinds if len(kinds) > 1 else kinds[0]}
    for known in allowed.values():
        for word, value in known.items():
            if word == "items":
                written[word] = _write(value)
            elif word == "properties":
                written[word] = {name: _write(part) for name, part in value.items()}
            elif word == "enum":
                values = [*dict.fromkeys(value), *([None] if "null" in kinds else [])]
                written |= {word: values} if listed else {}
            else:
                written[word] = value
    return written
