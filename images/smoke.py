"""Import what a saved model will import, in the finished image, and tell how it went.

`smoke.py '{"modules": […], "distributions": […], "model": null}'` writes a line of JSON for each module that it is
about to import, for each that can't be, and at last one with what is installed and which Linux it is; without that, the
process died. `model` is the folder of the model where the image has it: each of its files that is damaged gets a line.
"""

import hashlib
import importlib
import json
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

told = json.loads(sys.argv[1])
# Some libraries greet on stdout: theirs goes to stderr, and the answers keep the real one.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def tell(**answer: object) -> None:
    """Write one line, at once: a library may end the process."""
    print(json.dumps(answer), file=answers, flush=True)


def version(distribution: str) -> "str | None":
    """Return the version of an installed distribution, None for one that isn't."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def system() -> "dict[str, str]":
    """Return which Linux this is, in the words of its /etc/os-release."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return {}
    return {key: release[key] for key in ("ID", "VERSION_CODENAME", "PRETTY_NAME") if key in release}


def wrong(about: dict[str, Any], role: str, path: Path) -> str:
    """Return what is wrong with a file of a saved model; nothing when its parts have the hashes of the manifest."""
    try:
        with path.open("rb") as file:
            for part in (each for each in about["parts"] if each["file"] == role):
                if hashlib.sha256(file.read(part["stored"])).hexdigest() != part["sha256"]:
                    return "other bytes"
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


if told.get("model"):
    folder = Path(told["model"])
    about = json.loads((folder / "thampi.json").read_bytes())
    for role, file in about.get("files", {}).items():
        if error := wrong(about, role, folder / file["name"]):
            tell(damaged=file["name"], error=error)

for module in told["modules"]:
    tell(importing=module)
    try:
        importlib.import_module(module)
    except BaseException as failure:  # SystemExit, too: whatever it is, the model won't load
        missing = failure.name if isinstance(failure, ModuleNotFoundError) else None
        tell(failed=module, error=f"{type(failure).__name__}: {failure}", missing=missing)
tell(installed={name: version(name) for name in told["distributions"]}, system=system())
