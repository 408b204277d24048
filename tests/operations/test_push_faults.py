"""A push that fails halfway, at any call and in any way: what callers get meanwhile, and how the next push ends.

Each test goes through the calls that an undisturbed push makes of one service, and lets one fail in one way. A fault is
named by its call and how often that was made before: steps run side by side, but each service is asked by one of them.

The state of the whole account (`Stand.snapshot`) decides what happens next, so the push that mends is made once for
each state that a test gets to: most faults, those of reads, leave what another one has left.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import botocore.endpoint
import botocore.retries.quota
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber

from tests.operations.stand import BUCKET, SERVICES, Death, Stand, refusal
from thampi.config import Api, Stage
from thampi.errors import CloudError
from thampi.operations.examine import Pushed

KINDS = ("died before", "died after", "throttled", "answered 500", "denied")

_THROTTLED = {
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "ecr": ("ThrottlingException", 400),
    "logs": ("ThrottlingException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "apigatewayv2": ("TooManyRequestsException", 429),
    "events": ("ThrottlingException", 400),
}
_BROKEN = {
    "s3": ("InternalError", 500),
    "iam": ("ServiceFailure", 500),
    "ecr": ("ServerException", 500),
    "logs": ("ServiceUnavailableException", 503),
    "lambda": ("ServiceException", 500),
    "apigatewayv2": ("InternalServerErrorException", 500),
    "events": ("InternalException", 500),
}
_SAID = {"throttled": "again and again", "answered 500": "again and again", "denied": "AWS refuses|may not be used"}

# What a push does without: the lock lapses by itself; who may not read a bucket's tags didn't make it; few may list
# unfinished uploads.
_DISPENSABLE = {
    *(("s3.DeleteObject", kind) for kind in KINDS[2:]),
    # Older releases are collected when the new one is live: that may wait for the next push.
    *(("lambda.ListVersionsByFunction", kind) for kind in KINDS[2:]),
    ("s3.GetBucketTagging", "denied"),
    ("s3.ListMultipartUploads", "denied"),
}


@dataclass(frozen=True)
class Case:
    """A push to a stage in a state: before it callers get `old`, and after its call `flip` they get `new`."""

    flip: str
    old: str | None
    new: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)  # the settings of what stands
    flips: int = 1  # so often the call is made: where more than the release is, the alias is written once more

    def prepare(self, stand: Stand) -> None:
        """Bring an empty account into the state before the push."""
        if self.old is not None:
            stand.push(replace(stand.stage, **self.before))
            stand.calls.clear()

    def stage(self, stand: Stand) -> Stage:
        """Return the stage as it is pushed."""
        model_dir = stand.models[0 if self.old is None else 1]
        return replace(stand.stage, model_dir=model_dir, **{**self.before, **self.settings})

    def push(self, stand: Stand, **more: Any) -> Pushed:
        """Push it."""
        return stand.push(self.stage(stand), replace_endpoint=True, **more)


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
        flips=2,
    ),
    "first push to a function URL": Case("lambda.CreateFunctionUrlConfig", None, "model-2", URL),
    "new model, a function URL that wants signatures": Case(
        "lambda.UpdateAlias", "model-2", "model-3", {"api": Api(type="url", auth="iam")}, URL, flips=2
    ),
    "new model, a function URL that wants none": Case(
        "lambda.UpdateAlias", "model-2", "model-3", URL, {"api": Api(type="url", auth="iam")}, flips=2
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


_KNOWN: dict[str, tuple[list[str], dict]] = {}


@dataclass(frozen=True)
class Fault:
    """What happens at the nth time that a push makes a call; what isn't a death goes on for good."""

    kind: str
    call: str
    nth: int

    def __str__(self) -> str:
        return f"{self.kind} {self.call} #{self.nth}"

    def arrange(self, stand: Stand) -> None:
        """Let it happen to what is pushed next."""
        made, dead = Counter[str](), []

        def before(call):
            made[call] += 1
            if dead:
                raise Death(call)  # the other threads of a dead process are dead, too
            if call != self.call or made[call] < self.nth:
                return None
            if self.kind == "died before":
                dead.append(call)
                raise Death(call)
            return None if self.kind == "died after" else _error(self.kind, call)

        def after(call):
            if self.kind == "died after" and call == self.call and made[call] >= self.nth:
                dead.append(call)
                raise Death(call)

        stand.before, stand.after = before, after


def _error(kind: str, call: str) -> object:
    service, operation = call.split(".")
    code, status = {"throttled": _THROTTLED, "answered 500": _BROKEN}.get(kind, {}).get(service, ("", 403))
    said = "Rate exceeded" if kind == "throttled" else "sorry"
    if kind == "denied":
        code = "AccessDenied" if service in ("s3", "iam") else "AccessDeniedException"
        said = f"User: arn:aws:iam::123456789012:user/me is not authorized to perform: {service}:{operation} on all"
    if operation.startswith("Head"):  # such an answer has no body
        code, said = str(status), ""
    return refusal(code, status, said)


