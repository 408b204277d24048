import dataclasses
import json
import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import jsonschema
import msgspec
import numpy as np
import pydantic
import pytest

from tests.runtime.signature import hinted
from thampi.runtime.encoding import encode
from thampi.runtime.signature import schemas
from thampi.runtime.signature.shapes import Reader


def request(hint):
    reader = Reader()
    return schemas.of_request(reader.read(hint, "it"), reader)


def answer(hint):
    reader = Reader()
    return schemas.of_answer(reader.read(hint, "it"), reader)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Answer:
    score: float
    label: str = "a"


class Pair(NamedTuple):
    x: float
    y: str = ""


class Out(TypedDict, total=False):
    score: float
    label: Literal["a", "b"]


class Report(pydantic.BaseModel):
    score: float = pydantic.Field(alias="Score")
    when: datetime
    took: timedelta
    price: Decimal

    @pydantic.computed_field
    @property
    def twice(self) -> float:
        return 2 * self.score


class Found(msgspec.Struct, rename="camel", tag="found"):
    high_score: float
    when: date | None = None
    price: Decimal = Decimal(1)


WHEN = datetime(2020, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, 1.5),
        (float, math.nan),
        (int, 3),
        (bool, True),
        (str, "a"),
        (None, None),
        (list[float], [1.5, math.inf]),
        (list[float], np.array([1.5, math.nan])),
        (dict[str, float], {"a": 1.5}),
        (dict[int, str], {1: "a"}),
        (dict[Color, int], {Color.RED: 1}),
        (tuple[float, str], (1.5, "a")),
        (set[int], {1, 2}),
        (datetime, WHEN),
        (date, WHEN.date()),
        (time, WHEN.time()),
        (timedelta, timedelta(minutes=1)),
        (Decimal, Decimal("1.5")),
        (Decimal, Decimal("nan")),
        (UUID, UUID(int=1)),
        (Color, Color.RED),
        (Answer, Answer(math.nan)),
        (list[Answer], [Answer(1.5)]),
        (Answer | None, None),
        (Pair, Pair(1.5)),
        (Out, {"score": 1.5}),
        (Report, Report(Score=math.nan, when=WHEN, took=timedelta(1), price=Decimal(1))),
        (dict[str, Report], {"a": Report(Score=1, when=WHEN, took=timedelta(1), price=Decimal(1))}),
        (Found, Found(math.nan, WHEN.date())),
        (Found | None, Found(1.5)),
        (np.ndarray, np.zeros((2, 2))),
        (np.float32, np.float32(1.5)),
        (np.int64, np.int64(1)),
        (Any, object),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_is_what_its_schema_says(hint, value):
    schema = answer(hint)
    jsonschema.Draft202012Validator.check_schema(schema)
    said = json.loads(encode(value)) if value is not object else 1
    jsonschema.validate(said, schema, cls=jsonschema.Draft202012Validator, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize(
    ("hint", "wrong"),
    [
        (float, "1.5"),
        (list[float], ["a"]),
        (Answer, {"score": 1.5}),
        (Report, {"Score": 1, "when": "", "took": 1, "price": 1}),
        (Found, {"type": "found", "high_score": 1}),
        (Color, "green"),
        (tuple[float, str], [1.5]),
        (date, 3),
    ],
)
def test_an_answer_of_another_kind_is_not(hint, wrong):
    assert not jsonschema.Draft202012Validator(answer(hint)).is_valid(wrong)


def test_what_tells_models_of_pydantic_from_each_other_is_in_their_schema():
    schema = request(hinted.STYLES["pydantic models by their kind"][0])
    assert schema["discriminator"]["propertyName"] == "kind"


@pytest.mark.parametrize("style", hinted.STYLES)
def test_each_schema_is_a_schema_of_its_own(style):
    for schema in (request(hinted.STYLES[style][0]), answer(hinted.STYLES[style][0])):
        jsonschema.Draft202012Validator.check_schema(schema)
        named = set(schema.get("$defs", ()))
        found = set(references(schema))
        assert found == {f"#/$defs/{name}" for name in named}
        json.dumps(schema)


def references(node):
    for each in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from references(each)
    if isinstance(node, dict) and isinstance(node.get("$ref"), str):
        yield node["$ref"]


def test_a_record_says_what_its_class_says():
    schema = request(hinted.Flower)
    flower, place = schema["$defs"]["Flower"], schema["$defs"]["Place"]
    assert schema["$ref"] == "#/$defs/Flower"
    assert flower["required"] == ["petals", "length", "color"]
    assert list(flower["properties"]) == ["petals", "length", "color", "size", "tags", "seen", "place", "more"]
    length = flower["properties"]["length"]
    assert length == {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "description": "in cm"}
    assert flower["properties"]["size"] == {"enum": [1, 2], "default": 1}
    assert "description" not in flower
    assert place["description"] == "Where it was found."
    assert place["properties"]["inside"] == {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "default": None}


def test_two_classes_of_one_name_are_two_definitions():
    one = dataclasses.make_dataclass("Same", [("x", int)])
    other = dataclasses.make_dataclass("Same", [("y", str)])
    of_pydantic = pydantic.create_model("Same", z=(float, ...))
    schema = request(tuple[one, other, of_pydantic])
    assert [each["$ref"] for each in schema["prefixItems"][:2]] == ["#/$defs/Same", "#/$defs/Same_2"]
    assert {name: set(each["properties"]) for name, each in schema["$defs"].items()} == {"Same": {"x"}, "Same_2": {"y"}}
    assert set(schema["prefixItems"][2]["properties"]) == {"z"}


def test_the_definitions_of_a_library_keep_clear_of_ours():
    inner = pydantic.create_model("Same", z=(float, ...))
    outer = pydantic.create_model("Outer", inner=(inner, ...), others=(list[inner], ...))
    schema = request(tuple[dataclasses.make_dataclass("Same", [("x", int)]), outer])
    assert set(schema["$defs"]["Same"]["properties"]) == {"x"}
    assert schema["prefixItems"][1]["properties"]["inner"] == {"$ref": "#/$defs/Same_2"}
    assert set(schema["$defs"]["Same_2"]["properties"]) == {"z"}


WHOLE = {"type": "integer"}


def table(of, **more):
    return {"type": "object", "additionalProperties": of} | more


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (int | None, {"type": ["integer", "null"]}),
        (int | Any, {}),
        (Literal["a"] | None, {"anyOf": [{"enum": ["a"]}, {"type": "null"}]}),
        (list, {"type": "array", "items": {}}),
        (dict, {"type": "object"}),
        (dict[int, bool], table({"type": "boolean"}, propertyNames={"pattern": "^-?[0-9]+$"})),
        (dict[Color, int], table(WHOLE, propertyNames={"enum": ["red", "blue"]})),
        (Annotated[list[int], pydantic.Field(min_length=1)], {"type": "array", "items": WHOLE, "minItems": 1}),
        (Annotated[dict[str, int], pydantic.Field(max_length=2)], table(WHOLE, maxProperties=2)),
        (
            Annotated[float, "a word", msgspec.Meta(gt=0, multiple_of=0.5, title="T")],
            {"type": "number", "exclusiveMinimum": 0, "multipleOf": 0.5, "title": "T"},
        ),
        (Annotated[date, pydantic.Field(ge=date(2020, 1, 1))], {"type": "string", "format": "date"}),
    ],
)
def test_schemas_of_requests(hint, schema):
    assert request(hint) == schema
