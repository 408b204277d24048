import json
import logging
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import thampi
from tests.handler.inprocess import DATA, SHAPES, Echo, Reply, event, sample
from tests.handler.runtime_api import TIMEOUT_S, FunctionError, running
from thampi import Model, runtime_files


class Does(Model):
    """Does what its data says."""

    def predict(self, args, context):
        match args:
            case {"raise": message}:
                raise ValueError(message)
            case "exit":
                sys.exit(7)
            case "log":
                try:
                    raise ValueError("as the model logs")
                except ValueError:
                    logging.getLogger("model").exception("caught")
            case "print":
                print("the model speaks")
            case "context":
                return {"request_id": context.request_id, "remaining_ms": context.remaining_ms()}
            case "thampi":
                return sys.modules["thampi"].__file__
            case {"floats": count}:
                return np.full(count, 0.25, "f4")
        return args


@pytest.fixture(scope="module")
def handler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handler")
    model = thampi.save(Does(), "does", folder, example=DATA, verify=False, signature=False)
    with running(folder, THAMPI_MODEL=str(model)) as process:
        yield process


@pytest.fixture(scope="module")
def needs_a_library(tmp_path_factory):
    """Return a bundle that needs a library which is installed here and nowhere else."""
    folder = tmp_path_factory.mktemp("needs")
    site = folder / "site"
    about = site / "petalcount-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: petalcount\nVersion: 1.2\n")
    (about / "RECORD").write_text("petalcount.py,,\npetalcount-1.2.dist-info/METADATA,,\n")
    (site / "petalcount.py").write_text("class Counter:\n    def count(self, flower):\n        return 5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        import petalcount

        model = Echo()
        model.counter = petalcount.Counter()
        bundle = thampi.save(model, "needs", folder, verify=False)
        del sys.modules["petalcount"]
    return bundle


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_goes_in_and_its_answer_comes_out(handler, shape):
    reply_to = handler.invoke(sample(shape))
    reply = json.loads(reply_to["body"])
    assert reply_to["statusCode"] == 200
    assert reply["result"] == DATA
    assert sorted(reply["properties"]) == [
        "instance_id",
        "served_time_utc",
        "tags",
        "thampi_data_version",
        "trained_time_utc",
    ]


def test_a_direct_call_gets_the_answer_itself(handler):
    assert handler.invoke({"data": DATA})["result"] == DATA


def test_the_thampi_that_runs_is_the_staged_one(handler):
    assert "opt-thampi" in handler.invoke({"data": "thampi"})["result"]


def test_the_model_is_told_the_requests_id_and_the_time_that_is_left(handler):
    result = handler.invoke({"data": "context"})["result"]
    assert result["request_id"] in handler.api.answers
    assert (TIMEOUT_S - 5) * 1000 < result["remaining_ms"] <= TIMEOUT_S * 1000


def test_a_refusal_of_a_direct_call_is_an_answer_and_a_failure_is_a_function_error(handler):
    assert handler.invoke({})["error"]["type"] == "no_data"
    with pytest.raises(FunctionError) as caught:
        handler.invoke({"data": {"raise": "petals"}})
    assert caught.value.said["errorType"] == "ModelFailed"
    assert "petals" not in json.dumps(caught.value.said)
    assert "ValueError: petals" in handler.log


def test_a_failure_of_a_proxy_event_is_a_500_with_its_traceback_in_the_log(handler):
    reply = Reply.of(handler.invoke(event("function-url", body='{"data": {"raise": "sepals"}}')))
    assert reply.status == 500
    assert "sepals" not in reply.body
    assert "Traceback" in handler.log
    assert "ValueError: sepals" in handler.log
    assert reply.headers["x-request-id"] in handler.log


@pytest.mark.parametrize("body", [b"", b"{", b'{"data": NaN}', b'{"data": "\\ud800"}', b"\xff"])
def test_an_event_that_is_not_json_gets_an_error_as_its_answer(handler, body):
    assert handler.invoke(body)["error"]["type"] == "not_json"


def test_a_model_that_exits_does_not_take_the_environment_with_it(handler):
    before = handler.process.pid
    with pytest.raises(FunctionError):
        handler.invoke({"data": "exit"})
    assert handler.invoke({"data": 1})["result"] == 1
    assert (handler.process.pid, handler.process.poll()) == (before, None)


def test_what_the_model_prints_is_in_the_log(handler):
    handler.invoke({"data": "print"})
    assert "the model speaks\n" in handler.log


def test_a_large_array_comes_out_whole(handler):
    reply = Reply.of(handler.invoke(event("function-url", body='{"data": {"floats": 200000}}')))
    assert reply.json["result"] == [0.25] * 200_000


def test_a_trial_answers_the_example(handler):
    assert handler.invoke({"thampi": "trial"})["answer"]["result"] == DATA


def test_each_request_has_its_line_in_the_log_and_the_first_is_the_cold_start(tmp_path):
    bundle = thampi.save(Echo(), "echo", tmp_path, verify=False)
    with running(tmp_path, THAMPI_MODEL=str(bundle), AWS_LAMBDA_FUNCTION_NAME="f") as handler:
        handler.invoke(sample("alb"))
        handler.invoke(event("alb", "/nothing"))
        handler.invoke({"data": 1})
    assert [(line["route"], line["status"], line["cold_start"]) for line in handler.lines] == [
        ("predict", 200, 1),
        ("none", 404, 0),
        ("direct", 200, 0),
    ]
    assert handler.lines[0]["function"] == "f"


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_the_line_of_a_request_that_failed_stands_alone(tmp_path, log_format):
    bundle = thampi.save(Does(), "does", tmp_path, verify=False)
    with running(tmp_path, THAMPI_MODEL=str(bundle), AWS_LAMBDA_LOG_FORMAT=log_format) as handler:
        handler.invoke(event("function-url", body='{"data": {"raise": "sepals"}}'))
        handler.invoke(event("function-url", body='{"data": "log"}'))
    assert [line["status"] for line in handler.lines] == [500, 200]
    assert "sepals" in handler.log
    assert "as the model logs" in handler.log


def test_a_missing_library_is_in_the_log_by_name_and_callers_get_a_503(tmp_path, needs_a_library):
    with running(tmp_path, THAMPI_MODEL=str(needs_a_library)) as handler:
        for _ in range(2):
            reply = Reply.of(handler.invoke(sample("function-url")))
            assert reply.status == 503
            assert "`petalcount`" in reply.body
        with pytest.raises(FunctionError, match="petalcount"):
            handler.invoke({"data": DATA})
        with pytest.raises(FunctionError, match=r"petalcount==1\.2"):
            handler.invoke({"thampi": "warm"})
        assert handler.invoke({"thampi": "ping"}) == {"thampi": "ping"}
        assert handler.process.poll() is None
    assert handler.log.count("ModuleNotFoundError: No module named 'petalcount'") == 1
    assert "Traceback (most recent call last)" in handler.log
    assert "petalcount==1.2" in handler.log
    assert [line["status"] for line in handler.lines] == [503, 503, 503]


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "snap-start"])
def test_an_environment_that_is_made_ahead_fails_its_init(tmp_path, needs_a_library, kind):
    with running(tmp_path, THAMPI_MODEL=str(needs_a_library), AWS_LAMBDA_INITIALIZATION_TYPE=kind) as handler:
        headers, said = handler.hear(handler.api.init_errors)
        assert handler.process.wait(10) == 1
        assert not handler.api.asked.is_set()
    assert said["errorType"] == headers["Lambda-Runtime-Function-Error-Type"] == "BundleError"
    assert "`petalcount`" in said["errorMessage"]
    assert "ModuleNotFoundError: No module named 'petalcount'" in handler.log
    assert "Traceback (most recent call last)" in handler.log


