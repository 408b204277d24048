"""A push that fails halfway, at any call and in any way: what callers get meanwhile, and how the next push ends.

A story goes through the calls that an undisturbed push makes of one service, and lets one fail in one way. A fault is
named by its call and how often that was made before: steps run side by side, but each service is asked by one of them.

The state of the whole account (`Stand.snapshot`) decides what happens next, so the push that mends is made once for
each state that a story gets to: most faults, those of reads, leave what another one has left.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tests.operations.stand import Death, Stand, refusal
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations.examine import Pushed

KINDS = ("died before", "died after", "throttled", "answered 500", "denied")

THROTTLED = {
    "s3": ("SlowDown", 503),
    "iam": ("Throttling", 400),
    "ecr": ("ThrottlingException", 400),
    "logs": ("ThrottlingException", 400),
    "lambda": ("TooManyRequestsException", 429),
    "apigatewayv2": ("TooManyRequestsException", 429),
    "apigateway": ("TooManyRequestsException", 429),
    "events": ("ThrottlingException", 400),
    "wafv2": ("ThrottlingException", 400),
}
_BROKEN = {
    "s3": ("InternalError", 500),
    "iam": ("ServiceFailure", 500),
    "ecr": ("ServerException", 500),
    "logs": ("ServiceUnavailableException", 503),
    "lambda": ("ServiceException", 500),
    "apigatewayv2": ("InternalServerErrorException", 500),
    "apigateway": ("ServiceUnavailableException", 503),
    "events": ("InternalException", 500),
    "wafv2": ("WAFInternalErrorException", 500),
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


class Undisturbed(NamedTuple):
    """A push that nothing comes between: its calls, and the state that it ends in."""

    calls: list[str]
    state: dict[str, Any]


_KNOWN: dict[int, tuple[Case, Undisturbed]] = {}


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
    code, status = {"throttled": THROTTLED, "answered 500": _BROKEN}.get(kind, {}).get(service, ("", 403))
    said = "Rate exceeded" if kind == "throttled" else "sorry"
    if kind == "denied":
        code = "AccessDenied" if service in ("s3", "iam") else "AccessDeniedException"
        said = f"User: arn:aws:iam::123456789012:user/me is not authorized to perform: {service}:{operation} on all"
    if operation.startswith("Head"):  # such an answer has no body
        code, said = str(status), ""
    return refusal(code, status, said)


def undisturbed(accounts: Stand, case: Case) -> Undisturbed:
    """Return what a push does and ends in that nothing comes between; it is made once for each case."""
    if id(case) not in _KNOWN:
        with accounts.account() as stand:
            case.prepare(stand)
            case.push(stand)
            _KNOWN[id(case)] = case, Undisturbed(list(stand.calls), stand.snapshot())
    return _KNOWN[id(case)][1]


def story(accounts: Stand, case: Case, kind: str, service: str, *, only: str = "", sampled: bool = False) -> list[str]:
    """Let each call of a service fail in one way; return what was wrong, a line each.

    `only` is what the names of the calls match that are to fail, where the others are other stories.
    With `sampled` only the first and the last call of each name, where many are the same, for one thing after another;
    and no reads where a run dies after its call: those leave what was left before them.
    """
    wrong, mended = [], set()
    calls, golden = undisturbed(accounts, case)
    # Before the trial only the note of the stage's ground is written.
    flip = calls.index(case.flip, calls.index("lambda.Invoke") if "lambda.Invoke" in calls else 0)
    # Where nothing is released, as when only settings change, nothing is tried.
    tried = "lambda.Invoke" not in calls or calls.index("lambda.Invoke") < flip
    assert (tried, calls.count(case.flip)) == (True, case.flips)
    faults = _faults(calls, kind, rf"{service}\.({only})")
    if sampled:
        faults = (each for each in [*faults] if _is_telling(each[1], calls))
    for first in faults:
        with accounts.account() as stand:
            case.prepare(stand)
            start = stand.snapshot()
            for place, fault in itertools.chain([first], faults):
                succeeded, problem = push_under(stand, case, fault)
                done = place if kind == "died after" else place - 1
                expected = case.new if done >= flip or succeeded else case.old
                if (answers := stand.answers()) != expected:
                    problem = f"callers get {answers}, not {expected}"
                state = stand.snapshot()
                known = json.dumps(state, sort_keys=True)
                if state != start and known not in mended:
                    mended.add(known)
                    problem = problem or mend(stand, case, golden)
                if problem is not None:
                    wrong.append(f"{fault}: {problem}")
                if state != start:
                    break  # an account that a fault has left as it was serves for the next one
    return wrong


def _faults(calls: list[str], kind: str, pattern: str) -> Iterator[tuple[int, Fault]]:
    """Yield the faults of the calls that match, each with the place of its call among all calls."""
    counted = Counter[str]()
    for place, call in enumerate(calls):
        counted[call] += 1
        if re.match(pattern, call):
            yield place, Fault(kind, call, counted[call])


def _is_telling(fault: Fault, calls: list[str]) -> bool:
    reads = fault.kind == "died after" and fault.call.split(".")[1].startswith(("Get", "List"))
    return fault.nth in (1, calls.count(fault.call)) and not reads


def _without_lock(state: dict) -> dict:
    state = json.loads(json.dumps(state))
    for bucket in state["buckets"].values():
        bucket["objects"] = {key: value for key, value in bucket["objects"].items() if "/locks/" not in key}
    return state


def push_under(stand: Stand, case: Case, fault: Fault) -> tuple[bool, str | None]:
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


def mend(stand: Stand, case: Case, golden: dict) -> str | None:
    """Push again, and return how the state differs from that of an undisturbed push."""
    again = case.push(stand, force=True)
    end = stand.snapshot()
    if not again.changed:
        end = _without_lock(end)  # a run that only reads leaves the lock of one that died to lapse
    return None if end == golden else f"the next push ends in {_difference(golden, end)}"


def _difference(golden: object, end: object, path: str = "") -> str:
    """Say where two states differ."""
    if isinstance(golden, dict) and isinstance(end, dict):
        keys = [key for key in sorted({*golden, *end}) if golden.get(key) != end.get(key)]
        return "; ".join(_difference(golden.get(key), end.get(key), f"{path}/{key}") for key in keys)
    return f"{path}: {end} instead of {golden}"
