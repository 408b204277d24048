"""A shape becomes a plan: the steps that make of a request's data what the model's hint says.

Made when a model is saved, and pickled behind it; `conversion` follows it in Lambda, where no hint is read any more: in
a class that was pickled by value, names in hints lead nowhere. A plan is a list of steps, each a tuple of plain values
and the user's own types; a step names another by its place in the list, and the first is that of the whole. NOTHING
stands for what stays as it is.

| step | of |
|---|---|
| `integer` | a whole number, which JSON may write as 3.0 |
| `plain`, kind | what stays as it is, where several shapes are possible and one has to be told from the other |
| `made`, kind, type | a date, a UUID, … from text; a span of time from seconds |
| `list`, item, type or None | an array |
| `row`, items, type, how many are needed | a tuple |
| `table`, key, value | an object with keys of the caller's choice |
| `record`, class or None, {field: step}, needed fields, {field: the values that it may have} | an object |
| `options`, steps | the first that fits |
| `member`, ((what JSON carries, the value), …) | an enum |
| `array`, numpy.asarray, dtype or None | a numpy array |
| `pydantic`, hint · `msgspec`, hint | what the library makes of it |
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from thampi.runtime.signature.shapes import (
    Foreign,
    Limited,
    Listing,
    Name,
    Numbers,
    Options,
    Record,
    Row,
    Scalar,
    Shape,
    Table,
    Values,
)

Plan = list[tuple[Any, ...]]

NOTHING = -1
_PLAIN = ("any", "null", "boolean", "number", "string")


def make(shape: Shape, definitions: Mapping[str, Record]) -> Plan | None:
    """Return the plan for data of a shape; None when the data stays as it is."""
    planner = _Planner(definitions)
    return planner.steps if planner.step(shape) != NOTHING else None


class _Planner:
    def __init__(self, definitions: Mapping[str, Record]) -> None:
        self._definitions = definitions
        self._places: dict[str, int] = {}
        self.steps: Plan = []

    def step(self, shape: Shape, telling: bool = False) -> int:
        """Add the steps for a shape and return the place of its own; also for a plain one when it is for `telling`."""
        while isinstance(shape, Limited):
            shape = shape.shape
        if isinstance(shape, Name) and shape.name in self._places:
            return self._places[shape.name]
        if not telling and not self._needs(shape):
            return NOTHING
        place = len(self.steps)
        self.steps.append(())
        if isinstance(shape, Name):
            self._places[shape.name] = place
            shape = self._definitions[shape.name]
        self.steps[place] = self._made(shape)
        return place

    def _made(self, shape: Shape) -> tuple[Any, ...]:  # noqa: C901 - a case for each shape
        match shape:
            case Scalar("integer", None):
                return ("integer",)
            case Scalar(kind, None):
                return ("plain", kind)
            case Scalar(kind, made):
                return ("made", kind, made)
            case Listing(item, into):
                return ("list", self.step(item), into)
            case Row(items, into, needed):
                return ("row", tuple(self.step(each) for each in items), into, needed)
            case Table(key, value):
                return ("table", self.step(key), self.step(value))
            case Record():
                return self._record(shape)
            case Options(shapes):
                return ("options", tuple(self.step(each, telling=True) for each in shapes))
            case Values(values, into):
                members = tuple(into) if into else values
                return ("member", tuple((orjson.loads(orjson.dumps(each)), each) for each in members))
            case Numbers(dtype):
                numpy: Any = sys.modules["numpy"]
                return ("array", numpy.asarray, None if dtype is None else dtype.str)
            case Foreign(library, hint):
                return (library, hint)
        raise AssertionError(shape)

    def _record(self, record: Record) -> tuple[Any, ...]:
        steps = {each.name: self.step(each.shape) for each in record.fields}
        needed = tuple(each.name for each in record.fields if each.required)
        told = {each.name: each.shape.values for each in record.fields if isinstance(each.shape, Values)}
        return ("record", record.into, steps, needed, {name: _as_json(values) for name, values in told.items()})

    def _needs(self, shape: Shape) -> bool:
        """Say whether anything in a shape becomes something else."""
        return any(_becomes_something_else(each) for each in self._all_of(shape, set()))

    def _all_of(self, shape: Shape, met: set[str]) -> Iterator[Shape]:
        if isinstance(shape, Name):
            if shape.name in met:
                return
            met.add(shape.name)
            shape = self._definitions[shape.name]
        yield shape
        for each in _parts(shape):
            yield from self._all_of(each, met)


def _parts(shape: Shape) -> tuple[Shape, ...]:
    match shape:
        case Limited(inner, _) | Listing(inner, _):
            return (inner,)
        case Row(items, _, _) | Options(items):
            return items
        case Table(key, value):
            return (key, value)
        case Record(_, fields, _, _):
            return tuple(each.shape for each in fields)
    return ()


def _becomes_something_else(shape: Shape) -> bool:
    match shape:
        case Scalar(kind, made):
            return made is not None or kind not in _PLAIN
        case Listing(_, into) | Record(_, _, into, _):
            return into is not None
        case Values(values, into):
            return into is not None or _as_json(values) != list(values)
    return isinstance(shape, Row | Numbers | Foreign)


def _as_json(values: Any) -> list[Any]:
    found: list[Any] = orjson.loads(orjson.dumps(values))
    return found
