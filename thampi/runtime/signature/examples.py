"""A loose schema from one example: what a caller surely gets wrong, and nothing that one example can't tell.

The types at each level; a number is any number; what the example has at its top has to be there, and more may be.
A null and an empty list tell nothing.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

Schema = dict[str, Any]


def schema_of(example: Any) -> Schema:
    """Return the schema that an example, a value of JSON, gives away."""
    schema = _loose(example)
    return schema | {"required": sorted(example)} if isinstance(example, dict) and example else schema


def _loose(example: Any) -> Schema:
    if isinstance(example, bool):
        return {"type": "boolean"}
    if isinstance(example, int | float):
        return {"type": "number"}
    if isinstance(example, str):
        return {"type": "string"}
    if isinstance(example, list):
        items = _of_all(example)
        return {"type": "array"} | ({"items": items} if items else {})
    if isinstance(example, dict):
        return {"type": "object", "properties": {name: _loose(value) for name, value in example.items()}}
    return {}


def _of_all(examples: Sequence[Any]) -> Schema:
    return reduce(_either, map(_loose, examples)) if examples else {}


def _either(one: Schema, other: Schema) -> Schema:
    """Return the schema of what may be like the one or like the other."""
    if not one or not other:
        return {}
    types = _types(one) | _types(other)
    found: Schema = {"type": list(types) if len(types) > 1 else next(iter(types))}
    if "array" in types:
        known = [each.get("items", {}) for each in (one, other) if "array" in _types(each)]
        if items := reduce(_either, known):
            found["items"] = items
    if "object" in types:
        first, second = one.get("properties", {}), other.get("properties", {})
        found["properties"] = {
            name: _either(first.get(name, schema), second.get(name, schema))
            for name, schema in (first | second).items()
        }
    return found


def _types(schema: Schema) -> dict[str, None]:
    said = schema["type"]
    return dict.fromkeys([said] if isinstance(said, str) else said)
