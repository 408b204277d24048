"""An answer that Lambda would throw away becomes a 413 of ours, and the largest that it lets through stays as it is."""

import json
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import events
from handler.control import ModelFailed
from tests.handler.inprocess import ABOUT, SHAPES, Reply, Tells, event, sample, serve

LIMIT = 6_291_556  # bytes, https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html


def answers(result):
    return serve(Tells(lambda args, context: result))


def wire(response):
    """Return what goes to Lambda, as handler/interface.py writes it."""
    return response if isinstance(response, bytes) else orjson.dumps(response)


def of_size(ask, letter, size):
    """Return a result with which the whole response, on its way to Lambda, has that many bytes."""
    step = len(wire(ask(letter * 1001))) - len(wire(ask(letter * 1000)))
    count, rest = divmod(size - len(wire(ask(""))), step)
    return letter * count + "x" * rest


@pytest.mark.parametrize("letter", ["x", '"', "\\", "ä", "🌷", "\n"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_largest_answer_that_lambda_lets_through_is_given_and_one_byte_more_is_a_413(shape, letter):
    def ask(result):
        return answers(result).ask(event(shape))

    fits = of_size(ask, letter, LIMIT)
    given_ = ask(fits)
    assert len(wire(given_)) == LIMIT
    assert Reply.of(given_).json["result"] == fits
    refused = ask(fits + "x")
    reply = Reply.of(refused)
    assert (reply.status, reply.error["type"]) == (413, "too_large")
    assert f"{LIMIT + 1:,} bytes" in reply.error["message"]
    assert f"{LIMIT:,}" in reply.error["message"]
    assert len(wire(refused)) < 2000


def test_a_direct_answer_counts_as_it_is_without_what_a_gateway_needs_around_it():
    def ask(result):
        return answers(result).ask({"data": 1})

    fits = of_size(ask, '"', LIMIT)
    assert len(ask(fits)) == LIMIT
    refused = json.loads(ask(fits + "x"))
    assert refused["error"]["type"] == "too_large"
    assert f"{LIMIT + 1:,} bytes" in refused["error"]["message"]


def test_a_trial_whose_example_gets_such_an_answer_fails_with_the_reason():
    served = serve(Tells(lambda args, context: "x" * 7_000_000), replace(ABOUT, example=1))
    with pytest.raises(ModelFailed, match="the example was answered with 413: the model's answer has 7,"):
        served.ask({"thampi": "trial"})


def test_such_an_answer_is_counted_as_what_it_is():
    served = answers("x" * 7_000_000)
    served.http(sample("function-url"))
    (line,) = [line for line in served.lines if "status" in line]
    assert line["status"] == 413


@given(st.recursive(st.text() | st.none() | st.floats(allow_nan=False), lambda inner: st.lists(inner, max_size=5)))
def test_the_size_is_what_goes_to_lambda_to_the_byte(result):
    body = orjson.dumps({"result": result})
    response = {"statusCode": 200, "headers": {"a": 'b"c'}, "body": body.decode(), "isBase64Encoded": False}
    assert events.size_of(response, body) == len(orjson.dumps(response))
