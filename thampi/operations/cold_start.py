"""What the handler's log says of a cold start, for who started it: where the time went, and which memory would do."""

import math
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from thampi.config import Stage, endpoints, settings

_MARK = '{"thampi":"cold start"'  # how handler/cold_start.py begins its line
_REPORT = re.compile(r"Max Memory Used: (\d+) MB")
_LAG_S = 2.0  # a log comes a little later than the answer to which it belongs
_STEP_MB, _LEAST_MB = 64, 128
_CLOSE = 0.9
_WORTH_IT = 0.75
_MOST_MB = 10240
_NEAR = 0.7  # of the time: a cold start of another day, on another machine of AWS's, takes longer by so much


def told(lines: Iterable[str], memory_mb: int) -> tuple[str, ...]:
    """Return what a log says of the last cold start in it, as sentences; nothing when it says nothing."""
    found: dict[str, Any] | None = None
    used = 0
    for line in lines:
        found = _read(line) or found
        if report := _REPORT.search(line):
            used = int(report[1])
    if found is None:
        return ()
    if used == memory_mb:
        used = 0  # so says AWS's emulator, which doesn't measure it; a function that takes all of it doesn't get so far
    peak = max(used, int(found.get("peak_mb") or 0))
    said = f"cold start: {found['message']}"
    hint = advice(peak, memory_mb, in_place_mb=_in_place_mb(found))
    return (said, hint) if hint else (said,)


def advice(peak_mb: int, memory_mb: int, *, in_place_mb: int = 0) -> str:
    """Return what to do about memory_mb, empty when it fits.

    `in_place_mb` is the size of a model that is used in its file: it needs room as soon as predictions have read it.

    What would do is the peak and a quarter of it for what requests need, and 64 MB for the rest of the environment, up
    to the next 64 MB. Less than that is worth a word only when it is a quarter less than what there is: a smaller
    function also has less of a processor, and starts more slowly.
    """
    if not peak_mb:
        return ""
    peak_mb += in_place_mb
    enough = max(_LEAST_MB, -(-(peak_mb * 5 // 4 + _STEP_MB) // _STEP_MB) * _STEP_MB)
    also = " with the model, which is used in place," if in_place_mb else ""
    if peak_mb > _CLOSE * memory_mb:
        return f"{peak_mb} MB{also} is close to memory_mb = {memory_mb}: {enough} leaves room"
    if enough <= _WORTH_IT * memory_mb:
        found = f"the peak is {peak_mb} MB{also} of {memory_mb}"
        return f"{found}: memory_mb = {enough} would do; more memory is also more CPU"
    return ""


def _in_place_mb(found: dict[str, Any]) -> int:
    """Return the size of the model when the process never held as much: then it uses it in its file."""
    read_mb = math.ceil(float(found.get("fetch_mb") or 0) * 1e6 / 2**20)
    return read_mb if read_mb > int(found.get("peak_mb") or read_mb) else 0


def warning(lines: Iterable[str], trial_ms: int, stage: Stage) -> str:
    """Return what to do about a cold start that comes near the time that callers are given; empty when it doesn't.

    It took what the handler's line in the log says, or else as long as the trial, which was a cold start. The first
    request of an environment waits for it, at most as long as the endpoint and the function do.
    """
    measured = [found["total_ms"] for found in map(_read, lines) if found and isinstance(found.get("total_ms"), float)]
    took_s = (measured[-1] if measured else trial_ms) / 1000
    endpoint_s = settings.WAITS_S[stage.api.type]
    wait_s = min(endpoint_s, stage.timeout_s)
    if took_s < _NEAR * wait_s:
        return ""
    cures = ["keep_warm keeps an environment ready"] if stage.keep_warm is None else []
    if stage.memory_mb < _MOST_MB:
        cures.insert(0, f"memory_mb = {min(2 * stage.memory_mb, _MOST_MB)} also brings more CPU")
    if stage.api.type != "url" and endpoints.can_be(stage.api, "url"):
        cures.append('api.type = "url" with a longer timeout_s lets them wait')
    elif stage.timeout_s < endpoint_s:
        cures.append("a longer timeout_s lets them wait")
    return (
        f"the cold start took {took_s:.1f} s, and callers get an error after {wait_s} s: the first request of an "
        f"environment may fail. {'; '.join(cures) or 'a smaller model starts sooner'}"
    )


class Listener:
    """Passes a log on, and keeps the line about the cold start for `sentences`."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log, self._line, self._heard = log, "", threading.Event()

    def add(self, line: str) -> None:
        """Take a line of the log."""
        if _read(line) is None:
            self._log(line)
        else:
            self._line = line
            self._heard.set()

    def sentences(self, memory_mb: int) -> tuple[str, ...]:
        """Return what was said of the cold start; waits a moment for it."""
        self._heard.wait(_LAG_S)
        return told([self._line], memory_mb)


def _read(line: str) -> dict[str, Any] | None:
    start = line.find(_MARK)
    if start < 0:
        return None
    try:
        said: Any = orjson.loads(line[start:])
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("message"), str) else None
