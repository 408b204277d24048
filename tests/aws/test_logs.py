"""The log group is made first and kept in order; what it says is shown once, none of it lost."""

import dataclasses
import json
import time

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.aws.conftest import Death
from thampi.aws import logs
from thampi.errors import CloudError

GROUP = "/aws/lambda/thampi-iris-staging"
READS = {"DescribeLogGroups", "ListTagsForResource"}
STREAM = "2026/11/21/[3]0f3c"
ID = "8f5c1d2e-0000-4000-8000-1234567890ab"


@pytest.fixture
def wanted():
    return logs.make("iris", "staging", retention_days=30, tags={"team": "ml"})


@pytest.fixture
def client(aws, calls):
    return aws.session.client("logs")


@pytest.fixture
def now():
    return int(time.time() * 1000) - 600_000


@pytest.fixture
def write(aws, wanted, client):
    """Let the function say something: (milliseconds, text) of a stream."""
    logs.ensure(aws, wanted)
    known = set()

    def write(*events, stream=STREAM):
        if stream not in known:
            client.create_log_stream(logGroupName=GROUP, logStreamName=stream)
            known.add(stream)
        said = [{"timestamp": time_ms, "message": text} for time_ms, text in events]
        client.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=said)

    return write


def dies(action, *values):
    """Say whether a run was killed, as the test had arranged."""
    try:
        action(*values)
    except Death:
        return True
    return False


def messages(lines):
    return [line.message for line in lines]


# -------------------------------------------------------------------------------------------------------------- group


def test_a_new_group_has_its_tags_from_its_first_moment_and_forgets_in_time(aws, wanted, client):
    made = logs.ensure(aws, wanted)
    assert (made.action, made.changes) == ("created", ())
    assert made.value == wanted == logs.read(aws, "iris", "staging")
    (group,) = client.describe_log_groups()["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == (GROUP, 30)
    assert wanted.tags == {"thampi:project": "iris", "thampi:stage": "staging", "team": "ml"}


def test_the_second_time_nothing_is_written(aws, wanted, calls):
    first = logs.ensure(aws, wanted)
    calls.clear()
    assert logs.ensure(aws, wanted) == dataclasses.replace(first, action="left")
    assert set(calls) == READS


def test_only_the_difference_is_written_and_said(aws, wanted, calls):
    logs.ensure(aws, wanted)
    calls.clear()
    done = logs.ensure(aws, logs.make("iris", "staging", retention_days=7, tags={"team": "ops"}))
    assert done.changes == ("retention_days: 30 -> 7", "tags.team: ml -> ops")
    assert [call for call in calls if call not in READS] == ["PutRetentionPolicy", "TagResource"]


def test_a_retention_that_somebody_took_away_is_put_back(aws, wanted, client):
    logs.ensure(aws, wanted)
    client.delete_retention_policy(logGroupName=GROUP)
    assert logs.ensure(aws, wanted).changes == ("retention_days: none -> 30",)


def test_a_group_whose_name_goes_on_is_another_one(aws, wanted, client):
    client.create_log_group(logGroupName=f"{GROUP}2")
    assert logs.read(aws, "iris", "staging") is None
    assert logs.ensure(aws, wanted).action == "created"
    assert logs.remove(aws, "iris", "staging") is True
    assert [group["logGroupName"] for group in client.describe_log_groups()["logGroups"]] == [f"{GROUP}2"]


def test_a_group_is_found_on_a_later_page(aws, wanted, meddler):
    logs.ensure(aws, wanted)
    pages = [{"logGroups": [], "nextToken": "more"}, {"logGroups": [{"logGroupName": GROUP, "retentionInDays": 30}]}]

    def paged(operation):
        return (AWSResponse("", 200, {}, None), pages.pop(0)) if operation == "DescribeLogGroups" else None

    meddler.before = paged
    assert logs.read(aws, "iris", "staging") == wanted


@pytest.mark.parametrize("tags", [{}, {"thampi:project": "iris", "thampi:stage": "production"}])
def test_a_group_that_is_not_ours_is_never_touched(aws, wanted, client, calls, tags):
    client.create_log_group(logGroupName=GROUP, **({"tags": tags} if tags else {}))
    calls.clear()
    for attempt in (
        lambda: logs.ensure(aws, wanted),
        lambda: logs.remove(aws, "iris", "staging"),
        lambda: logs.changes(logs.read(aws, "iris", "staging"), wanted),
    ):
        with pytest.raises(CloudError, match=f"the log group {GROUP} exists and is not this project's"):
            attempt()
    assert set(calls) == READS


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("start", "calls_of_a_run"), [("nothing", 3), ("another", 4)])
def test_a_run_that_dies_at_any_call_is_finished_by_the_next(aws, meddler, moment, start, calls_of_a_run):
    for number in range(calls_of_a_run + 1):
        project = f"iris{number}"
        wanted = logs.make(project, "staging", retention_days=30, tags={"team": "ml"})
        if start == "another":
            logs.ensure(aws, logs.make(project, "staging", retention_days=7))
        meddler.kill(moment, number)
        assert dies(logs.ensure, aws, wanted) is (number < calls_of_a_run)
        meddler.stop()
        logs.ensure(aws, wanted)
        assert logs.read(aws, project, "staging") == wanted
        assert logs.ensure(aws, wanted).action == "left"


