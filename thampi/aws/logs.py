"""The log group of a stage's function, made before Lambda makes one that keeps all for ever; and what it says."""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thampi import names
from thampi.aws import owned, session
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws
from thampi.errors import CloudError

_POLL_S = 2
# An event is seen some seconds after its time, and streams don't wait for each other: what is that young is asked for
# again with each poll.
_LATE_MS = 60_000
_ARRIVES_S = 14  # how long the log of a finished request may take
_CONFLICT = "OperationAbortedException"  # somebody else changes the same group right now
_TRIES = 5


@dataclass(frozen=True)
class LogGroup:
    """A log group; without `retention_days` it keeps everything for ever."""

    name: str
    retention_days: int | None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One event of a log; its message may have several lines."""

    time_ms: int
    message: str
    stream: str  # `2026/11/21/[3]0f3c…`: one for each environment of a version


def make(project: str, stage: str, *, retention_days: int, tags: Mapping[str, str] | None = None) -> LogGroup:
    """Make the log group that a stage should have; `tags` are the user's."""
    return LogGroup(names.log_group(project, stage), retention_days, {**(tags or {}), **names.tags(project, stage)})


def read(aws: Aws, project: str, stage: str) -> LogGroup | None:
    """Read the log group of a stage, whoever made it; None when there is none."""
    return find(aws, names.log_group(project, stage))


def find(aws: Aws, name: str) -> LogGroup | None:
    """Read a log group by its name, whoever made it; None when there is none."""
    client = aws.client("logs")
    with session.doing(f"reading the log group {name}"), session.absent_is_fine("ResourceNotFoundException"):
        # There is no asking for one group: the prefix finds others, too.
        for page in client.get_paginator("describe_log_groups").paginate(logGroupNamePrefix=name):
            for group in page["logGroups"]:
                if group["logGroupName"] == name:
                    tags = client.list_tags_for_resource(resourceArn=_arn(aws, name))["tags"]
                    return LogGroup(name, group.get("retentionInDays"), tags)
    return None


def changes(found: LogGroup, wanted: LogGroup) -> tuple[str, ...]:
    """Say what `ensure` would write; raise CloudError when `found` isn't ours."""
    owned.check(f"the log group {found.name}", found.tags, wanted.tags)
    days = f"retention_days: {found.retention_days or 'none'} -> {wanted.retention_days}"
    return (
        *([days] if found.retention_days != wanted.retention_days else []),
        *owned.changes(found.tags, wanted.tags),
    )


