"""The log group in which the gateway writes a line for each request: there before an endpoint that writes into it."""

from thampi.aws import access_log, logs
from thampi.config import Stage
from thampi.operations import desired
from thampi.operations.endpoint import Changes
from thampi.operations.place import Place


def examine(stage: Stage, place: Place) -> list[Changes]:
    """Say what `ensure` would do; nothing is asked where no such log is wanted."""
    wanted = desired.access_log_group(stage)
    if wanted is None:
        return []
    found = access_log.read(place.aws, stage.name, stage.stage)
    lines = logs.changes(found, wanted) if found else ()
    return [("access log", wanted.name, "created" if found is None else "changed" if lines else "left", lines)]


def ensure(stage: Stage, place: Place) -> list[Changes]:
    """Make it so, where it is wanted."""
    wanted = desired.access_log_group(stage)
    if wanted is None:
        return []
    made = logs.ensure(place.aws, wanted)
    return [("access log", made.value.name, made.action, made.changes)]
