"""What one version of a function did: requests, failures and how long they took, from CloudWatch.

The handler's own lines are counted (a handler that answers 500 has succeeded, as far as Lambda knows), and what Lambda
saw fail besides: a process that was killed, or ran out of time, writes no line.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from thampi.aws.session import Aws, doing

_NAMESPACE = "thampi"  # the handler's
_MINUTE = 60


@dataclass(frozen=True)
class Measured:
    """What a version did in some span of time."""

    requests: int = 0
    errors: int = 0  # answered with a status from 500 on, or not at all
    p99_ms: float | None = None  # None: nobody asked


def read(aws: Aws, function: str, version: str, alias: str, start: datetime, end: datetime) -> Measured:
    """Measure a version from `start`, to the minute, until `end`; what CloudWatch doesn't know yet is not in it."""
    start = start.replace(second=0, microsecond=0)
    # One period for all of it: the 99th percentile of the whole can't be made of those of its minutes.
    period = max(_MINUTE, -(-int((end - start).total_seconds()) // _MINUTE) * _MINUTE)
    ours = {"function": function, "version": version}
    of_lambda = {"FunctionName": function, "Resource": f"{function}:{alias}", "ExecutedVersion": version}
    queries = [
        _query("requests", _NAMESPACE, "requests", ours, period, "Sum"),
        _query("failed", _NAMESPACE, "status_5xx", ours, period, "Sum"),
        _query("slowest", _NAMESPACE, "latency_ms", ours, period, "p99"),
        _query("unanswered", "AWS/Lambda", "Errors", of_lambda, period, "Sum"),
    ]
    found: dict[str, list[float]] = {}
    with doing(f"reading the metrics of version {version} of {function}"):
        pages = aws.client("cloudwatch").get_paginator("get_metric_data")
        for page in pages.paginate(
            MetricDataQueries=queries, StartTime=start, EndTime=start + timedelta(seconds=period)
        ):
            for each in page["MetricDataResults"]:
                found.setdefault(each["Id"], []).extend(each["Values"])
    unanswered = round(sum(found.get("unanswered", ())))
    return Measured(
        requests=round(sum(found.get("requests", ()))) + unanswered,
        errors=round(sum(found.get("failed", ()))) + unanswered,
        p99_ms=max(found.get("slowest", ()), default=None),
    )


def _query(
    name: str, namespace: str, metric: str, dimensions: dict[str, str], period: int, statistic: str
) -> dict[str, Any]:
    listed = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    what = {"Namespace": namespace, "MetricName": metric, "Dimensions": listed}
    return {"Id": name, "MetricStat": {"Metric": what, "Period": period, "Stat": statistic}, "ReturnData": True}
