"""thampi promote: the candidate of a canary becomes live, or gets a larger share of the calls."""

from collections.abc import Callable

from thampi import names
from thampi.aws import function, lock, release
from thampi.config import Stage
from thampi.errors import ReleaseError
from thampi.operations import provisioning, sharing, validation
from thampi.operations.place import Place, who
from thampi.operations.rollback import Moved

Say = Callable[[str], None]


def promote(
    stage: Stage,
    place: Place,
    *,
    to: float | None = None,
    version: str | None = None,
    say: Say,
    force: bool = False,
) -> Moved:
    """Let the candidate get `to` percent of the calls; all of them, which makes it live, when `to` is None.

    `version` is the candidate that is meant, when that was decided on some time ago.
    Raises ReleaseError when there is no candidate, or another one; nothing has changed then.
    """
    aws, name = place.aws, names.function(stage.name, stage.stage)
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        live = sharing.read_live(stage, place)
        if live.candidate is None or version not in (None, live.candidate[0]):
            raise ReleaseError(
                f"there is no candidate {version or ''}".rstrip() + f" to promote: version {live.version} is live",
                hint=f"thampi push {stage.stage} --canary 10",
            )
        sharing.tell(live, say)
        number, before = live.candidate[0], live
        share = None if to is None or to >= 100 else to
        now, warmed = provisioning.allocate(stage, place, number, live, share=share, say=say)
        held.check()
        if share is None:
            with validation.through(stage, place, now, _candidate(stage, place, number)) as note:
                moved = release.point_live(aws, name, number, now, ground=note)
            version_, serving = number, {number: 1.0}
        else:
            moved = release.point_live(aws, name, live.version, now, share=(number, share / 100))
            version_, serving = live.version, {live.version: 1.0, number: share / 100}
        freed = provisioning.settle(stage, place, before, serving)
    return Moved(version_, before.version, (*moved.changes, *warmed, *freed))


def _candidate(stage: Stage, place: Place, number: str) -> function.Function:
    """Return a version that the alias names, which is why it is there."""
    found = function.read(place.aws, names.function(stage.name, stage.stage), number)
    if found is None:
        raise ReleaseError(f"version {number} is gone", hint="run the same command again")
    return found.function
