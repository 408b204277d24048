"""requirements / environment.yml / pyproject / what a model imports -> what the image installs.

This version reads pip's requirements files and, without one, the bundle's own record.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from thampi.errors import ConfigError

_OURS = "thampi"
_INDEX_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--pre", "--no-binary", "--only-binary", "--prefer-binary")
_CONDA = re.compile(r"^(name|channels|dependencies)\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Dependencies:
    """What the image installs, as lines of a requirements file; `title` says for people where they were found."""

    requirements: tuple[str, ...]
    title: str
    notes: tuple[str, ...] = ()  # what was left out or added, and why; for people


def read(file: Path | None, recorded: Mapping[str, str]) -> Dependencies:
    """Return what to install: the lines of `file`, or else the distributions that the bundle recorded, pinned.

    cloudpickle is added in the bundle's version when `file` does not name it: without it the pickle can't be read.
    Raises ConfigError, with every line that can't be installed in an image.
    """
    if file is None:
        pinned = tuple(f"{name}=={version}" for name, version in recorded.items())
        return Dependencies(pinned, "what the saved model imports")
    text = _text_of(file)
    if _CONDA.search(text):
        raise ConfigError(
            f"{file} is a conda environment, which this version can't build yet",
            hint="list the packages in a requirements.txt, or leave `dependency_file` out: what the model imports is "
            "installed then",
        )
    if file.suffix == ".toml":
        raise ConfigError(
            f"{file} is not a requirements file, and this version reads no other",
            hint="uv pip compile pyproject.toml -o requirements.txt",
        )
    return _requirements(file, text, recorded)


def _requirements(file: Path, text: str, recorded: Mapping[str, str]) -> Dependencies:
    kept: list[str] = []
    notes: list[str] = []
    mistakes: list[str] = []
    for number, line in _logical_lines(text):
        if _names_us(line, file.parent):
            notes.append(f"{file.name} line {number} left out: the image has its own thampi")
            continue
        mistake = _mistake(line)
        if mistake:
            mistakes.append(f"{file}, line {number}: {mistake}")
        kept.append(line)
    if mistakes:
        raise ConfigError("\n".join(mistakes), hint="write what the image can install from an index: name==version")
    names = {_name(line) for line in kept}
    if "cloudpickle" in recorded and "cloudpickle" not in names:
        kept.append(f"cloudpickle=={recorded['cloudpickle']}")
        notes.append(f"cloudpickle=={recorded['cloudpickle']} added: the model was saved with it")
    return Dependencies(tuple(kept), file.name, tuple(notes))


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no dependency file {file}",
            hint="write it (pip freeze > requirements.txt), or leave `dependency_file` out of thampi.toml: what the "
            "model imports is installed then",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {file}: {error}", hint="save it as UTF-8 text") from error


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of each line that says something: comments off, continuations joined."""
    pending, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        began = began or number
        pending += re.sub(r"(^|\s)#.*$", "", line).rstrip() if not line.rstrip().endswith("\\") else line.rstrip()[:-1]
        if line.rstrip().endswith("\\"):
            continue
        if pending.strip():
            yield began, pending.strip()
        pending, began = "", 0
    if pending.strip():
        yield began, pending.strip()


def _names_us(line: str, folder: Path) -> bool:
    """Say whether a line is thampi itself, in any of the forms that `pip freeze` writes."""
    if _name(line) == _OURS:
        return True
    target = re.sub(r"^(-e|--editable)[\s=]+", "", line)
    if re.search(r"[#&]egg=thampi\b", target):
        return True
    if "://" in target or not (line.startswith(("-e", "--editable", ".", "/"))):
        return False
    project = folder / target / "pyproject.toml"
    return (
        project.is_file() and re.search(r'^name\s*=\s*"thampi"', project.read_text("utf-8"), re.MULTILINE) is not None
    )


def _name(line: str) -> str | None:
    try:
        return canonicalize_name(Requirement(_without_options(line)).name)
    except InvalidRequirement:
        return None


def _without_options(line: str) -> str:
    return re.split(r"\s--", line, maxsplit=1)[0].strip()


def _mistake(line: str) -> str | None:
    """Return why a line can't be installed in an image, or None."""
    if line.startswith("-"):
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        return None if option in _INDEX_OPTIONS else f"`{option}` can't be used in an image by this version"
    try:
        requirement = Requirement(_without_options(line))
    except InvalidRequirement as error:
        return f"{line!r} is not a requirement: {str(error).splitlines()[0]}"
    if requirement.url and requirement.url.startswith("file:"):
        return f"{requirement.name} is a file on this machine, which the image doesn't have"
    return None
