"""thampi list: the project's stages and their state; or every project that the account's tags show."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from thampi import names
from thampi.aws import inventory, release
from thampi.config import Stage
from thampi.errors import ThampiError
from thampi.operations import endpoint
from thampi.operations.place import Place


@dataclass(frozen=True)
class State:
    """One stage: `live` with a version and a URL, `mock` with a URL, `absent`, or `unknown` with the reason."""

    stage: str
    state: str
    version: str = ""
    url: str = ""
    said: str = ""

    def as_json(self) -> Mapping[str, str]:
        """Return it as a mapping."""
        return vars(self)


def states(stages: Iterable[Stage], find: Callable[[Stage], Place | None]) -> list[State]:
    """Return the state of each stage; one whose account can't be asked is unknown, and the others are still told.

    `find` says where a stage lives; None: nowhere yet.
    """
    return [_state(stage, find) for stage in stages]


def _state(stage: Stage, find: Callable[[Stage], Place | None]) -> State:
    try:
        place = find(stage)
        if place is None:
            return State(stage.stage, "absent")
        live = release.read_live(place.aws, names.function(stage.name, stage.stage))
        standing = endpoint.read(stage, place).in_use
    except ThampiError as error:
        return State(stage.stage, "unknown", said=error.message)
    url = standing.url if standing else ""
    if endpoint.answers_itself(standing):
        return State(stage.stage, "mock", live.version if live else "", url)
    if live is None:
        return State(stage.stage, "unfinished" if standing else "absent", url=url)
    return State(stage.stage, "live" if standing else "unfinished", live.version, url)


@dataclass(frozen=True)
class Project:
    """A project, or one of its stages, that the account's tags show; `things` by service."""

    project: str
    stage: str  # empty: what its stages share
    account: str
    region: str
    things: Mapping[str, int]


def places_of(
    stages: Iterable[Stage], find: Callable[[Stage], Place | None], say: Callable[[str], None]
) -> list[Place]:
    """Find where stages live; one that can't be asked is told, and doesn't hide the others."""
    found = []
    for stage in stages:
        try:
            found.append(find(stage))
        except ThampiError as error:
            say(f"the account of stage {stage.stage} can't be asked: {error.message}")
    return [place for place in found if place is not None]


def projects(places: Iterable[Place]) -> list[Project]:
    """List every thampi project of the accounts and regions of these places, each asked once."""
    found: dict[tuple[str, str, str, str], Counter[str]] = {}
    asked = {(place.aws.account, place.aws.region, place.aws.endpoint_url): place for place in places}
    for place in asked.values():
        for thing in inventory.read(place.aws):
            key = (thing.project, thing.stage, place.aws.account, place.aws.region)
            found.setdefault(key, Counter())[thing.service] += 1
    return [Project(*key, dict(things)) for key, things in sorted(found.items())]
