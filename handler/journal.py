"""One structured line for each request: CloudWatch makes metrics of it, people read it.

A handler that answers 500 has succeeded as far as Lambda's own error metric knows, so the status is counted here.
The format is https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import orjson

from .settings import Settings

NAMESPACE = "thampi"
_METRICS = [
    {"Name": "requests", "Unit": "Count"},
    {"Name": "status_2xx", "Unit": "Count"},
    {"Name": "status_4xx", "Unit": "Count"},
    {"Name": "status_5xx", "Unit": "Count"},
    {"Name": "latency_ms", "Unit": "Milliseconds"},
    {"Name": "cold_start", "Unit": "Count"},
]
_OF_CACHE = [{"Name": "cache_hits", "Unit": "Count"}]  # each metric costs money: only where answers are kept
_STDOUT = 1


class Journal:
    """Writes the lines of one environment; what lines have in common is rendered once."""

    def __init__(self, settings: Settings, write: Callable[[bytes], object]) -> None:
        self._write = write
        about = {
            "function": settings.function,
            "version": settings.version,
            "name": settings.name,
            "stage": settings.stage,
        }
        metrics = [*_METRICS, *(_OF_CACHE if settings.cache_ttl_s else ())]
        directives = [{"Namespace": NAMESPACE, "Dimensions": [["function", "version"]], "Metrics": metrics}]
        self._same = b",%b},%b" % (_members({"CloudWatchMetrics": directives}), _members(about))

    def note(
        self, request_id: str, route: str, status: int, latency_ms: float, cold_start: bool, hit: bool | None = None
    ) -> None:
        """Write the line of one request; a log that is gone must cost no answer.

        `hit` is whether its answer was one that had been kept; None where none is.
        """
        line = b'{"_aws":{"Timestamp":%d%b,"request_id":%b,%b,"latency_ms":%.3f}\n' % (
            time.time_ns() // 1_000_000,
            self._same,
            orjson.dumps(request_id),
            _outcome(route, status, cold_start, hit),
            latency_ms,
        )
        try:  # noqa: SIM105 - each request would pay for contextlib's way to say it
            self._write(line)
        except OSError:
            pass


@lru_cache(maxsize=64)
def _outcome(route: str, status: int, cold_start: bool, hit: bool | None) -> bytes:
    """Render what all requests that went the same way have in common."""
    return _members(
        {
            "route": route,
            "status": status,
            "requests": 1,
            "status_2xx": int(200 <= status < 300),
            "status_4xx": int(400 <= status < 500),
            "status_5xx": int(status >= 500),
            "cold_start": int(cold_start),
            **({} if hit is None else {"cache_hits": int(hit)}),
        }
    )


def _members(said: Mapping[str, object]) -> bytes:
    """Render an object without its braces, to be a part of another."""
    return orjson.dumps(said)[1:-1]


def to_stdout(line: bytes) -> None:
    """Write a line in one piece, so that the log takes it as one event, wherever the model may have led sys.stdout."""
    os.write(_STDOUT, line)


def end_lines(log: logging.Logger) -> None:
    """Have what is logged end with its line, so that ours, which counts only when it stands alone, is not glued to it.

    The interface client's format ends a message with a newline, but not the traceback that follows one.
    """
    for handler in log.handlers:
        handler.setFormatter(_WholeLines(handler.formatter or logging.Formatter()))


class _WholeLines(logging.Formatter):
    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        text = self._inner.format(record)
        return text if text.endswith("\n") else f"{text}\n"
