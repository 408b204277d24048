"""Python in a process of its own, and models to save: what the tests of the runtime share."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import thampi

REPO = Path(__file__).resolve().parents[2]
IMPORTS_THAMPI = os.environ | {"PYTHONPATH": str(REPO)}


def python(*arguments: object, cwd: Path, fails: bool = False, **environment: str) -> str:
    """Run Python with `arguments` in the folder `cwd`, away from this project; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        cwd=cwd,
        env=IMPORTS_THAMPI | environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


def files_in(folder: Path) -> dict[str, bytes]:
    """Return all that is in a folder, hidden or not, by its path there."""
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


class Holder(thampi.Model):
    """Keeps anything, and answers with what it was asked."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def predict(self, args: Any, context: Any) -> Any:
        return {"asked": args}
