"""A saved model is loaded in a fresh process, so that one that can't be is found here and not in Lambda.

The process sees what is installed and what the project ships, and nothing else of the project: like the image.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thampi.errors import BundleError
from thampi.runtime import bundle, calling, loading, origins, shipping
from thampi.runtime.encoding import encode
from thampi.runtime.model import Context
from thampi.runtime.signature import checking
from thampi.runtime.signature.mistakes import InvalidDataError

_LONGEST = 64 * 1024  # bytes of an answer that is kept in thampi.json

# Imports thampi from where it is without putting that folder, which may be a whole checkout, on the path.
_START = """
import importlib.util, json, sys
told = json.loads(sys.argv[1])
sys.path[:] = told["path"]
spec = importlib.util.spec_from_file_location("thampi", told["thampi"])
sys.modules["thampi"] = thampi = importlib.util.module_from_spec(spec)
spec.loader.exec_module(thampi)
from thampi.runtime import proving
proving.answer(told["bundle"], told["report"])
"""


def prove(folder: Path, shown_as: str) -> Any:
    """Load the bundle in `folder` in a fresh process, and have it answer its example; raise BundleError if it can't.

    Returns the answer, as a caller gets it; None where there is no example, or the answer is long.
    """
    with tempfile.TemporaryDirectory(prefix="thampi-") as elsewhere:
        report = Path(elsewhere) / "report.json"
        told = {
            "path": [*origins.installed_path(sys.path), *_shipped_path(Path(elsewhere) / "shipped")],
            "thampi": str(Path(__file__).parents[1] / "__init__.py"),
            "bundle": str(folder.resolve()),
            "report": str(report),
        }
        process = _run([sys.executable, "-P", "-c", _START, json.dumps(told)], elsewhere)
        try:
            found = json.loads(report.read_bytes())
        except (OSError, ValueError):  # it ended on the way
            found = {}
    if found.get("ok"):
        return found.get("answer")
    said = (found.get("traceback") or process.stderr).strip().splitlines()
    message = found.get("message") or f"the process that loaded it ended with code {process.returncode}"
    raise BundleError(
        f"{shown_as} was not saved: in a fresh process {message}".replace(str(folder.resolve()), shown_as),
        hint="\n".join([found.get("hint") or "mend the model, or save with verify=False", *said[-12:]]),
    )


def _run(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as error:
        raise BundleError(
            f"can't start a fresh Python to prove the model in: {error}", hint="save with verify=False"
        ) from error


def answer(folder: str, report: str) -> None:
    """Do the proving, in the fresh process: load, initialize, predict, encode; write how it went to `report`."""
    found: dict[str, object]
    try:
        about = bundle.read(Path(folder))
        model, types = loading.unpickle_with_types(Path(folder), about)
        checker = checking.checker(about.signature) if about.signature else None
        ask = calling.make(model, about.signature, checker, types)
        answered = b"null"
        if about.example is not None:
            context = Context(properties=about.properties(about.trained_time_utc))
            model.initialize(context)
            answered = encode(ask(about.example, context))
            _check_answer(answered, about.signature)
        found = {"ok": True, "answer": json.loads(answered) if len(answered) <= _LONGEST else None}
    except BundleError as error:
        found = {"message": error.message, "hint": error.hint, "traceback": _traceback(error.__cause__)}
    except InvalidDataError as error:
        hint = "mend the example or the hint, or save with signature=False, which lets everything through"
        found = {"message": f"the example was refused: {error}", "hint": hint}
    except Exception as error:
        message = f"it could not answer the example: {type(error).__name__}: {error}"
        hint = "mend `predict`, or the example"
        if isinstance(error, ModuleNotFoundError):
            hint = f"import `{error.name}` at the top of its file, so that it goes along, or add it to `build.include`"
        found = {"message": message, "hint": hint, "traceback": _traceback(error)}
    Path(report).write_text(json.dumps(found), "utf-8")


def _check_answer(body: bytes, signature: Mapping[str, Any] | None) -> None:
    """Refuse an answer that is not what the model says it returns: the documentation would say so to all callers."""
    if not signature or signature["answer"] is None:
        return
    try:
        checking.Checker({"request": signature["answer"], "batch": False}).check(json.loads(body))
    except InvalidDataError as error:
        raise BundleError(
            f"its answer to the example is not what its hint says: {str(error).replace('/data', 'result', 1)}",
            hint="mend the hint of what is returned, or leave it out",
        ) from None


def _traceback(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error else ""


def _shipped_path(copy: Path) -> list[str]:
    """Return a folder with what the project ships as files, and no other module of the project: as in the image."""
    project = shipping.project_folder(Path.cwd()) or Path.cwd()
    shipped = shipping.shipped_paths(Path.cwd())
    for path in shipped:
        if (project / path).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(project / path, copy / path, ignore=ignored, dirs_exist_ok=True)
        elif (project / path).is_file():
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / path, copy / path)
    return [str(copy)] if shipped else []
