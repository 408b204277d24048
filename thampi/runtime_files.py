"""Which files of ours run where a model is served: `thampi` and `thampi_handler` as the image has them, and no more."""

import shutil
from pathlib import Path

from thampi import shipped

_PACKAGE = Path(__file__).resolve().parent
_KINDS = (".py", ".html")
_OF_THE_PACKAGE = ("__init__.py", "errors.py", "version.py", "runtime")


def files() -> dict[str, Path]:
    """Return path in the image's /opt/thampi -> file here, sorted; paths are written with /."""
    found = {
        f"thampi/{file.relative_to(_PACKAGE).as_posix()}": file
        for entry in _OF_THE_PACKAGE
        for file in _modules(_PACKAGE / entry)
    }
    handler = shipped.folder() / "handler"
    found |= {f"thampi_handler/{file.relative_to(handler).as_posix()}": file for file in _modules(handler)}
    return dict(sorted(found.items()))


def stage_runtime(into: Path) -> None:
    """Copy the files into a folder that is then one entry of a module path."""
    for path, file in files().items():
        copy = into / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _modules(entry: Path) -> list[Path]:
    if entry.is_file():
        return [entry]
    return [file for file in entry.rglob("*") if file.suffix in _KINDS and "__pycache__" not in file.parts]
