"""thampi rollback: a release that was live is live again; it is tried first, and the alias moves in one call.

While a canary is under way, rolling back means to end it: the candidate gets no more calls, and what is live stays so.
"""

from collections.abc import Callable
from dataclasses import dataclass

from thampi import names
from thampi.aws import function, lock, registry, release, store, trial
from thampi.aws.function import Function
from thampi.aws.release import Live
from thampi.config import Stage
from thampi.errors import ReleaseError
from thampi.operations import provisioning, refusal, sharing, validation
from thampi.operations.place import Place, who

Say = Callable[[str], None]


@dataclass(frozen=True)
class Moved:
    """What callers get now, and what they got before."""

    version: str
    before: str
    changes: tuple[str, ...]
    trial_ms: int = 0


def rollback(stage: Stage, place: Place, *, to: str | None = None, say: Say, force: bool = False) -> Moved:
    """Make an older release live again: `to`, or the one that was live before this one.

    Raises ReleaseError when it doesn't answer, or can't any more: its model or its image is gone. Nothing has moved
    then. Raises CloudError when nothing is live, or AWS refuses.
    """
    aws, name = place.aws, names.function(stage.name, stage.stage)
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        live = sharing.read_live(stage, place)
        sharing.tell(live, say)
        if to in (None, live.version) and live.candidate:
            with validation.through(stage, place, live, live.function) as note:
                moved = release.point_live(aws, name, live.version, live, ground=note)
            freed = provisioning.settle(stage, place, live, {live.version: 1.0})
            return Moved(live.version, live.version, (*moved.changes, *freed))
        number = to or _previous(stage, live)
        if number == live.version:
            return Moved(number, number, ())
        wanted = _check(stage, place, number)
        say(f"trying version {number}")
        tried = trial.try_out(aws, name, number, {"thampi": "trial"}, wanted.timeout_s)
        if not tried.ok:
            raise refusal.of_trial(stage, number, live, tried)
        now, warmed = provisioning.allocate(stage, place, number, live, say=say)
        held.check()
        with validation.through(stage, place, now, wanted) as note:
            moved = release.point_live(aws, name, number, now, ground=note)
        freed = provisioning.settle(stage, place, live, {number: 1.0})
    return Moved(number, live.version, (*moved.changes, *warmed, *freed), tried.duration_ms)


def end_canary(stage: Stage, place: Place, version: str, *, force: bool = False) -> None:
    """Let all calls go to what is live again, unless this candidate is none any more."""
    aws, name = place.aws, names.function(stage.name, stage.stage)
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force):
        live = sharing.read_live(stage, place)
        if live.candidate and live.candidate[0] == version:
            with validation.through(stage, place, live, live.function) as note:
                release.point_live(aws, name, live.version, live, ground=note)
            provisioning.settle(stage, place, live, {live.version: 1.0})


def _previous(stage: Stage, live: Live) -> str:
    """Return what was live before this release: rolling back twice goes back by two, and not to and fro."""
    older = [each for each in live.before if int(each) < int(live.version)]
    if not older:
        raise ReleaseError(
            f"nothing older was live in stage {stage.stage}: version {live.version} still is",
            hint=f"`thampi releases {stage.stage}` shows what there is; name one with --to",
        )
    return older[0]


def _check(stage: Stage, place: Place, number: str) -> Function:
    """Return a version whose image and model are there; a model that is in the image is there with it."""
    aws, name = place.aws, names.function(stage.name, stage.stage)
    found = function.read(aws, name, number) if number.isdecimal() else None
    others = f"`thampi releases {stage.stage}` shows what there is"
    if found is None:
        raise ReleaseError(f"{stage.name} has no version {number} in stage {stage.stage}", hint=others)
    digest = found.function.image_uri.rpartition("@")[2]
    if not registry.has_image(aws, stage.name, digest):
        raise ReleaseError(f"version {number} can't be live again: its image {digest} is gone from ECR", hint=others)
    url = found.function.environment.get("THAMPI_MODEL", "")
    if not url:
        return found.function
    bucket, _, key = url.removeprefix("s3://").partition("/")
    stored = store.read_model(aws, bucket, stage.name, key.rstrip("/").rpartition("/")[2]) if key else None
    if stored is None or stored.manifest_sha256 != found.function.environment.get("THAMPI_MANIFEST_SHA256"):
        raise ReleaseError(f"version {number} can't be live again: its model is gone from {url}", hint=others)
    return found.function
