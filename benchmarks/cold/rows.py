"""The rows of the table: what is measured of a model, against what, and how much it may be.

A bound stands where the row says something about the model at hand. Against the bare wire that takes a model whose
transfer is longer than its imports; where it is not, the row is printed without a bound.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import bundle, measuring
from benchmarks.cold import environment, s3_server
from benchmarks.cold.lab import Lab, Saved
from benchmarks.cold.s3_server import Line
from benchmarks.measuring import Row

_MIB = 1024 * 1024
_ROOT = Path(__file__).resolve().parents[2]

WIRE = Line(rate=90, first_byte_ms=30)
NARROW = Line(rate=90, network=75, first_byte_ms=30)
WIDE = Line(rate=90, network=600, first_byte_ms=30)
LAMBDA_MB = 3008  # the most that the original could have


def wire(model: Saved, peers: Sequence[str]) -> list[Row]:
    """The first prediction over a wide network of connections as slow as S3's."""
    missing = [peer for peer in peers if not model.has(_FILES.get(peer, "plain.pkl"))]
    for peer in missing:
        print(f"  NOT MEASURED: {_NAMES[peer]}; {_CURE}", file=sys.stderr)
    peers = [peer for peer in peers if peer not in missing]
    with s3_server.running(model.lab.folder, WIRE) as port:
        found = model.turns(port, environment.endpoint(port), ["ours", "raw", "imports", *peers])
    ours = [start.seconds for start in found["ours"]]
    bound_by_wire = median(found["raw"]) > 2 * median(found["imports"])
    name = "90 MiB/s a connection: first prediction / "
    bounds = {"download_file": 0.45, "original": 0.15} if bound_by_wire else {}
    rows = [
        Row(f"{name}raw parallel GET", measuring.median_ratio(ours, found["raw"]), 1.2 if bound_by_wire else None),
        Row(f"{name}the longer of raw GET and imports", _longer(ours, found)),
    ]
    for peer in peers:
        theirs = [start.seconds for start in found[peer]]
        rows.append(Row(f"{name}{_NAMES[peer]}", measuring.median_ratio(ours, theirs), bounds.get(peer)))
    rows += [
        Row("90 MiB/s a connection: first prediction, in seconds", median(ours)),
        Row("90 MiB/s a connection: raw parallel GET, in seconds", median(found["raw"])),
    ]
    rows += [
        Row(f"peak memory of {_NAMES[peer]} beyond imports / bytes", _peak(found[peer], model))
        for peer in peers
        if model.content > 64 * _MIB
    ]
    return rows


_FILES = {"joblib": "model.joblib", "safetensors": "model.safetensors"}  # the others load plain.pkl
_CURE = "install it with `pip install -e .[bench]`"
_NAMES = {
    "original": "thampi 0.1.0",
    "download_file": "download_file + cloudpickle",
    "download_fileobj": "download_fileobj + cloudpickle",
    "joblib": "download_file + joblib",
    "safetensors": "download_file + safetensors",
}


def network(model: Saved) -> list[Row]:
    """The same bytes through 75 MiB/s: the transfer is what takes long, and the imports hide behind it."""
    plain = model.uncompressed
    with s3_server.running(model.lab.folder, NARROW) as port:
        found = plain.turns(port, environment.endpoint(port), ["ours", "raw", "imports", "folder"])
    ours = [start.seconds for start in found["ours"]]
    hidden = [
        min(1.0, (raw + folder.seconds - start) / min(raw, imported))  # what is more is noise: nobody hides more
        for start, raw, imported, folder in zip(ours, found["raw"], found["imports"], found["folder"], strict=True)
    ]
    raw, imported = median(found["raw"]), median(found["imports"])
    name = "75 MiB/s network: "
    return [
        Row(
            f"{name}first prediction / raw GET",
            measuring.median_ratio(ours, found["raw"]),
            1.1 if raw > 1.3 * imported else None,
        ),
        Row(f"{name}first prediction / the longer of raw GET and imports", _longer(ours, found)),
        Row(f"{name}hidden part of min(transfer, imports)", median(hidden), _if(min(raw, imported) > 0.3, 0.8), True),
        Row(f"{name}first prediction, in seconds", median(ours)),
        Row(f"{name}raw GET, in seconds", raw),
        Row(f"{name}imports alone, in seconds", imported),
    ]


def _longer(ours: Sequence[float], found: dict[str, list[Any]]) -> float:
    return measuring.median_ratio(ours, [max(pair) for pair in zip(found["raw"], found["imports"], strict=True)])


