"""What a cold start costs: from the process's start to the first prediction, beside the wire and what others do.

    python -m benchmarks.loading [--quick] [--json PATH] [--markdown PATH] [--only WORD …]
    python -m benchmarks.loading --bundle DIR [--requirements FILE]

Every load is a process of its own: on our side the handler as Lambda starts it, asked by a thin Runtime API; a peer is
the few lines that one would write. They take turns, and a ratio is the median of the rounds' ratios. The models lie in
an S3 on loopback (`benchmarks/cold/s3_server.py`) with the bandwidth and the first byte of a real one; no number here
was measured on Lambda. Memory is the most that a process held (VmHWM), beyond what its libraries take without a model.

`--bundle` measures a saved model of yours in the same way, with what FILE lists installed in an environment of its own.
A bound that says nothing about that model (a forest that waits for its imports, against the bare wire) is left out.
The peers joblib and safetensors come with `pip install -e .[bench]`; one that is missing is said so, on stderr.
`--markdown docs/performance.md` puts the table there, with the machine's description.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import measuring
from benchmarks.cold import floor, machine, rows
from benchmarks.cold.lab import Lab
from benchmarks.measuring import Row
from thampi import runtime_files
from thampi.runtime import bundle, loading

_ROOT = Path(__file__).resolve().parents[1]
_PEERS = ("download_file", "original", "download_fileobj", "joblib", "safetensors")


def cases(lab: Lab, quick: bool) -> dict[str, Callable[[], list[Row]]]:
    """Return the rows of the table by a word for each."""
    mib = 16 if quick else 1  # the sizes below are of the full run

    def size(full: int) -> int:
        return max(1, full // mib)

    return {
        "wire": lambda: rows.wire(lab.make("arrays", "arrays", size(1024)), _PEERS),
        "network": lambda: rows.network(lab.make("forest", "forest", size(300))),
        "memory": lambda: _memory(lab, size),
        "objects": lambda: rows.memory(lab.make("words", "words", size(100))),
        "tiny": lambda: rows.start_up(lab.make("tiny", "tiny", 1), "sklearn.neighbors"),
        "compression": lambda: rows.compression(lab.make("forest", "forest", size(300))),
        "processor": lambda: rows.processor(lab.make("arrays", "arrays", size(1024))),
        "requests": lambda: rows.requests(quick),
        "save": lambda: rows.save(quick),
        "largest": lambda: rows.largest(lab, 512 if quick else rows.LAMBDA_MB),
    }


def _memory(lab: Lab, size: Callable[[int], int]) -> list[Row]:
    kinds = {"arrays": 1024, "forest": 300, "torch": 400}
    return [row for kind, full in kinds.items() for row in rows.memory(lab.make(kind, kind, size(full)), f", {kind}")]


def of_bundle(lab: Lab, folder: Path, quick: bool) -> dict[str, Callable[[], list[Row]]]:
    """Return the same rows for a saved model of the user's: one that says nothing about it is left out or unbounded."""
    model = lab.make("bundle", "--copy", folder.resolve())
    return {
        "wire": lambda: rows.wire(model, _PEERS),
        "network": lambda: rows.network(model),
        "memory": lambda: rows.memory(model),
        "tiny": lambda: rows.start_up(model),
        "compression": lambda: rows.compression(model),
        "processor": lambda: rows.processor(model),
        "requests": lambda: rows.requests(quick),
        "save": lambda: rows.save_again(model),
        "largest": lambda: rows.least_limit(model),
    }


def installed(requirements: Path | None, folder: Path) -> str:
    """Return a Python that has what a requirements file lists, what the image brings, and what the peers need."""
    if requirements is None:
        return sys.executable
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "-qq", "-r", str(requirements)]
    command += ["-r", str(_ROOT / "handler/requirements.txt"), f"{_ROOT}[bench]"]
    subprocess.run(command, check=True)
    return python


def main(words: Sequence[str] | None = None) -> int:
    """Measure what is asked for; print the table."""
    parser = measuring.parser(__doc__)
    parser.add_argument("--bundle", metavar="DIR", type=Path, help="measure this saved model instead of ours")
    parser.add_argument("--requirements", metavar="FILE", type=Path, help="what that model needs")
    parser.add_argument("--markdown", metavar="PATH", type=Path, help="put the table into this document")
    parser.add_argument("--only", metavar="WORD", nargs="+", help="only these cases, for working on one")
    parser.add_argument("--rounds", metavar="N", type=int, help="turns that each contender takes")
    told = parser.parse_args(words)
    if told.bundle:
        loading.check_python(bundle.read(told.bundle), str(told.bundle))
    with tempfile.TemporaryDirectory(prefix="thampi-benchmark-") as name:
        folder = Path(name)
        runtime_files.stage_runtime(folder / "opt-thampi")
        (folder / "store").mkdir()
        python = installed(told.requirements, folder / "venv")
        for_compiled = ["-m", "compileall", "-q", str(folder / "opt-thampi")]  # as in the image
        subprocess.run([python, *for_compiled], check=True)
        lab = Lab(folder, python, told.rounds or (3 if told.quick else 7), floor.compiled(folder))
        found = []
        table = of_bundle(lab, told.bundle, told.quick) if told.bundle else cases(lab, told.quick)
        for word, measure in table.items():
            if not told.only or word in told.only:
                print(f"{word} …", flush=True)
                found += measure()
        print()
    code = measuring.report(found, told.json)
    if told.markdown:
        machine.write(told.markdown, found, f"`{'python -m benchmarks.loading' + ' --quick' * told.quick}`")
    return code


if __name__ == "__main__":
    sys.exit(main())
