"""A candidate gets a share of the calls beside what is live; how a push begins that, and meets it."""

from collections.abc import Callable

from thampi import names
from thampi.aws import function, release
from thampi.aws.ensured import Ensured
from thampi.aws.function import Function
from thampi.aws.release import Live
from thampi.aws.session import Aws
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations.place import Place

Say = Callable[[str], None]


def read_live(stage: Stage, place: Place) -> Live:
    """Read what is live; raise CloudError when nothing is."""
    live = release.read_live(place.aws, names.function(stage.name, stage.stage))
    if live is None:
        raise CloudError(
            f"nothing of {stage.name} is live in stage {stage.stage} ({place})", hint=f"thampi push {stage.stage}"
        )
    return live


def describe(live: Live) -> str:
    """Say who gets which share while a canary is under way."""
    number, share = live.candidate or ("none", 0.0)
    return f"version {number} gets {100 * share:g} % of the calls beside version {live.version}"


def tell(live: Live | None, say: Say) -> None:
    """Say that there is a canary, which an earlier command has left under way."""
    if live is not None and live.candidate:
        say(f"a canary is under way: {describe(live)}")


def lines(aws: Aws, wanted: Function, live: Live, canary: float | None) -> tuple[str, ...] | None:
    """Say what is to change in who gets what, for a release that differs from what is live; None: a new version."""
    if canary is None or live.candidate is None:
        return None
    number, share = live.candidate
    candidate = function.read(aws, wanted.name, number)
    if candidate is None or function.changes(candidate.function, wanted):
        return None
    return () if share == canary / 100 else (f"share of {number}: {100 * share:g} % -> {canary:g} %",)


def flip(aws: Aws, name: str, version: str, live: Live | None, canary: float | None, say: Say) -> Ensured[str]:
    """Make a version that was tried live, or the candidate with a share of `canary` percent; one call."""
    if canary is None or live is None:
        if canary is not None:
            say("nothing is live yet that could share the calls: all of them go to this version")
        if live is not None and live.candidate and live.candidate[0] != version:
            say(f"version {live.candidate[0]} was a candidate, and gets no calls any more")
        return release.point_live(aws, name, version, live)
    return release.point_live(aws, name, live.version, live, share=(version, canary / 100))
