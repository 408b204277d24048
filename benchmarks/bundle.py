"""What `thampi.save` and `thampi.load` cost beside a plain pickle, each in a fresh process, in turns.

    python -m benchmarks.bundle [--quick] [--json PATH]

Saving: both sides write the model to a new file and wait until the disk has it (fsync), as a save that survives a
power cut must; `verify` is off, which is a second process by design. Ours also makes a sha256 of every byte, beside
the writing: with a processor to spare it is free, with one alone it shows in full. What it takes is a row of its own.
Memory: the most that the process ever held (VmHWM) beyond its imports, by the bytes of the model. Loading: from files
that the page cache has; ours also checks every hash.
"""

import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.measuring import Row

_MIB = 1024 * 1024

# What every process starts with.
_SETUP = """
import json, os, pickle, sys, time
from pathlib import Path
import cloudpickle, numpy
import thampi
from thampi.runtime import fetch, loading, pickling, proving, replacing

def high_water():
    return 1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))

def arrays(mib):
    generator = numpy.random.default_rng(0)
    return {f"layer{i}": generator.standard_normal(mib * 131072 // 16) for i in range(16)}

def forest(mib):
    import sklearn.ensemble
    generator = numpy.random.default_rng(0)
    x = generator.standard_normal((20_000, 20)).astype("float32")
    return sklearn.ensemble.RandomForestRegressor(max(1, mib // 3), n_jobs=2, random_state=0).fit(x, x[:, 0] * x[:, 1])

class Holder(thampi.Model):
    def __init__(self, held):
        self.held = held
    def predict(self, args, context):
        return None

kind, mib, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
"""

_MAKE = (
    _SETUP
    + """
model = Holder(globals()[kind](mib))
thampi.save(model, kind, folder, verify=False)
with open(folder / f"{kind}.pkl", "wb") as file:
    cloudpickle.dump(model, file)
print(json.dumps(sum(file.stat().st_size for file in (folder / kind).iterdir())))
"""
)

_SAVE_OURS = (
    _SETUP
    + """
model = Holder(globals()[kind](mib))
began = time.perf_counter()
thampi.save(model, "saved", folder, verify=False)
print(json.dumps(time.perf_counter() - began))
"""
)

_SAVE_PLAIN = (
    _SETUP
    + """
model = Holder(globals()[kind](mib))
began = time.perf_counter()
with open(folder / "saved.pkl", "wb") as file:
    cloudpickle.dump(model, file)
    file.flush()
    os.fsync(file.fileno())
print(json.dumps(time.perf_counter() - began))
"""
)

_HASH = (
    _SETUP
    + """
import hashlib
held = list(arrays(mib).values())
began = time.perf_counter()
for array in held:
    hashlib.sha256(array).digest()
print(json.dumps(time.perf_counter() - began))
"""
)

_LOAD = (
    _SETUP
    + """
if kind == "forest":
    import sklearn.ensemble
before = high_water()
began = time.perf_counter()
if sys.argv[4] == "ours":
    model = thampi.load(folder / kind)
else:
    with open(folder / f"{kind}.pkl", "rb") as file:
        model = pickle.load(file)
print(json.dumps([time.perf_counter() - began, high_water() - before]))
"""
)


def _save(code: str, mib: int, folder: Path) -> float:
    for left in (folder / "saved", folder / "saved.pkl"):  # both write new files
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    seconds: float = measuring.in_fresh_process(code, "arrays", mib, folder)
    return seconds


def measure(quick: bool) -> list[Row]:
    """Run it all, and return the rows."""
    rounds, mib = (3, 256) if quick else (7, 1024)
    with tempfile.TemporaryDirectory(prefix="thampi-benchmark-") as name:
        folder = Path(name)
        sides = {"ours": _SAVE_OURS, "plain": _SAVE_PLAIN, "hash": _HASH}
        turns = {side: partial(_save, code, mib, folder) for side, code in sides.items()}
        saved = measuring.interleaved(turns, rounds)
        rows = [
            Row(
                "save time, arrays / cloudpickle.dump, both with fsync",
                measuring.median_ratio(saved["ours"], saved["plain"]),
                bound=1.3,
            ),
            Row(
                "sha256 of the arrays, one thread / cloudpickle.dump",
                measuring.median_ratio(saved["hash"], saved["plain"]),
            ),
        ]
        for kind, size, bound in (("arrays", mib, 1.1), ("forest", 32 if quick else 256, None)):
            loaded, stored = _load(kind, size, folder, rounds)
            rows += [
                Row(f"load peak memory beyond imports / bytes, {kind}", _peak(loaded["ours"], stored), bound),
                Row(f"the same of pickle.load, {kind}", _peak(loaded["plain"], stored)),
                Row(
                    f"load time / pickle.load, {kind}",
                    measuring.median_ratio([turn[0] for turn in loaded["ours"]], [turn[0] for turn in loaded["plain"]]),
                ),
            ]
    return rows


def _load(kind: str, mib: int, folder: Path, rounds: int) -> tuple[dict[str, list[Any]], int]:
    stored = measuring.in_fresh_process(_MAKE, kind, mib, folder)
    sides = {side: partial(measuring.in_fresh_process, _LOAD, kind, mib, folder, side) for side in ("ours", "plain")}
    return measuring.interleaved(sides, rounds), stored


def _peak(turns: list[Any], stored: int) -> float:
    return max(turn[1] for turn in turns) / stored


if __name__ == "__main__":
    told = measuring.arguments(__doc__)
    sys.exit(measuring.report(measure(told.quick), told.json))
