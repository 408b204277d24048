"""thampi itself in somebody's dependency file, and the libraries that only its command line needs.

An image has its own thampi, so a line that asks for it is left out. A `pip freeze` of the environment that trained the
model also has what thampi's command line needs (boto3, docker, …), about 60 MB that no prediction uses. These lines are
left out of the requirements, when all of this holds:

- thampi itself stands in the same file: somebody who writes `boto3` into a file without thampi wants boto3;
- the line is an exact version and nothing else, as `pip freeze` writes it: `boto3>=1.35` was written by a person;
- the model does not import it, says the bundle.

They stay as constraints: what another library of the file needs (six, for pandas) comes back in the frozen version.
"""

import re
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from thampi.dependencies import local_target, requirement, urls
from thampi.dependencies.requirement import Asked
from thampi.dependencies.requirements_file import Line

NAME = "thampi"
_ARCHIVE = re.compile(r"thampi(-\d[^/]*)?\.(whl|zip|tar\.gz)")
_KEPT = ("cloudpickle",)  # reads the model


def names_us(line: Line, project_dir: Path) -> bool:
    """Say whether a line is thampi itself, in any of the forms that `pip freeze` or a person writes."""
    known = requirement.name(line)
    if known is not None:
        return known == NAME
    target = re.sub(r"^(-e|--editable)[\s=]*", "", re.split(r"\s--", line.text, maxsplit=1)[0]).strip()
    egg = re.search(r"[#&]egg=([\w.-]+)", target)
    if egg:
        return canonicalize_name(egg.group(1)) == NAME
    path = re.sub(r"\[[\w,\s.-]*\]$", "", urls.path_of(target).partition("#")[0]).rstrip("/")
    last = re.split(r"[/\\]", path)[-1].partition("@")[0].removesuffix(".git")
    if _ARCHIVE.fullmatch(last):
        return True
    found = None if urls.is_one(path) else local_target.find(path, line.file.parent, project_dir)
    if found is not None and local_target.name(found) is not None:
        return local_target.name(found) == NAME
    return last == NAME and target != NAME


def tools() -> frozenset[str]:
    """Return the distributions that thampi's command line needs, theirs included, as installed beside it."""
    found: set[str] = set()
    # No extra of ours: what our tests need may be the user's library just as well.
    waiting: list[tuple[str, tuple[str, ...]]] = [(NAME, ("",))]
    while waiting:
        name, extras = waiting.pop()
        for needed in _needs(name, extras):
            known = canonicalize_name(needed.name)
            if known not in found and known != NAME:
                found.add(known)
                waiting.append((known, ("", *needed.extras)))
    return frozenset(found)


def only_tools(asked: Sequence[Asked], imported: Collection[str]) -> list[Asked]:
    """Return those of a file's requirements that only thampi's command line needs; the file names thampi itself."""
    used = {canonicalize_name(name) for name in imported} | set(_KEPT)
    ours = tools()
    return [each for each in asked if each.name in ours and each.name not in used and _is_frozen(each)]


def _is_frozen(asked: Asked) -> bool:
    return asked.pin is not None and re.fullmatch(r"[\w.-]+==\S+( --hash=\S+)*", asked.text) is not None


def _needs(name: str, extras: Sequence[str]) -> list[Requirement]:
    try:
        said = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # not installed here: thampi runs without it, so it brings nothing
        return []
    found = []
    for text in said:
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
            found.append(needed)
    return found
