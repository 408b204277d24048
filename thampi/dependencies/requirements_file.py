"""pip's requirements file: its lines as pip reads them, and what of it an image can't install."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_OURS = "thampi"
_COMMENT = re.compile(r"(^|\s+)#.*$")
# What `pip freeze` says of a checkout that it can only name by its folder.
_FREEZE_NOTE = re.compile(r"# Editable .*\(thampi==[^)]*\)")
_OUR_ARCHIVE = re.compile(r"thampi(-\d[^/]*)?\.(whl|zip|tar\.gz)")
_REMOTE = re.compile(r"(git\+|hg\+|svn\+|bzr\+)?(?!file:)[a-z]+://")
_VARIABLE = re.compile(r"\$\{\w+\}")

_PLAIN_OPTIONS = ("--pre", "--no-binary", "--only-binary", "--prefer-binary")
_OPTIONS_WITH_URL = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links")
_PINNED = "write it with its version, name==1.2.3 (in a conda environment: pip list --format=freeze > requirements.txt)"
_RESOLVED = (
    "resolve it here, and name the result in build.dependency_file: uv pip compile FILE -o image-requirements.txt"
)
_SHIPPED = "install it from an index or a URL (name @ git+https://…), or ship its modules with build.include"
_PUBLIC = "this version installs from public indexes only: leave the line out, or use a public one"
_CURES = {
    "-r": _RESOLVED,
    "--requirement": _RESOLVED,
    "-c": _RESOLVED,
    "--constraint": _RESOLVED,
    "-e": _SHIPPED,
    "--editable": _SHIPPED,
    "--trusted-host": _PUBLIC,
    "--no-index": _PUBLIC,
    "--require-hashes": "take the line out: the hashes of the other lines are checked without it, too",
}


@dataclass(frozen=True)
class Line:
    """One line that says something, as pip reads it: without comments, continuations joined."""

    number: int
    text: str
    is_noted_as_ours: bool = False  # by pip freeze, in a comment above it


def lines(text: str) -> Iterator[Line]:
    """Yield each line of a requirements file that says something."""
    pending, began, noted = "", 0, False
    for number, line in enumerate([*text.splitlines(), ""], 1):
        is_comment = line.lstrip().startswith("#")
        noted = noted or _FREEZE_NOTE.match(line) is not None
        began = began or number
        if line.rstrip().endswith("\\") and not is_comment:
            pending += line.rstrip()[:-1]
            continue
        said = _COMMENT.sub("", f"{pending} {line}" if is_comment else pending + line).strip()
        if said:
            yield Line(began, said, is_noted_as_ours=noted and said.startswith(("-e", "--editable")))
            noted = False
        pending, began = "", 0


def name(line: Line) -> str | None:
    """Return which distribution a line asks for, in the spelling that names compare in; None when it has no name."""
    try:
        return canonicalize_name(_requirement(_without_options(line.text)).name)
    except InvalidRequirement:
        return None


def names_us(line: Line, folder: Path) -> bool:
    """Say whether a line is thampi itself, in any of the forms that `pip freeze` or a person writes."""
    known = name(line)
    if line.is_noted_as_ours or known is not None:
        return line.is_noted_as_ours or known == _OURS
    target = re.sub(r"^(-e|--editable)[\s=]+", "", _without_options(line.text))
    if target.startswith("-"):
        return False
    egg = re.search(r"[#&]egg=([\w.-]+)", target)
    if egg:
        return canonicalize_name(egg.group(1)) == _OURS
    path = re.sub(r"\[[\w,\s.-]*\]$", "", target.removeprefix("file://").partition("#")[0]).rstrip("/")
    last = re.split(r"[/\\]", path)[-1].partition("@")[0].removesuffix(".git")
    if _OUR_ARCHIVE.fullmatch(last):
        return True
    project = folder / path / "pyproject.toml"
    if "://" not in path and project.is_file():
        text = project.read_text("utf-8", errors="replace")
        return re.search(r"^name\s*=\s*[\"']thampi[\"']", text, re.MULTILINE) is not None
    return last == _OURS


def wrong(line: Line) -> tuple[str, str] | None:
    """Return what of a line an image can't install, and the cure; None when it can.

    What is said never repeats a URL: it may have a password in it.
    """
    return _wrong_option(line.text) if line.text.startswith("-") else _wrong_requirement(line.text)


def _requirement(text: str) -> Requirement:
    if re.fullmatch(r"[\w.+-]+\.(whl|zip|tar\.gz)", text):
        raise InvalidRequirement("it is a file")  # which could be a name as well
    return Requirement(text)


def _without_options(text: str) -> str:
    return re.split(r"\s--", text, maxsplit=1)[0].strip()


def _wrong_option(text: str) -> tuple[str, str] | None:
    parts = re.fullmatch(r"(-[a-z]|--[\w-]+)[\s=]*(.*)", text)
    option, value = parts.groups() if parts else (text, "")
    if option in _PLAIN_OPTIONS:
        return None
    if option in _OPTIONS_WITH_URL:
        return _wrong_url(value, f"the URL of `{option}`")
    cure = _CURES.get(option, "take it out: libraries are installed by uv, which has no such option")
    return f"`{option}` can't be used in an image by this version", cure


def _wrong_requirement(text: str) -> tuple[str, str] | None:
    options = [option for option in re.findall(r"\s(--[\w-]+)", text) if option != "--hash"]
    if options:
        return _wrong_option(options[0])
    text = _without_options(text)
    try:
        requirement = _requirement(text)
    except InvalidRequirement as error:
        return _wrong_without_name(text, str(error).splitlines()[0])
    if requirement.url is None:
        return None
    if not _REMOTE.match(requirement.url):
        return f"{requirement.name} is a file on this machine, where the image can't reach it", _PINNED
    return _wrong_url(requirement.url, f"the URL of {requirement.name}")


def _wrong_without_name(text: str, reason: str) -> tuple[str, str] | None:
    if _REMOTE.match(text):
        return _wrong_url(text, "the URL")
    text = re.sub(r"//[^/@\s]*@", "//***@", text)
    if _VARIABLE.search(text):
        return f"`{text}` has a variable in it, which the image doesn't know", _PINNED
    if re.search(r"^[.~]|^file:|[/\\]|\.(whl|zip|tar\.gz)$", text):
        return f"`{text}` is on this machine, where the image can't reach it", _PINNED
    if re.fullmatch(r"[\w.-]+=[\w.*!+-]+(=\w+)?", text):
        return f"`{text}` is how conda writes it", "pip's way has two equals signs: name==1.2.3"
    return f"`{text}` is not a requirement: {reason[0].lower()}{reason[1:]}", "write name==1.2.3, as pip freeze does"


def _wrong_url(url: str, whose: str) -> tuple[str, str] | None:
    """Return why a build can't use a URL, and the cure; None when it can."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return f"{whose} is not one", "write it as https://host/path"
    if _VARIABLE.search(url) or parts.password is not None or parts.username not in (None, "git"):
        return f"{whose} has credentials in it, which would get into the image's build", _PUBLIC
    if not host or not _REMOTE.match(url):
        return f"{whose} is a path on this machine, where the image can't reach it", _PUBLIC
    if host in ("localhost", "::1") or host.startswith("127."):
        return f"{whose} is this machine, which is another one inside a build", _PUBLIC
    return None
