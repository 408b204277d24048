import jsonschema
import pytest
from hypothesis import given

from tests.runtime.signature.json_values import anything
from thampi.runtime.signature.examples import schema_of

NUMBER, TEXT = {"type": "number"}, {"type": "string"}


@pytest.mark.parametrize(
    ("example", "schema"),
    [
        (None, {}),
        (1, NUMBER),
        (1.5, NUMBER),
        (True, {"type": "boolean"}),
        ("a", TEXT),
        ([], {"type": "array"}),
        ([1, 2.5], {"type": "array", "items": NUMBER}),
        ([1, "a"], {"type": "array", "items": {"type": ["number", "string"]}}),
        ([1, None], {"type": "array"}),
        ([[1], []], {"type": "array", "items": {"type": "array"}}),
        ([[1], ["a"]], {"type": "array", "items": {"type": "array", "items": {"type": ["number", "string"]}}}),
        ([[1], "a"], {"type": "array", "items": {"type": ["array", "string"], "items": NUMBER}}),
        ({}, {"type": "object", "properties": {}}),
        ({"b": 1, "a": None}, {"type": "object", "properties": {"b": NUMBER, "a": {}}, "required": ["a", "b"]}),
        (
            {"a": {"b": "c"}},
            {
                "type": "object",
                "properties": {"a": {"type": "object", "properties": {"b": TEXT}}},
                "required": ["a"],
            },
        ),
        (
            [{"a": 1}, {"a": "x", "b": [1]}],
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"a": {"type": ["number", "string"]}, "b": {"type": "array", "items": NUMBER}},
                },
            },
        ),
    ],
)
def test_what_an_example_gives_away(example, schema):
    assert schema_of(example) == schema


@given(anything)
def test_every_example_is_what_its_own_schema_allows(example):
    schema = schema_of(example)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(example, schema, cls=jsonschema.Draft202012Validator)


def test_more_keys_and_other_keys_below_are_allowed():
    jsonschema.validate({"a": {"c": 1}, "more": 1}, schema_of({"a": {"b": "c"}}))
