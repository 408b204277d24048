"""thampi destroy: everything that a stage made, in the order in which nothing is left that calls what is gone.

What leads to the endpoint from a domain first, because API Gateway deletes no API before; the endpoint, so that callers
are refused rather than failed, its API keys, and what keeps it warm; the function with its versions and permissions;
the logs, after the last line was written to them; its role last, because Lambda needs it to take the function's network
down. What the stages share (images, models) goes only with `everything`, and only when no other stage is left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thampi import names
from thampi.aws import access_log, buckets, function, lock, logs, registry, role, schedule, store
from thampi.config import Stage
from thampi.errors import ConfigError
from thampi.operations import domain, endpoint, keys, warmth
from thampi.operations.place import Place

_ACCESS_LOG = "access log"


@dataclass(frozen=True)
class Gone:
    """One thing, and whether there was one to delete."""

    thing: str
    name: str
    was_there: bool


def destroy(
    stage: Stage,
    place: Place,
    *,
    who: str,
    everything: bool = False,
    others: Sequence[str] = (),
    force: bool = False,
) -> list[Gone]:
    """Delete what carries our tags; running it again finishes what was left. `others`: the project's other stages.

    Raises ConfigError, before anything is deleted, when `everything` would take what another stage serves from.
    """
    aws, name = place.aws, stage.name
    if everything:
        alive = [each for each in others if function.read(aws, names.function(name, each)) is not None]
        if alive:
            raise ConfigError(
                f"--all would delete the images and models that {', '.join(alive)} still serves",
                hint=f"thampi destroy {alive[0]} first",
            )
    if buckets.read(aws, place.bucket) is None:
        return _delete_stage(stage, place)
    with lock.hold(aws, place.bucket, name, stage.stage, who=who, force=force) as held:
        gone = _delete_stage(stage, place, before_each=held.check)
        if everything:
            gone += _delete_shared(stage, place)
    if everything and buckets.remove(aws, place.bucket):
        gone.append(Gone("bucket", place.bucket, True))
    return gone


def _delete_stage(stage: Stage, place: Place, before_each: Callable[[], None] = lambda: None) -> list[Gone]:
    aws, name, at = place.aws, stage.name, stage.stage
    steps: list[tuple[str, str, Callable[[], bool]]] = [
        ("endpoint", names.api(name, at), lambda: endpoint.remove(stage, place)),
        ("function", names.function(name, at), lambda: function.remove(aws, name, at)),
        ("log group", names.log_group(name, at), lambda: logs.remove(aws, name, at)),
        # Also where none is written any more: it was kept with what it says. Where none ever was, nobody hears of it.
        (_ACCESS_LOG, names.access_log_group(name, at), lambda: access_log.remove(aws, name, at)),
        # Also where a role_arn is set by now: one of ours may be from before.
        ("role", names.role(name, at, aws.region), lambda: role.remove(aws, name, at)),
    ]
    if warmth.has_schedule(stage, place):
        steps.insert(1, ("schedule", names.rule(name, at), lambda: schedule.remove(aws, name, at)))
    if keys.exist(stage, place):
        steps.insert(1, ("API keys", names.usage_plan(name, at), lambda: keys.remove(stage, place)))
    before_each()
    gone = [Gone("mapping", address, True) for address in domain.remove(stage, place)]
    for thing, called, remove in steps:
        before_each()
        was_there = remove()
        if was_there or thing != _ACCESS_LOG or stage.api.access_log:
            gone.append(Gone(thing, called, was_there))
    return gone


def _delete_shared(stage: Stage, place: Place) -> list[Gone]:
    models = len(store.list_models(place.aws, place.bucket, stage.name))
    store.remove_models(place.aws, place.bucket, stage.name)
    repository = registry.remove_repository(place.aws, stage.name)
    return [
        Gone("models", f"{models} in {place.bucket}", models > 0),
        Gone("repository", names.repository(stage.name), repository),
    ]
