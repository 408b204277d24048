"""What one cold start took, as one line of the log: where the time went, and how much memory it needed."""

import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

KIND = "cold start"  # what the line's `thampi` says, for those who look for it


@dataclass(frozen=True)
class ColdStart:
    """From the process's start until the model was ready.

    The transfer runs beside all the rest: `fetch_ms` is from its first request to its last byte, in MB of 10**6 bytes.
    `import_ms` is the model's libraries, and `unpickle_ms` what it took after those, without waiting for bytes.
    """

    total_ms: float
    python_ms: float  # until the loading began: the interpreter, the interface client, ourselves
    import_ms: float
    fetch_ms: float
    fetch_mb: float
    fetch_mb_per_s: float
    unpickle_ms: float
    initialize_ms: float
    peak_mb: int | None  # the most that the process ever held, counted as Lambda does (2**20); None: not known
    memory_mb: int  # what it may have; 0 when nobody said

    def line(self) -> bytes:
        """Return the line: JSON for programs, whose `message` is for people."""
        said: dict[str, Any] = {"thampi": KIND, "message": self.message()}
        said |= {name: round(value, 1) if isinstance(value, float) else value for name, value in asdict(self).items()}
        return orjson.dumps(said) + b"\n"

    def message(self) -> str:
        """Return what took how long, in one sentence."""
        seconds = {
            "Python": self.python_ms,
            "imports": self.import_ms,
            f"fetching {self._fetched()} beside them": self.fetch_ms,
            "unpickling": self.unpickle_ms,
            "initialize": self.initialize_ms,
        }
        steps = ", ".join(f"{what} {took / 1000:.2f} s" for what, took in seconds.items())
        return f"loaded in {self.total_ms / 1000:.2f} s: {steps}{self._memory()}"

    def _fetched(self) -> str:
        if self.fetch_mb < 1:
            return f"{self.fetch_mb * 1000:.0f} kB"
        return f"{self.fetch_mb:.1f} MB at {self.fetch_mb_per_s:.0f} MB/s"

    def _memory(self) -> str:
        if self.peak_mb is None:
            return ""
        return f"; peak {self.peak_mb} MB" + (f" of {self.memory_mb} MB" if self.memory_mb else "")


def process_age_s() -> float:
    """Return the seconds since this process was started, by which Lambda counts; 0.0 where the system doesn't say."""
    try:
        with Path("/proc/self/stat").open("rb") as file:
            started = int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
    except (OSError, ValueError, AttributeError, IndexError):  # no Linux
        return 0.0


def peak_mb() -> int | None:
    """Return the most memory that this process ever held.

    Not getrusage's: that begins with what the process held that started this one.
    """
    try:
        with Path("/proc/self/status").open("rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return -(-int(line.split()[1]) // 1024)
    except OSError:
        pass
    return None
