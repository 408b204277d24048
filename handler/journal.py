"""One structured line for each request: CloudWatch makes metrics of it, people read it.

A handler that answers 500 has succeeded as far as Lambda's own error metric knows, so the status is counted here.
The format is https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html.
"""

import sys
import time

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


def line(settings: Settings, *, request_id: str, route: str, status: int, latency_ms: float, cold_start: bool) -> bytes:
    """Render the line of one request."""
    return orjson.dumps(
        {
            "_aws": {
                "Timestamp": time.time_ns() // 1_000_000,
                "CloudWatchMetrics": [
                    {"Namespace": NAMESPACE, "Dimensions": [["function", "version"]], "Metrics": _METRICS}
                ],
            },
            "function": settings.function,
            "version": settings.version,
            "name": settings.name,
            "stage": settings.stage,
            "request_id": request_id,
            "route": route,
            "status": status,
            "requests": 1,
            "status_2xx": int(200 <= status < 300),
            "status_4xx": int(400 <= status < 500),
            "status_5xx": int(status >= 500),
            "latency_ms": round(latency_ms, 3),
            "cold_start": int(cold_start),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def write(text: bytes) -> None:
    """Write a line in one piece, so that the log takes it as one event."""
    sys.stdout.write(text.decode())
    sys.stdout.flush()