def ensure(aws: Aws, wanted: LogGroup) -> Ensured[LogGroup]:
    """Make the log group so.

    Killed halfway it leaves a group with our tags that keeps everything: the next run finishes it.
    Raises CloudError when a group of that name isn't ours (Lambda makes one when it may and there is none), and leaves
    it alone.
    """
    found = find(aws, wanted.name)
    created = found is None
    if found is None:
        found = _create(aws, wanted)
    lines = changes(found, wanted)
    with session.doing(f"writing the settings of the log group {wanted.name}"):
        client = aws.client("logs")
        if found.retention_days != wanted.retention_days:
            _alone(
                aws,
                lambda: client.put_retention_policy(logGroupName=wanted.name, retentionInDays=wanted.retention_days),
            )
        tags = {key: value for key, value in wanted.tags.items() if found.tags.get(key) != value}
        if tags:
            client.tag_resource(resourceArn=_arn(aws, wanted.name), tags=tags)
    value = replace(wanted, tags={**found.tags, **wanted.tags})
    return Ensured(value, "created") if created else Ensured(value, "changed" if lines else "left", lines)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the log group of a stage with all that it says; say whether there was one.

    Delete the function first: what it still has to say would come too late.
    Raises CloudError when it isn't ours, and leaves it alone.
    """
    return delete(aws, names.log_group(project, stage), names.tags(project, stage))


def delete(aws: Aws, name: str, tags: Mapping[str, str]) -> bool:
    """Delete a log group by its name when it has these tags; as `remove`."""
    found = find(aws, name)
    if found is None:
        return False
    owned.check(f"the log group {name}", found.tags, tags)
    with session.doing(f"deleting the log group {name}"), session.absent_is_fine("ResourceNotFoundException"):
        _alone(aws, lambda: aws.client("logs").delete_log_group(logGroupName=name))
    return True


def events(
    aws: Aws,
    group: str,
    *,
    since_ms: int,
    pattern: str = "",
    follow: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Line]:
    """Yield what the group says from a time on, and with `follow` what comes until `stop` says so, each event once.

    Those of one poll are in the order of their times; one that arrives late comes when it arrives.
    `pattern` is CloudWatch's own, for events: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    Raises CloudError when there is no such group.
    """
    start, newest, arrived, seen = since_ms, 0, 0, dict[Hashable, int]()
    while True:
        for key, event in _identified(_events(aws, group, start, pattern)):
            if key not in seen:
                seen[key] = event["timestamp"]
                newest, arrived = max(newest, event["timestamp"]), max(arrived, event["ingestionTime"])
                yield _line(event)
        if not follow or stop():
            return
        # The second is CloudWatch's clock: an event may carry a time that is still to come.
        start = max(start, min(newest, arrived) - _LATE_MS)
        seen = {key: time_ms for key, time_ms in seen.items() if time_ms >= start}
        aws.sleep(_POLL_S)


def last_lines(
    aws: Aws, group: str, request_id: str | None, count: int, *, since_ms: int, version: str | None = None
) -> tuple[str, ...]:
    """Return the last lines that the group has from a time on, when a request has ended or has had the time to.

    With an id they are of the environment that had that request, up to its end, and what that environment said before:
    a model that can't be loaded says so there. With a version, they are of its environments; that is as good for one
    that nobody else calls, and what plays AWS on this machine writes another id than the one that it answers with.
    Raises nothing: this is asked for to explain a failure, and must not stand in its place.
    """
    try:
        found = _ended(aws, group, request_id, version, since_ms)
    except CloudError as error:
        return (f"(the log can't be read: {error.message})",)
    lines = deque[str](maxlen=count)
    for event in found:
        # Python's runtime interface client writes \r for the line breaks of a traceback.
        lines.extend(event.message.replace("\r\n", "\n").replace("\r", "\n").splitlines())
        if request_id is not None and _is_end(event, request_id):
            break
    return tuple(lines)


def _create(aws: Aws, wanted: LogGroup) -> LogGroup:
    """Create the group without its retention; one that is there by now (a lost answer) is read."""
    what = f"creating the log group {wanted.name}"
    with session.doing(what), session.absent_is_fine("ResourceAlreadyExistsException"):
        _alone(aws, lambda: aws.client("logs").create_log_group(logGroupName=wanted.name, tags=dict(wanted.tags)))
        return replace(wanted, retention_days=None)
    found = find(aws, wanted.name)
    if found is None:
        raise CloudError(f"{what}: AWS says that it exists, and does not show it", hint="run the same command again")
    return found


def _alone(aws: Aws, call: Callable[[], object]) -> None:
    """Make a call, again while somebody else is changing the same group."""
    for _ in range(_TRIES - 1):
        with session.absent_is_fine(_CONFLICT):
            call()
            return
        aws.sleep(1)
    call()


def _events(aws: Aws, group: str, since_ms: int, pattern: str = "") -> Iterator[dict[str, Any]]:
    """Yield events of a group page by page; a page may be empty and not the last."""
    paginator = aws.client("logs").get_paginator("filter_log_events")
    pages = iter(paginator.paginate(logGroupName=group, startTime=since_ms, filterPattern=pattern))
    while (page := _next(aws, group, pages)) is not None:
        yield from page["events"]


def _identified(events: Iterable[dict[str, Any]]) -> Iterator[tuple[Hashable, dict[str, Any]]]:
    """Tell events apart by their id; without one, as on this machine, by what they are and how often they were."""
    times = Counter[Hashable]()
    for event in events:
        said = (event["logStreamName"], event["timestamp"], event["message"])
        times[said] += 1
        yield event.get("eventId") or (*said, times[said]), event


def _next(aws: Aws, group: str, pages: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the next page, None after the last; raise CloudError when there is no such group."""
    with session.doing(f"reading the log group {group}"), session.absent_is_fine("ResourceNotFoundException"):
        return next(pages, None)
    raise CloudError(
        f"there is no log group {group} in {aws.region}",
        hint="a stage has one from its first `thampi push` on: check the stage's name and region",
    )


def _ended(aws: Aws, group: str, request_id: str | None, version: str | None, since_ms: int) -> list[Line]:
    """Return the events among which the end of the request is, or all there are when it doesn't come."""
    waited = 0
    while True:
        found = [_line(event) for event in _events(aws, group, since_ms)]
        if version is not None:
            found = [event for event in found if f"[{version}]" in event.stream]
        if request_id is not None:
            streams = {event.stream for event in found if request_id in event.message}
            found = [event for event in found if event.stream in streams or not streams]
        if waited >= _ARRIVES_S or any(_is_end(event, request_id) for event in found):
            return found
        aws.sleep(_POLL_S)
        waited += _POLL_S


def _is_end(event: Line, request_id: str | None) -> bool:
    """Say whether this is Lambda's last word on a request, as text or as JSON."""
    is_report = event.message.startswith("REPORT RequestId") or '"platform.report"' in event.message
    return is_report and (request_id is None or request_id in event.message)


def _line(event: Mapping[str, Any]) -> Line:
    return Line(event["timestamp"], event["message"].rstrip(), event["logStreamName"])


def _arn(aws: Aws, name: str) -> str:
    return aws.arn("logs", f"log-group:{name}")
