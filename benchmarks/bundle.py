"""What `thampi.save` and `thampi.load` cost beside a plain pickle, each in a fresh process, in turns.

    python -m benchmarks.bundle [--quick] [--json PATH]

Saving: both sides write the model to a new file and wait until the disk has it (fsync), as a save that survives a
power cut must; ours has the disk begin with what is written meanwhile (fdatasync, on a thread). `verify` is off, which
is a second process by design. Ours also makes a sha256 of every byte and looks whether it pays to compress, beside the
writing: with a processor to spare that is free, with one alone it shows in full. What the sha256 alone takes is a row
of its own. The bound is for models of arrays that don't compress; a forest shrinks to a sixth, from which a slow disk
gains and a fast one loses; of Python objects (text) we look at each, so that loading takes no more memory than they do.
Memory: the most that the process ever held (VmHWM) beyond its imports, by the bytes of the model, and for saving beyond
the model itself. Loading: from files that the page cache has; ours also checks every hash.
"""

import importlib.util
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

def torch(mib):
    import torch
    return torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(mib // 4)])

def text(mib):
    return {f"user-{i:08d}": f"value for user number {i * 7919 % 1000003:07d} ok" for i in range(mib * 20_000)}

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
print(json.dumps((folder / f"{kind}.pkl").stat().st_size))
"""
)

_SAVE_OURS = (
    _SETUP
    + """
model = Holder(globals()[kind](mib))
before, began = high_water(), time.perf_counter()
thampi.save(model, "saved", folder, verify=False)
took = time.perf_counter() - began
print(json.dumps([took, (high_water() - before) / 2**20]))
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
print(json.dumps([time.perf_counter() - began, 0]))
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
print(json.dumps([time.perf_counter() - began, 0]))
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


def _save(code: str, kind: str, mib: int, folder: Path) -> list[float]:
    """Return the seconds that a save took, and the MiB beyond the model."""
    for left in (folder / "saved", folder / "saved.pkl"):  # both write new files
        shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
    found: list[float] = measuring.in_fresh_process(code, kind, mib, folder)
    return found


def saving(kind: str, mib: int, rounds: int, folder: Path) -> list[Row]:
    """Return what it costs to save a model of a kind; there is a bound for the time of arrays."""
    sides = {"ours": _SAVE_OURS, "plain": _SAVE_PLAIN} | ({"hash": _HASH} if kind == "arrays" else {})
    turns = {side: partial(_save, code, kind, mib, folder) for side, code in sides.items()}
    saved = measuring.interleaved(turns, rounds)
    seconds = {side: [turn[0] for turn in found] for side, found in saved.items()}
    time = measuring.median_ratio(seconds["ours"], seconds["plain"])
    rows = [
        Row(f"save time, {kind} / cloudpickle.dump, both with fsync", time, 1.3 if kind == "arrays" else None),
        Row(f"save peak memory beyond the model, MiB, {kind}", max(turn[1] for turn in saved["ours"])),
    ]
    if "hash" in seconds:
        hashing = measuring.median_ratio(seconds["hash"], seconds["plain"])
        rows.append(Row(f"sha256 of the {kind}, one thread / cloudpickle.dump", hashing))
    return rows


def measure(quick: bool) -> list[Row]:
    """Run it all, and return the rows; torch is measured where it is installed."""
    rounds, mib, small = (3, 256, 32) if quick else (7, 1024, 256)
    kinds = {"arrays": mib, "forest": small, "text": small // 4}
    if importlib.util.find_spec("torch"):
        kinds["torch"] = small
    rows = []
    with tempfile.TemporaryDirectory(prefix="thampi-benchmark-") as name:
        folder = Path(name)
        for kind, size in kinds.items():
            rows += saving(kind, size, rounds, folder)
        for kind, bound in (("arrays", 1.1), ("forest", None)):
            loaded, stored = _load(kind, kinds[kind], folder, rounds)
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