def test_a_group_that_is_there_when_it_is_created_is_taken_on(aws, wanted, meddler):
    """A CreateLogGroup whose answer was lost is sent again by botocore."""

    def first_time(operation):
        if operation == "CreateLogGroup":
            meddler.stop()
            aws.client("logs").create_log_group(logGroupName=GROUP, tags=dict(wanted.tags))

    meddler.before = first_time
    assert logs.ensure(aws, wanted).action == "created"
    assert logs.read(aws, "iris", "staging") == wanted


@pytest.mark.parametrize("operation", ["CreateLogGroup", "PutRetentionPolicy"])
def test_somebody_else_at_the_same_group_is_waited_for(aws, wanted, meddler, sleeps, operation):
    meddler.refuse(operation, "OperationAbortedException", times=2)
    assert logs.ensure(aws, wanted).action == "created"
    assert sleeps == [1, 1]


def test_waiting_for_somebody_else_ends(aws, wanted, meddler, sleeps):
    meddler.refuse("CreateLogGroup", "OperationAbortedException", message="conflict")
    with pytest.raises(CloudError, match=f"creating the log group {GROUP}: OperationAbortedException: conflict"):
        logs.ensure(aws, wanted)
    assert len(sleeps) == 4


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [
        ("AccessDeniedException", 400, "AWS refuses logs:CreateLogGroup"),
        ("ThrottlingException", 400, "AWS answered ThrottlingException to CreateLogGroup, again and again"),
        ("ServiceUnavailableException", 500, "AWS answered ServiceUnavailableException to CreateLogGroup"),
    ],
)
def test_a_refusal_is_said_in_our_words_and_the_next_run_goes_on(aws, wanted, meddler, code, status, words):
    meddler.refuse("CreateLogGroup", code, status, "x is not authorized to perform: logs:CreateLogGroup on y")
    with pytest.raises(CloudError, match=f"creating the log group {GROUP}: {words}"):
        logs.ensure(aws, wanted)
    meddler.stop()
    assert logs.ensure(aws, wanted).action == "created"


def test_a_group_goes_and_no_group_is_fine(aws, wanted):
    assert logs.remove(aws, "iris", "staging") is False
    logs.ensure(aws, wanted)
    assert logs.remove(aws, "iris", "staging") is True
    assert logs.read(aws, "iris", "staging") is None


# ------------------------------------------------------------------------------------------------------- what it says


def test_events_come_in_order_from_the_time_asked_for(aws, write, now):
    write((now - 5, "too old\n"), (now, "first\n"), (now + 2, "third\n"))
    lines = list(logs.events(aws, GROUP, since_ms=now))
    assert lines == [logs.Line(now, "first", STREAM), logs.Line(now + 2, "third", STREAM)]


def test_a_pattern_chooses(aws, write, now):
    write((now, "fine"), (now + 1, "ERROR it is not"))
    assert messages(logs.events(aws, GROUP, since_ms=now, pattern="ERROR")) == ["ERROR it is not"]


def test_a_group_that_is_not_there_says_to_push_first(aws):
    with pytest.raises(CloudError, match=f"there is no log group {GROUP} in eu-central-1") as refused:
        list(logs.events(aws, GROUP, since_ms=0))
    assert "thampi push" in refused.value.hint


