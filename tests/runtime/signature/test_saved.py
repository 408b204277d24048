"""Signatures through a save: classes of a script come back as themselves where nothing of the script is there."""

import json
import textwrap
from typing import Annotated

import pydantic
import pytest

import thampi
from tests.runtime.fresh import Holder, python
from thampi.errors import BundleError
from thampi.runtime import bundle, loading
from thampi.runtime.signature import checking

# Each is a script of its own: its classes are pickled by value, and its hints are text.
SCRIPT = """
from __future__ import annotations
import dataclasses, datetime, enum, typing
import thampi
{imports}

{types}

class Model(thampi.Model):
    def predict(self, data: {hint}, context) -> dict[str, int]:
        assert {holds}, data
        return {{"right": 1}}

thampi.save(Model(), "model", ".", example={example})
"""
SCRIPTS = {
    "dataclass": {
        "types": """
            class Color(enum.Enum):
                RED = "red"

            @dataclasses.dataclass
            class Flower:
                day: datetime.date
                colors: list[Color]
                inside: Flower | None = None
            """,
        "hint": "list[Flower]",
        "holds": "type(data[0]) is Flower and data[0].inside.colors == [Color.RED]",
        "example": '[{"day": "2020-02-03", "colors": [], "inside": {"day": "2020-02-03", "colors": ["red"]}}]',
    },
    "pydantic": {
        "imports": "import pydantic",
        "types": """
            class Person(pydantic.BaseModel):
                age: int = pydantic.Field(ge=0)
                friends: list[Person] = []

                @pydantic.field_validator("age")
                @classmethod
                def older(cls, age):
                    return age + 1
            """,
        "hint": "Person",
        "holds": "data == Person(age=1, friends=[Person(age=2)])",
        "example": '{"age": 1, "friends": [{"age": 2}]}',
    },
    "msgspec": {
        "imports": "import msgspec",
        "types": """
            class Base(msgspec.Struct, kw_only=True, rename="camel", tag="base"):
                long_name: str = "x"

                def shout(self):
                    return self.long_name.upper()

            class Node(Base, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="node"):
                size: typing.Annotated[int, msgspec.Meta(ge=1)]
                parts: list[Node] = msgspec.field(default_factory=list)

                def shout(self):
                    return super().shout() + "!"
            """,
        "hint": "Node",
        "holds": 'data.parts == [Node(2, long_name="b")] and data.shout() == "A!" and data.parts[0].parts == []',
        "example": """
            {"kind": "node", "size": 1, "longName": "a", "parts": [{"kind": "node", "size": 2, "longName": "b"}]}""",
    },
    "TypedDict": {
        "types": """
            class Size(typing.NamedTuple):
                x: int
                y: int = 0

            class Box(typing.TypedDict):
                size: Size
                when: typing.NotRequired[datetime.datetime]
            """,
        "hint": "Box",
        "holds": 'data["size"] == Size(1) and data["when"].year == 2020',
        "example": '{"size": [1], "when": "2020-01-01T00:00:00Z"}',
    },
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_type_of_a_script_comes_back_as_itself(kind, tmp_path):
    told = {"imports": ""} | SCRIPTS[kind]
    script = SCRIPT.format(**told | {"types": textwrap.dedent(told["types"])})
    (tmp_path / "train.py").write_text(script)
    python("train.py", cwd=tmp_path)  # the proof of the save asks for the example, in a process of its own
    signature = bundle.read(tmp_path / "model").signature
    assert (signature["source"], signature["types"]) == ("hints", True)
    # A proof that didn't convert would find out.
    (tmp_path / "train.py").write_text(script.replace(f"assert {told['holds']}", f"assert not ({told['holds']})"))
    assert "could not answer the example: AssertionError" in python("train.py", cwd=tmp_path, fails=True)


class Hinted(thampi.Model):
    def predict(self, data: dict[str, int], context) -> int:
        return data["x"]


class Unhinted(thampi.Model):
    def predict(self, data, context):
        return data


class Custom:
    pass


def save(model, tmp_path, **told):
    return bundle.read(thampi.save(model, "model", tmp_path, **told)).signature


def refused(model, tmp_path, **told):
    with pytest.raises(BundleError) as caught:
        thampi.save(model, "model", tmp_path, **told)
    return caught.value


def test_an_example_that_its_own_signature_refuses_is_found(tmp_path):
    error = refused(Hinted(), tmp_path, example={"x": "1", "y": None})
    assert 'the example was refused: /data/x: it is not of type "integer" (and 1 more)' in error.message
    assert "signature=False" in error.hint
    assert not list(tmp_path.iterdir())


def test_an_answer_that_is_not_what_the_hint_says_is_found(tmp_path):
    class Wrong(thampi.Model):
        def predict(self, data, context) -> dict[str, list[int]]:
            return {"x": [1, "2"]}

    error = refused(Wrong(), tmp_path, example=1)
    assert (
        'its answer to the example is not what its hint says: result/x/1: it is not of type "integer"' in error.message
    )


def test_without_a_check_anything_goes(tmp_path):
    assert save(Hinted(), tmp_path, example={"x": "1"}, signature=False) is None


def test_hints_win_over_the_example(tmp_path):
    found = save(Hinted(), tmp_path, example={"x": 1})
    assert found["source"] == "hints"
    assert found["request"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert found["answer"] == {"type": "integer"}


def test_without_hints_the_example_says_what_is_taken(tmp_path):
    found = save(Unhinted(), tmp_path, example=[1, 2.5])
    assert found == {
        "request": {"type": "array", "items": {"type": "number"}},
        "answer": None,
        "source": "example",
        "batch": False,
        "hooks": [],
        "types": False,
    }


def test_without_either_there_is_no_signature(tmp_path):
    assert save(Unhinted(), tmp_path) is None


def test_a_class_that_says_nothing_in_json_is_taken_as_anything_with_a_note(tmp_path):
    class Takes(thampi.Model):
        def predict(self, data: Custom, context) -> list[Custom]:
            return [data]

    with pytest.warns(UserWarning, match="has no form in JSON that is known") as noted:
        found = save(Takes(), tmp_path, example={"x": 1})
    assert [str(each.message).partition(":")[0] for each in noted] == ["`predict`", "what `predict` returns[…]"]
    assert {each.filename for each in noted} == {__file__}
    assert (found["source"], found["request"]["required"]) == ("example", ["x"])
    assert found["answer"] == {"type": "array", "items": {}}


def test_a_pattern_that_nobody_else_can_read_is_no_failure(tmp_path):
    class Takes(thampi.Model):
        def predict(self, data: Annotated[str, pydantic.Field(pattern="(?P<a>x)(?(a)y)")], context):
            return 1

    with pytest.warns(UserWarning, match="what is sent can't be checked, so anything is taken"):
        assert save(Takes(), tmp_path, example="anything") is not None


def test_a_hint_that_names_what_is_not_there_is_no_failure(tmp_path):
    class Takes(thampi.Model):
        def predict(self, data: "Nowhere", context) -> "int":  # noqa: F821
            return 1

    with pytest.warns(UserWarning, match="`predict`: its hint can't be read: name 'Nowhere' is not defined"):
        found = save(Takes(), tmp_path)
    assert (found["request"], found["answer"]) == ({}, {"type": "integer"})


def test_names_of_the_function_around_are_known(tmp_path):
    class Inner(thampi.Model):
        pass

    kept = dict[str, bool]

    class Takes(thampi.Model):
        Own = list[int]

        def predict(self, data: "tuple[kept, Own]", context):
            return bool(kept) and data[1]

    assert save(Takes(), tmp_path)["request"]["prefixItems"][1] == {"type": "array", "items": {"type": "integer"}}


def test_the_hooks_and_the_batch_are_in_the_signature(tmp_path):
    class All(thampi.Model):
        def before(self, data: list[str], context):
            return [int(each) for each in data]

        def predict(self, args: set[bytes], context) -> set[bytes]:
            return args[0]

        def predict_batch(self, items, context):
            return [each[0] for each in items]

        def after(self, result, context) -> float:
            return result / 2

    found = save(All(), tmp_path, example=[["3"]])
    assert (found["batch"], found["hooks"], found["types"]) == (True, ["before", "after"], False)
    assert found["request"] == {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
    number = {"type": ["number", "null"]}
    assert found["answer"] == {"anyOf": [number, {"type": "array", "items": number}]}


@pytest.mark.parametrize("method", ["before", "after", "predict_batch"])
def test_a_hook_that_cant_be_called_is_refused(method, tmp_path):
    wrong = type("Wrong", (Unhinted,), {method: lambda self: None})
    assert f"`Wrong.{method}` can't be called as it will be" in refused(wrong(), tmp_path).message


def test_a_plan_that_cant_be_pickled_is_left_out(tmp_path, monkeypatch):
    from thampi.runtime import pickling

    monkeypatch.setattr(pickling, "_can_pickle", lambda value, imports: False)

    class Takes(thampi.Model):
        def predict(self, data: int, context):
            return 1

    assert save(Takes(), tmp_path)["types"] is False


def test_the_model_is_all_that_other_readers_see(tmp_path):
    """A bundle with a plan behind its model is read as before by `load`, and by an unpickler that stops there."""

    class Takes(thampi.Model):
        def predict(self, data: set[int], context):
            return 1

    folder = thampi.save(Takes(), "model", tmp_path)
    assert type(thampi.load(folder)).__name__ == "Takes"
    about = bundle.read(folder)
    model, types = loading.unpickle_with_types(folder, about)
    assert type(model).__name__ == "Takes"
    assert types == [("list", 1, set), ("integer",)]


def test_a_bundle_without_a_signature_has_nothing_behind_its_model(tmp_path):
    folder = thampi.save(Holder(), "model", tmp_path)
    assert loading.unpickle_with_types(folder, bundle.read(folder))[1] is None


def test_the_checker_is_made_only_of_what_is_known():
    assert checking.checker({"request": {}, "batch": True}) is None


def test_json_in_the_manifest_is_what_describes(tmp_path):
    folder = thampi.save(Hinted(), "model", tmp_path)
    assert json.loads((folder / "thampi.json").read_bytes())["signature"] == bundle.read(folder).signature
