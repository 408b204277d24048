"""Models of every style of hint, each of which fails when it doesn't get what its hint says."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import annotated_types
import msgspec
import numpy as np
import numpy.typing as npt
import pydantic

from thampi import Model

T = TypeVar("T")


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Measured(TypedDict):
    input: list[float]
    unit: NotRequired[Literal["cm", "inch"]]


class Dated(TypedDict, total=False):
    day: date
    place: "Place"


@dataclass
class Place:
    """Where it was found."""

    name: str
    at: tuple[float, float]
    inside: "Place | None" = None


@dataclass(frozen=True)
class Flower:
    petals: int
    length: Annotated[float, pydantic.Field(gt=0, le=100, description="in cm")]
    color: Color
    size: Size = Size.SMALL
    tags: frozenset[str] = frozenset()
    seen: datetime | None = None
    place: Place | None = None
    more: dict[str, list[int]] = field(default_factory=dict)
    area: float = field(init=False, default=0.0)


@dataclass
class Odd:
    number: int

    def __post_init__(self):
        if self.number % 2 == 0:
            raise ValueError(f"{self.number} is even")


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Scalars:
    clock: time
    took: timedelta
    price: Decimal
    id: UUID
    path: Path
    raw: bytes


class Point(NamedTuple):
    x: int
    y: int = 0


class Person(pydantic.BaseModel):
    name: Annotated[str, pydantic.StringConstraints(min_length=2, pattern="^[a-z]*$")]
    age: int = pydantic.Field(ge=0, le=150)
    born: date | None = None
    friends: "list[Person]" = []

    @pydantic.field_validator("name")
    @classmethod
    def not_bob(cls, name):
        if name == "bob":
            raise ValueError("bob is out")
        return name


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    legs: int = 4


@pydantic.dataclasses.dataclass
class Validated:
    n: int = pydantic.Field(gt=3)


class Struct(msgspec.Struct):
    x: int
    y: Annotated[float, msgspec.Meta(ge=0)] = 0.5
    inner: "Struct | None" = None


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    some_name: str
    when: date | None = None


def is_flower(data):
    assert type(data) is Flower
    assert type(data.petals) is int
    assert type(data.color) is Color
    assert type(data.size) is Size
    assert type(data.tags) is frozenset
    assert data.seen is None or type(data.seen) is datetime
    assert data.place is None or is_place(data.place)
    assert all(type(each) is int for values in data.more.values() for each in values)
    return True


def is_place(data):
    assert type(data) is Place
    assert type(data.at) is tuple
    assert data.inside is None or is_place(data.inside)
    return True


def is_dated(data):
    assert type(data) is dict
    assert "day" not in data or type(data["day"]) is date
    assert "place" not in data or is_place(data["place"])
    return True


def is_scalars(data):
    kinds = {"clock": time, "took": timedelta, "price": Decimal, "id": UUID, "raw": bytes}
    assert all(type(getattr(data, name)) is kind for name, kind in kinds.items())
    return isinstance(data.path, Path)


def of(kind, inside=lambda item: True):
    return lambda data: isinstance(data, kind) and not isinstance(data, bool) and inside(data)


def each(kind):
    return lambda items: all(isinstance(item, kind) and not isinstance(item, bool) for item in items)


# name: the hint of `data`, and what must hold for everything that `predict` gets.
STYLES: dict[str, tuple[Any, Any]] = {
    "anything": (Any, lambda data: True),
    "dict": (dict, of(dict)),
    "dict of lists": (dict[str, list[float]], of(dict, lambda data: all(map(each((int, float)), data.values())))),
    "mapping with numbers as keys": (Mapping[int, str], of(dict, each(int))),
    "mapping with enums as keys": (dict[Color, int], of(dict, each(Color))),
    "list": (list, of(list)),
    "list of numbers": (list[float], of(list, each((int, float)))),
    "list of whole numbers": (list[int], of(list, each(int))),
    "sequence": (Sequence[str], of(list, each(str))),
    "set": (set[int], of(set, each(int))),
    "tuple": (tuple[int, str], of(tuple, lambda data: type(data[0]) is int and type(data[1]) is str)),
    "tuple of any length": (tuple[date, ...], of(tuple, each(date))),
    "optional": (int | None, lambda data: data is None or type(data) is int),
    "number": (float, of((int, float))),
    "whole number": (int, of(int)),
    "text": (str, of(str)),
    "boolean": (bool, lambda data: type(data) is bool),
    "literal": (Literal["a", 1, None], lambda data: data in ("a", 1, None)),
    "enum": (Color, of(Color)),
    "int enum": (Size, lambda data: type(data) is Size),
    "date": (date, of(date)),
    "several": (int | str | list[bool], of((int, str, list))),
    "record or number": (Place | int, lambda data: type(data) is int or is_place(data)),
    "bounds of pydantic": (Annotated[int, pydantic.Field(ge=1, lt=10)], lambda data: data in range(1, 10)),
    "bounds of annotated_types": (Annotated[list[str], annotated_types.Len(1, 3)], lambda data: 1 <= len(data) <= 3),
    "bounds of msgspec": (Annotated[str, msgspec.Meta(max_length=3)], lambda data: len(data) <= 3),
    "TypedDict": (Measured, of(dict, lambda data: each((int, float))(data["input"]))),
    "TypedDict with a date": (Dated, is_dated),
    "dataclass": (Flower, is_flower),
    "dataclass that contains itself": (Place, is_place),
    "dataclass that refuses": (Odd, lambda data: type(data) is Odd and data.number % 2 == 1),
    "generic dataclass": (Box[list[Color]], lambda data: type(data) is Box and each(Color)(data.content)),
    "two of one generic": (
        tuple[Box[int], Box[str]],
        lambda data: type(data[0].content) is int and type(data[1].content) is str,
    ),
    "scalars": (Scalars, is_scalars),
    "NamedTuple": (Point, lambda data: type(data) is Point and type(data.y) is int),
    "pydantic model": (Person, of(Person)),
    "list of pydantic models": (list[Person], each(Person)),
    "pydantic models by their kind": (
        Annotated[Cat | Dog, pydantic.Field(discriminator="kind")],
        lambda data: type(data) in (Cat, Dog),
    ),
    "either pydantic model": (Cat | Dog | None, lambda data: data is None or type(data) in (Cat, Dog)),
    "dataclass of pydantic": (Validated, lambda data: dataclasses.is_dataclass(data) and data.n > 3),
    "Struct": (Struct, of(Struct)),
    "strict Struct": (Strict, of(Strict)),
    "list of Structs": (list[Struct], each(Struct)),
    "array": (np.ndarray, of(np.ndarray)),
    "array of floats": (npt.NDArray[np.float64], lambda data: data.dtype == np.float64),
    "numpy number": (np.float64, of(np.float64)),
}


def model(style: str) -> Model:
    """Return a model that takes what the style's hint says, and fails when it gets anything else."""
    hint, holds = STYLES[style]

    class Hinted(Model):
        def predict(self, data, context):
            assert holds(data), data
            return "right"

    Hinted.predict.__annotations__["data"] = hint
    return Hinted()
