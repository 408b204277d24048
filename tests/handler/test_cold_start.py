import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from handler.cold_start import ColdStart

TOOK = ColdStart(
    total_ms=1840.25,
    python_ms=120.0,
    import_ms=930.0,
    fetch_ms=960.0,
    fetch_mb=299.04,
    fetch_mb_per_s=311.5,
    unpickle_ms=301.0,
    initialize_ms=4.0,
    peak_mb=310,
    memory_mb=1024,
)


def test_the_line_is_json_with_all_figures_and_a_sentence_for_people():
    line = TOOK.line()
    assert line.count(b"\n") == 1
    assert line.startswith(b'{"thampi":"cold start",')
    said = json.loads(line)
    assert said == {
        "thampi": "cold start",
        "message": (
            "loaded in 1.84 s: Python 0.12 s, imports 0.93 s, fetching 299.0 MB at 312 MB/s beside them 0.96 s, "
            "unpickling 0.30 s, initialize 0.00 s; peak 310 MB of 1024 MB"
        ),
        "total_ms": 1840.2,
        "python_ms": 120.0,
        "import_ms": 930.0,
        "fetch_ms": 960.0,
        "fetch_mb": 299.0,
        "fetch_mb_per_s": 311.5,
        "unpickle_ms": 301.0,
        "initialize_ms": 4.0,
        "peak_mb": 310,
        "memory_mb": 1024,
    }


def test_a_system_that_does_not_tell_the_memory_is_no_reason_to_invent_it():
    assert replace(TOOK, peak_mb=None).message().endswith("initialize 0.00 s")
    assert replace(TOOK, memory_mb=0).message().endswith("; peak 310 MB")


def test_a_small_models_speed_would_say_nothing():
    small = replace(TOOK, fetch_mb=0.0081, fetch_mb_per_s=0.2, fetch_ms=41.0)
    assert "imports 0.93 s, fetching 8 kB beside them 0.04 s, unpickling" in small.message()


def test_the_line_is_no_metric():
    assert b"_aws" not in TOOK.line()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_the_age_of_a_process_counts_from_its_start_and_not_from_our_first_line():
    code = "import time; time.sleep(1); from handler import cold_start; print(cold_start.process_age_s())"
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1 < float(done.stdout) < time.monotonic() - began + 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says")
def test_the_peak_is_what_was_held_and_given_back_too_and_nothing_of_the_process_before():
    code = (
        "from handler import cold_start; before = cold_start.peak_mb(); held = b'x' * 2**26; del held;"
        "print(before, cold_start.peak_mb())"
    )
    large = bytearray(os.urandom(1)) * 2**28  # a child made by fork has it, too
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert large
    before, after = map(int, done.stdout.split())
    assert before < 100
    assert 60 <= after - before < 90
