"""A push that fails halfway, at any call and in any way: what callers get meanwhile, and how the next push ends.

Each test goes through the calls that an undisturbed push makes of one service, and lets one fail in one way. A fault is
named by its call and how often that was made before: steps run side by side, but each service is asked by one of them.

The state of the whole account (`Stand.snapshot`) decides what happens next, so the push that mends is made once for
each state that a test gets to: most faults, those of reads, leave what another one has left.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from tests.operations.stand import SERVICES, Death, Stand, refusal
from thampi.config import Stage
from thampi.errors import CloudError

KINDS = ("died before", "died after", "throttled", "answered 500", "denied")

_THROTTLED = {
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "ecr": ("ThrottlingException", 400),
    "logs": ("ThrottlingException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "apigatewayv2": ("TooManyRequestsException", 429),
}
_BROKEN = {
    "s3": ("InternalError", 500),
    "iam": ("ServiceFailure", 500),
    "ecr": ("ServerException", 500),
    "logs": ("ServiceUnavailableException", 503),
    "lambda": ("ServiceException", 500),
    "apigatewayv2": ("InternalServerErrorException", 500),
}
_SAID = {"throttled": "again and again", "answered 500": "again and again", "denied": "AWS refuses|may not be used"}

# What a push does without: the lock lapses by itself; who may not read a bucket's tags didn't make it; few may list
# unfinished uploads.
_DISPENSABLE = {
    *(("s3.DeleteObject", kind) for kind in KINDS[2:]),
    ("s3.GetBucketTagging", "denied"),
    ("s3.ListMultipartUploads", "denied"),
}


@dataclass(frozen=True)
class Case:
    """A push to a stage in a state: before it callers get `old`, and after its call `flip` they get `new`."""

    flip: str
    old: str | None
    new: str

    def prepare(self, stand: Stand) -> None:
        """Bring an empty account into the state before the push."""
        if self.old is not None:
            stand.push(stand.stage)
            stand.calls.clear()

    def stage(self, stand: Stand) -> Stage:
        """Return the stage as it is pushed."""
        return stand.stage if self.old is None else replace(stand.stage, model_dir=stand.models[1])


CASES = {
    # Before there is a permission the endpoint, and before there is an endpoint the release, can't be reached.
    "first push": Case("lambda.AddPermission", None, "model-2"),
    "new model": Case("lambda.UpdateAlias", "model-2", "model-3"),
}


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


def _undisturbed(accounts: Stand, case: Case) -> tuple[list[str], dict]:
    """Return the calls of a push that nothing comes between, and the state that it ends in."""
    with accounts.account() as stand:
        case.prepare(stand)
        stand.push(case.stage(stand))
        return list(stand.calls), stand.snapshot()


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


def _ends_rightly(stand: Stand, case: Case, fault: Fault) -> str | None:
    """Push, and return what is wrong with how it ends."""
    fault.arrange(stand)
    try:
        stand.push(case.stage(stand))
    except Death:
        return None if fault.kind.startswith("died") else "was killed"
    except CloudError as error:
        if fault.kind in _SAID and error.exit_code == 5 and error.hint:
            return None if _says(fault, str(error)) else f"says {error}"
        return f"ends with {error!r}"
    except Exception as error:
        return f"ends with {error!r}"
    finally:
        stand.undisturbed()
    return None if (fault.call, fault.kind) in _DISPENSABLE else "goes on as if nothing was"


def _says(fault: Fault, text: str) -> bool:
    return any(each in text for each in _SAID[fault.kind].split("|"))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CASES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    case, wrong, healed = CASES[name], [], set()
    calls, golden = _undisturbed(accounts, case)
    assert {call.split(".")[0] for call in calls} == set(SERVICES)
    flip = calls.index(case.flip)
    faults = _faults(calls, kind, service)
    pending = next(faults, None)
    while pending is not None:
        with accounts.account() as stand:
            case.prepare(stand)
            start = stand.snapshot()
            # An account that a fault has left as it was serves for the next one.
            for place, fault in itertools.chain([pending], faults):
                problem = _ends_rightly(stand, case, fault)
                done = place if kind == "died after" else place - 1
                succeeded = (fault.call, kind) in _DISPENSABLE
                expected = case.new if done >= flip or succeeded else case.old
                if (answers := stand.answers()) != expected:
                    problem = f"callers get {answers}, not {expected}"
                state = stand.snapshot()
                known = json.dumps(state, sort_keys=True)
                if problem is None and state != start and known not in healed:
                    again = stand.push(case.stage(stand), force=True)
                    end = stand.snapshot()
                    # A run that finds nothing to do leaves the lock of the one that died to lapse.
                    if (end if again.changed else _without_lock(end)) != golden:
                        problem = f"the next push ends in {_difference(golden, end)}"
                    healed.add(known)
                if problem is not None:
                    wrong.append(f"{fault}: {problem}")
                if stand.snapshot() != start:
                    break
            pending = next(faults, None)
    assert not wrong, "\n".join(wrong)


def _difference(golden: object, end: object, path: str = "") -> str:
    """Say where two states differ."""
    if isinstance(golden, dict) and isinstance(end, dict):
        keys = [key for key in sorted({*golden, *end}) if golden.get(key) != end.get(key)]
        return "; ".join(_difference(golden.get(key), end.get(key), f"{path}/{key}") for key in keys)
    return f"{path}: {end} instead of {golden}"
