"""thampi push --canary --watch: candidate and live are measured side by side, and then one of them is it.

Where the numbers come from is an argument, so that a series that was recorded can be played. Nothing is held meanwhile:
a run that dies leaves the canary under way, and the next command sees it and says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from thampi import names
from thampi.aws import metrics, release
from thampi.aws.metrics import Measured
from thampi.config import Stage
from thampi.errors import CloudError, ReleaseError
from thampi.operations import promote, rollback
from thampi.operations.place import Place
from thampi.operations.rollback import Moved

Say = Callable[[str], None]
# What a version did from a moment on until another one.
Source = Callable[[str, datetime, datetime], Measured]

_EACH_S = 60.0  # CloudWatch counts by the minute
_ARRIVING_S = 120.0  # until it has counted what was done


@dataclass(frozen=True)
class Limits:
    """What a candidate may do and stay one; on fewer than `requests` it is neither promoted nor found too slow."""

    max_errors: float = 0.01  # the share of its requests
    max_p99_ms: float | None = None
    requests: int = 100


@dataclass(frozen=True)
class Verdict:
    """What is to become of the candidate, and why."""

    decision: str  # promote, roll back, go on, leave
    reason: str


def judge(candidate: Measured, limits: Limits, *, is_over: bool) -> Verdict:
    """Decide on what a candidate did so far; `is_over`: there is no more time to wait for."""
    requests, errors = candidate.requests, candidate.errors
    said = f"{errors} of {requests} requests failed"
    # What even the fewest requests that count could not make good again is enough to end it at once.
    if errors > limits.max_errors * max(requests, limits.requests):
        return Verdict("roll back", f"{said}, and {100 * limits.max_errors:g} % may")
    if not is_over:
        return Verdict("go on", said)
    if requests < limits.requests:
        return Verdict("leave", f"{requests} requests are too few to judge by: {limits.requests} are needed")
    slowest = candidate.p99_ms
    if limits.max_p99_ms is not None and (slowest is None or slowest > limits.max_p99_ms):
        took = "nobody knows how long they took" if slowest is None else f"1 % took longer than {slowest:.0f} ms"
        return Verdict("roll back", f"{took}, and {limits.max_p99_ms:g} ms are allowed")
    return Verdict("promote", said)


def watch(
    stage: Stage,
    place: Place,
    version: str,
    *,
    seconds: float,
    limits: Limits,
    say: Say,
    source: Source | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    force: bool = False,
) -> Moved:
    """Watch the candidate `version` for some time, then promote it, or roll it back.

    Raises ReleaseError when it was rolled back, or can't be judged and stays candidate, or somebody else has ended it.
    """
    name = names.function(stage.name, stage.stage)
    read = source or (lambda number, start, end: metrics.read(place.aws, name, number, release.LIVE, start, end))
    begun = now()
    end = begun + timedelta(seconds=seconds)
    say(f"watching version {version} for {_span(seconds)}")
    while True:
        left_s = (end + timedelta(seconds=_ARRIVING_S) - now()).total_seconds()
        place.aws.sleep(max(0.0, min(_EACH_S, left_s)))
        live = _check_under_way(stage, place, version)
        moment = now()
        until = min(moment, end)
        measured = {number: read(number, begun, until) for number in (live, version)}
        say(_side_by_side(moment - begun, live, version, measured))
        verdict = judge(measured[version], limits, is_over=left_s <= _EACH_S)
        if verdict.decision != "go on":
            return _act(stage, place, version, live, verdict, say, force)


def _act(stage: Stage, place: Place, version: str, live: str, verdict: Verdict, say: Say, force: bool) -> Moved:
    if verdict.decision == "promote":
        say(f"version {version} becomes live: {verdict.reason}")
        return promote.promote(stage, place, version=version, say=lambda text: None, force=force)
    if verdict.decision == "roll back":
        rollback.end_canary(stage, place, version, force=force)
        raise ReleaseError(
            f"version {version} gets no more calls, version {live} has all of them again: {verdict.reason}",
            hint=f"`thampi logs {stage.stage} --errors` shows what went wrong",
        )
    raise ReleaseError(
        f"version {version} stays a candidate: {verdict.reason}",
        hint=f"`thampi promote {stage.stage}` makes it live, `thampi rollback {stage.stage}` ends it",
    )


def _check_under_way(stage: Stage, place: Place, version: str) -> str:
    """Return what is live beside the candidate; raise ReleaseError when it is no longer one."""
    live = release.read_live(place.aws, names.function(stage.name, stage.stage))
    if live is None:
        raise CloudError(f"nothing of {stage.name} is live in stage {stage.stage} any more", hint=None)
    if live.candidate is None or live.candidate[0] != version:
        raise ReleaseError(
            f"somebody else has ended the canary of version {version}: version {live.version} is live",
            hint=f"thampi releases {stage.stage}",
        )
    return live.version


def _side_by_side(passed: timedelta, live: str, version: str, measured: dict[str, Measured]) -> str:
    both = (("live", live), ("candidate", version))
    shown = "   ".join(f"{what} {number}: {_shown(measured[number])}" for what, number in both)
    return f"  {_span(passed.total_seconds()):>4}  {shown}"


def _shown(measured: Measured) -> str:
    if not measured.requests:
        return "no requests"
    share = 100 * measured.errors / measured.requests
    slowest = f", p99 {measured.p99_ms:.0f} ms" if measured.p99_ms is not None else ""
    return f"{measured.requests} requests, {share:.2g} % failed{slowest}"


def _span(seconds: float) -> str:
    return f"{math.ceil(seconds / 60)}m" if seconds >= 60 else f"{math.ceil(seconds)}s"
