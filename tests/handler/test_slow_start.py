"""A model that takes longer than Lambda's 10 s: the init ends in time, and the loading goes on under the requests."""

import time

import pytest

import thampi
from tests.handler.inprocess import Echo, Reply, sample
from tests.handler.runtime_api import FunctionError, running
from thampi import Model

LAMBDA_S = 10


class Slow(Model):
    """Takes its time to be unpickled, and to initialize; notes what happened on which thread."""

    def __init__(self, unpickling_s=0.0, initialize_s=0.0, failure=None):
        self.unpickling_s, self.initialize_s, self.failure = unpickling_s, initialize_s, failure
        self.happened = []

    def __setstate__(self, state):
        import threading
        import time

        self.__dict__.update(state)
        time.sleep(self.unpickling_s)
        if self.failure is not None:
            raise self.failure
        self.happened.append(("unpickled", threading.current_thread() is threading.main_thread()))

    def initialize(self, context):
        import sqlite3
        import threading
        import time

        self.connection = sqlite3.connect(":memory:")
        time.sleep(self.initialize_s)
        self.happened.append(("initialized", threading.current_thread() is threading.main_thread()))

    def predict(self, args, context):
        return {"happened": self.happened, "sqlite": self.connection.execute("select 7").fetchone()[0]}


@pytest.fixture
def save(tmp_path):
    return lambda model: str(thampi.save(model, "slow", tmp_path, verify=False))


@pytest.mark.parametrize(
    "model",
    [Slow(unpickling_s=12), pytest.param(Slow(unpickling_s=6, initialize_s=6), marks=pytest.mark.long)],
    ids=["unpickling", "initialize too"],
)
def test_the_init_ends_before_lambda_starts_it_again_and_the_first_request_waits(tmp_path, save, model):
    bundle, began = save(model), time.monotonic()
    with running(tmp_path, THAMPI_MODEL=bundle) as handler:
        assert handler.api.asked.wait(LAMBDA_S - (time.monotonic() - began))
        assert time.monotonic() - began > 8, "it may wait as long as Lambda does"
        reply = Reply.of(handler.invoke(sample("function-url")))
        assert time.monotonic() - began > 12
        again = Reply.of(handler.invoke(sample("function-url")))
    # Once each, and where SQLite expects it: on the thread that predicts.
    wanted = {"happened": [["unpickled", True], ["initialized", True]], "sqlite": 7}
    assert (reply.status, reply.json["result"]) == (200, wanted)
    assert (again.status, again.json["result"]) == (200, wanted)
    assert [line["cold_start"] for line in handler.lines] == [1, 0]
    (told,) = handler.cold_starts
    assert told["total_ms"] > 12_000


def test_a_request_that_ends_before_the_loading_is_told_so_and_a_later_one_answered(tmp_path, save):
    bundle = save(Slow(unpickling_s=16))
    with running(tmp_path, THAMPI_MODEL=bundle) as handler:
        handler.api.timeout_s = 3
        assert handler.api.asked.wait(LAMBDA_S)
        began = time.monotonic()
        assert handler.invoke({"thampi": "ping"}) == {"thampi": "ping"}
        assert time.monotonic() - began < 1, "a ping waits for no model"
        reply = Reply.of(handler.invoke(sample("function-url")))
        assert 1 < time.monotonic() - began < 3
        assert (reply.status, reply.json["error"]["type"]) == (503, "model_loading")
        assert reply.headers["retry-after"]
        with pytest.raises(FunctionError, match="still being loaded"):
            handler.invoke({"thampi": "warm"})
        handler.api.timeout_s = 30
        assert Reply.of(handler.invoke(sample("function-url"))).status == 200
    assert [line["status"] for line in handler.lines] == [503, 200]
    assert "Traceback" not in handler.log


def test_a_failure_after_the_init_is_the_same_as_one_within(tmp_path, save):
    bundle = save(Slow(unpickling_s=11, failure=ModuleNotFoundError("No module named 'sklearn'", name="sklearn")))
    with running(tmp_path, THAMPI_MODEL=bundle) as handler:
        assert handler.api.asked.wait(LAMBDA_S)
        for _ in range(2):
            reply = Reply.of(handler.invoke(sample("function-url")))
            assert (reply.status, reply.json["error"]["type"]) == (503, "model_unavailable")
            assert "`sklearn`" in reply.json["error"]["message"]
    assert handler.log.count("ModuleNotFoundError: No module named 'sklearn'") == 1
    assert handler.cold_starts == []


@pytest.mark.long
def test_where_environments_are_made_ahead_the_init_waits_to_the_end(tmp_path, save):
    bundle, began = save(Slow(unpickling_s=11)), time.monotonic()
    with running(tmp_path, THAMPI_MODEL=bundle, AWS_LAMBDA_INITIALIZATION_TYPE="provisioned-concurrency") as handler:
        assert handler.api.asked.wait(30)
        assert time.monotonic() - began > 11
        assert Reply.of(handler.invoke(sample("function-url"))).status == 200


def test_a_fast_start_has_no_stand_in_and_one_line_about_it(tmp_path):
    bundle = thampi.save(Echo(), "echo", tmp_path, verify=False)
    with running(tmp_path, THAMPI_MODEL=str(bundle), AWS_LAMBDA_FUNCTION_MEMORY_SIZE="512") as handler:
        handler.invoke({"data": 1})
        handler.invoke({"data": 1})
        (told,) = handler.cold_starts
    assert told["memory_mb"] == 512
    assert 5 < told["peak_mb"] < 512
    assert 0 < told["total_ms"] < LAMBDA_S * 1000
    assert "of 512 MB" in told["message"]
