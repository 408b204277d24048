"""Our side: the handler as Lambda starts it, from the process's start to its first answer."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.request import Environment


@dataclass(frozen=True)
class Start:
    """What one cold start took."""

    seconds: float  # from the spawn to the answer
    cpu: float  # seconds of processor time, user and system
    peak: int  # bytes: the most memory that it held
    held: int  # bytes that it holds now


def endpoint(port: int, tls: Path | None = None) -> dict[str, str]:
    """Return the environment by which a process finds the S3 on `port`."""
    return {
        "AWS_ENDPOINT_URL": f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "no-secret",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        **({"AWS_CA_BUNDLE": str(tls)} if tls else {}),
    }


def told(bundle: Path, model: str) -> dict[str, str]:
    """Return what `thampi push` tells a function of its model, which lies in `bundle` here and is read from `model`."""
    manifest = (bundle / "thampi.json").read_bytes()
    files = json.loads(manifest)["files"].values()
    return {
        "THAMPI_MODEL": model,
        "THAMPI_MANIFEST_SHA256": hashlib.sha256(manifest).hexdigest(),
        "THAMPI_FILES": ",".join(f"{file['name']}={file['size']}" for file in files),
        "THAMPI_NAME": "benchmark",
    }


def start(python: str, path: str, environ: Mapping[str, str], before: Sequence[str] = ()) -> Start:
    """Start the handler, have it answer the bundle's example, and say what that took.

    `before` is a command that the process's own is appended to, which puts it where it shall run. Raises RuntimeError
    when it doesn't answer.
    """
    began = time.perf_counter()
    with Environment("thampi_handler", python=python, before=before, PYTHONPATH=path, **environ) as environment:
        _, answer = environment.invoke(b'{"thampi": "trial"}')
        seconds = time.perf_counter() - began
        if b"errorMessage" in answer:
            raise RuntimeError(answer.decode())
        return Start(seconds, *_spent(environment.pid))


def _spent(pid: int) -> tuple[float, int, int]:
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines())
    return cpu, *(1024 * int(status[name].split()[0]) for name in ("VmHWM", "VmRSS"))  # type: ignore[return-value]


_IMPORTS = """
import importlib, json, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
"""
_PEAK = """
print(1024 * int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))))
"""


def imports(python: str, modules: Sequence[str]) -> list[str]:
    """Return a command that imports what a bundle needs, and nothing else."""
    return [python, "-c", _IMPORTS, *modules]


def framework_peak(python: str, path: str, modules: Sequence[str]) -> int:
    """Return the memory, in bytes, of a process with the handler's and the model's libraries, and no model."""
    ours = ["awslambdaric.bootstrap", "thampi_handler.app", *modules]
    command = [python, "-c", _IMPORTS + _PEAK, *ours]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": path}
    done = subprocess.run(command, env=environ, cwd="/", stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


@contextlib.contextmanager
def limited(memory_mb: int) -> Iterator[list[str] | None]:
    """Make a memory cgroup; yield the words that start a command in it, None where this user may make none."""
    second = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = Path("/sys/fs/cgroup" if second else "/sys/fs/cgroup/memory") / f"thampi-benchmark-{os.getpid()}"
    try:
        group.mkdir()
        limit = group / ("memory.max" if second else "memory.limit_in_bytes")
        limit.write_text(str(memory_mb * 1024 * 1024))
        swap = group / ("memory.swap.max" if second else "memory.memsw.limit_in_bytes")
        with contextlib.suppress(OSError):  # a kernel that doesn't count swap
            swap.write_text("0" if second else str(memory_mb * 1024 * 1024))
    except OSError:
        yield None
        return
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
        for _ in range(50):
            with contextlib.suppress(OSError):
                group.rmdir()
                break
            time.sleep(0.1)
