from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pytest

from thampi import BadRequest, Context, Model
from thampi.runtime import calling
from thampi.runtime.signature import checking, describing
from thampi.runtime.signature.mistakes import InvalidDataError, WrongBatchError

CONTEXT = Context(request_id="an-id")


def asking(model, example=None, check=True):
    described = describing.describe(model, example, check=check)
    known = described.signature
    return calling.make(model, known, known and checking.checker(known), described.plan)


def mistakes(ask, data):
    with pytest.raises(InvalidDataError) as caught:
        ask(data, CONTEXT)
    return [(each["path"], each["message"]) for each in caught.value.mistakes]


class Echo(Model):
    def predict(self, args, context):
        return args


@dataclass
class Day:
    day: date


class Hooks(Model):
    def before(self, data: list[int], context):
        assert context is CONTEXT
        if len(data) > 3:
            raise BadRequest("too many")
        return {"numbers": data}

    def predict(self, args, context):
        assert context is CONTEXT
        return sum(args["numbers"])

    def after(self, result, context) -> dict[str, int]:
        assert context is CONTEXT
        return {"sum": result}


class Batch(Model):
    """Says how often it was asked, and for how many."""

    def __init__(self):
        self.calls = []

    def predict(self, data: Day, context) -> int:
        self.calls.append("one")
        return data.day.day

    def predict_batch(self, items, context):
        self.calls.append(len(items))
        return [each.day.day for each in items]


class BatchWithHooks(Batch):
    def before(self, data: dict[str, str], context):
        return Day(date.fromisoformat(data["day"]))

    def after(self, result, context):
        return -result


def test_without_a_signature_predict_itself_is_asked():
    model = Hooks()  # a bundle of before may have methods of such names, which meant something else
    assert calling.make(model, None, None) == model.predict
    assert asking(Echo())("anything", CONTEXT) == "anything"


def test_hooks_that_nobody_wrote_cost_no_call():
    model = Echo()
    assert calling._single(model.predict, None, None, None) == model.predict


def test_before_and_after_stand_around_predict():
    assert asking(Hooks())([1, 2], CONTEXT) == {"sum": 3}


def test_what_is_sent_is_what_before_takes():
    assert mistakes(asking(Hooks()), [1, "2"]) == [("/data/1", 'it is not of type "integer"')]


def test_before_may_refuse():
    with pytest.raises(BadRequest, match="too many"):
        asking(Hooks())([1, 2, 3, 4], CONTEXT)


def test_hooks_run_also_when_nothing_is_checked():
    assert asking(Hooks(), check=False)([1.5, 2], CONTEXT) == {"sum": 3.5}


def test_a_list_is_answered_by_one_call():
    model = Batch()
    assert asking(model)([{"day": "2020-01-05"}, {"day": "2020-01-06"}], CONTEXT) == [5, 6]
    assert model.calls == [2]
    assert asking(model)([], CONTEXT) == []
    assert model.calls == [2, 0]


def test_one_item_is_answered_by_predict():
    model = Batch()
    assert asking(model)({"day": "2020-01-05"}, CONTEXT) == 5
    assert model.calls == ["one"]


def test_each_item_of_a_batch_is_checked_and_converted():
    ask = asking(Batch())
    days = [{"day": "2020-01-05"}, {"day": 5}, 1, {"day": "2020-01-05"}, {}]
    assert mistakes(ask, days) == [
        ("/data/1/day", 'it is not of type "string"'),
        ("/data/2", 'it is not of type "object"'),
        ("/data/4", '"day" is a required property'),
    ]
    assert mistakes(ask, [{"day": "2020-01-05"}, {"day": "2020-02-30"}]) == [("/data/1/day", "it is no date")]
    assert mistakes(ask, "x") == [("/data", 'it is not of type "object"')]


def test_the_hooks_see_each_item_of_a_batch_alone():
    model = BatchWithHooks()
    assert asking(model)([{"day": "2020-01-05"}, {"day": "2020-01-06"}], CONTEXT) == [-5, -6]
    assert model.calls == [2]


@pytest.mark.parametrize(
    ("results", "said"),
    [([1], "1 results"), ([1, 2, 3], "3 results"), (None, "a NoneType"), ({"a": 1, "b": 2}, "a dict"), ("ab", "a str")],
)
def test_another_number_of_results_is_a_mistake_of_the_model(results, said):
    class Wrong(Echo):
        def predict_batch(self, items, context):
            return results

    with pytest.raises(WrongBatchError, match=f"got 2 items and returned {said}"):
        asking(Wrong())([1, 2], CONTEXT)


def test_an_array_of_results_goes_out_as_it_is():
    class Vector(Echo):
        def predict_batch(self, items, context):
            return np.asarray(items)

    assert isinstance(asking(Vector())([1, 2], CONTEXT), np.ndarray)


def test_items_that_are_lists_themselves_are_sent_as_a_list_of_them():
    class Rows(Echo):
        def predict(self, args: list[float], context: Context) -> Any:
            return sum(args)

        def predict_batch(self, items: list[list[float]], context: Context) -> Any:
            return [sum(item) for item in items]

    assert asking(Rows())([[1, 2], [3]], CONTEXT) == [3, 3]
    assert mistakes(asking(Rows()), [1, 2])[0] == ("/data/0", 'it is not of type "array"')


def test_the_example_of_a_batch_may_be_one_item_or_several():
    class Many(Echo):
        def predict_batch(self, items, context):
            return items

    for example in ({"x": 1}, [{"x": 1}]):
        ask = asking(Many(), example)
        assert ask([{"x": 2}], CONTEXT) == [{"x": 2}]
        assert ask({"x": 2}, CONTEXT) == {"x": 2}
        assert mistakes(ask, [{"x": "2"}]) == [("/data/0/x", 'it is not of type "number"')]


def test_the_first_hundred_mistakes_are_named():
    with pytest.raises(InvalidDataError, match=r"^/data/0: it is not .* \(and at least 100 more\)$") as caught:
        asking(Echo(), [1.5])(["x"] * 500, CONTEXT)
    assert len(caught.value.mistakes) == 100
    with pytest.raises(InvalidDataError, match=r"\(and 1 more\)$"):
        asking(Echo(), [1.5])(["x"] * 2, CONTEXT)


def test_a_path_is_a_json_pointer():
    ask = asking(Echo(), {"a/b~c": [1]})
    assert mistakes(ask, {"a/b~c": ["x"]}) == [("/data/a~1b~0c/0", 'it is not of type "number"')]


def test_a_mistake_says_nothing_of_what_was_sent():
    assert "secret" not in str(mistakes(asking(Echo(), {"a": 1}), "secret"))


def test_data_that_is_nested_beyond_measure_is_refused():
    @dataclass
    class Node:
        next: "Node | None" = None

    class Deep(Model):
        def predict(self, data: Node, context):
            return 1

    data = None
    for _ in range(900):
        data = {"next": data}
    assert mistakes(asking(Deep()), data) == [("/data", "it is nested too deep")]
