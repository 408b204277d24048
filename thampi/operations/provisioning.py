"""Environments that stand ready for a stage: started for a release before it gets calls, freed when it gets none.

So the alias moves from one warm version to another. In between both have theirs, and both are paid for. A candidate has
as many as its share of the calls needs, until it is promoted; what is live keeps all of its own meanwhile.

A run that dies leaves more than is wanted, and what is left costs money: the next one has to look. It does so when the
stage wants some, and when the ground isn't laid (see `ground`). So a push that gives a stage its first ones says before
that the ground is unknown. A stage that never wanted any isn't asked about them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from thampi import names
from thampi.aws import function, provisioned, release
from thampi.aws.provisioned import Provisioned
from thampi.aws.release import Live
from thampi.config import Stage
from thampi.errors import CloudError, ReleaseError
from thampi.operations import ground
from thampi.operations.place import Place

Say = Callable[[str], None]
Serving = Mapping[str, float]  # the share of each version in the calls, 0 to 1; what is live counts as 1

_UNRESERVED = 100  # of an account's concurrency, Lambda keeps so much for the functions that have none of their own


def wanted(stage: Stage, serving: Serving) -> dict[str, int]:
    """Return how many environments each version is to have ready."""
    every = stage.provisioned_concurrency or 0
    return {version: math.ceil(every * share) for version, share in serving.items()} if every else {}


def serving(live: Live) -> Serving:
    """Return who gets calls now."""
    return {**live.weights, live.version: 1.0}


def examine(stage: Stage, place: Place, live: Live | None, *, reserved: int | None) -> tuple[str, ...]:
    """Say what would change for what gets calls now; `reserved` is what the function has of its own.

    Raises CloudError when the account has not as much concurrency as a release needs.
    """
    if not _may_have_some(stage, place, live):
        return ()
    has = provisioned.every(place.aws, names.function(stage.name, stage.stage))
    wants = wanted(stage, serving(live)) if live else {}
    if stage.provisioned_concurrency and not (live and _number(has.get(live.version)) == wants[live.version]):
        _check_room(stage, place, reserved)
    return _lines(has, wants)


def allocate(
    stage: Stage, place: Place, version: str, live: Live | None, *, share: float | None = None, say: Say
) -> tuple[Live | None, tuple[str, ...]]:
    """Have a version's environments ready before it gets calls: all of them, or what `share` percent of the calls need.

    Returns what is live as it is known now, which a release has to be decided on, and what was changed.
    Raises ReleaseError when it can't be had; it is taken back then, and callers get what they got.
    """
    number = wanted(stage, {version: 1.0 if share is None else share / 100}).get(version, 0)
    if not number:
        return live, ()
    aws, name = place.aws, names.function(stage.name, stage.stage)
    if not ground.is_laid(stage, place, live):
        live = _note(place, name, live)
        _make_room(stage, place)
    before = provisioned.read(aws, name, version)
    if before is None or before.wanted != number:
        others = f", beside those of version {live.version}: both are paid for until it is done" if live else ""
        say(f"starting {_environments(number)} of version {version}{others}")
    return live, _have(stage, place, version, number, before, f"version {version} did not become live")


def settle(stage: Stage, place: Place, live: Live | None, serving: Serving) -> tuple[str, ...]:
    """Give what gets calls what it should have, free what gets none, and return what was changed.

    `live` is what was live before. Raises ReleaseError when the wanted number can't be had.
    """
    if not _may_have_some(stage, place, live):
        return ()
    aws, name = place.aws, names.function(stage.name, stage.stage)
    has, wants = provisioned.every(aws, name), wanted(stage, serving)
    for version in has:
        if version not in wants:
            provisioned.remove(aws, name, version)
    other = {version: number for version, number in wants.items() if _number(has.get(version)) != number}
    if other and not ground.is_laid(stage, place, live):
        _note(place, name, release.read_live(aws, name))
        _make_room(stage, place)
    for version, number in other.items():
        _have(stage, place, version, number, has.get(version), f"version {version} gets calls as before")
    return _lines(has, wants)


def _may_have_some(stage: Stage, place: Place, live: Live | None) -> bool:
    return stage.provisioned_concurrency is not None or not ground.is_laid(stage, place, live)


def _have(
    stage: Stage, place: Place, version: str, number: int, before: Provisioned | None, else_: str
) -> tuple[str, ...]:
    """Wait until a version has them; else give it back what it had, and raise ReleaseError."""
    aws, name = place.aws, names.function(stage.name, stage.stage)
    made = provisioned.ensure(aws, name, version, number)
    if made.value.is_ready:
        return made.changes
    if before is None or not before.is_ready:
        provisioned.remove(aws, name, version)
    else:
        provisioned.ensure(aws, name, version, before.wanted)
    reason = made.value.reason or "Lambda gives no reason"
    hint = f"set provisioned_concurrency to less than {number}, or have AWS raise the account's concurrency"
    if provisioned.INIT_FAILED in reason:
        hint = f"it failed while it started: `thampi logs {stage.stage}` shows why; mend it and push again"
    raise ReleaseError(f"{else_}: {_environments(number)} of it can't be kept ready: {reason}", hint=hint)


def _note(place: Place, name: str, live: Live | None) -> Live | None:
    """Have the next run look at everything, if this one should die; return what is live by the alias's new revision."""
    if live is None or live.ground == ground.UNKNOWN:
        return live
    release.point_live(place.aws, name, live.version, live, share=live.candidate, ground=ground.UNKNOWN)
    now = release.read_live(place.aws, name)
    if now is None or (now.version, now.weights) != (live.version, live.weights):
        raise ReleaseError(f"somebody else has changed what is live of {name}", hint="run the same command again")
    return replace(now, function=live.function)


def _make_room(stage: Stage, place: Place) -> None:
    """Raise what the function may have at once before more of it is asked for; it is lowered after the release."""
    name, wants = names.function(stage.name, stage.stage), stage.reserved_concurrency
    found = function.read(place.aws, name)
    if found is not None and found.reserved is not None and (wants is None or wants > found.reserved):
        function.reserve(place.aws, name, wants)


def _check_room(stage: Stage, place: Place, reserved: int | None) -> None:
    """Raise CloudError before anything is made that Lambda would then refuse to keep ready.

    Where the stage reserves concurrency, that bounds it, and was compared with it when thampi.toml was read.
    """
    if stage.reserved_concurrency is not None:
        return
    limit, free_ = function.concurrency(place.aws)
    possible = free_ + (reserved or 0) - min(_UNRESERVED, limit)
    number = stage.provisioned_concurrency or 0
    if 2 * number > possible:
        raise CloudError(
            f"provisioned_concurrency = {number} is more than this account can keep ready: a release needs it twice "
            f"until the old one is freed, and {max(possible, 0)} of {limit} requests at once are to be had",
            hint=(f"set it to {possible // 2} or less" if possible >= 2 else "take it out of thampi.toml")
            + ", or have AWS raise the quota (Service Quotas, Lambda, concurrent executions)",
        )


def _lines(has: Mapping[str, Provisioned], wants: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(
        f"provisioned of {version}: {_number(has.get(version)) or 'none'} -> {wants.get(version, 'none')}"
        for version in sorted({*has, *wants}, key=int)
        if version not in wants or _number(has.get(version)) != wants[version]
    )


def _environments(number: int) -> str:
    return f"{number} environment{'s' * (number > 1)}"


def _number(found: Provisioned | None) -> int:
    return 0 if found is None or found.status == provisioned.FAILED else found.wanted
