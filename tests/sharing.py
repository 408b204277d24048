"""What is slow to make is made once for all the workers of a test run, by whichever needs it first."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


def folder(factory: pytest.TempPathFactory) -> Path:
    """The folder that all workers of this run have in common."""
    own = factory.getbasetemp()
    return own.parent if os.environ.get("PYTEST_XDIST_WORKER") else own


@contextlib.contextmanager
def once(
    place: Path, name: str, make: Callable[[], Any], remove: Callable[[Any], None] = lambda made: None
) -> Iterator[Any]:
    """Yield what `make` returns, a value of JSON; the last worker to be done with it calls `remove`."""
    kept = place / f"{name}.json"
    with _locked(kept):
        state = json.loads(kept.read_text()) if kept.exists() else {"made": make(), "users": 0}
        kept.write_text(json.dumps(state | {"users": state["users"] + 1}))
    try:
        yield state["made"]
    finally:
        with _locked(kept):
            state = json.loads(kept.read_text())
            if state["users"] == 1:
                kept.unlink()
                remove(state["made"])
            else:
                kept.write_text(json.dumps(state | {"users": state["users"] - 1}))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
