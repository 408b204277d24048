"""The log of a stage is told from a time on, all of it or what failed."""

import time

import pytest

from thampi.aws import access_log
from thampi.errors import CloudError, ConfigError
from thampi.operations import logs

GROUP = "/aws/lambda/thampi-scale-staging"
LINES = {
    "START RequestId: 1": False,
    "all is well": False,
    '{"_aws": {}, "status_5xx": 0}': False,
    '{"_aws": {}, "status_5xx": 1}': True,
    "ERROR the model failed\nTraceback (most recent call last)": True,
    "2026-01-01 1-2 Task timed out after 29.00 seconds": True,
    "RequestId: 1 Error: Runtime exited with error: signal: killed": True,
    "Runtime.ExitError": True,
}


@pytest.fixture
def written(stand):
    """A stage whose function has written these lines, a second apart, the last one ten seconds ago; when that was."""
    now = int(time.time())
    stand.clients["logs"].create_log_group(logGroupName=GROUP)
    stand.clients["logs"].create_log_stream(logGroupName=GROUP, logStreamName="a")
    first = now - 9 - len(LINES)
    events = [{"timestamp": (first + number) * 1000, "message": text} for number, text in enumerate(LINES)]
    stand.clients["logs"].put_log_events(logGroupName=GROUP, logStreamName="a", logEvents=events)
    return first


def told(stand, since="10m", errors=False, **more):
    found = logs.read(stand.stage, stand.place, since=since, follow=False, errors=errors, **more)
    return [line.partition("Z ")[2] for line in found]


def test_each_line_is_told_with_its_time_in_utc(stand, written):
    found = list(logs.read(stand.stage, stand.place, since="10m", follow=False, errors=False))
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(written))
    assert found[0] == f"{when}Z START RequestId: 1"
    assert told(stand) == list(LINES)


def test_only_what_failed_is_told_when_asked(stand, written):
    assert told(stand, errors=True) == [line for line, failed in LINES.items() if failed]


def test_the_gateway_s_lines_are_told_when_asked_and_of_those_what_failed(stand):
    line = access_log.format_rest().replace("$context.", "")
    lines = [line.replace('"status":"status"', f'"status":"{status}"') for status in (200, 429, 502)]
    group = "/aws/apigateway/thampi-scale-staging"
    stand.clients["logs"].create_log_group(logGroupName=group)
    stand.clients["logs"].create_log_stream(logGroupName=group, logStreamName="a")
    at = int(time.time() - 9) * 1000
    events = [{"timestamp": at + number, "message": each} for number, each in enumerate(lines)]
    stand.clients["logs"].put_log_events(logGroupName=group, logStreamName="a", logEvents=events)
    assert told(stand, access=True) == lines
    assert told(stand, access=True, errors=True) == lines[2:]


def test_where_there_is_no_access_log_it_is_said_how_to_get_one(stand, written):
    with pytest.raises(CloudError, match="scale has no access log in stage staging") as refused:
        told(stand, access=True)
    assert refused.value.hint == "access_log = true under [stages.staging.api], and thampi push staging"


@pytest.mark.parametrize(("since", "later_s"), [("30s", 0), ("2m", 90), ("1h", 3570), ("1d", 86370)])
def test_since_counts_back_from_now(stand, written, since, later_s):
    at = written + 3 + 30 + later_s
    assert told(stand, since, now=lambda: at) == list(LINES)[3:]


def test_since_may_be_a_date_in_any_zone(stand, written):
    middle = time.gmtime(written + 3)
    assert told(stand, time.strftime("%Y-%m-%dT%H:%M:%S", middle)) == list(LINES)[3:]
    assert told(stand, time.strftime("%Y-%m-%dT%H:%M:%S+00:00", middle)) == list(LINES)[3:]
    assert told(stand, "2020-01-01") == list(LINES)


@pytest.mark.parametrize("since", ["yesterday", "10", "m", "10 m", ""])
def test_what_is_no_time_is_refused_before_aws_is_asked(stand, since):
    with pytest.raises(ConfigError, match="is no time") as refused:
        told(stand, since)
    assert "10m" in refused.value.hint
    assert stand.calls == []


def test_following_goes_on_as_lines_come_until_it_is_stopped(stand, written):
    polls = []

    def stop():
        polls.append(1)
        if len(polls) == 1:
            event = {"timestamp": int(time.time() * 1000), "message": "one more"}
            stand.clients["logs"].put_log_events(logGroupName=GROUP, logStreamName="a", logEvents=[event])
        return len(polls) == 2

    found = list(logs.read(stand.stage, stand.place, since="10m", follow=True, errors=False, stop=stop))
    assert len(found) == len(LINES) + 1
    assert found[-1].endswith(" one more")
    assert stand.sleeps == [2]


def test_a_stage_that_was_never_pushed_has_no_log(stand):
    with pytest.raises(CloudError, match="scale has no log in stage staging") as refused:
        told(stand)
    assert refused.value.hint == "thampi push staging"
