"""The rows of the table: what is measured of a model, against what, and how much it may be.

A bound stands where the row says something about the model at hand: against the bare wire that takes a model whose
transfer is longer than all the rest of a start. Where it is not, the row is printed without a bound.
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
    peers = [peer for peer in peers if _is_there(peer, model)]
    with s3_server.running(model.lab.folder, WIRE) as port:
        found = model.turns(port, environment.endpoint(port), ["ours", "raw", "imports", *peers])
    ours = [start.seconds for start in found["ours"]]
    # The raw GET has no start of a process in it: of a shorter transfer that alone is more than the bound allows.
    bound_by_wire = median(found["raw"]) > max(0.7, 2 * median(found["imports"]))
    name = "90 MiB/s a connection: first prediction / "
    bounds = {"download_file": 0.45, "original": 0.15} if bound_by_wire else {}
    rows = [
        Row(f"{name}raw parallel GET", measuring.median_ratio(ours, found["raw"]), _if(bound_by_wire, 1.2)),
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
_NAMES = {
    "original": "thampi 0.1.0",
    "download_file": "download_file + cloudpickle",
    "download_fileobj": "download_fileobj + cloudpickle",
    "joblib": "download_file + joblib",
    "safetensors": "download_file + safetensors",
}


def _is_there(peer: str, model: Saved) -> bool:
    """Say whether a peer has the model in its own form; where not, say why on stderr."""
    if model.has(_FILES.get(peer, "plain.pkl")):
        return True
    why = f"{peer} has no form for such a model"
    if not model.lab.can_import(peer):
        why = "install it with `pip install -e .[bench]`"
    print(f"  NOT MEASURED: {_NAMES[peer]}; {why}", file=sys.stderr)
    return False


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
    bound_by_wire = raw > max(1.0, 1.3 * median(folder.seconds for folder in found["folder"]))
    name = "75 MiB/s network: "
    return [
        Row(
            f"{name}first prediction / raw GET",
            measuring.median_ratio(ours, found["raw"]),
            _if(bound_by_wire, 1.1),
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
    small = model.content < _MIB and median(found["imports"]) > 0.3  # else it is Python's start that counts
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
    """Seconds of processor time, user and system, of the whole process over TLS; the network's speed changes neither.

    What bounds ours: to decrypt and to hash each byte (0.5 s for a GiB of sha256 with the processor's own
    instructions), the kernel's copy from the socket, and the clearing of the memory. The peer doesn't hash; it copies
    each byte three times more: to the file, from the file, and through Python's reading of the socket.
    """
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
    """Take a turn after another process has used, and given back, as much memory as either side will take.

    A virtual machine's memory is made by its host when it is first touched, and the guest counts that time as its own:
    from 0.04 to 2 s for a GiB, by what the host has taken back meanwhile, and more so for the huge pages of an array
    (which numpy asks for, too) than for the small ones that a file was read into just before. After this, both sides
    find memory that is there, in huge pages where they ask for such; each still clears what it takes.
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
    return [Row(_SAVE, row.value, row.bound)]


_SAVE = "save / cloudpickle.dump"
_SAVE_AGAIN = """
import json, os, sys, time
import cloudpickle, thampi
from thampi.runtime import codec, pickling, proving, replacing
side, bundle, folder = sys.argv[1:]
model = thampi.load(bundle)
began = time.perf_counter()
if side == "ours":
    thampi.save(model, "saved", folder, verify=False)
else:
    with open(os.path.join(folder, "saved.pkl"), "wb") as file:
        cloudpickle.dump(model, file)
        file.flush()
        os.fsync(file.fileno())
print(json.dumps(time.perf_counter() - began))
"""


def save_again(model: Saved) -> list[Row]:
    """Save a model that was saved; both sides wait for the disk. The bound is for arrays that don't compress."""

    def turn(side: str) -> float:
        with tempfile.TemporaryDirectory(prefix="thampi-") as name:
            command = [model.lab.python, "-c", _SAVE_AGAIN, side, str(model.bundle), name]
            done = subprocess.run(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return float(done.stdout.splitlines()[-1])

    found = measuring.interleaved({side: partial(turn, side) for side in ("ours", "plain")}, model.lab.rounds)
    of_arrays = model.content > 100 * _MIB and model.in_band < model.content / 10 and model.uncompressed is model
    return [Row(_SAVE, measuring.median_ratio(found["ours"], found["plain"]), _if(of_arrays, 1.3))]


_LARGEST = "largest model / (memory limit - framework)"
_PERCENT = (98, 96, 94, 92, 90, 85, 75, 60, 45, 30)


def largest(lab: Lab, memory_mb: int) -> list[Row]:
    """The largest model of arrays that loads in so much memory; no row where this user can make no memory cgroup."""
    free = memory_mb - lab.make("pieces", "pieces", 16).framework // _MIB
    for percent in _PERCENT:
        model = lab.make(f"pieces-{percent}", "pieces", free * percent // 100)
        loads = _loads_in(model, memory_mb)
        if loads is None:
            return []
        if loads:
            return [Row(_LARGEST, model.content / _MIB / free, 0.9, True)]
    return [Row(_LARGEST, 0.0, 0.9, True)]


def least_limit(model: Saved) -> list[Row]:
    """The same for a model that there is: the least memory that it loads in; of objects, bytes would say nothing."""
    if model.content < 16 * _MIB or model.in_band > model.content / 2:
        return []
    bound = _if(model.content > 100 * _MIB, 0.9)
    for percent in _PERCENT:
        free = model.content * 100 // percent
        loads = _loads_in(model, (model.framework + free) // _MIB)
        if loads is None:
            return []
        if loads:
            return [Row(_LARGEST, model.content / free, bound, True)]
    return [Row(_LARGEST, 0.0, bound, True)]


def _loads_in(model: Saved, memory_mb: int) -> bool | None:
    """Say whether a model loads in so much memory; None where this user can make no memory cgroup."""
    with s3_server.running(model.lab.folder, Line()) as port, environment.limited(memory_mb) as before:
        if before is None:
            print(f"  NOT MEASURED: {_LARGEST}; no memory cgroup can be made here (be root)", file=sys.stderr)
            return None
        try:
            model.ours(environment.endpoint(port), before)
        except (RuntimeError, OSError):
            return False
        return True


def _if(applies: bool, bound: float) -> float | None:
    return bound if applies else None