def memory(model: Saved, label: str = "") -> list[Row]:
    """The most memory that the process held, beyond its libraries'; of Python objects against what it holds after."""
    with s3_server.running(model.lab.folder, WIRE) as port:
        turn = partial(model.ours, environment.endpoint(port))
        starts = [turn() for _ in range(max(3, model.lab.rounds // 2))]
    if model.in_band > model.content / 2:
        steady = median(start.peak / start.held for start in starts)
        return [Row(f"peak / steady memory, Python objects{label}", steady, _if(model.content > 20 * _MIB, 1.05))]
    large = model.content > 100 * _MIB
    return [Row(f"peak memory beyond imports / bytes{label}", _peak(starts, model), _if(large, 1.08))]


def _peak(starts: Sequence[Any], model: Saved) -> float:
    return median((start.peak - model.framework) / model.content for start in starts)


def start_up(model: Saved, *modules: str) -> list[Row]:
    """A model so small that only the start counts, against the import of its library alone."""
    with s3_server.running(model.lab.folder, WIRE) as port:
        found = measuring.interleaved(
            {
                "ours": partial(model.ours, environment.endpoint(port)),
                "imports": partial(model.imports, *modules),
                "original": partial(model.peer, "original", environment.endpoint(port)),
            },
            model.lab.rounds,
        )
    ours = [start.seconds for start in found["ours"]]
    small = model.content < _MIB
    return [
        Row(
            "small model: first prediction / import of its library",
            measuring.median_ratio(ours, found["imports"]),
            _if(small, 1.1),
        ),
        Row(
            "small model: first prediction / thampi 0.1.0",
            measuring.median_ratio(ours, [start.seconds for start in found["original"]]),
        ),
        Row("small model: in seconds", median(ours)),
    ]


def compression(model: Saved) -> list[Row]:
    """A compressible model as it is saved, against the same without compression; nothing when none was worth it."""
    if model.uncompressed is model:
        return []
    rows = []
    for line, bound in ((NARROW, 0.7), (WIDE, 1.15)):
        with s3_server.running(model.lab.folder, line) as port:
            where = environment.endpoint(port)
            turns = {"as saved": partial(model.ours, where), "plain": partial(model.uncompressed.ours, where)}
            found = measuring.interleaved(turns, model.lab.rounds)
        value = measuring.median_ratio(*([start.seconds for start in found[name]] for name in turns))
        metric = f"compressible, {line.network:g} MiB/s: first prediction / uncompressed"
        rows.append(Row(metric, value, _if(model.content > 100 * _MIB, bound)))
    stored = sum(part["stored"] for part in model.manifest["parts"])
    return [*rows, Row("compressible: stored bytes / bytes", stored / model.content)]


def processor(model: Saved) -> list[Row]:
    """Seconds of processor time over TLS, which the network's speed does not change."""
    with tempfile.TemporaryDirectory(prefix="thampi-") as name:
        tls = s3_server.certificate(Path(name))
        with s3_server.running(model.lab.folder, Line(), tls) as port:
            where = environment.endpoint(port, tls[0])
            turns = {"ours": partial(model.ours, where), "download_file": partial(model.peer, "download_file", where)}
            found = measuring.interleaved(
                {name: partial(_on_touched_memory, model, turn) for name, turn in turns.items()}, model.lab.rounds
            )
    ours, theirs = ([start.cpu for start in found[name]] for name in ("ours", "download_file"))
    large = model.content > 100 * _MIB
    return [
        Row(
            "processor time over TLS / download_file + cloudpickle",
            measuring.median_ratio(ours, theirs),
            _if(large, 0.8),
        ),
        Row("processor time over TLS, in seconds per GiB", median(ours) * 1024 * _MIB / model.content),
    ]


def _on_touched_memory(model: Saved, turn: Callable[[], Any]) -> Any:
    """Take a turn with free memory as a fresh machine has it: in huge pages, which the host has handed out already.

    To touch a GiB for the first time took from 0.04 to 2 s of processor time in a virtual machine, as chance had it.
    """
    code = "import mmap, sys; memory = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); "
    code += "memory.madvise(mmap.MADV_HUGEPAGE); memory[::4096] = bytes(len(memory[::4096]))"
    subprocess.run([sys.executable, "-c", code, str(max(4096, 5 * model.content // 2))], check=True)
    return turn()


def requests(quick: bool) -> list[Row]:
    """Warm requests, of `benchmarks/request.py`, which binds itself to one processor."""
    with tempfile.TemporaryDirectory(prefix="thampi-") as name:
        path = Path(name) / "found.json"
        command = [sys.executable, "-m", "benchmarks.request", "--json", str(path), *(["--quick"] if quick else [])]
        subprocess.run(command, cwd=_ROOT, check=False, stdout=subprocess.DEVNULL)  # 1: a bound is broken
        found = json.loads(path.read_text("utf-8"))
    rows = []
    for size in ("1 KB", "1 MB"):
        said = found[f"{size} URL event / stock echo"]
        rows.append(Row(f"warm request, {size}: p50 / stock awslambdaric echo", said["value"], said["bound"]))
    return rows


def save(quick: bool) -> list[Row]:
    """Saving, of `benchmarks/bundle.py`."""
    with tempfile.TemporaryDirectory(prefix="thampi-") as name:
        found = bundle.saving("arrays", 256 if quick else 1024, 3 if quick else 7, Path(name))
    row = next(row for row in found if row.metric.startswith("save time, arrays"))
    return [Row("save of arrays / cloudpickle.dump", row.value, row.bound)]


def largest(lab: Lab, memory_mb: int) -> list[Row]:
    """The largest model of arrays that loads in so much memory; no row where this user can make no memory cgroup."""
    metric = f"largest model in {memory_mb} MB / (limit - framework)"
    with s3_server.running(lab.folder, Line()) as port, environment.limited(memory_mb) as before:
        if before is None:
            print(f"  {metric}: not measured, no memory cgroup can be made (be root)", file=sys.stderr)
            return []
        free = memory_mb - lab.make("pieces", "pieces", 16).framework // _MIB
        for percent in (98, 96, 94, 92, 90, 85, 75, 60, 45, 30):
            model = lab.make(f"pieces-{percent}", "pieces", free * percent // 100)
            try:
                model.ours(environment.endpoint(port), before)
                return [Row(metric, model.content / _MIB / free, 0.9, True)]
            except (RuntimeError, OSError):
                continue
    return [Row(metric, 0.0, 0.9, True)]


def _if(applies: bool, bound: float) -> float | None:
    return bound if applies else None
