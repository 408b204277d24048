import pytest

from thampi.runtime.signature.checking import Checker, batched
from thampi.runtime.signature.mistakes import InvalidDataError

RECORD = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


def mistakes(schema, data, batch=False):
    with pytest.raises(InvalidDataError) as caught:
        Checker({"request": schema, "batch": batch}).check(data)
    return [(each["path"], each["message"]) for each in caught.value.mistakes]


def test_of_alternatives_the_one_that_was_meant_says_what_is_wrong():
    schema = {
        "type": "object",
        "properties": {"p": {"anyOf": [{"$ref": "#/$defs/R"}, {"type": "null"}]}},
        "$defs": {"R": RECORD},
    }
    assert mistakes(schema, {"p": {"x": "1"}}) == [("/data/p/x", 'it is not of type "number"')]
    assert mistakes(schema, {"p": {}}) == [("/data/p", '"x" is a required property')]
    assert mistakes(schema, {"p": 3})[0][0] == "/data/p"


def test_alternatives_that_are_all_meant_are_one_mistake():
    schema = {"anyOf": [RECORD, RECORD | {"required": ["y"]}]}
    assert [path for path, _ in mistakes(schema, {"x": "1"})] == ["/data"]


@pytest.mark.parametrize("keys", [["00"], ["1", "0"], ["", "a"], ["", "00"], ["", "", "a"]])
def test_a_path_has_the_keys_as_they_were_sent(keys):
    schema, data = {"type": "number"}, "x"
    for key in reversed(keys):
        schema, data = {"type": "object", "additionalProperties": schema}, {key: data}
    assert [path for path, _ in mistakes(schema, data)] == ["/".join(["/data", *keys])]


def test_alternatives_within_alternatives():
    inner = {"anyOf": [{"type": "array", "items": {"anyOf": [RECORD, {"type": "null"}]}}, {"type": "null"}]}
    assert mistakes(inner, [{"x": 1}, {"x": "1"}]) == [("/data/1/x", 'it is not of type "number"')]


@pytest.mark.parametrize(
    ("item", "whole"),
    [
        ({}, {}),
        (RECORD, {"anyOf": [RECORD, {"type": "array", "items": RECORD}]}),
        ({"type": "array"}, {"type": "array", "items": {"type": "array"}}),
        (
            {"$ref": "#/$defs/R", "$defs": {"R": RECORD}},
            {
                "anyOf": [
                    {"not": {"type": "array"}, "allOf": [{"$ref": "#/$defs/R"}]},
                    {"type": "array", "items": {"$ref": "#/$defs/R"}},
                ],
                "$defs": {"R": RECORD},
            },
        ),
    ],
)
def test_the_schema_of_one_or_many(item, whole):
    assert batched(item) == whole
    if item:
        checker = Checker({"request": whole, "batch": True})
        checker.check([])
        if item is RECORD or "$ref" in item:
            checker.check({"x": 1})
            checker.check([{"x": 1}])
            assert mistakes(whole, [{"x": 1}, {"x": "1"}], batch=True) == [("/data/1/x", 'it is not of type "number"')]
            assert mistakes(whole, {"x": "1"}, batch=True) == [("/data/x", 'it is not of type "number"')]
