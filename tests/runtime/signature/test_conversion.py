"""What the model gets, and what a type refuses beyond its schema: through the whole road from hint to value."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import numpy as np
import pydantic
import pytest

from tests.runtime.signature.hinted import Color, Flower, Odd, Person, Place, Point, Struct
from thampi.runtime.signature import conversion, plans
from thampi.runtime.signature.shapes import Reader


def plan_of(hint):
    reader = Reader()
    return plans.make(reader.read(hint, "it"), reader.definitions)


def convert(hint, value):
    found: list[Any] = []
    made = conversion.build(plan_of(hint))(value, found)
    assert not found, found
    return made


def mistakes(hint, value):
    found: list[Any] = []
    conversion.build(plan_of(hint))(value, found)
    return [("/".join(map(str, each.path)), each.message) for each in found]


class Loose(TypedDict, total=False):
    x: list[float]


class Kinds(TypedDict):
    day: date


class Tree(TypedDict):
    children: "list[Tree]"


class Short(pydantic.BaseModel):
    x: int


class Long(pydantic.BaseModel):
    x: int
    y: int = 0


@dataclass
class One:
    kind: Literal["one"]
    day: date


@dataclass
class Two:
    kind: Literal["two"]
    day: date
    next: "One | Two | None" = None


@pytest.mark.parametrize(
    "hint",
    [
        Any,
        dict,
        list[float],
        dict[str, list[str]],
        str | None,
        Literal["a", 1],
        Loose,
        bool,
        list[dict[str, float]],
        Tree,
    ],
)
def test_what_stays_as_it_is_needs_no_plan(hint):
    assert plan_of(hint) is None


@pytest.mark.parametrize(
    ("hint", "value", "made"),
    [
        (int, 3.0, 3),
        (list[int], [1, 2.0], [1, 2]),
        (int | None, 3.0, 3),
        (dict[int, list[date]], {"1": ["2020-01-02"]}, {1: [date(2020, 1, 2)]}),
        (Kinds, {"day": "2020-01-02", "more": 1}, {"day": date(2020, 1, 2), "more": 1}),
        (Point, [1], Point(1)),
        (tuple[int, Color], [1.0, "red"], (1, Color.RED)),
        (date | str, "2020-01-02", date(2020, 1, 2)),
        (date | str, "yesterday", "yesterday"),
        (One | Two, {"kind": "two", "day": "2020-01-02"}, Two("two", date(2020, 1, 2))),
        (Literal["a", Color.RED], "red", Color.RED),
        (Short | Long, {"x": 1, "y": 2}, Long(x=1, y=2)),  # pydantic knows which of them fits best
        (bool | int, True, True),
        (int | Color | bool, True, True),
        (int | Color | float, 3.5, 3.5),
        (Place | float, 1.5, 1.5),
        (Odd, {"number": 3, "more": 4}, Odd(3)),
        (timedelta, 1.5, timedelta(seconds=1.5)),
        (list[Person | Odd], [{"name": "ab", "age": 3}, {"number": 1}], [Person(name="ab", age=3), Odd(1)]),
        (Struct, {"x": 3.0}, Struct(3)),
        (Iterable[datetime], ["2020-01-02T03:04:05Z"], [datetime.fromisoformat("2020-01-02T03:04:05+00:00")]),
    ],
    ids=str,
)
def test_what_the_model_gets(hint, value, made):
    found = convert(hint, value)
    assert found == made
    assert repr(found) == repr(made)  # 3.0 is 3, too


def test_a_long_list_of_whole_numbers_is_not_copied():
    value = list(range(10))
    assert convert(list[int], value) is value


@pytest.mark.parametrize(
    ("hint", "value", "wrong"),
    [
        (list[date], ["2020-01-02", "x", "2020-13-01"], [("1", "it is no date"), ("2", "it is no date")]),
        (
            dict[str, Kinds],
            {"a": {"day": "x"}, "b": {}},
            [("a/day", "it is no date"), ("b", '"day" is a required property')],
        ),
        (Odd, {"number": 2}, [("", "2 is even")]),
        (list[Odd], [{"number": 1}, {"number": 2}], [("1", "2 is even")]),
        (dict[date, int], {"x": 1}, [("x", "it is no date")]),
        (tuple[date, Odd], ["x", {"number": 4}], [("0", "it is no date"), ("1", "4 is even")]),
        (Person, {"name": "bob", "age": 1}, [("name", "Value error, bob is out")]),
        (
            list[Person],
            [{"name": "ab", "age": 1, "friends": [{"name": "bob", "age": 1}], "born": "x"}],
            [
                ("0/born", "Input should be a valid date or datetime, input is too short"),
                ("0/friends/0/name", "Value error, bob is out"),
            ],
        ),
        (Struct, {"x": 1, "inner": {"x": 1, "y": -1}}, [("inner/y", "Expected `float` >= 0.0")]),
        (One | Two, {"kind": "two", "day": "x"}, [("day", "it is no date")]),
        (
            One | Two,
            {"kind": "two", "day": "2020-01-02", "next": {"kind": "one", "day": "x"}},
            [("next/day", "it is no date")],
        ),
        (set[tuple[int, ...]] | None, [[1], [2]], []),
        (set[list[int]], [[1]], [("", "it has values that can't be in a set")]),
        (Color, "green", [("", "it is not one of red, blue")]),
        (np.ndarray, [[1], [1, 2]], [("", None)]),
    ],
    ids=str,
)
def test_every_mistake_is_found_where_it_is(hint, value, wrong):
    found = mistakes(hint, value)
    assert [path for path, _ in found] == [path for path, _ in wrong]
    for (_, said), (_, expected) in zip(found, wrong, strict=True):
        assert expected is None or said == expected


def test_of_a_union_of_libraries_the_path_leads_through_the_data():
    class A(pydantic.BaseModel):
        kind: Literal["a"]
        inner: list[Person]

    class B(pydantic.BaseModel):
        kind: Literal["b"]

    assert mistakes(A | B, {"kind": "a", "inner": [{"name": "bob", "age": 1}]})[0] == (
        "inner/0/name",
        "Value error, bob is out",
    )


def test_what_a_type_raises_beside_a_refusal_is_a_fault_of_the_model():
    @dataclass
    class Broken:
        x: int

        def __post_init__(self):
            raise KeyError(self.x)

    with pytest.raises(KeyError):
        convert(Broken, {"x": 1})


def test_fields_that_a_class_fills_itself_are_not_taken_from_the_data():
    flower = convert(Flower, {"petals": 1, "length": 2, "color": "red", "area": 5})
    assert flower.area == 0.0


def test_a_named_tuple_may_leave_out_what_has_a_default():
    class Named(NamedTuple):
        a: date
        b: int = 1

    assert convert(Named, ["2020-01-02"]) == Named(date(2020, 1, 2), 1)
    assert mistakes(Named, []) == [("", "it is no array of 2 values")]


def test_a_struct_of_another_library_within_a_dataclass_is_made_by_it():
    class Inner(msgspec.Struct):
        when: date

    @dataclass
    class Outer:
        inner: list[Inner]

    made = convert(Outer, {"inner": [{"when": "2020-01-02"}]})
    assert made.inner == [Inner(date(2020, 1, 2))]
    assert mistakes(Outer, {"inner": [{"when": "2020-01-02"}, {"when": "x"}]}) == [
        ("inner/1/when", "Invalid RFC3339 encoded date")
    ]
