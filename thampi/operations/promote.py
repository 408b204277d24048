"""thampi promote: the candidate of a canary becomes live, or gets a larger share of the calls."""

from collections.abc import Callable

from thampi import names
from thampi.aws import lock, release
from thampi.config import Stage
from thampi.errors import ReleaseError
from thampi.operations import sharing
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
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force):
        live = sharing.read_live(stage, place)
        if live.candidate is None or version not in (None, live.candidate[0]):
            raise ReleaseError(
                f"there is no candidate {version or ''}".rstrip() + f" to promote: version {live.version} is live",
                hint=f"thampi push {stage.stage} --canary 10",
            )
        sharing.tell(live, say)
        number, _ = live.candidate
        if to is None or to >= 100:
            moved = release.point_live(aws, name, number, live)
            return Moved(number, live.version, moved.changes)
        moved = release.point_live(aws, name, live.version, live, share=(number, to / 100))
    return Moved(live.version, live.version, moved.changes)
