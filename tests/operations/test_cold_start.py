import json
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from handler.cold_start import ColdStart
from tests.handler.test_cold_start import TOOK
from thampi.config import Api, Stage
from thampi.operations import cold_start

LINE = TOOK.line().decode().rstrip("\n")
REPORT = "REPORT RequestId: 1 Duration: 3 ms Memory Size: 1024 MB Max Memory Used: 402 MB Init Duration: 1800 ms"


def test_what_the_handler_writes_is_understood():
    (said, hint) = cold_start.told(["START RequestId: 1", LINE, "END RequestId: 1"], 1024)
    assert said.startswith("cold start: loaded in 1.84 s: Python 0.12 s")
    assert said.endswith("peak 310 MB of 1024 MB")
    assert "memory_mb = 512 would do" in hint


def test_what_lambda_measured_counts_when_it_is_more():
    (_, hint) = cold_start.told([LINE, REPORT], 1024)
    assert "402 MB" in hint
    assert "memory_mb = 576 would do" in hint


def test_what_the_emulator_says_without_measuring_does_not_count():
    (_, hint) = cold_start.told([LINE, REPORT.replace("402", "1024")], 1024)
    assert "the peak is 310 MB of 1024" in hint


def test_a_model_that_is_used_in_its_file_needs_room_though_the_process_never_held_it():
    """Mapped, from an image or a folder: its pages come into memory with the predictions that read them."""
    mapped = json.dumps(json.loads(LINE) | {"fetch_mb": 536.9, "peak_mb": 42}, separators=(",", ":"))
    (_, hint) = cold_start.told([mapped], 2048)
    assert hint.startswith("the peak is 555 MB with the model, which is used in place, of 2048: memory_mb = 768")
    (_, hint) = cold_start.told([mapped], 512)
    assert hint.startswith(
        "555 MB with the model, which is used in place, is close to memory_mb = 512: 768 leaves room"
    )
    held = json.dumps(json.loads(LINE) | {"fetch_mb": 536.9, "peak_mb": 590}, separators=(",", ":"))
    (_, hint) = cold_start.told([held], 2048)
    assert hint.startswith("the peak is 590 MB of 2048: memory_mb = 832 would do")


@pytest.mark.parametrize(
    "log", [[], ["no line of ours"], ['{"thampi":"cold start", cut off'], ['{"thampi":"cold start"}']]
)
def test_a_log_without_the_line_says_nothing(log):
    assert cold_start.told([*log, REPORT], 1024) == ()


def test_the_last_cold_start_counts():
    other = json.loads(LINE) | {"message": "the other"}
    lines = [LINE, json.dumps(other, separators=(",", ":"))]
    assert cold_start.told(lines, 512)[0] == "cold start: the other"


@pytest.mark.parametrize(
    ("peak_mb", "memory_mb", "hint"),
    [
        (310, 1024, "memory_mb = 512 would do; more memory is also more CPU"),
        (40, 1024, "memory_mb = 128 would do"),
        (310, 600, ""),  # 512 would do, and is hardly less
        (570, 640, ""),
        (600, 640, "600 MB is close to memory_mb = 640: 832 leaves room"),
        (0, 1024, ""),
    ],
)
def test_the_advice_leaves_a_quarter_and_64_mb(peak_mb, memory_mb, hint):
    said = cold_start.advice(peak_mb, memory_mb)
    assert hint in said
    assert bool(said) == bool(hint)


def test_a_listener_passes_everything_on_but_that_line_and_waits_for_it():
    heard = []
    listener = cold_start.Listener(heard.append)
    listener.add("before")
    threading.Timer(0.1, lambda: listener.add(LINE)).start()
    assert len(listener.sentences(1024)) == 2
    listener.add("after")
    assert heard == ["before", "after"]


def test_a_listener_that_hears_nothing_gives_up(monkeypatch):
    monkeypatch.setattr(cold_start, "_LAG_S", 0.05)
    assert cold_start.Listener(print).sentences(1024) == ()


def test_the_figures_are_those_of_the_handler():
    assert {"peak_mb", "memory_mb"} <= asdict(TOOK).keys()
    assert isinstance(TOOK, ColdStart)


STAGE = Stage(project_dir=Path(), name="m", stage="staging", model_dir=Path())


def took(seconds):
    return [replace(TOOK, total_ms=seconds * 1000.0).line().decode().rstrip()]


@pytest.mark.parametrize(
    ("seconds", "settings", "said"),
    [
        (20.0, {}, None),
        (20.4, {}, "took 20.4 s, and callers get an error after 29 s"),  # 0.7 of it
        (28.0, {"timeout_s": 30}, "after 30 s"),
        (8.0, {"timeout_s": 10}, "after 10 s"),
        (28.0, {"api": Api(type="rest"), "timeout_s": 29}, "after 29 s"),
        (28.0, {"api": Api(type="url"), "timeout_s": 60}, None),
        (50.0, {"api": Api(type="url"), "timeout_s": 60}, "after 60 s"),
        (700.0, {"api": Api(type="url"), "timeout_s": 900}, "after 900 s"),
    ],
)
def test_a_cold_start_that_comes_near_what_callers_wait_is_warned_of(seconds, settings, said):
    found = cold_start.warning(took(seconds), 1, replace(STAGE, **settings))
    assert (said in found) if said else not found


def test_where_the_log_says_nothing_the_trial_was_a_cold_start():
    assert "took 25.0 s" in cold_start.warning([REPORT], 25_000, STAGE)
    assert not cold_start.warning(took(2.0), 25_000, STAGE)  # the rest of it was Lambda's own


@pytest.mark.parametrize(
    ("settings", "there", "absent"),
    [
        ({}, ["memory_mb = 2048", "keep_warm", 'api.type = "url"'], ["a smaller model"]),
        ({"memory_mb": 8192}, ["memory_mb = 10240"], []),
        ({"memory_mb": 10240, "keep_warm": "rate(4 minutes)"}, ['api.type = "url"'], ["memory_mb", "keep_warm"]),
        ({"api": Api(type="url")}, ["a longer timeout_s"], ["api.type"]),
        ({"api": Api(type="rest")}, ['api.type = "url" with a longer timeout_s'], []),
        ({"api": Api(type="rest", auth="api_key")}, ["keep_warm"], ["api.type", "timeout_s"]),
        ({"api": Api(type="rest", tracing=True), "timeout_s": 20}, ["a longer timeout_s"], ["api.type"]),
        ({"api": Api(type="url"), "timeout_s": 900}, ["keep_warm"], ["timeout_s"]),
        (
            {"api": Api(type="url"), "timeout_s": 900, "memory_mb": 10240, "keep_warm": "rate(4 minutes)"},
            ["a smaller model"],
            ["timeout_s", "memory_mb"],
        ),
    ],
)
def test_the_warning_names_the_settings_that_help_and_no_others(settings, there, absent):
    said = cold_start.warning(took(890.0), 1, replace(STAGE, **settings))
    assert [word for word in there if word not in said] == []
    assert [word for word in absent if word in said] == []
