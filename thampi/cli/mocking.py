"""thampi push of a stage that answers with an example."""

import os
from typing import Any

from thampi import terminal


def push(stage: Any, flags: dict[str, bool], *, force: bool, dry_run: bool, replace_endpoint: bool) -> tuple[Any, Any]:
    """Make it so, or say what would change; return where it is, and what was done.

    `flags` are those that a release has, and whether they were given.
    """
    from thampi.operations import mock, place

    mock.check_flags(stage, flags)
    stage = mock.resolved(stage)
    where = place.find(stage, environ=os.environ, say=terminal.say)
    terminal.say(f"{stage.name}, stage {stage.stage}: {where}")
    if dry_run:
        return where, mock.looked_at(stage, where, replace_endpoint=replace_endpoint)
    return where, mock.push(stage, where, say=terminal.say, force=force, replace_endpoint=replace_endpoint)
