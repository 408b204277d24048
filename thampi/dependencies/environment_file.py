"""conda's environment.yml, written by hand or by `conda env export` -> what a conda image is asked to have.

Only what means something in an image is taken: channels, packages, and the `pip:` section, which is read as a
requirements file. Everything else is left out, and said.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thampi.dependencies import requirements, requirements_file, urls
from thampi.dependencies.mistakes import Mistakes
from thampi.dependencies.wanted import Channels, Dependencies
from thampi.errors import ConfigError

if TYPE_CHECKING:
    import yaml

_DEFAULT_CHANNEL = "conda-forge"
# What conda takes `defaults` for on Linux:
# https://docs.conda.io/projects/conda/en/stable/user-guide/configuration/settings.html#default-channels
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_KNOWN_KEYS = {"name", "prefix", "channels", "dependencies", "variables"}
_SPEC = re.compile(r"(?:(?P<channel>\S+?)::)?(?P<name>[A-Za-z0-9_][\w.-]*?)(?P<rest>\s*(?:[\[=<>!~\s].*)?)", re.DOTALL)
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win)-\w+)$")
_SELECTOR = re.compile(r"#\s*\[([^\]]*)\]\s*$")
# A comment like `# [win]` is how conda's recipes say that a line is for one system; some tools write it here, too.
_ELSEWHERE = re.compile(r"(?:(?:win|osx)(?:-?\w+)?|not\s+(?:linux|unix))(?:\s+or\s+(?:win|osx)(?:-?\w+)?)*")
_LEFT_OUT = {
    "thampi": "the image has its own thampi",
    "pip": "an image installs nothing by itself, and the pip section is installed without it",
}
_SECRET = re.compile(r"//[^/\s]*@|/t/[^/]+|\$\{?\w")


@dataclasses.dataclass(frozen=True)
class _Text:
    """A text of the file, and the number of its line."""

    text: str
    line: int


def read(
    file: Path, text: str, recorded: Mapping[str, str], *, environ: Mapping[str, str], project_dir: Path
) -> Dependencies:
    """Return what `text`, the content of `file`, asks for; `recorded` is what the model imports, by name.

    Raises ConfigError with every mistake of the file, each with its line.
    """
    mistakes, notes = Mistakes(), list[str]()
    found = _sections(file, text, mistakes)
    channels = [name for item in found["channels"] for name in _channel(file, item, mistakes)]
    selected = _without_other_systems(file, text, found["dependencies"], notes)
    specs, python, more = _specs(file, selected, notes, mistakes)
    if found["variables"]:
        notes.append(
            f"{file.name}: variables ({', '.join(item.text for item in found['variables'])}) are no part of an image: "
            "write them in thampi.toml, under [stages.NAME.environment]"
        )
    notes += [f"{file.name} line {item.line}: `{item.text}:` says nothing about an image" for item in found["other"]]
    written = _as_requirements(_without_other_systems(file, text, found["pip"], notes))
    pip = requirements.assemble(
        list(requirements_file.gather(file, written, environ, mistakes)),
        recorded,
        mistakes,
        environ=environ,
        project_dir=project_dir,
        title=file.name,
        with_cloudpickle=False,
        notes=notes,
    )
    asked = Channels(tuple(dict.fromkeys([*(channels or [_DEFAULT_CHANNEL]), *more])), tuple(specs), python)
    return _with_cloudpickle(dataclasses.replace(pip, conda=asked), asked, recorded)


def _with_cloudpickle(read: Dependencies, asked: Channels, recorded: Mapping[str, str]) -> Dependencies:
    """Add cloudpickle in the bundle's version where nobody names it, and for the case that no package brings it."""
    if any(_is_named(line, "cloudpickle") for line in (*read.requirements, *asked.specs)):
        return read
    pin = f"cloudpickle=={recorded['cloudpickle']}" if "cloudpickle" in recorded else "cloudpickle"
    return dataclasses.replace(
        read,
        requirements=(*read.requirements, pin),
        conda=dataclasses.replace(asked, unless_brought=(pin,)),
        notes=(*read.notes, f"{pin} added unless conda brings it: the model was saved with it"),
    )


# ---------------------------------------------------------------------------------------------------- the file's parts


