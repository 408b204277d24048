"""Everything that was asked for, as one digest: while it stays the same, so does the answer in thampi.lock."""

import hashlib
import json
from pathlib import Path

from thampi import shipped
from thampi.dependencies.wanted import Dependencies
from thampi.resolution import uv_command, wheels

_RULES = 1  # of how we choose; another number and everything is resolved anew


def digest(dependencies: Dependencies, libc: tuple[int, int]) -> str:
    """Return the sha256 of what decides an answer.

    The indexes of this machine's configuration are none of it: a colleague has others, or a mirror, and hashes say
    which files count. Nor is where this project lies. Raises ConfigError for a local project that can't be read.
    """
    conda = dependencies.conda
    decides = [
        _RULES,
        sorted(dependencies.requirements),
        sorted(dependencies.constraints),
        dependencies.options,
        [_place(place) for place in dependencies.indexes.written],
        sorted([wheels.source_of(local), *local.extras, local.marker] for local in dependencies.local),
        [*map(_channel, conda.channels), conda.specs, conda.python, conda.unless_brought] if conda else None,
        libc,
        (shipped.folder() / "handler/constraints.txt").read_text("utf-8"),
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _channel(channel: str) -> str:
    """Name a channel of conda; one that is a folder, which lies elsewhere for others, by its own name."""
    return channel.rstrip("/").rpartition("/")[2] if channel.startswith("file:") else channel


def _place(place: str) -> object:
    """Name an index or folder of the file; of a folder, which lies elsewhere for others, the wheels in it."""
    if "://" in place or not uv_command.is_here(place) or not Path(place).is_dir():
        return place if "://" in place else Path(place).name
    return sorted(path.name for path in Path(place).iterdir() if path.suffix in (".whl", ".gz", ".zip"))