def test_a_snapshot_is_taken_when_the_model_is_there(tmp_path):
    bundle = thampi.save(Echo(), "echo", tmp_path, verify=False)
    with running(tmp_path, THAMPI_MODEL=str(bundle), AWS_LAMBDA_INITIALIZATION_TYPE="snap-start") as handler:
        assert handler.invoke({"data": 1})["result"] == 1
        assert handler.api.restored.is_set()
    assert [line["cold_start"] for line in handler.lines] == [0]


class Lots(thampi.Model):
    """Draws before the snapshot is taken, and after."""

    def initialize(self, context):
        import random

        import numpy as np

        self.drawn = [random.random(), float(np.random.random())]
        self.told = []

    def restored(self, context):
        self.told.append(context.properties["instance_id"])

    def predict(self, args, context):
        import random

        import numpy as np

        return [self.drawn, [random.random(), float(np.random.random())], self.told]


def test_environments_of_one_snapshot_draw_differently_and_the_model_is_told(tmp_path):
    bundle = thampi.save(Lots(), "lots", tmp_path, verify=False, instance_id="lots-1")
    drawn = []
    for kind in ("snap-start", "snap-start", "on-demand"):
        seeded = {
            "PYTHONPATH": f"{tmp_path}:{tmp_path}/{len(drawn)}/opt-thampi",
            "AWS_LAMBDA_INITIALIZATION_TYPE": kind,
        }
        (tmp_path / "sitecustomize.py").write_text("import random, numpy; random.seed(1); numpy.random.seed(1)\n")
        with running(tmp_path / str(len(drawn)), THAMPI_MODEL=str(bundle), **seeded) as handler:
            drawn.append(handler.invoke({"data": 1})["result"])
    (before, after, told), (before2, after2, _), (_, _, untold) = drawn
    assert before == before2  # all of them have what was drawn before the snapshot
    assert not set(after) & set(after2)
    assert (told, untold) == (["lots-1"], [])


