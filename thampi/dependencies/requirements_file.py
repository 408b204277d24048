"""pip's requirements file: its lines as pip reads them, with those of the files that it names and variables filled in.

What pip documents: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from thampi.dependencies import pip_options, text_file, urls
from thampi.dependencies.mistakes import Mistakes

_COMMENT = re.compile(r"(^|\s+)#.*$")
# What `pip freeze` says of a checkout that it can only name by its folder.
_FREEZE_NOTE = re.compile(r"# Editable .*\(([\w.-]+)==[^)]*\)")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")  # pip knows no other spelling


@dataclass(frozen=True)
class Line:
    """One line that says something, as pip reads it: without comments, continuations joined."""

    file: Path
    number: int  # 0: of no line that a person could look at
    text: str = field(repr=False)  # variables filled in: it may have a password in it
    written: str = ""  # as it stands in the file; for people, when urls.hidden() has seen it
    noted: str | None = None  # the distribution that pip freeze names in a comment above it
    is_constraint: bool = False

    def __str__(self) -> str:
        return f"{self.file}, line {self.number}" if self.number else str(self.file)


def gather(
    file: Path,
    text: str,
    environ: Mapping[str, str],
    mistakes: Mistakes,
    *,
    line_offset: int = 0,
    is_constraint: bool = False,
) -> list[Line]:
    """Return the lines of a requirements file, those of the files that it names with -r and -c in their place.

    `line_offset` is added to the numbers: for a text that is a part of a file.
    """
    found = []
    for line in lines(file, text):
        filled = _filled(line, environ, mistakes)
        if filled is not None:
            found.append(replace(filled, number=line.number + line_offset, is_constraint=is_constraint))
    return [each for line in found for each in _with_nested(line, (file.resolve(),), environ, mistakes)]


def nested(line: Line, environ: Mapping[str, str], mistakes: Mistakes) -> list[Line]:
    """Return the lines of the files that a line of options names."""
    return list(_with_nested(line, (), environ, mistakes))


def lines(file: Path, text: str) -> Iterator[Line]:
    """Yield each line of a requirements file that says something, variables not filled in."""
    pending, began, noted = "", 0, None
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_comment = line.lstrip().startswith("#")
        note = _FREEZE_NOTE.match(line)
        noted = note.group(1) if note else noted
        began = began or number
        if line.rstrip().endswith("\\") and not is_comment:
            pending += line.rstrip()[:-1]
            continue
        said = _COMMENT.sub("", f"{pending} {line}" if is_comment else pending + line).strip()
        if said:
            yield Line(file, began, said, said, noted=noted if said.startswith(("-e", "--editable")) else None)
            noted = None
        pending, began = "", 0


def _filled(line: Line, environ: Mapping[str, str], mistakes: Mistakes) -> Line | None:
    absent = [name for name in _VARIABLE.findall(line.written) if name not in environ]
    for name in dict.fromkeys(absent):
        mistakes.add(line, f"the variable {name} is not set", f"set it before you build: export {name}=…")
    return None if absent else replace(line, text=_VARIABLE.sub(lambda match: environ[match[1]], line.written))


def _with_nested(line: Line, chain: Sequence[Path], environ: Mapping[str, str], mistakes: Mistakes) -> Iterator[Line]:
    """Yield a line, or instead of it those of the files that it names; `chain` are the files that led here."""
    nested = pip_options.nested_files(line.text)
    if not nested:
        yield line
        return
    for name, is_constraint in nested:
        yield from _lines_of(line, name, is_constraint, chain, environ, mistakes)


def _lines_of(
    line: Line, name: str, is_constraint: bool, chain: Sequence[Path], environ: Mapping[str, str], mistakes: Mistakes
) -> Iterator[Line]:
    if urls.is_one(name):
        mistakes.add(line, "it names a file on the web", "download it, and name it by its path")
        return
    shown = urls.hidden(line.written)
    file = line.file.parent / urls.path_of(name)
    try:
        text = text_file.decoded(file.read_bytes())
    except (OSError, ValueError) as error:
        reason = "is not there" if isinstance(error, FileNotFoundError) else f"can't be read: {error}"
        whole = (
            f": {urls.hidden(str(file))}" if line.written == line.text else ""
        )  # nobody is told the value of a variable
        mistakes.add(line, f"`{shown}`{whole} {reason}", "correct the path (it is meant from this file's folder)")
        return
    if file.resolve() in chain:
        way = " -> ".join(path.name for path in (*chain, file))
        mistakes.add(line, f"`{shown}` names a file that it came from: {way}", "take one of these lines out")
        return
    for each in lines(file, text):
        filled = _filled(each, environ, mistakes)
        if filled is not None:
            inner = replace(filled, is_constraint=is_constraint)
            yield from _with_nested(inner, (*chain, file.resolve()), environ, mistakes)
