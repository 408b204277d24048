"""A type hint becomes a shape: what JSON can carry for it, and what of it the model wants to get.

Read once, when a model is saved. The schema of a request (`schemas`) and its conversion in Lambda (`conversion`) are
both made of the shape, so that they can't disagree. A hint that means nothing in JSON becomes `ANY`, with a note: no
save fails for it.
"""

import dataclasses
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NewType, TypeVar, Union
from uuid import UUID

from thampi.runtime.signature import limits


@dataclass(frozen=True)
class Scalar:
    """One value without parts; `kind` is JSON's word for it, or Python's for what is written as text or a number."""

    kind: str
    type: Any = None  # what a value is made into, where JSON's own type isn't it


@dataclass(frozen=True)
class Listing:
    """Any number of values of one shape; `into` is the type that the model gets, None for the list as it is."""

    item: "Shape"
    into: type | None = None


@dataclass(frozen=True)
class Row:
    """So many values, each of its own shape, of which the first `needed` must be there."""

    items: "tuple[Shape, ...]"
    into: Any = tuple
    needed: int = 0


@dataclass(frozen=True)
class Table:
    """Values of one shape under keys of the caller's choice."""

    key: "Shape"
    value: "Shape"


@dataclass(frozen=True)
class Field:
    """One named part of a record; `default` is what the documentation shows, `...` when there is none."""

    name: str
    shape: "Shape"
    required: bool
    default: Any = ...


@dataclass(frozen=True)
class Record:
    """Named values; `into` is the class that the model gets, None for the dict as it is."""

    name: str
    fields: tuple[Field, ...]
    into: type | None = None
    description: str = ""


@dataclass(frozen=True)
class Options:
    """One of several shapes."""

    shapes: "tuple[Shape, ...]"


@dataclass(frozen=True)
class Values:
    """One of the values that are listed; `into` is their enum, if they are of one."""

    values: tuple[Any, ...]
    into: type[Enum] | None = None


@dataclass(frozen=True)
class Foreign:
    """A type of a library that knows its own schema and makes its own instances: pydantic or msgspec."""

    library: str
    hint: Any


@dataclass(frozen=True)
class Numbers:
    """A numpy array, of any number of dimensions."""

    dtype: Any = None


@dataclass(frozen=True)
class Limited:
    """A shape with more said of it, in keywords of JSON Schema: bounds, lengths, a description."""

    shape: "Shape"
    keywords: Mapping[str, Any]


@dataclass(frozen=True)
class Name:
    """A record that stands among the definitions, by its name there; so it may contain itself."""

    name: str


Shape = Scalar | Listing | Row | Table | Record | Options | Values | Foreign | Numbers | Limited | Name

ANY = Scalar("any")
PYDANTIC, MSGSPEC = "pydantic", "msgspec"

_SCALARS: dict[Any, Scalar] = {
    Any: ANY,
    object: ANY,
    None: Scalar("null"),
    NoneType: Scalar("null"),
    bool: Scalar("boolean"),
    int: Scalar("integer"),
    float: Scalar("number"),
    str: Scalar("string"),
    bytes: Scalar("bytes", bytes),
    date: Scalar("date", date),
    datetime: Scalar("date-time", datetime),
    time: Scalar("time", time),
    timedelta: Scalar("seconds", timedelta),
    Decimal: Scalar("decimal", Decimal),
    UUID: Scalar("uuid", UUID),
}
_WRAPPERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")


