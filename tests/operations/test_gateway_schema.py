"""The gateway refuses what is surely wrong, and nothing that the handler takes: for every kind of signature."""

import json
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

import jsonschema
import orjson
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runtime.signature import hinted, json_values
from thampi.operations import gateway_schema
from thampi.runtime.signature import examples, schemas
from thampi.runtime.signature.checking import batched, checker
from thampi.runtime.signature.describing import describe
from thampi.runtime.signature.mistakes import InvalidDataError
from thampi.runtime.signature.shapes import Reader

_WORDS = {
    *("type", "properties", "required", "items", "enum"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def signature(request, batch=False):
    return {"request": batched(request) if batch else request, "batch": batch}


def of(hint, batch=False):
    reader = Reader()
    return signature(schemas.of_request(reader.read(hint, "it"), reader), batch)


def handler_takes(told, text):
    """Say whether the handler's own check lets a body through, given as it is sent."""
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    if not isinstance(body, dict) or "data" not in body:
        return False
    try:
        known = checker(told)
        if known is not None:
            known.check(body["data"])
    except InvalidDataError:
        return False
    return True


def gateway_takes(schema, text):
    """Say whether a validator of draft 4 lets it through that takes decimals for what they are, as Java's does."""
    return jsonschema.Draft4Validator(json.loads(schema)).is_valid(json.loads(text, parse_float=Decimal))


def holds(told, data):
    schema, text = gateway_schema.make(told), json.dumps({"data": data})
    assert schema is None or gateway_takes(schema, text) or not handler_takes(told, text), (schema, text)


def mangled(data, seed):
    """Return the data with one part of it replaced: what is almost right finds more than what is made at random."""
    chance = random.Random(seed)
    if isinstance(data, list) and data and chance.random() < 0.7:
        place = chance.randrange(len(data))
        return [mangled(each, seed + 1) if at == place else each for at, each in enumerate(data)]
    if isinstance(data, dict) and data and chance.random() < 0.7:
        name = chance.choice(sorted(data))
        return {key: mangled(each, seed + 1) if key == name else each for key, each in data.items()}
    return chance.choice([None, True, 0, 1, -1, 1.5, 3.0, 10**30, "", "x", "red", [], {}, [data], {"a": data}])


@pytest.mark.parametrize("batch", [False, True], ids=["one", "many"])
@pytest.mark.parametrize("style", hinted.STYLES)
def test_what_the_handler_takes_the_gateway_takes_whatever_the_hint(style, batch):
    told = of(hinted.STYLES[style][0], batch)
    right = json_values.from_schema(told["request"]) if told["request"] and not batch else json_values.anything

    @QUICK
    @given(right | json_values.anything, st.integers(0, 2**32))
    def check(data, seed):
        holds(told, data)
        holds(told, mangled(data, seed))

    check()


@QUICK
@given(json_values.anything, json_values.anything, st.integers(0, 2**32), st.booleans())
def test_what_the_handler_takes_the_gateway_takes_whatever_the_example(example, data, seed, batch):
    told = signature(examples.schema_of(example), batch)
    for each in (example, data, mangled(example, seed), [example, mangled(example, seed)]):
        holds(told, each)


_NAMES = st.sampled_from(["a", "b", "c"])
_LEAVES = st.sampled_from(
    [
        {},
        True,
        False,
        *({"type": kind} for kind in ("null", "boolean", "integer", "number", "string", "array", "object")),
        {"type": ["integer", "null"], "exclusiveMinimum": 0, "maximum": 2},
        {"type": "number", "exclusiveMaximum": 1, "multipleOf": 0.5},
        {"minimum": 10**400},
        {"type": "string", "pattern": "^[a-c]", "minLength": 1, "maxLength": 2.0},
        {"type": "string", "format": "date"},
        {"enum": ["a", "b", None]},
        {"enum": ["a", 1, True, [1], {"a": 1}]},
        {"const": "a"},
        {"const": 1},
        {"$ref": "#/$defs/Tree"},
        {"$ref": "#"},
        {"type": "array", "uniqueItems": True, "contains": {"const": 1}},
        {"type": "object", "additionalProperties": False, "propertyNames": {"maxLength": 1}},
        {"not": {"type": "array"}},
        {"$ref": "#/$defs/Tree", "required": ["b"]},
        {"$id": "https://example.com/other", "type": "string"},
    ]
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"oneOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"allOf": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(
            lambda parts, needed: {"type": "object", "properties": parts, "required": sorted(needed)},
            st.dictionaries(_NAMES, inner, max_size=3),
            st.sets(_NAMES, max_size=2),
        ),
        st.builds(lambda item, least: {"type": "array", "items": item, "minItems": least}, inner, st.integers(0, 2)),
        st.builds(
            lambda first, most: {"prefixItems": first, "maxItems": most},
            st.lists(inner, min_size=1, max_size=2),
            st.integers(0, 3),
        ),
        st.builds(lambda one, then: {"if": one, "then": then, "properties": {"a": one}, "items": then}, inner, inner),
    ),
    max_leaves=6,
)
_TREE = {"type": "object", "properties": {"a": {"$ref": "#/$defs/Tree"}, "b": {"type": "number"}}, "required": ["a"]}
_DATA = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, 1.0, 1.5, 10**400, "", "a", "ab", "abc"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=5,
)


