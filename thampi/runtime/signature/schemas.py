"""A shape becomes JSON Schema (2020-12): of what a caller may send, or of what our encoder makes of an answer.

The two differ: a number in an answer may be null, which is all that JSON has for NaN, and a record in an answer has
every field. Every `$ref` leads to the schema's own `$defs`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from thampi.runtime.signature.libraries import of_msgspec, of_pydantic
from thampi.runtime.signature.shapes import (
    MSGSPEC,
    Field,
    Foreign,
    Limited,
    Listing,
    Name,
    Numbers,
    Options,
    Reader,
    Record,
    Row,
    Scalar,
    Shape,
    Table,
    Values,
)

Schema = dict[str, Any]

_REF = "#/$defs/{}"
_LONGEST_S = timedelta.max.days * 86_400
_SENT: dict[str, Schema] = {
    "any": {},
    "bytes": {"type": "string"},
    "date": {"type": "string", "format": "date"},
    "date-time": {"type": "string", "format": "date-time"},
    "time": {"type": "string", "format": "time"},
    "uuid": {"type": "string", "format": "uuid"},
    "seconds": {"type": "number", "minimum": -_LONGEST_S, "maximum": _LONGEST_S, "description": "seconds"},
    "decimal": {"type": ["number", "string"], "pattern": r"^[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?$"},
}
# By numpy's letter for a kind of numbers; NaN is null.
_ELEMENTS = {"b": ["boolean"], "i": ["integer"], "u": ["integer"], "f": ["number", "null"]}
# A time of Python's need not say its zone, as the format wants it.
_ANSWERED: dict[str, Schema] = _SENT | {
    "number": {"type": ["number", "null"]},
    "decimal": {"type": ["number", "null"]},
    "seconds": {"type": ["number", "null"], "description": "seconds"},
    "date-time": {"type": "string"},
    "time": {"type": "string"},
    "bytes": {},
}


def of_request(shape: Shape, reader: Reader) -> Schema:
    """Return the schema of what may be sent where a shape is wanted."""
    return _whole(_Writer(_SENT, "validation", reader.definitions, reader.notes), shape)


def of_answer(shape: Shape, reader: Reader) -> Schema:
    """Return the schema of what callers get for a result of a shape."""
    return _whole(_Writer(_ANSWERED, "serialization", reader.definitions, reader.notes), shape)


def _whole(writer: "_Writer", shape: Shape) -> Schema:
    schema = writer.write(shape)
    defined: dict[str, Schema] = {}
    while wanted := (writer.named - defined.keys()) & writer.records.keys():
        for name in sorted(wanted):
            defined[name] = writer.record(writer.records[name])
    defined |= writer.definitions_of_libraries()
    return schema | ({"$defs": dict(sorted(defined.items()))} if defined else {})


@dataclass
class _Writer:
    scalars: Mapping[str, Schema]
    mode: str  # pydantic's word for the direction
    records: Mapping[str, Record]
    notes: list[str]

    def __post_init__(self) -> None:
        self.named: set[str] = set()
        self.foreign: dict[str, tuple[Schema, dict[str, str]]] = {}

    @property
    def is_sent(self) -> bool:
        return self.mode == "validation"

    def write(self, shape: Shape) -> Schema:  # noqa: C901 - a case for each shape
        """Return the schema of a shape, and note the records that it names."""
        match shape:
            case Scalar(kind):
                return dict(self.scalars.get(kind, {"type": kind}))
            case Listing(item, _):
                return {"type": "array", "items": self.write(item)}
            case Row(items, _, needed):
                prefix = [self.write(each) for each in items]
                return {"type": "array", "prefixItems": prefix, "minItems": needed, "maxItems": len(items)}
            case Table(key, value):
                names, inner = self._of_keys(key), self.write(value)
                more = ({"propertyNames": names} if names else {}) | ({"additionalProperties": inner} if inner else {})
                return {"type": "object"} | more
            case Options(shapes):
                return _either([self.write(each) for each in shapes])
            case Values(values):
                return {"enum": [_as_json(each) for each in values]}
            case Numbers(dtype):
                of_one = _ELEMENTS.get(getattr(dtype, "kind", ""), ["number", "boolean", "string"])
                return {"type": "array"} | ({"items": {"type": [*of_one, "array"]}} if self.is_sent else {})
            case Limited(inner_shape, keywords):
                return self.write(inner_shape) | dict(keywords)
            case Name(name):
                self.named.add(name)
                return {"$ref": _REF.format(name)}
            case Record():
                return self.record(shape)
            case Foreign(library, hint):
                return self._of_library(library, hint)

    def _of_keys(self, key: Shape) -> Schema:
        if key == Scalar("integer"):
            return {"pattern": "^-?[0-9]+$"}
        schema = self.write(key)
        return schema if "enum" in schema or "format" in schema or "pattern" in schema else {}

    def record(self, record: Record) -> Schema:
        """Return the schema of named values; more of them may be sent than are asked for."""
        schema: Schema = {
            "type": "object",
            "title": record.name,
            "properties": {each.name: self._field(each) for each in record.fields},
        }
        always = [each.name for each in record.fields if each.required or (not self.is_sent and record.into)]
        if always:
            schema["required"] = always
        if record.description:
            schema["description"] = record.description
        return schema

    def _field(self, of: Field) -> Schema:
        schema = self.write(of.shape)
        default = _as_json(of.default)
        return schema | {"default": default} if default is not ... and self.is_sent else schema

    def _of_library(self, library: str, hint: Any) -> Schema:
        """Return what a library says of its own type, whose definitions get a name that is free among ours."""
        try:
            said = of_msgspec(hint, self.mode) if library == MSGSPEC else of_pydantic(hint, self.mode)
        except Exception as error:
            self.notes.append(f"{hint}: {library} has no schema of it, so anything is taken there ({error})")
            return {}
        theirs = said.pop("$defs", {})
        names = {}
        for name, schema in theirs.items():
            free, number = name, 2
            while free in self.records or self.foreign.get(free, (schema,))[0] != schema:
                free, number = f"{name}_{number}", number + 1
            names[f"#/$defs/{name}"] = free
            self.foreign[free] = (schema, names)
        found: Schema = _renamed(said, names)
        return found

    def definitions_of_libraries(self) -> dict[str, Schema]:
        """Return the definitions that libraries have given, under the names that they have here."""
        return {name: _renamed(schema, names) for name, (schema, names) in self.foreign.items()}


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    if isinstance(schema, list):
        return [_renamed(each, names) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _renamed(value, names) for key, value in schema.items()}
    if isinstance(schema.get("$ref"), str) and schema["$ref"] in names:
        found["$ref"] = _REF.format(names[schema["$ref"]])
    return found


def _either(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of one among several; as one list of types where nothing else is said of them."""
    if any(not each for each in schemas):
        return {}
    if all(each.keys() == {"type"} for each in schemas):
        types = dict.fromkeys(
            name for each in schemas for name in ([each["type"]] if isinstance(each["type"], str) else each["type"])
        )
        return {"type": list(types) if len(types) > 1 else next(iter(types))}
    return {"anyOf": list(schemas)}


def _as_json(value: Any) -> Any:
    """Return a value as JSON carries it; `...` for one that it can't."""
    try:
        return orjson.loads(orjson.dumps(value))
    except TypeError:
        return ...