def test_an_empty_page_is_not_the_last(aws, meddler, calls):
    event = {"eventId": "1", "timestamp": 5, "ingestionTime": 6, "message": "late", "logStreamName": STREAM}
    pages = [{"events": [], "nextToken": "a"}, {"events": [], "nextToken": "b"}, {"events": [event]}]
    meddler.before = lambda operation: (AWSResponse("", 200, {}, None), pages.pop(0))
    assert messages(logs.events(aws, GROUP, since_ms=0)) == ["late"]
    assert calls == ["FilterLogEvents"] * 3


def test_following_ends_when_it_is_told_to(aws, write, now, sleeps):
    write((now, "first"))
    told = iter([False, False, True])
    assert messages(logs.events(aws, GROUP, since_ms=now, follow=True, stop=lambda: next(told))) == ["first"]
    assert sleeps == [2, 2]


def test_following_shows_what_comes_and_what_comes_late(aws, write, now):
    arriving = [
        lambda: write((now + 20, "second")),
        lambda: write((now + 10, "late, from another stream"), stream="other"),
        lambda: None,
        lambda: write((now + 20, "of the same moment")),
    ]
    waiting = dataclasses.replace(aws, sleep=lambda _: arriving.pop(0)())
    write((now, "first"))
    lines = logs.events(waiting, GROUP, since_ms=now, follow=True, stop=lambda: not arriving)
    assert messages(lines) == ["first", "second", "late, from another stream", "of the same moment"]


class Source:
    """CloudWatch with a clock that the test moves: an event is seen when it has arrived, a page has two."""

    def __init__(self, aws):
        self.aws = dataclasses.replace(aws, sleep=self._pass)
        self.aws.client("logs").meta.events.register("before-call.cloudwatch-logs.FilterLogEvents", self._answer)

    def begin(self, *times):
        """Let events arrive, each at a time and with a lateness."""
        self.now, self.asked = 1_000_000, 0
        self.arrivals = [
            {
                "eventId": str(number),
                "timestamp": 1_000_000 + arrives - late,
                "ingestionTime": 1_000_000 + arrives,
                "message": str(number),
                "logStreamName": STREAM,
            }
            for number, (arrives, late) in enumerate(times)
        ]

    def _pass(self, seconds):
        self.now += int(seconds * 1000)

    def _answer(self, params, **_):
        self.asked += 1
        asked = json.loads(params["body"])
        seen = [each for each in self.arrivals if each["ingestionTime"] <= self.now]
        found = sorted(
            (each for each in seen if each["timestamp"] >= asked["startTime"]), key=lambda each: each["timestamp"]
        )
        start = int(asked.get("nextToken", 0))
        more = {"nextToken": str(start + 2)} if start + 2 < len(found) else {}
        return AWSResponse("", 200, {}, None), {"events": found[start : start + 2], **more}


@pytest.fixture
def source(aws):
    return Source(aws)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 120_000), st.integers(0, 50_000)), max_size=30))
def test_following_loses_nothing_and_repeats_nothing_however_late_and_disordered_it_arrives(source, times):
    source.begin(*times)
    lines = logs.events(source.aws, GROUP, since_ms=900_000, follow=True, stop=lambda: source.now > 1_130_000)
    assert sorted(map(int, messages(lines))) == list(range(len(times)))


def test_events_that_have_no_id_are_told_apart_all_the_same(source):
    """What plays AWS on this machine gives none to what a function says."""
    source.begin((0, 0), (0, 0), (10_000, 0))
    for event in source.arrivals:
        event["message"] = "the same"
        del event["eventId"]
    lines = logs.events(source.aws, GROUP, since_ms=0, follow=True, stop=lambda: source.now > 1_030_000)
    assert messages(lines) == ["the same"] * 3


def test_following_asks_again_only_for_what_is_young(source):
    source.begin(*((-10_000 * number, 0) for number in range(100)))
    lines = logs.events(source.aws, GROUP, since_ms=0, follow=True, stop=lambda: source.now >= 1_004_000)
    assert len(list(lines)) == 100
    assert source.asked == 50 + 2 * 4


def test_an_event_with_a_time_to_come_hides_none_of_those_that_follow(source):
    source.begin((0, -3_600_000), (10_000, 0), (20_000, 0))
    lines = logs.events(source.aws, GROUP, since_ms=900_000, follow=True, stop=lambda: source.now > 1_030_000)
    assert messages(lines) == ["0", "1", "2"]


