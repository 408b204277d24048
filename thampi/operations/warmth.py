"""What keeps a stage warm, or within its bounds: the schedule that calls it, and the concurrency that is reserved."""

from collections.abc import Sequence

from thampi import names
from thampi.aws import function, release, schedule
from thampi.aws.function import Found
from thampi.aws.schedule import Schedule
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations.place import Place

_PERMISSION = "thampi-warm"
_UNRESERVED = 100  # of an account's concurrency, Lambda keeps so much for the functions that have none of their own

Changes = tuple[str, str, str, tuple[str, ...]]  # thing, name, action, changes


def wanted_schedule(stage: Stage, place: Place) -> Schedule | None:
    """Return the rule that the stage should have; None when it should have none."""
    if stage.keep_warm is None:
        return None
    return Schedule(
        name=names.rule(stage.name, stage.stage),
        expression=stage.keep_warm,
        target=release.arn(place.aws, names.function(stage.name, stage.stage)),
        tags={**stage.tags, **names.tags(stage.name, stage.stage)},
    )


def has_schedule(stage: Stage, place: Place) -> bool:
    """Say whether a rule of ours may be there, by its permission: who has none needs no right to look for one."""
    callers = release.callers(place.aws, names.function(stage.name, stage.stage))
    return any(sid.startswith(_PERMISSION) for sid in callers)


def examine(stage: Stage, place: Place, found: Found | None, callers: Sequence[str]) -> list[Changes]:
    """Say what `ensure` would do; `callers` are the ids of the permissions, one of which a rule of ours always has.

    Raises CloudError when the account has not as much concurrency as is to be reserved.
    """
    rows = []
    wanted, has_permission = wanted_schedule(stage, place), any(sid.startswith(_PERMISSION) for sid in callers)
    if wanted is not None:
        rule = schedule.read(place.aws, stage.name, stage.stage)
        lines = schedule.changes(rule, wanted) if rule else ()
        action = "created" if rule is None else "changed" if lines or not has_permission else "left"
        rows.append(("schedule", wanted.name, action, lines))
    elif has_permission:
        rows.append(("schedule", names.rule(stage.name, stage.stage), "changed", ("schedule: -> removed",)))
    has = found.reserved if found else None
    if has != stage.reserved_concurrency:
        _check_free(stage, place, has or 0)
        rows.append(("concurrency", names.function(stage.name, stage.stage), "changed", (_line(stage, has),)))
    return rows


def ensure(stage: Stage, place: Place) -> list[Changes]:
    """Make it so. The permission comes before the rule and goes after it: without one there is no rule to look for."""
    aws, name = place.aws, names.function(stage.name, stage.stage)
    rows: list[Changes] = []
    wanted = wanted_schedule(stage, place)
    if wanted is not None:
        source = schedule.arn(aws, stage.name, stage.stage)
        allowed = release.allow(aws, name, source, _PERMISSION, schedule.PRINCIPAL)
        made = schedule.ensure(aws, stage.name, stage.stage, wanted)
        action = "changed" if made.action == "left" and allowed.action != "left" else made.action
        rows.append(("schedule", wanted.name, action, made.changes))
    elif has_schedule(stage, place):
        schedule.remove(aws, stage.name, stage.stage)
        release.disallow(aws, name, _PERMISSION)
        rows.append(("schedule", names.rule(stage.name, stage.stage), "changed", ("schedule: -> removed",)))
    found = function.read(aws, name)
    if found is not None and found.reserved != stage.reserved_concurrency:
        function.reserve(aws, name, stage.reserved_concurrency)
        rows.append(("concurrency", name, "changed", (_line(stage, found.reserved),)))
    return rows


def _line(stage: Stage, has: int | None) -> str:
    return f"reserved_concurrency: {has or 'none'} -> {stage.reserved_concurrency or 'none'}"


def _check_free(stage: Stage, place: Place, has: int) -> None:
    """Raise CloudError before anything is made that Lambda would then refuse to give its concurrency."""
    more = (stage.reserved_concurrency or 0) - has
    if more <= 0:
        return
    limit, free = function.concurrency(place.aws)
    if free - more < min(_UNRESERVED, limit):
        possible = max(has + free - min(_UNRESERVED, limit), 0)
        raise CloudError(
            f"reserved_concurrency = {stage.reserved_concurrency} is more than this account can reserve: of {limit} "
            f"requests at once {free} are free, and Lambda keeps {min(_UNRESERVED, limit)} for functions without any",
            hint=(f"set it to {possible} or less" if possible else "take it out of thampi.toml")
            + ", or have AWS raise the quota (Service Quotas, Lambda, concurrent executions)",
        )
