"""What pydantic and msgspec say of their own types, as JSON Schema.

Neither is imported: whoever has a type of theirs has it. Of an answer, pydantic is told what our encoder does with it.
"""

import sys
from typing import Any

Schema = dict[str, Any]


def of_msgspec(hint: Any, mode: str) -> Schema:
    """Return the schema of a Struct; what msgspec doesn't know in it may be anything. `mode` as for pydantic."""
    schema: Schema = sys.modules["msgspec"].json.schema(hint, schema_hook=lambda unknown: {})
    return schema if mode == "validation" else _with_holes(schema)


def _with_holes(schema: Any) -> Any:
    """Return a schema in which each number may be null."""
    if isinstance(schema, list):
        return [_with_holes(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _with_holes(value) for key, value in schema.items()}
    return found | ({"type": ["number", "null"]} if schema.get("type") == "number" else {})


def of_pydantic(hint: Any, mode: str) -> Schema:
    """Return the schema of a type that has to do with pydantic; `mode` is validation or serialization."""
    pydantic: Any = sys.modules["pydantic"]
    adapter = pydantic.TypeAdapter(hint)
    generator: Any = sys.modules["pydantic.json_schema"].GenerateJsonSchema
    if mode == "validation":
        schema: Schema = adapter.json_schema(mode=mode, schema_generator=_lenient(generator))
    else:
        schema = adapter.json_schema(mode=mode, by_alias=False, schema_generator=_encoded(_lenient(generator)))
    return schema


def _lenient(generator: Any) -> Any:
    """Return a generator of schemas for which a part that has no form in JSON may be anything."""

    class Lenient(generator):  # type: ignore[misc]
        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:
            return {}

    return Lenient


def _encoded(generator: Any) -> Any:
    """Return a generator of schemas that knows our encoder: NaN is null, a Decimal a number, a span its seconds."""

    class Encoded(generator):  # type: ignore[misc]
        def float_schema(self, schema: Any) -> Any:
            return super().float_schema(schema) | {"type": ["number", "null"]}

        def decimal_schema(self, schema: Any) -> Any:
            return {"type": ["number", "null"]}

        def timedelta_schema(self, schema: Any) -> Any:
            return {"type": ["number", "null"], "description": "seconds"}

        def datetime_schema(self, schema: Any) -> Any:
            return {"type": "string"}

        def time_schema(self, schema: Any) -> Any:
            return {"type": "string"}

        def bytes_schema(self, schema: Any) -> Any:
            return {}

    return Encoded