def test_a_model_that_can_not_be_restored_ends_the_environment(tmp_path):
    class Broken(Echo):
        def restored(self, context):
            raise OSError("no line")

    bundle = thampi.save(Broken(), "broken", tmp_path, verify=False)
    with running(tmp_path, THAMPI_MODEL=str(bundle), AWS_LAMBDA_INITIALIZATION_TYPE="snap-start") as handler:
        assert handler.hear(handler.api.restore_errors)["errorMessage"] == "no line"
        assert handler.process.wait(20) == 65


def test_a_setting_that_is_wrong_fails_the_init_by_its_name(tmp_path):
    with running(tmp_path, THAMPI_MAX_BODY_MB="five") as handler:
        _, said = handler.hear(handler.api.init_errors)
        assert handler.process.wait(10) == 1
    assert (said["errorType"], "THAMPI_MAX_BODY_MB" in said["errorMessage"]) == ("ConfigError", True)
    assert "THAMPI_MAX_BODY_MB" in handler.log


def test_files_of_the_user_that_are_named_like_ours_are_in_nobodys_way(tmp_path):
    bundle = thampi.save(Echo(), "echo", tmp_path / "models", verify=False)
    for name in ("handler", "app", "events", "settings", "serving", "control"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong file')\n")
    path = f"{tmp_path}:{tmp_path}/run/opt-thampi"
    with running(tmp_path / "run", THAMPI_MODEL=str(bundle), PYTHONPATH=path) as handler:
        assert handler.invoke({"data": 1})["result"] == 1


def test_ctrl_c_ends_it_while_it_waits(tmp_path):
    with running(tmp_path) as handler:
        assert handler.api.asked.wait(20)
        handler.process.send_signal(signal.SIGINT)
        assert handler.process.wait(10) == -signal.SIGINT


def test_started_by_hand_it_says_who_starts_it(tmp_path):
    runtime_files.stage_runtime(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "thampi_handler"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "AWS_LAMBDA_RUNTIME_API" in done.stderr
    assert "Traceback" not in done.stderr