@settings(QUICK, max_examples=300)
@given(_SCHEMAS.filter(lambda schema: isinstance(schema, dict)), _DATA, st.booleans())
def test_what_the_handler_takes_the_gateway_takes_whatever_the_schema(schema, data, batch):
    told = signature(schema | {"$defs": {"Tree": _TREE}}, batch)
    try:
        checker(told)
    except ValueError:
        return  # the save says so, and has no schema then
    holds(told, data)


@QUICK
@given(_SCHEMAS.filter(lambda schema: isinstance(schema, dict)))
def test_only_words_are_written_that_api_gateway_takes(schema):
    written = gateway_schema.make(signature(schema | {"$defs": {"Tree": _TREE}}))
    if written is not None:
        body = json.loads(written)
        assert body.pop("$schema") == "http://json-schema.org/draft-04/schema#"
        jsonschema.Draft4Validator.check_schema(body)
        assert words(body) <= _WORDS


def words(schema):
    inner = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return {*schema}.union(*map(words, inner))


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (Annotated[float, pydantic.Field(ge=1)], '{"data": 0.99999999999999999999}'),
        (Annotated[float, pydantic.Field(le=0.1)], '{"data": 0.1000000000000000055}'),
        (Annotated[int, pydantic.Field(ge=0)], '{"data": -1e-400}'),
        (int, '{"data": 1.00000000000000000001}'),
        (int, '{"data": 100000000000000000000000000000000}'),
        (Literal[1, "a"], '{"data": 1.00000000000000000001}'),
        (list[int], '{"data": [1.0, 2e0]}'),
        (str, '{"data": 5, "data": "x"}'),
        (dict[str, int], '{"data": {}, "more": [1]}'),
        (Annotated[str, pydantic.StringConstraints(max_length=1)], '{"data": "\\ud83d\\ude00"}'),
    ],
    ids=str,
)
def test_a_number_that_the_handler_reads_as_a_float_is_not_refused_for_its_decimals(hint, text):
    told = of(hint)
    assert handler_takes(told, text)
    assert gateway_takes(gateway_schema.make(told), text)


@dataclass
class Deep:
    at: tuple[float, float]
    tags: list[str]
    next: "Deep | None" = None


@pytest.mark.parametrize(
    ("hint", "wrong"),
    [
        (hinted.Flower, {"petals": 3, "length": 1.0}),
        (hinted.Flower, {"petals": "3", "length": 1.0, "color": "red"}),
        (hinted.Flower, {"petals": 3, "length": -1.0, "color": "red"}),
        (hinted.Flower, {"petals": 3, "length": 1.0, "color": "green"}),
        (hinted.Flower, {"petals": 3, "length": 1.0, "color": "red", "place": {"at": [1, 2]}}),
        (hinted.Flower, {"petals": 3, "length": 1.0, "color": "red", "place": {"name": "x", "at": ["1", 2]}}),
        (hinted.Flower, [{"petals": 3}]),
        (Deep | None, {"at": [1], "tags": []}),
        (Deep, {"at": [1, 2], "tags": [1]}),
        (list[float], "x"),
        (list[float], [1, "x"]),
        (int, "1"),
        (int | None, True),
        (Literal["a", None], "b"),
        (hinted.Cat | hinted.Dog | None, {"lives": 1}),
        (hinted.Person, {"name": "ab", "age": 151}),
        (hinted.Person, {"name": "a", "age": 1}),
        (hinted.Struct, {"x": 1, "inner": {"x": None}} | {"y": "2"}),
    ],
    ids=str,
)
def test_what_is_surely_wrong_is_refused(hint, wrong):
    schema = gateway_schema.make(of(hint))
    assert not gateway_takes(schema, json.dumps({"data": wrong}))