# --------------------------------------------------------------------------------------------------------- last lines


def report(request_id=ID):
    return f"REPORT RequestId: {request_id}\tDuration: 12.3 ms\tMax Memory Used: 1024 MB\t\n"


def test_a_failed_trial_is_explained_by_what_its_environment_said(aws, write, now, sleeps):
    write((now, "somebody else's"), (now + 9, report("another")), stream="other")
    write(
        (now + 1, "INIT_START Runtime Version: x\n"),
        (now + 2, "[ERROR] ModuleNotFoundError: No module named 'sklearn'\rTraceback:\r  File a.py\n"),
        (now + 3, f"START RequestId: {ID} Version: 3\n"),
        (now + 4, f"END RequestId: {ID}\n"),
        (now + 5, report()),
        (now + 6, "of a later request\n"),
    )
    assert logs.last_lines(aws, GROUP, ID, 50, since_ms=now) == (
        "INIT_START Runtime Version: x",
        "[ERROR] ModuleNotFoundError: No module named 'sklearn'",
        "Traceback:",
        "  File a.py",
        f"START RequestId: {ID} Version: 3",
        f"END RequestId: {ID}",
        report().rstrip(),
    )
    assert logs.last_lines(aws, GROUP, ID, 2, since_ms=now) == (f"END RequestId: {ID}", report().rstrip())
    assert sleeps == []


def test_without_a_request_they_are_the_last_of_all(aws, write, now, sleeps):
    write((now - 1, "before"), (now, "one"), (now + 1, "two\nthree"), (now + 2, report("any")))
    assert logs.last_lines(aws, GROUP, None, 3, since_ms=now) == ("two", "three", report("any").rstrip())
    assert sleeps == []


def test_of_a_version_that_nobody_else_calls_no_id_is_needed(aws, write, now, sleeps):
    write((now, "callers get this one"), (now + 3, report("theirs")), stream="2026/11/21/[2]beef")
    write((now + 1, "the reason"), (now + 2, report("another id")))
    lines = logs.last_lines(aws, GROUP, None, 9, since_ms=now, version="3")
    assert lines == ("the reason", report("another id").rstrip())
    assert sleeps == []


def test_the_end_of_the_request_is_waited_for(aws, write, now):
    write((now, f"START RequestId: {ID}"))
    arriving = [lambda: None, lambda: write((now + 1, "the reason"), (now + 2, report()))]
    waiting = dataclasses.replace(aws, sleep=lambda _: arriving.pop(0)())
    assert logs.last_lines(waiting, GROUP, ID, 9, since_ms=now)[1] == "the reason"


def test_a_request_whose_end_never_comes_is_shown_as_far_as_it_goes(aws, write, now, sleeps):
    write((now, f"START RequestId: {ID}"), (now + 1, "then it died"))
    assert logs.last_lines(aws, GROUP, ID, 9, since_ms=now) == (f"START RequestId: {ID}", "then it died")
    assert sum(sleeps) == 14


def test_a_request_that_the_log_does_not_know_gets_what_there_is(aws, write, now, sleeps):
    write((now, "no id here"), (now + 1, report("another")))
    assert logs.last_lines(aws, GROUP, ID, 9, since_ms=now) == ("no id here", report("another").rstrip())
    assert sum(sleeps) == 14


def test_a_log_in_json_ends_a_request_its_own_way(aws, write, now, sleeps):
    end = f'{{"type":"platform.report","record":{{"requestId":"{ID}","status":"error"}}}}'
    write((now, "the reason"), (now + 1, end), (now + 2, "of a later request"))
    assert logs.last_lines(aws, GROUP, ID, 9, since_ms=now) == ("the reason", end)
    assert sleeps == []


def test_a_log_that_can_not_be_read_does_not_hide_the_failure_that_it_should_explain(aws, write, now, meddler):
    meddler.refuse("FilterLogEvents", "AccessDeniedException", message="not authorized to perform: logs:Filter on x")
    (line,) = logs.last_lines(aws, GROUP, ID, 9, since_ms=now)
    assert line.startswith(f"(the log can't be read: reading the log group {GROUP}: AWS refuses logs:Filter")
    meddler.stop()
    logs.remove(aws, "iris", "staging")
    assert logs.last_lines(aws, GROUP, None, 9, since_ms=now) == (
        f"(the log can't be read: there is no log group {GROUP} in eu-central-1)",
    )