def _undisturbed(accounts: Stand, name: str) -> tuple[list[str], dict]:
    """Return the calls of a push that nothing comes between, and the state that it ends in."""
    if name not in _KNOWN:
        with accounts.account() as stand:
            CASES[name].prepare(stand)
            CASES[name].push(stand)
            _KNOWN[name] = list(stand.calls), stand.snapshot()
    return _KNOWN[name]


def _faults(calls: list[str], kind: str, service: str) -> Iterator[tuple[int, Fault]]:
    """Yield the faults of a service's calls, each with the place of its call among all calls."""
    counted = Counter[str]()
    for place, call in enumerate(calls):
        counted[call] += 1
        if call.startswith(f"{service}."):
            yield place, Fault(kind, call, counted[call])


def _without_lock(state: dict) -> dict:
    state = json.loads(json.dumps(state))
    for bucket in state["buckets"].values():
        bucket["objects"] = {key: value for key, value in bucket["objects"].items() if "/locks/" not in key}
    return state


def _push(stand: Stand, case: Case, fault: Fault) -> tuple[bool, str | None]:
    """Push; say whether it succeeded, and what is wrong with how it ended."""
    fault.arrange(stand)
    try:
        case.push(stand)
    except Death:
        return False, None if fault.kind.startswith("died") else "was killed"
    except CloudError as error:
        if fault.kind in _SAID and error.exit_code == 5 and error.hint and _says(fault, str(error)):
            return False, None
        return False, f"ends with {error!r}, {error}"
    except Exception as error:
        return False, f"ends with {error!r}"
    finally:
        stand.undisturbed()
    return True, None if (fault.call, fault.kind) in _DISPENSABLE else "goes on as if nothing was"


def _says(fault: Fault, text: str) -> bool:
    return any(each in text for each in _SAID[fault.kind].split("|"))


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    case, wrong, mended = CASES[name], [], set()
    calls, golden = _undisturbed(accounts, name)
    assert {call.split(".")[0] for call in calls} == set(_ASKED.get(name, SERVICES))
    flip = calls.index(case.flip)
    assert (calls.index("lambda.Invoke") < flip, calls.count(case.flip)) == (True, case.flips)
    faults = _faults(calls, kind, service)
    for first in faults:
        with accounts.account() as stand:
            case.prepare(stand)
            start = stand.snapshot()
            for place, fault in itertools.chain([first], faults):
                succeeded, problem = _push(stand, case, fault)
                done = place if kind == "died after" else place - 1
                expected = case.new if done >= flip or succeeded else case.old
                if (answers := stand.answers()) != expected:
                    problem = f"callers get {answers}, not {expected}"
                state = stand.snapshot()
                known = json.dumps(state, sort_keys=True)
                if state != start and known not in mended:
                    mended.add(known)
                    problem = problem or _mend(stand, case, golden)
                if problem is not None:
                    wrong.append(f"{fault}: {problem}")
                if state != start:
                    break  # an account that a fault has left as it was serves for the next one
    assert not wrong, "\n".join(wrong)


def _mend(stand: Stand, case: Case, golden: dict) -> str | None:
    """Push again, and return how the state differs from that of an undisturbed push."""
    again = case.push(stand, force=True)
    end = stand.snapshot()
    if not again.changed:
        end = _without_lock(end)  # a run that only reads leaves the lock of one that died to lapse
    return None if end == golden else f"the next push ends in {_difference(golden, end)}"


def test_what_a_killed_upload_has_left_is_cleared_away(accounts):
    _, golden = _undisturbed(accounts, "first push")
    with accounts.account() as stand:
        assert _push(stand, CASES["first push"], Fault("died before", "s3.ListObjectsV2", 1)) == (False, None)
        # As S3 keeps it when the upload of a larger file is killed between two of its parts.
        key = f"thampi/scale/models/model-2/{next(stand.models[0].glob('*.pkl')).name}"
        stand.clients["s3"].create_multipart_upload(Bucket=BUCKET, Key=key)
        assert stand.snapshot()["buckets"][BUCKET]["uploads"] == [key]
        assert _mend(stand, CASES["first push"], golden) is None


def _difference(golden: object, end: object, path: str = "") -> str:
    """Say where two states differ."""
    if isinstance(golden, dict) and isinstance(end, dict):
        keys = [key for key in sorted({*golden, *end}) if golden.get(key) != end.get(key)]
        return "; ".join(_difference(golden.get(key), end.get(key), f"{path}/{key}") for key in keys)
    return f"{path}: {end} instead of {golden}"


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
        code, at = {429: _THROTTLED, 503: {}}[status].get(service, ("", status))
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
    calls, golden = _undisturbed(accounts, name)
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
    calls, golden = _undisturbed(accounts, name)
    with accounts.account() as stand:
        case.prepare(stand)
        _, done = once(stand, lose)
        case.push(stand)
        stand.undisturbed()
        assert {call for call, *_ in done} >= set(calls)
        assert stand.snapshot() == golden
        assert len(stand.snapshot()["apis"]) == (case.stage(stand).api.type == "http")