@pytest.mark.parametrize("body", ["[]", '{"input": 1}', "null", '"data"', "{}"])
def test_a_body_without_data_is_refused(body):
    assert not gateway_takes(gateway_schema.make(of(int)), body)


def test_of_many_items_each_is_checked():
    schema = gateway_schema.make(of(Deep, batch=True))
    right = {"at": [1, 2], "tags": ["x"]}
    assert gateway_takes(schema, json.dumps({"data": right}))
    assert gateway_takes(schema, json.dumps({"data": [right, right]}))
    assert not gateway_takes(schema, json.dumps({"data": {"at": [1, 2]}}))
    assert not gateway_takes(schema, json.dumps({"data": [right, {"at": [1, 2]}]}))


@pytest.mark.parametrize(
    "told",
    [
        None,
        {"request": {}},
        {"request": None},
        of(Any),
        of(object, batch=True),
        signature({"title": "whatever", "description": "x"}),
        signature({"$schema": "http://json-schema.org/draft-07/schema#", "type": "string"}),
        signature({"anyOf": [{"type": "string"}, {"not": {}}]}),
    ],
    ids=str,
)
def test_where_nothing_is_known_there_is_nothing_to_check(told):
    assert gateway_schema.make(told) is None


def test_the_text_of_a_schema():
    assert gateway_schema.make(of(hinted.Measured)) == (
        '{"$schema":"http://json-schema.org/draft-04/schema#","properties":{"data":{"properties":{"input":{"items":'
        '{"type":"number"},"type":"array"},"unit":{"enum":["cm","inch"],"type":"string"}},"required":["input"],"type":'
        '"object"}},"required":["data"],"type":"object"}'
    )


def test_equal_signatures_have_equal_texts_whatever_their_order():
    request = of(hinted.Flower)["request"]
    turned = json.loads(json.dumps(request), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert gateway_schema.make(signature(turned)) == gateway_schema.make(signature(request))


def test_what_contains_itself_is_described_once():
    written = gateway_schema.make(of(hinted.Place))
    assert len(re.findall('"required"', written)) == 2


def test_a_large_schema_is_described_less_deeply_rather_than_not_at_all():
    wide: dict[str, Any] = {"type": "string", "enum": ["x" * 200]}
    for _ in range(5):
        wide = {"type": "object", "required": ["a"], "properties": dict.fromkeys("abcdef", wide)}
    written = gateway_schema.make(signature(wide))
    assert written is not None
    assert len(written) <= gateway_schema.LARGEST
    assert not gateway_takes(written, '{"data": {"a": {}}}')


def test_definitions_that_name_each_other_take_no_time():
    names = [f"N{number}" for number in range(40)]
    refs = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    defined = {name: {"type": "object", "required": ["x"], "properties": refs} for name in names}
    written = gateway_schema.make(signature({"$ref": "#/$defs/N0", "$defs": defined}))
    assert written is not None
    assert not gateway_takes(written, '{"data": {}}')


def test_the_signature_of_a_saved_model_is_what_is_read():
    told = describe(hinted.model("TypedDict"), None).signature
    assert gateway_schema.make(told) == gateway_schema.make(of(hinted.Measured))


_SMALL, _LARGE = {"minimum": 1, "maximum": 2}, {"minimum": 5, "maximum": 9}


def _kinds(bounds):
    low, high = bounds["minimum"], bounds["maximum"]
    return [
        {"type": "number", **bounds},
        {"type": "string", "minLength": low, "maxLength": high},
        {"type": "array", "minItems": low, "maxItems": high},
        {"type": "object", "properties": {"a": {"type": "number", **bounds}}},
    ]


@pytest.mark.parametrize(
    ("one", "other", "make"),
    [
        (*pair, make)
        for pair, make in zip(
            zip(_kinds(_SMALL), _kinds(_LARGE), strict=True),
            [lambda n: n, lambda n: "x" * n, lambda n: [n] * n, lambda n: {"a": n}],
            strict=True,
        )
    ],
    ids=["number", "string", "array", "object"],
)
def test_of_several_bounds_the_widest_are_kept(one, other, make):
    for several in ([one, other], [other, one]):
        schema = gateway_schema.make(signature({"anyOf": several}))
        taken = [n for n in range(12) if gateway_takes(schema, json.dumps({"data": make(n)}))]
        assert taken == list(range(1, 10))
