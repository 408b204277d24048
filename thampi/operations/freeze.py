"""thampi freeze: what the saved model imports, as a requirements.txt that the user can change and keep."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from thampi.config import Stage
from thampi.dependencies import record
from thampi.errors import ConfigError
from thampi.runtime import bundle
from thampi.runtime.bundle import About

FILE = "requirements.txt"  # where it goes when nobody says where, in the project's folder


def lines(stage: Stage) -> str:
    """Return the text of the file; raise BundleError without a bundle, ConfigError when it has no record."""
    about = bundle.read(stage.model_dir)
    pins = sorted(record.pins(_recorded(about)), key=str.casefold)
    header = (
        f"# What the model {stage.model_dir.name} imports, in the versions that saved it with Python {about.python}.\n"
        "# Written by `thampi freeze`; it is yours to change.\n"
    )
    return header + "".join(f"{pin}\n" for pin in pins)


def freeze(stage: Stage, output: Path, *, force: bool, say: Callable[[str], None]) -> Path:
    """Write the file whole, or not at all; return its path.

    Raises ConfigError when another file is there and `force` is not, or when it can't be written.
    """
    text = lines(stage)
    if not force and os.path.lexists(output) and _content(output) != text.encode():
        raise ConfigError(
            f"{output} is there already, with other lines; nothing was written",
            hint="thampi freeze --force replaces it, thampi freeze --output FILE writes another one",
        )
    try:
        _write(output, text)
    except OSError as error:
        raise ConfigError(
            f"{output} can't be written: {error.strerror}; nothing was written",
            hint="check that the folder is there and yours, and that the disk has room",
        ) from error
    say(f"wrote {output}")
    named = stage.build.dependency_file
    if named is None or named.resolve() != output.resolve():
        say(f"images install from it when thampi.toml names it: [build] dependency_file = {_as_written(output, stage)}")
    return output


def _recorded(about: About) -> dict[str, str]:
    """Return the record with cloudpickle, which reads the model; an old bundle may not have it among the rest."""
    known = {"cloudpickle": about.cloudpickle} if about.cloudpickle and about.distributions else {}
    return known | dict(about.distributions)


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _write(file: Path, text: str) -> None:
    target = file.resolve()  # a link stays one
    if target.is_dir():
        raise IsADirectoryError(None, "it is a folder")
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=target.parent, prefix=f".{target.name}-", delete=False
    ) as aside:
        try:
            aside.write(text)
            aside.close()
            Path(aside.name).chmod(target.stat().st_mode & 0o777 if target.exists() else 0o644)
            Path(aside.name).replace(target)
        except BaseException:
            Path(aside.name).unlink(missing_ok=True)
            raise


def _as_written(file: Path, stage: Stage) -> str:
    inside = file.resolve().is_relative_to(stage.project_dir.resolve())
    path = file.resolve().relative_to(stage.project_dir.resolve()) if inside else file
    return f'"{path.as_posix()}"'