@dataclass
class Reader:
    """Reads the hints of one model; what records they name, and what they don't mean in JSON, is gathered here."""

    definitions: dict[str, Record] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _names: dict[Any, str] = field(default_factory=dict)

    def read(self, hint: Any, where: str) -> Shape:
        """Return the shape of a hint, whose names are resolved; `where` is what a note calls it."""
        return self._read(hint, where, {})

    def _read(self, hint: Any, where: str, bound: Mapping[Any, Any]) -> Shape:
        hint = _unwrapped(bound.get(hint, hint) if isinstance(hint, TypeVar) else hint)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if _is_known(hint):
            return _SCALARS[hint]
        if origin is Annotated:
            return self._limited(hint, where, bound)
        if origin in (Union, UnionType):
            return self._options(hint, arguments, where, bound)
        if origin is Literal:
            return Values(arguments)
        of_library = _library(origin or hint)
        if of_library is not None:
            return Foreign(of_library, hint)
        for read in (self._named, self._collection, self._of_numpy, self._of_one_value):
            shape = read(hint, origin or hint, arguments, where, bound)
            if shape is not None:
                return shape
        return self._unknown(hint, where)

    def _unknown(self, hint: Any, where: str) -> Shape:
        shown = getattr(hint, "__qualname__", None) or str(hint)
        self.notes.append(f"{where}: {shown} has no form in JSON that is known, so anything is taken there")
        return ANY

    def _limited(self, hint: Any, where: str, bound: Mapping[Any, Any]) -> Shape:
        inner, *said = typing.get_args(hint)
        shape = self._read(inner, where, bound)
        if _is_pydantic(shape) or any(hasattr(each, "__get_pydantic_core_schema__") for each in said):
            return Foreign(PYDANTIC, hint)
        keywords = limits.keywords(said, _lengths_of(shape))
        return Limited(shape, keywords) if keywords else shape

    def _options(self, hint: Any, arguments: Sequence[Any], where: str, bound: Mapping[Any, Any]) -> Shape:
        shapes = tuple(self._read(each, where, bound) for each in arguments)
        if sum(map(_is_pydantic, shapes)) > 1 and all(_is_pydantic(each) or _is_plain(each) for each in shapes):
            return Foreign(PYDANTIC, hint)  # it knows best which of its models fits best
        return Options(shapes)

    def _named(
        self, hint: Any, origin: Any, arguments: tuple[Any, ...], where: str, bound: Mapping[Any, Any]
    ) -> Shape | None:
        """Read what has named parts: a dataclass, a TypedDict."""
        is_dataclass = dataclasses.is_dataclass(origin) and isinstance(origin, type)
        if not is_dataclass and not typing.is_typeddict(origin):
            return None
        inner = dict(zip(getattr(origin, "__parameters__", ()), arguments, strict=False))
        key = (origin, *(bound.get(each, each) if isinstance(each, TypeVar) else each for each in arguments))
        if key in self._names:
            return Name(self._names[key])
        try:
            hints = typing.get_type_hints(origin, localns={origin.__name__: origin}, include_extras=True)
        except (NameError, TypeError, AttributeError) as error:
            self.notes.append(f"{where}: the hints of {origin.__name__} can't be read ({error})")
            hints = {}
        name = self._names[key] = self._free_name(hint, origin)
        read = _of_dataclass if is_dataclass else _of_typed_dict
        inner = {each: bound.get(value, value) for each, value in inner.items()}
        fields = read(origin, lambda part: self._read(hints.get(part, Any), f"{name}.{part}", inner), hints)
        self.definitions[name] = Record(name, tuple(fields), origin if is_dataclass else None, _description(origin))
        return Name(name)

    def _free_name(self, hint: Any, origin: Any) -> str:
        shown = "_".join([origin.__name__, *(getattr(each, "__name__", "of") for each in typing.get_args(hint))])
        name, number = shown, 2
        while name in self._names.values():
            name, number = f"{shown}_{number}", number + 1
        return name

    def _collection(
        self, hint: Any, origin: Any, arguments: tuple[Any, ...], where: str, bound: Mapping[Any, Any]
    ) -> Shape | None:
        if not isinstance(origin, type):
            return None
        if issubclass(origin, tuple):
            return self._tuple(origin, arguments, where, bound)
        if issubclass(origin, Mapping) and origin.__module__ in ("builtins", "collections.abc", "collections"):
            key, value = (*arguments, Any, Any)[:2] if arguments else (Any, Any)
            return Table(self._read(key, where, bound), self._read(value, f"{where}[…]", bound))
        if origin in (list, Sequence, Iterable, Collection) or origin.__qualname__ in ("MutableSequence", "Iterator"):
            return Listing(self._read(arguments[0] if arguments else Any, f"{where}[…]", bound))
        if issubclass(origin, Set) and origin.__module__ in ("builtins", "collections.abc"):
            into = frozenset if origin is frozenset else set
            return Listing(self._read(arguments[0] if arguments else Any, f"{where}[…]", bound), into)
        return None

    def _tuple(self, origin: type, arguments: tuple[Any, ...], where: str, bound: Mapping[Any, Any]) -> Shape | None:
        if hasattr(origin, "_fields"):
            hints = typing.get_type_hints(origin, include_extras=True)
            items = tuple(self._read(hints.get(name, Any), f"{where}.{name}", bound) for name in origin._fields)
            return Row(items, origin, len(items) - len(getattr(origin, "_field_defaults", ())))
        if origin is not tuple:
            return None
        if not arguments or (len(arguments) == 2 and arguments[1] is Ellipsis):
            return Listing(self._read(arguments[0] if arguments else Any, f"{where}[…]", bound), tuple)
        return Row(tuple(self._read(each, f"{where}[…]", bound) for each in arguments), tuple, len(arguments))

    def _of_numpy(
        self, hint: Any, origin: Any, arguments: tuple[Any, ...], where: str, bound: Mapping[Any, Any]
    ) -> Shape | None:
        numpy: Any = sys.modules.get("numpy")
        if numpy is None or not isinstance(origin, type):
            return None
        if issubclass(origin, numpy.ndarray):
            found = typing.get_args(arguments[1]) if len(arguments) == 2 else ()
            known = found and isinstance(found[0], type) and found[0] not in (numpy.generic, numpy.number)
            return Numbers(numpy.dtype(found[0]) if known else None)
        kinds = {numpy.bool_: bool, numpy.integer: int, numpy.floating: float, numpy.str_: str}
        return next((Scalar(_SCALARS[kind].kind, origin) for of, kind in kinds.items() if issubclass(origin, of)), None)

    def _of_one_value(
        self, hint: Any, origin: Any, arguments: tuple[Any, ...], where: str, bound: Mapping[Any, Any]
    ) -> Shape | None:
        if not isinstance(origin, type):
            return None
        if issubclass(origin, Enum):
            return Values(tuple(each.value for each in origin), origin)
        if issubclass(origin, PurePath):
            return Scalar("string", origin)
        return None


