"""requirements / environment.yml / pyproject / what a model imports -> what the image installs.

This version reads pip's requirements files and, without one, the bundle's own record.
"""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thampi.dependencies import requirements_file
from thampi.errors import ConfigError

_CONDA = re.compile(r"^[\"']?(name|channels|dependencies)[\"']?\s*:(\s|$)", re.MULTILINE)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


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
        return _record(recorded)
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


def _record(recorded: Mapping[str, str]) -> Dependencies:
    if not recorded:
        raise ConfigError(
            "the saved model does not say what it needs, and there is no dependency file",
            hint='write a requirements.txt and name it in thampi.toml: [build] dependency_file = "requirements.txt"',
        )
    # 2.5.1+cpu is a build that only an index of its own has; 2.5.1 is that one, too, and can be had anywhere.
    pinned = tuple(f"{name}=={version.partition('+')[0]}" for name, version in recorded.items())
    return Dependencies(pinned, "what the saved model imports")


def _requirements(file: Path, text: str, recorded: Mapping[str, str]) -> Dependencies:
    kept: list[str] = []
    notes: list[str] = []
    mistakes: list[str] = []
    cures: list[str] = []
    names: set[str | None] = set()
    for line in requirements_file.lines(text):
        if requirements_file.names_us(line, file.parent):
            notes.append(f"{file.name} line {line.number} left out: the image has its own thampi")
            continue
        kept.append(line.text)
        names.add(requirements_file.name(line))
        wrong = requirements_file.wrong(line)
        if wrong:
            mistakes.append(f"{file}, line {line.number}: {wrong[0]}")
            cures.append(wrong[1].replace("FILE", file.name))
    if mistakes:
        raise ConfigError("\n".join(mistakes), hint="\n".join(dict.fromkeys(cures)))
    if "cloudpickle" not in names:
        # Bundles of thampi 0.1.0 need it as well, and don't say in which version.
        pin = f"cloudpickle=={recorded['cloudpickle']}" if "cloudpickle" in recorded else "cloudpickle"
        kept.append(pin)
        notes.append(f"{pin} added: the model was saved with it")
    return Dependencies(tuple(kept), file.name, tuple(notes))


def _text_of(file: Path) -> str:
    try:
        content = file.read_bytes()
        # PowerShell's `pip freeze > requirements.txt` is UTF-16; pip reads that, too.
        return content.decode(next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no dependency file {file}",
            hint="write it (pip freeze > requirements.txt), or leave `dependency_file` out of thampi.toml: what the "
            "model imports is installed then",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read {file}: {error}", hint="save it as UTF-8 text") from error
