"""A push that fails halfway, or whose calls pass only when they are repeated: see `faults`."""

from types import SimpleNamespace

import botocore.endpoint
import botocore.retries.quota
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

from tests.operations.faults import KINDS, THROTTLED, Case, Fault, mend, push_under, story, undisturbed
from tests.operations.stand import BUCKET, SERVICES
from thampi.config import Api

URL = {"api": Api(type="url")}
CASES = {
    # Before there is a permission the endpoint, and before there is an endpoint the release, can't be reached.
    "first push": Case("lambda.AddPermission", None, "model-2"),
    "new model": Case("lambda.UpdateAlias", "model-2", "model-3"),
    "new model, new settings": Case(
        "lambda.UpdateAlias",
        "model-2",
        "model-3",
        {
            "api": Api(auth="iam"),
            "memory_mb": 2048,
            "environment": {"A": "b"},
            "tags": {"team": "ml"},
            "log_retention_days": 7,
            "keep_warm": "rate(4 minutes)",
        },
        flips=3,
    ),
    "first push to a function URL": Case("lambda.CreateFunctionUrlConfig", None, "model-2", URL),
    "new model, a function URL that wants signatures": Case(
        "lambda.UpdateAlias", "model-2", "model-3", {"api": Api(type="url", auth="iam")}, URL, flips=3
    ),
    "new model, a function URL that wants none": Case(
        "lambda.UpdateAlias", "model-2", "model-3", URL, {"api": Api(type="url", auth="iam")}, flips=3
    ),
    "new model, from an API to a function URL": Case("lambda.UpdateAlias", "model-2", "model-3", URL, flips=3),
    "new model, from a function URL to an API that wants signatures": Case(
        "lambda.UpdateAlias", "model-2", "model-3", {"api": Api(auth="iam")}, URL, flips=3
    ),
}
# A new model alone makes nothing around the function, and asks nothing about it.
_ASKED = {"first push": {*SERVICES} - {"events"}, "new model": {"s3", "ecr", "lambda", "apigatewayv2"}}
_ASKED |= {name: {*SERVICES} - {"events"} for name in CASES if "URL" in name}
# Of a function URL only what is told of it is another than of an API.
_MEDDLED = {name: {"lambda", "apigatewayv2"} for name in CASES if "URL" in name}
_STORIES = [
    (name, kind, service)
    for name in CASES
    for kind in KINDS
    for service in SERVICES
    if service in _MEDDLED.get(name, _ASKED.get(name, SERVICES))
    if not CASES[name].settings or kind.startswith("died")
]


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    case = CASES[name]
    calls = undisturbed(accounts, case).calls
    assert {call.split(".")[0] for call in calls} == set(_ASKED.get(name, SERVICES))
    problems = story(accounts, case, kind, service)
    assert not problems, "\n".join(problems)


def test_what_a_killed_upload_has_left_is_cleared_away(accounts):
    _, golden = undisturbed(accounts, CASES["first push"])
    with accounts.account() as stand:
        assert push_under(stand, CASES["first push"], Fault("died before", "s3.ListObjectsV2", 1)) == (False, None)
        # As S3 keeps it when the upload of a larger file is killed between two of its parts.
        key = f"thampi/scale/models/model-2/{next(stand.models[0].glob('*.pkl')).name}"
        stand.clients["s3"].create_multipart_upload(Bucket=BUCKET, Key=key)
        assert stand.snapshot()["buckets"][BUCKET]["uploads"] == [key]
        assert mend(stand, CASES["first push"], golden) is None


# ------------------------------------------------------------------------------------------------ what passes by itself


@pytest.fixture
def once(accounts, monkeypatch):
    """Do something to the first sending of each request; botocore's own waits are none."""
    waits, done = [], set()
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=waits.append))
    # One client serves all cases here, and would run out of the retries that each run of thampi has anew.
    monkeypatch.setattr(botocore.retries.quota.RetryQuota, "acquire", lambda self, amount: True)

    def arrange(stand, do):
        done.clear()
        waits.clear()

        def wire(call, request):
            body = request.body if isinstance(request.body, bytes | str) else None
            what = (call, request.method, request.url, body)
            if what in done or b"attempt=1;" not in request.headers.get("amz-sdk-request", b""):
                return None
            done.add(what)
            return do(call, request)

        stand.wire = wire
        return waits, done

    return arrange


def _refused(status: int):
    """Refuse what is sent, as a server or a load balancer does that has no time to say more."""

    def refuse(call, request):
        service, url = call.split(".")[0], request.url
        request.url = "https://nowhere.invalid/"  # moto is asked, too, whatever is returned from here
        code, at = {429: THROTTLED, 503: {}}[status].get(service, ("", status))
        said = f'{{"__type": "{code}"}}' if service in ("ecr", "logs", "events") else ""
        if service in ("s3", "iam"):
            error = f"<Error><Code>{code}</Code></Error>"
            said = error if service == "s3" else f"<ErrorResponse>{error}</ErrorResponse>"
        return AWSResponse(url, at, {"x-amzn-ErrorType": code}, MockRawResponse(said.encode() if code else b""))

    return refuse


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("name", CASES)
def test_a_call_that_is_throttled_or_answered_503_once_does_not_stop_a_push(accounts, once, name, status):
    case = CASES[name]
    calls, golden = undisturbed(accounts, case)
    with accounts.account() as stand:
        case.prepare(stand)
        waits, done = once(stand, _refused(status))
        case.push(stand)
        stand.undisturbed()
        assert {call for call, *_ in done} >= set(calls)
        assert len(waits) + len(stand.sleeps) >= len(done) - 1  # the lock's renewal, say, is its own repetition
        assert stand.snapshot() == golden


@pytest.mark.parametrize("name", CASES)
def test_calls_whose_answers_were_lost_and_which_were_repeated_make_nothing_twice(accounts, once, name):
    def lose(call, request):
        if call != "lambda.Invoke":  # a trial is not asked for again: nobody knows whether it is still running
            botocore_stubber(f"before-send.{call}", request)
            raise ConnectionClosedError(endpoint_url=request.url)

    case = CASES[name]
    calls, golden = undisturbed(accounts, case)
    with accounts.account() as stand:
        case.prepare(stand)
        _, done = once(stand, lose)
        case.push(stand)
        stand.undisturbed()
        assert {call for call, *_ in done} >= set(calls)
        assert stand.snapshot() == golden
        assert len(stand.snapshot()["apis"]) == (case.stage(stand).api.type == "http")