def _sections(file: Path, text: str, mistakes: Mistakes) -> dict[str, list[_Text]]:
    """Return the texts of `channels`, `dependencies` and its `pip`, the names of `variables`, and of other keys."""
    import yaml  # which only those who use conda wait for

    found: dict[str, list[_Text]] = {"channels": [], "dependencies": [], "pip": [], "variables": [], "other": []}
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(
            _said(file, error), hint="correct it there; a YAML file has no tabs before its words"
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{file} is no conda environment", hint="write it as `conda env export --from-history` does")
    for key, value in root.value:
        name = _Text(str(key.value), key.start_mark.line + 1)
        if name.text == "channels":
            found["channels"] += _texts(file, value, mistakes)
        elif name.text == "dependencies":
            _dependencies(file, value, found, mistakes)
        elif name.text == "variables" and isinstance(value, yaml.MappingNode):
            found["variables"] += [_Text(str(variable.value), name.line) for variable, _ in value.value]
        elif name.text not in _KNOWN_KEYS:
            found["other"].append(name)
    if not found["dependencies"] and not found["pip"] and not mistakes.messages:
        mistakes.add(file, "it names no dependencies", "write them: dependencies: [numpy=1.26, scikit-learn]")
    return found


def _dependencies(file: Path, node: "yaml.Node", found: dict[str, list[_Text]], mistakes: Mistakes) -> None:
    """Take apart the list that has packages in it and, as one of its items, pip's own list."""
    if not isinstance(node.value, list) or node.id != "sequence":
        mistakes.add(
            _at(file, node), "`dependencies` is no list", "write each package on a line of its own, after `- `"
        )
        return
    for item in node.value:
        if item.id != "mapping":
            found["dependencies"] += _texts(file, item, mistakes)
            continue
        for key, value in item.value:
            if key.value == "pip":
                found["pip"] += _texts(file, value, mistakes)
            else:
                mistakes.add(
                    _at(file, key),
                    f"`{key.value}:` is no section that an image knows",
                    "only `pip:` stands among packages",
                )


def _texts(file: Path, node: "yaml.Node", mistakes: Mistakes) -> list[_Text]:
    """Return the texts of a list, or of one value; nothing for an empty one."""
    if node.id == "scalar":
        return [_Text(node.value.strip(), node.start_mark.line + 1)] if node.tag.rpartition(":")[2] != "null" else []
    if node.id == "mapping":
        mistakes.add(_at(file, node), "a name is expected here", "take the colon out, or quote the line")
        return []
    return [text for item in node.value for text in _texts(file, item, mistakes)]


def _at(file: Path, node: "yaml.Node") -> str:
    return f"{file}, line {node.start_mark.line + 1}"


def _said(file: Path, error: "yaml.YAMLError") -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{file}, line {mark.line + 1}: {problem}" if mark else f"{file}: {problem}"


def _without_other_systems(file: Path, text: str, items: Sequence[_Text], notes: list[str]) -> list[_Text]:
    lines, kept = text.splitlines(), []
    for item in items:
        selector = _SELECTOR.search(lines[item.line - 1]) if item.line <= len(lines) else None
        if selector and _ELSEWHERE.fullmatch(selector.group(1).strip()):
            notes.append(f"{file.name} line {item.line} left out: {item.text} is for another system")
        else:
            kept.append(item)
    return kept


def _as_requirements(items: Sequence[_Text]) -> str:
    """Return the `pip:` section as a requirements file, in which each line has the number that it has in the YAML."""
    lines = [""] * max((item.line for item in items), default=0)
    for item in items:
        lines[item.line - 1] = f"{lines[item.line - 1]}\n{item.text}".strip()
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------- channels and packages


def _channel(file: Path, item: _Text, mistakes: Mistakes) -> list[str]:
    """Return a channel by its name or URL, a folder of this machine by its file: URL; none for `nodefaults`.

    What is said never repeats a URL that may have a secret in it.
    """
    text, where = item.text, f"{file}, line {item.line}"
    if text == "nodefaults":
        return []
    if _SECRET.search(text):
        mistakes.add(
            where,
            "the channel has a password, a token or a variable in it",
            "channels that ask who we are can't be used by this version: download what you need of it into a folder "
            "(conda index makes it a channel), and name the folder here",
        )
        return []
    if text in ("defaults", "pkgs/main"):
        return list(_DEFAULTS)
    if urls.is_one(text) or not (urls.is_file(text) or re.match(r"[./~\\]|[A-Za-z]:", text)):
        return [_SUBDIR.sub("", text.rstrip("/"))]
    folder = (file.parent / Path(urls.path_of(text)).expanduser()).resolve()
    if not folder.is_dir():
        mistakes.add(
            where, f"there is no channel {folder}", "correct the path, or make the folder (conda index FOLDER)"
        )
    return [folder.as_uri()]


def _specs(
    file: Path, items: Sequence[_Text], notes: list[str], mistakes: Mistakes
) -> tuple[list[str], str | None, list[str]]:
    """Return the packages, what is said of python, and channels that only stand before a package (`channel::name`)."""
    specs: list[str] = []
    python: list[str] = []
    more: list[str] = []
    for item in items:
        where = f"{file}, line {item.line}"
        parts = _SPEC.fullmatch(item.text)
        if parts is None or _is_pips(parts["name"] + parts["rest"]):
            mistakes.add(
                where,
                f"`{urls.hidden(item.text)}` is not how conda names a package",
                "conda's way is name=1.2.3; what only pip knows belongs under `- pip:`",
            )
            continue
        name, rest = parts["name"].lower(), parts["rest"].strip()
        if name in _LEFT_OUT:
            notes.append(f"{file.name} line {item.line} left out: {_LEFT_OUT[name]}")
            continue
        channel = _channel(file, _Text(parts["channel"], item.line), mistakes) if parts["channel"] else []
        more += channel
        if name == "python":
            python += [rest] if rest else []
        else:
            # `defaults` is several channels, which no spec can say: it is looked for in all that are named then.
            specs.append(f"{channel[0]}::{name}{_glued(rest)}" if len(channel) == 1 else name + _glued(rest))
    return specs, ",".join(python) or None, more


def _is_pips(text: str) -> bool:
    return text.startswith("-") or "@" in text or re.match(r"\w+\+?\w*://", text) is not None or "===" in text


def _glued(rest: str) -> str:
    """Return what follows a name, told from it: `1.2` after a space stays apart, `=1.2` does not."""
    return rest if not rest or rest[0] in "=<>!~[" else f" {rest}"


def _is_named(line: str, name: str) -> bool:
    return re.match(rf"{name}(?![\w.-])", line.rpartition("::")[2]) is not None
