"""What people put into models is the same after a round trip to another process, and is there once, not twice."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thampi.runtime import bundle

from .fresh import REPO, python

ROUND_TRIP = REPO / "tests/runtime/round_trip.py"


def told(*words: object, cwd: Path) -> Any:
    return json.loads(python(ROUND_TRIP, *words, cwd=cwd) or "null")


@pytest.mark.parametrize("family", ["numpy", "pandas", "scipy", "sklearn", "boosters", "arrow"])
def test_every_model_of_a_family_is_the_same_in_another_process(tmp_path, family):
    saved = told("save", family, tmp_path, cwd=tmp_path)
    loaded = told("load", family, tmp_path, cwd=tmp_path)
    assert [name for name in saved if loaded[name] != saved[name]] == []
    assert loaded == saved


def test_the_columns_of_arrow_lie_beside_the_pickle(tmp_path):
    told("save", "arrow", tmp_path, cwd=tmp_path)
    about = bundle.read(tmp_path / "arrow")
    assert about.content_size("pickle") < 400_000  # what is smaller than 16 KiB, which is a bit for each element
    assert about.content_size("buffers") > 8_000_000


# What a model takes while it loads and what it takes when it is there, by its size. In the pickle itself (text) a
# string of 40 characters is an object of 90 bytes in a table: so it is compared with what is there in the end.
PEAKS = {
    "large_arrays": 1.25,
    "large_compressible": 1.25,
    "large_forest": 1.25,
    "large_arrow": 1.25,
    "large_pandas": 1.25,
}


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process held at most")
@pytest.mark.parametrize("kind", PEAKS)
def test_a_large_model_takes_its_own_size_while_it_loads_and_gives_it_back(tmp_path, kind):
    told("peak", kind, tmp_path, cwd=tmp_path)
    found = told("peak", kind, tmp_path, cwd=tmp_path)
    assert found["content"] > 150e6
    assert found["peak"] < PEAKS[kind], found
    assert found["left"] < 0.15, found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says what a process held at most")
def test_a_model_of_python_objects_takes_no_more_while_it_loads_than_when_it_is_there(tmp_path):
    told("peak", "large_text", tmp_path, cwd=tmp_path)
    found = told("peak", "large_text", tmp_path, cwd=tmp_path)
    assert found["peak/steady"] < 1.15, found


def test_a_compressible_model_is_stored_in_fewer_bytes(tmp_path):
    told("peak", "large_compressible", tmp_path, cwd=tmp_path)
    about = bundle.read(tmp_path / "large_compressible")
    assert {part.codec for part in about.parts_of("buffers")} == {"zstd"}
    assert about.files["buffers"].size < about.content_size("buffers") / 3


@pytest.fixture(scope="module")
def with_torch(tmp_path_factory):
    """Return a Python that has torch: this one, or one made for it (hundreds of MB)."""
    if subprocess.run([sys.executable, "-c", "import torch"], capture_output=True).returncode == 0:
        return sys.executable
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    there = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    needed = ["torch", "numpy", "cloudpickle", "orjson", "backports.zstd; python_version < '3.14'"]
    subprocess.run([there, "-m", "pip", "install", "--quiet", *needed], check=True)
    return str(there)


def told_by(python: str, *words: object, cwd: Path) -> Any:
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [python, ROUND_TRIP, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_tensor_and_module_of_torch_is_the_same_in_another_process(tmp_path, with_torch):
    saved = told_by(with_torch, "save", "torch", tmp_path, cwd=tmp_path)
    loaded = told_by(with_torch, "load", "torch", tmp_path, cwd=tmp_path)
    assert [name for name in saved if loaded[name] != saved[name]] == []
    assert loaded == saved
    assert saved["views of one"][-1] == [0, 0, 0, 0]
    assert saved["layers that share"][1].count(1) == 2


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_large_module_of_torch_takes_its_own_size_while_it_loads(tmp_path, with_torch):
    told_by(with_torch, "peak", "large_torch", tmp_path, cwd=tmp_path)
    found = told_by(with_torch, "peak", "large_torch", tmp_path, cwd=tmp_path)
    assert found["content"] > 150e6
    assert found["peak"] < 1.25, found
    assert found["left"] < 0.15, found
