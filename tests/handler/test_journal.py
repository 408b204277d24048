import io
import json
import logging
import sys
import time

import pytest

from handler import journal, settings
from handler.journal import Journal

ENVIRON = {
    "THAMPI_NAME": "iris",
    "THAMPI_STAGE": "staging",
    "AWS_LAMBDA_FUNCTION_NAME": "thampi-iris-staging",
    "AWS_LAMBDA_FUNCTION_VERSION": "7",
}


SAID = {"request_id": "an-id", "route": "predict", "status": 200, "latency_ms": 1.23456, "cold_start": True}


def line(**said):
    lines = []
    Journal(settings.read(ENVIRON), lines.append).note(**SAID | said)
    (written,) = lines
    return written


def test_a_line_says_this_and_nothing_else():
    said = json.loads(line())
    meta = said.pop("_aws")
    assert said == {
        "function": "thampi-iris-staging",
        "version": "7",
        "name": "iris",
        "stage": "staging",
        "request_id": "an-id",
        "route": "predict",
        "status": 200,
        "requests": 1,
        "status_2xx": 1,
        "status_4xx": 0,
        "status_5xx": 0,
        "latency_ms": 1.235,
        "cold_start": 1,
    }
    assert sorted(meta) == ["CloudWatchMetrics", "Timestamp"]


def test_a_line_is_what_cloudwatch_makes_metrics_of():
    said = json.loads(line())
    (directive,) = said["_aws"]["CloudWatchMetrics"]
    assert sorted(directive) == ["Dimensions", "Metrics", "Namespace"]
    assert directive["Namespace"] == "thampi"
    assert directive["Dimensions"] == [["function", "version"]]
    for dimensions in directive["Dimensions"]:
        assert all(isinstance(said[name], str) and said[name] for name in dimensions)
    for metric in directive["Metrics"]:
        assert sorted(metric) == ["Name", "Unit"]
        assert metric["Unit"] in ("Count", "Milliseconds")
        assert type(said[metric["Name"]]) in (int, float)
    names = [metric["Name"] for metric in directive["Metrics"]]
    assert names == ["requests", "status_2xx", "status_4xx", "status_5xx", "latency_ms", "cold_start"]


def test_the_time_is_in_milliseconds():
    before = time.time() * 1000
    assert before - 1 <= json.loads(line())["_aws"]["Timestamp"] <= time.time() * 1000 + 1


def test_a_line_is_one_line():
    assert line().count(b"\n") == 1
    assert line().endswith(b"\n")


@pytest.mark.parametrize(
    ("status", "counts"), [(200, (1, 0, 0)), (204, (1, 0, 0)), (404, (0, 1, 0)), (500, (0, 0, 1)), (503, (0, 0, 1))]
)
def test_a_status_is_counted_in_its_class_and_no_other(status, counts):
    said = json.loads(line(status=status))
    assert (said["status_2xx"], said["status_4xx"], said["status_5xx"]) == counts


def test_a_warm_request_counts_no_cold_start():
    assert json.loads(line(cold_start=False))["cold_start"] == 0


def test_a_line_is_written_to_stdout_whatever_the_model_made_of_that(capfd, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    journal.to_stdout(b'{"a": 1}\n')
    assert capfd.readouterr().out == '{"a": 1}\n'


def test_a_log_that_is_gone_costs_no_answer():
    def gone(text):
        raise BrokenPipeError("nobody reads")

    Journal(settings.read(ENVIRON), gone).note(**SAID)


def test_what_is_logged_ends_with_its_line_and_with_one_only():
    written = io.StringIO()
    log = logging.Logger("a log")
    handler = logging.StreamHandler(written)
    handler.terminator = ""
    handler.setFormatter(logging.Formatter("%(message)s\n"))
    log.addHandler(handler)
    journal.end_lines(log)
    log.info("plain")
    try:
        raise ValueError("caught")
    except ValueError:
        log.exception("with a traceback")
    log.info("after")
    assert written.getvalue().startswith("plain\nwith a traceback\nTraceback ")
    assert written.getvalue().endswith("ValueError: caught\nafter\n")
