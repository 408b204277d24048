"""What a version did is asked of the handler's own metrics, and of Lambda's where no handler was left to tell."""

import json
from datetime import UTC, datetime

import pytest
from botocore.awsrequest import AWSResponse

from handler import journal, settings
from thampi.aws import metrics
from thampi.aws.metrics import Measured
from thampi.errors import CloudError

START = datetime(2026, 9, 6, 22, 3, 4, tzinfo=UTC)
END = datetime(2026, 9, 6, 22, 17, 30, tzinfo=UTC)


@pytest.fixture
def answers(aws):
    """Answer the questions for metrics: pages of values by id; what was asked."""
    asked, pages = [], []

    def answer(params, **_):
        asked.append(params)

    def reply(model, **_):
        if model.name != "GetMetricData":
            return None
        page = pages.pop(0)
        results = [{"Id": key, "Values": values} for key, values in page["values"].items()]
        more = {"NextToken": "t"} if page.get("more") else {}
        return AWSResponse("", 200, {}, None), {"MetricDataResults": results, **more}

    aws.session.events.register("provide-client-params.cloudwatch.GetMetricData", answer)
    aws.session.events.register("before-call.cloudwatch.GetMetricData", reply)
    return asked, pages


def read(aws):
    return metrics.read(aws, "thampi-iris-staging", "5", "live", START, END)


def test_all_pages_and_periods_are_put_together(aws, answers):
    _, pages = answers
    pages += [
        {"values": {"requests": [100.0, 20.0], "failed": [1.0], "slowest": [80.0, 250.4]}, "more": True},
        {"values": {"requests": [5.0], "unanswered": [2.0]}},
    ]
    assert read(aws) == Measured(requests=127, errors=3, p99_ms=250.4)


def test_a_version_that_nobody_asked_has_done_nothing(aws, answers):
    answers[1].append({"values": {"requests": [], "failed": [], "slowest": [], "unanswered": []}})
    assert read(aws) == Measured(0, 0, None)


def test_one_period_covers_all_of_the_time_to_the_minute(aws, answers):
    asked, pages = answers
    pages.append({"values": {}})
    read(aws)
    (question,) = asked
    assert question["StartTime"] == datetime(2026, 9, 6, 22, 3, tzinfo=UTC)
    assert question["EndTime"] == datetime(2026, 9, 6, 22, 18, tzinfo=UTC)
    assert {query["MetricStat"]["Period"] for query in question["MetricDataQueries"]} == {15 * 60}


def test_what_is_asked_for_is_what_the_handler_writes(aws, answers):
    asked, pages = answers
    pages.append({"values": {}})
    read(aws)
    ours = [
        query["MetricStat"]["Metric"]
        for query in asked[0]["MetricDataQueries"]
        if query["MetricStat"]["Metric"]["Namespace"] == journal.NAMESPACE
    ]
    lines = []
    journal.Journal(settings.read({}), lines.append).note("an-id", "predict", 200, 1.0, cold_start=False)
    (directive,) = json.loads(lines[0])["_aws"]["CloudWatchMetrics"]
    assert {each["MetricName"] for each in ours} == {"requests", "status_5xx", "latency_ms"}
    assert {each["MetricName"] for each in ours} <= {each["Name"] for each in directive["Metrics"]}
    for each in ours:
        assert [one["Name"] for one in each["Dimensions"]] in directive["Dimensions"]
        assert [one["Value"] for one in each["Dimensions"]] == ["thampi-iris-staging", "5"]


def test_what_lambda_saw_fail_is_asked_by_the_version_that_the_alias_chose(aws, answers):
    asked, pages = answers
    pages.append({"values": {}})
    read(aws)
    (theirs,) = [q for q in asked[0]["MetricDataQueries"] if q["MetricStat"]["Metric"]["Namespace"] == "AWS/Lambda"]
    assert {each["Name"]: each["Value"] for each in theirs["MetricStat"]["Metric"]["Dimensions"]} == {
        "FunctionName": "thampi-iris-staging",
        "Resource": "thampi-iris-staging:live",
        "ExecutedVersion": "5",
    }
    assert theirs["MetricStat"]["Metric"]["MetricName"] == "Errors"


def test_who_may_not_read_metrics_is_told(aws, meddler):
    meddler.refuse(
        "GetMetricData", "AccessDenied", 403, "User: me is not authorized to perform: cloudwatch:GetMetricData"
    )
    with pytest.raises(CloudError, match="AWS refuses cloudwatch:GetMetricData"):
        read(aws)