def _is_known(hint: Any) -> bool:
    try:
        return hint in _SCALARS
    except TypeError:  # what can't be a key is none of these
        return False


def _unwrapped(hint: Any) -> Any:
    """Return what stands in Required[…] and the like, behind a name of its own, or for a variable that nobody bound."""
    while True:
        origin = typing.get_origin(hint)
        if getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif isinstance(hint, TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def _library(hint: Any) -> str | None:
    if not isinstance(hint, type):
        return None
    if hasattr(hint, "__get_pydantic_core_schema__") or "__pydantic_core_schema__" in vars(hint):
        return PYDANTIC
    return MSGSPEC if hasattr(hint, "__struct_fields__") else None


def _is_pydantic(shape: Shape) -> bool:
    return isinstance(shape, Foreign) and shape.library == PYDANTIC


def _is_plain(shape: Shape) -> bool:
    return isinstance(shape, Scalar | Values)


def _lengths_of(shape: Shape) -> str:
    """Return JSON Schema's word for what has a length in a shape: of an array its Items."""
    while isinstance(shape, Limited):
        shape = shape.shape
    if isinstance(shape, Listing | Row | Numbers):
        return "Items"
    return "Properties" if isinstance(shape, Table | Name) else "Length"


def _of_dataclass(made: Any, read: Callable[[str], Shape], hints: Mapping[str, Any]) -> list[Field]:
    found = []
    for each in dataclasses.fields(made):
        if each.init:
            required = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
            default = ... if each.default is dataclasses.MISSING else each.default
            found.append(Field(each.name, read(each.name), required, default))
    return found


def _of_typed_dict(made: Any, read: Callable[[str], Shape], hints: Mapping[str, Any]) -> list[Field]:
    return [Field(name, read(name), _is_required(made, name, hint)) for name, hint in hints.items()]


def _is_required(typed_dict: Any, name: str, hint: Any) -> bool:
    """Say whether a key has to be there; Python itself doesn't know it where hints are text."""
    while (origin := typing.get_origin(hint)) is not None:
        word = getattr(origin, "__name__", getattr(origin, "_name", None))
        if word in ("Required", "NotRequired"):
            return bool(word == "Required")
        if word != "ReadOnly" and origin is not Annotated:
            break
        hint = typing.get_args(hint)[0]
    return name in typed_dict.__required_keys__


def _description(made: type) -> str:
    said = (made.__dict__.get("__doc__") or "").strip()
    return "" if said.startswith(f"{made.__name__}(") else " ".join(said.split("\n\n")[0].split())
