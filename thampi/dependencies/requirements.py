"""A requirements file -> what the image is asked to have: the lines, the places to look, what is left out and added."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thampi.dependencies import (
    indexes,
    not_for_linux,
    ours,
    pip_configuration,
    pip_options,
    requirement,
    requirements_file,
    urls,
)
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.pip_options import Options
from thampi.dependencies.requirement import Asked
from thampi.dependencies.requirements_file import Line
from thampi.dependencies.wanted import Dependencies


@dataclass
class _Read:
    """What the lines said so far."""

    asked: list[Asked] = field(default_factory=list)
    constraints: list[Asked] = field(default_factory=list)
    options: Options = field(default_factory=Options)
    notes: list[str] = field(default_factory=list)
    names_us: bool = False


def read(
    file: Path,
    text: str,
    recorded: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    project_dir: Path,
    title: str | None = None,
    with_cloudpickle: bool = True,
    line_offset: int = 0,
) -> Dependencies:
    """Return what a requirements file asks for, with what pip's and uv's configuration say of indexes.

    `line_offset` is added to the line numbers of messages, for a text that is a part of `file`; `with_cloudpickle` adds
    cloudpickle in the bundle's version when nothing names it. Raises ConfigError with every mistake at once.
    """
    mistakes = Mistakes()
    lines = requirements_file.gather(file, text, environ, mistakes, line_offset=line_offset)
    return assemble(
        lines,
        recorded,
        mistakes,
        environ=environ,
        project_dir=project_dir,
        title=title or file.name,
        with_cloudpickle=with_cloudpickle,
    )


def assemble(
    lines: Sequence[Line],
    recorded: Mapping[str, str],
    mistakes: Mistakes,
    *,
    environ: Mapping[str, str],
    project_dir: Path,
    title: str,
    with_cloudpickle: bool = True,
    options: Options | None = None,
    notes: Sequence[str] = (),
) -> Dependencies:
    """Return what the lines ask for; `options` and `notes` are what was said before them.

    Raises ConfigError with every mistake at once, `mistakes` having those that were found before.
    """
    found = _Read(options=options or Options(), notes=list(notes))
    configured = pip_configuration.read(environ, project_dir)
    for line in [*lines, *_configured_constraints(configured.constraints, environ, mistakes)]:
        _take(line, found, recorded, project_dir, mistakes)
    if found.options.require_hashes:
        _check_hashes(found.asked, mistakes)
    constraints = _constraints(found, mistakes)
    kept = found.asked
    if found.names_us:
        left_out = ours.only_tools(found.asked, recorded)
        kept = [each for each in found.asked if each not in left_out]
        constraints += [each.text.partition(" --hash=")[0] for each in left_out]
        found.notes += _left_out_note(left_out)
    places, more = indexes.make(
        found.options.places,
        environ=environ,
        project_dir=project_dir,
        mistakes=mistakes,
        known_at=[each.known_at for each in kept if each.known_at],
        hosts=_hosts(kept),
    )
    mistakes.check()
    requirements = [each.text for each in kept if each.text]
    notes = [*found.notes, *found.options.notes, *_stand_in_notes(kept), *more]
    if with_cloudpickle and "cloudpickle" not in {each.name for each in kept}:
        # Bundles of thampi 0.1.0 need it as well, and don't say in which version.
        pin = f"cloudpickle=={recorded['cloudpickle']}" if "cloudpickle" in recorded else "cloudpickle"
        requirements.append(pin)
        notes.append(f"{pin} added: the model was saved with it")
    return Dependencies(
        title=title,
        requirements=tuple(requirements),
        constraints=tuple(dict.fromkeys(constraints)),
        options=tuple(dict.fromkeys([*configured.choice, *found.options.choice])),
        indexes=places,
        local=tuple(each.local for each in kept if each.local),
        notes=tuple(dict.fromkeys(notes)),
    )


def _take(line: Line, found: _Read, recorded: Mapping[str, str], project_dir: Path, mistakes: Mistakes) -> None:
    """Add what one line says."""
    if re.search(r"(^|\s)--[\w-]*\$\{", line.written):  # whose value would be said, as that of no option
        mistakes.add(line, "a variable stands where the name of an option should", "write the option's name")
        return
    if pip_options.is_line_of(line.text):
        found.options = pip_options.added(found.options, line.text, line, line.file.parent, mistakes)
        return
    if ours.names_us(line, project_dir):
        if not line.is_constraint:
            found.names_us = True
            where = f"{line.file.name} line {line.number}" if line.number else f"{line.file.name}: thampi"
            found.notes.append(f"{where} left out: the image has its own thampi")
        return
    why_not = not_for_linux.reason(requirement.name(line) or "")
    if why_not and ";" not in line.text:  # with a marker, the line itself says where it is wanted
        found.notes.append(f"{line.file.name} line {line.number} left out: {why_not}")
        return
    asked = requirement.read(line, recorded, project_dir, mistakes)
    if asked is not None:
        (found.constraints if line.is_constraint else found.asked).append(asked)


def _configured_constraints(files: Sequence[Path], environ: Mapping[str, str], mistakes: Mistakes) -> list[Line]:
    """Return the lines of the files that PIP_CONSTRAINT or pip.conf names."""
    found = []
    for file in files:
        line = Line(Path("pip's configuration"), 0, f"-c {file}", f"-c {file}")
        found += requirements_file.nested(line, environ, mistakes)
    return found


def _constraints(found: _Read, mistakes: Mistakes) -> list[str]:
    """Return the constraints as lines; a folder or repository is none, and matters only when somebody asks for it."""
    names = {each.name for each in found.asked if each.local is None}
    kept = []
    for each in found.constraints:
        if each.local is None and each.name is not None:
            kept.append(each.text.partition(" --hash=")[0])
        elif each.name is None or each.name in names:
            mistakes.add(
                each.line,
                f"`{urls.hidden(each.line.written)}` can't be a constraint",
                "only a version can: name==1.2.3; ask for a folder or repository in the requirements instead",
            )
    return kept


def _check_hashes(asked: Sequence[Asked], mistakes: Mistakes) -> None:
    for each in asked:
        if not each.hashed:
            mistakes.add(
                each.line,
                f"`{urls.hidden(each.line.written)}` has no hash, and the file says --require-hashes",
                "write the hashes of all (uv pip compile --generate-hashes), or take --require-hashes out: the hashes "
                "that are there are checked without it, too",
            )


def _hosts(asked: Sequence[Asked]) -> set[str]:
    """Return the hosts that requirements name themselves: netrc may know who we are there."""
    targets = [each.local.target if each.local else each.text.partition(" @ ")[2] or each.text for each in asked]
    return {urls.split(target.split()[0])[1] for target in targets if urls.is_one(target)} - {""}


def _stand_in_notes(asked: Sequence[Asked]) -> list[str]:
    """Say what is asked for instead of files that are not here: of a conda environment they can be a hundred."""
    exactly = [each.text for each in asked if each.stands_in and each.pin]
    notes = [f"instead of files that are not here, an index is asked for {', '.join(exactly)}"] if exactly else []
    loosely = [each.text for each in asked if each.stands_in and not each.pin]
    if loosely:
        notes.append(
            f"conda built {', '.join(loosely)}, and the file does not say in which version: any is asked for "
            "(pip list --format=freeze > requirements.txt writes the versions)"
        )
    return notes


def _left_out_note(left_out: Sequence[Asked]) -> list[str]:
    if not left_out:
        return []
    names = ", ".join(sorted(each.name or "" for each in left_out))
    return [
        f"left out unless another library needs them, because only thampi's command line asks for them: {names} "
        "(to keep one, write >= instead of ==)"
    ]
