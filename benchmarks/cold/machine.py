"""What a table of measurements has to say of where it comes from, and the table itself as Markdown."""

import os
import platform
import re
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks.measuring import Row

_LIBRARIES = ("numpy", "scikit-learn", "torch", "boto3", "cloudpickle", "joblib", "safetensors", "orjson")
_BEGIN, _END = "<!-- the last run, written by benchmarks/loading.py -->", "<!-- end of the last run -->"


def described() -> str:
    """Return the machine in one sentence: processors, memory, load, Python, libraries, day."""
    versions = [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} processors ({_processor()}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f} at the end; "
        f"Python {platform.python_version()}, {', '.join(versions)}."
    )


def write(path: Path, rows: Sequence[Row], how: str) -> None:
    """Put the table into the document at `path`, in place of the last one."""
    lines = ["| case | value | bound | |", "|---|---|---|---|"]
    lines += [
        f"| {row.metric} | {row.value:.2f} | {row.bound_shown} | {'' if row.holds else '**broken**'} |" for row in rows
    ]
    table = "\n".join([_BEGIN, f"{how}: {described()}", "", *lines, _END])
    text = path.read_text("utf-8")
    if _BEGIN not in text:
        raise SystemExit(f"{path} has no line {_BEGIN}")
    path.write_text(re.sub(f"{_BEGIN}.*?{_END}", lambda _: table, text, flags=re.DOTALL), "utf-8")


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        return platform.machine()
    return found[1] if found else platform.machine()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
