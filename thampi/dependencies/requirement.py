"""One requirement, in any of the forms that people and `pip freeze` write: what is asked for, and from where."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from thampi.dependencies import local_target, urls
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.requirements_file import Line
from thampi.dependencies.wanted import Credentials, Local

_NAME = re.compile(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?", re.ASCII)
_EXTRAS = re.compile(r"^(?P<place>.*?)\[(?P<extras>[\w.,\s-]*)\]$")
_OPTION = re.compile(r"\s(--[\w-]+)(?:[=\s]\s*((?!--)\S+))?")
_HASH = re.compile(r"\w+:[0-9A-Za-z]+")
# Where conda builds its packages: what was installed from there is a conda package, and the folder is never here.
_CONDA_BUILD = re.compile(
    r"[/\\](croots?|conda-bld|feedstock_root|rattler-build\w*|ci(_\w+)?|perseverance\S*|work)([/\\]|$)"
)
_SECRET_QUERY = re.compile(r"[?&][\w-]*(token|secret|signature|password|key|sig)=", re.IGNORECASE)
_SECRET = re.compile(r"\$\{\w*(TOKEN|SECRET|PASS|PWD|KEY|AUTH|CREDENTIAL|PAT)\w*\}")

_PINNED = "write it with its version, name==1.2.3; all at once: pip list --format=freeze > requirements.txt"
_BY_GIT = "ask for it from an index, or from a git repository: name @ git+https://host/owner/name@revision"


@dataclass(frozen=True)
class Asked:
    """One distribution that a line asks for."""

    line: Line
    name: str | None  # canonical, where it is known
    text: str = ""  # PEP 508, `--hash` options behind it; "" when it is local
    pin: str | None = None  # the version, when it is exactly one
    hashed: bool = False
    local: Local | None = None
    known_at: tuple[str, Credentials] | None = field(default=None, repr=False)  # a host, and who we are there
    stands_in: bool = False  # for a file that is not here any more


def name(line: Line) -> str | None:
    """Return which distribution a line asks for, in the spelling that names compare in; None when it has no name."""
    try:
        return canonicalize_name(_parsed(_without_options(line.text)).name)
    except InvalidRequirement:
        return canonicalize_name(line.noted) if line.noted else None


def read(line: Line, recorded: Mapping[str, str], project_dir: Path, mistakes: Mistakes) -> Asked | None:
    """Return what a line asks for; None, and a mistake, when no image can have it.

    `recorded` are the versions that the model imports, by name: they stand in for a file that is not here any more.
    What is said never repeats who we are at a host.
    """
    hashes = _hashes(line, mistakes)
    if hashes is None:
        return None
    text = _without_options(line.text)
    beyond = _beyond_host(line.written)
    if _SECRET.search(beyond) or _SECRET_QUERY.search(beyond):
        mistakes.add(
            line,
            "a secret stands in the path or query of a URL, and would stand in the image, too",
            "give it as the user: https://${NAME}@host/…, or in a netrc file",
        )
        return None
    text = re.sub(r"^(-e|--editable)[\s=]*", "", text)
    if _is_editable(line):
        text = re.sub(r"""^(["'])(.*)\1$""", r"\2", text)  # pip reads options as a shell does
    try:
        found = _parsed(text)
        if found.url is None and _is_editable(line):
            raise InvalidRequirement("it is a folder")  # `-e lib` is one, whatever else has that name
    except InvalidRequirement as error:
        return _without_name(line, text, hashes, project_dir, str(error).splitlines()[0], mistakes)
    if found.url is not None:
        return _at_url(line, found, hashes, recorded, project_dir, mistakes)
    named = canonicalize_name(found.name)
    return Asked(line, named, _joined(str(found), hashes), _pin(found), bool(hashes))


def _parsed(text: str) -> Requirement:
    if re.fullmatch(r"[\w.+-]+", text) and local_target.is_archive(text):
        raise InvalidRequirement("it is a file")  # which could be a name as well
    return Requirement(text)


def _without_options(text: str) -> str:
    return re.split(r"\s--", text, maxsplit=1)[0].strip()


def _beyond_host(text: str) -> str:
    return " ".join(url.partition("://")[2].partition("/")[2] for url in re.findall(r"\S+://\S+", text))


def _joined(text: str, hashes: list[str]) -> str:
    return " ".join([text, *(f"--hash={each}" for each in hashes)])


def _pin(found: Requirement) -> str | None:
    exact = [each for each in found.specifier if each.operator in ("==", "===") and not each.version.endswith("*")]
    return exact[0].version if len(exact) == 1 and len(found.specifier) == 1 else None


def _hashes(line: Line, mistakes: Mistakes) -> list[str] | None:
    hashes = []
    for option, value in _OPTION.findall(line.text):
        if option == "--hash" and _HASH.fullmatch(value):
            hashes.append(value)
        elif option == "--hash":
            mistakes.add(line, "`--hash` has no hash", "write it as --hash=sha256:…, or take it out")
            return None
        else:
            mistakes.add(
                line,
                f"`{urls.hidden(option)}` is no option that an image knows",
                "take it out: libraries are installed by uv",
            )
            return None
    return hashes


def _at_url(
    line: Line,
    found: Requirement,
    hashes: list[str],
    recorded: Mapping[str, str],
    project_dir: Path,
    mistakes: Mistakes,
) -> Asked | None:
    """Return what `name @ URL` asks for."""
    named = canonicalize_name(found.name)
    marker = str(found.marker or "")
    url = found.url or ""
    if urls.is_one(url) or urls.is_repository(url):
        return _remote(line, url, named, tuple(sorted(found.extras)), marker, hashes, mistakes)
    path = local_target.find(urls.path_of(url), line.file.parent, project_dir)
    if path is not None:
        return _local(line, path, url, named, tuple(sorted(found.extras)), marker, hashes, mistakes)
    version = recorded.get(named) or (_built_version(url) if _is_condas(url) else None)
    if urls.is_file(url) and (version is not None or _is_condas(url)):
        exactly = f"=={version.partition('+')[0]}" if version else ""
        plain = f"{found.name}{_bracketed(sorted(found.extras))}{exactly}"
        return Asked(line, named, plain + (f" ; {marker}" if marker else ""), version, stands_in=True)
    mistakes.add(line, f"`{urls.hidden(line.written)}` names a file that is not here", _PINNED)
    return None


def _is_condas(url: str) -> bool:
    """Say whether a file was a package that conda built: then an index has a distribution of that name, too."""
    return _CONDA_BUILD.search(urls.path_of(url)) is not None


def _built_version(url: str) -> str | None:
    """Return the version that the name of a wheel says; None when a URL names no wheel."""
    try:
        return str(parse_wheel_filename(re.split(r"[/\\]", urls.path_of(url))[-1])[1])
    except InvalidWheelFilename:
        return None


def _without_name(
    line: Line, text: str, hashes: list[str], project_dir: Path, reason: str, mistakes: Mistakes
) -> Asked | None:
    """Return what a bare path or URL asks for."""
    place, _, marker = (part.strip() for part in re.split(r"(\s;|;\s|$)", text, maxsplit=1))
    try:
        marker = str(Marker(marker)) if marker else ""
    except InvalidMarker:
        mistakes.add(line, "what stands behind the ; is no marker", "write it as ; python_version < '3.12'")
        return None
    remote = (urls.is_one(place) or urls.is_repository(place)) and not re.search(r"\s", place)
    match = None if remote else _EXTRAS.match(place)
    extras: tuple[str, ...] = ()
    if match:
        place = match["place"]
        extras = tuple(each.strip() for each in match["extras"].split(",") if each.strip())
    if remote:
        return _remote(line, place, None, extras, marker, hashes, mistakes)
    looks_like_path = "://" not in place and (re.search(r"^[.~]|[/\\]", place) or local_target.is_archive(place))
    if urls.is_file(place) or looks_like_path or _is_editable(line):
        return _of_path(line, place, extras, marker, hashes, project_dir, mistakes)
    shown = urls.hidden(line.written)
    if re.fullmatch(r"[\w.-]+=[\w.*!+-]+(=\w+)?", text):
        mistakes.add(line, f"`{shown}` is how conda writes it", "pip's way has two equals signs: name==1.2.3")
    else:
        said = f": {reason[0].lower()}{reason[1:]}" if line.written == line.text else ""  # nor a variable's value
        mistakes.add(line, f"`{shown}` is not a requirement{said}", "write name==1.2.3, as pip freeze does")
    return None


def _is_editable(line: Line) -> bool:
    return line.text.startswith(("-e", "--editable"))


def _of_path(
    line: Line,
    place: str,
    extras: tuple[str, ...],
    marker: str,
    hashes: list[str],
    project_dir: Path,
    mistakes: Mistakes,
) -> Asked | None:
    path = local_target.find(urls.path_of(place), line.file.parent, project_dir)
    if path is None:
        named = f" ({line.noted})" if line.noted else ""
        mistakes.add(
            line,
            f"`{urls.hidden(line.written)}`{named} is not there",
            "correct the path (it is meant from the file's folder), or write it with its version: name==1.2.3",
        )
        return None
    known = canonicalize_name(line.noted) if line.noted else local_target.name(path)
    return _local(line, path, place, known, extras, marker, hashes, mistakes)


def _local(
    line: Line,
    path: Path,
    place: str,
    named: str | None,
    extras: tuple[str, ...],
    marker: str,
    hashes: list[str],
    mistakes: Mistakes,
) -> Asked | None:
    """Return what a path of this machine asks for; a hash that the line says is checked now, while the file is here."""
    hashes = [*hashes, *(":".join(found) for found in re.findall(r"[#&](sha\d+|md5)=(\w+)", place))]
    wrong = local_target.wrong(path) or (local_target.wrong_hash(path, hashes) if hashes else None)
    if wrong:
        mistakes.add(line, f"`{urls.hidden(line.written)}` {wrong[0]}", wrong[1])
        return None
    local = Local(urls.hidden(line.written), str(path), named, extras, marker)
    return Asked(line, named, hashed=bool(hashes), local=local)


def _remote(
    line: Line,
    url: str,
    named: str | None,
    extras: tuple[str, ...],
    marker: str,
    hashes: list[str],
    mistakes: Mistakes,
) -> Asked | None:
    """Return what the URL of an archive or a repository asks for."""
    whose = f"the URL of {named}" if named else "the URL"
    try:
        plain, host, who = urls.split(url)
    except ValueError:
        plain, host, who = "", "", None
    if not host and not plain.startswith("git+file:"):
        mistakes.add(line, f"{whose} is not one", "write it as https://host/path, or git+https://host/path@revision")
        return None
    known_at = (host, who) if who else None
    address, _, fragment = plain.partition("#")
    parts = dict(part.partition("=")[::2] for part in fragment.split("&"))
    if parts.get("egg"):
        egg = _EXTRAS.match(parts["egg"])
        if not _NAME.fullmatch(egg["place"] if egg else parts["egg"]):
            mistakes.add(line, f"{whose} has an egg= that is no name", "write #egg=name, or name @ URL")
            return None
        named = named or canonicalize_name(egg["place"] if egg else parts["egg"])
        extras = extras or (tuple(egg["extras"].split(",")) if egg else ())
    if urls.is_repository(plain):
        if not plain.lower().startswith("git+"):
            system = plain.partition("+")[0]
            mistakes.add(line, f"{whose} is a repository of {system}, which thampi can't read", _BY_GIT)
            return None
        where = f"{address}#subdirectory={parts['subdirectory']}" if parts.get("subdirectory") else address
        return Asked(
            line, named, local=Local(urls.hidden(line.written), where, named, extras, marker), known_at=known_at
        )
    kept = "&".join(part for part in fragment.split("&") if part and not part.startswith("egg="))
    address = f"{address}#{kept}" if kept else address
    named = named or local_target.archive_name(address.partition("#")[0].partition("?")[0].rpartition("/")[2])
    text = f"{named}{_bracketed(extras)} @ {address}" if named else address
    text = f"{text} ; {marker}" if marker else text
    hashed = bool(hashes) or re.search(r"#(.*&)?sha\d+=", address) is not None
    return Asked(line, named, _joined(text, hashes), hashed=hashed, known_at=known_at)


def _bracketed(extras: tuple[str, ...] | list[str]) -> str:
    return f"[{','.join(extras)}]" if extras else ""
