"""thampi list: the project's stages and their state."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from thampi import names
from thampi.aws import gateway, release
from thampi.config import Stage
from thampi.errors import ThampiError
from thampi.operations.place import Place


@dataclass(frozen=True)
class State:
    """One stage: `live` with a version and a URL, `absent`, or `unknown` with the reason."""

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
        api = gateway.read(place.aws, stage.name, stage.stage)
    except ThampiError as error:
        return State(stage.stage, "unknown", said=error.message)
    url = gateway.url(place.aws, api.api_id, stage.name, stage.stage) if api else ""
    if live is None:
        return State(stage.stage, "unfinished" if api else "absent", url=url)
    return State(stage.stage, "live" if api else "unfinished", live.version, url)
