"""The options that may stand in a requirements file, and what they ask for.

Which they are: https://pip.pypa.io/en/stable/reference/requirements-file-format/#supported-options
"""

import os
import re
import shlex
from dataclasses import dataclass, field, replace
from pathlib import Path

from thampi.dependencies import urls
from thampi.dependencies.mistakes import Mistakes

_SHORT = {"-i": "--index-url", "-f": "--find-links", "-r": "--requirement", "-c": "--constraint", "-e": "--editable"}
_WITH_VALUE = {
    *_SHORT.values(),
    *("--pypi-url", "--extra-index-url", "--no-binary", "--only-binary", "--trusted-host", "--use-feature"),
}
_FILES = {"--requirement": False, "--constraint": True}


@dataclass(frozen=True)
class Places:
    """Where one source, a file or a configuration, says to look; its URLs may still have credentials in them."""

    index_url: str | None = field(default=None, repr=False)
    extra_index_urls: tuple[str, ...] = field(default=(), repr=False)
    find_links: tuple[str, ...] = field(default=(), repr=False)
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the options of a requirements file ask for."""

    places: Places = field(default_factory=Places)
    choice: tuple[str, ...] = ()  # --pre, --no-binary NAME, --only-binary NAME
    require_hashes: bool = False
    notes: tuple[str, ...] = ()


def is_line_of(text: str) -> bool:
    """Say whether a line of a requirements file is options only; an editable requirement is none."""
    return text.startswith("-") and not is_editable(text)


def is_editable(text: str) -> bool:
    """Say whether a line is an editable requirement."""
    return text.startswith("-e") or re.match(r"--editable([\s=]|$)", text) is not None


def nested_files(text: str) -> list[tuple[str, bool]]:
    """Return the files that a line of options names, each with whether it is one of constraints."""
    if not is_line_of(text):
        return []
    return [(value, _FILES[name]) for name, value in _words(text) if name in _FILES and value]


def added(options: Options, text: str, where: object, folder: Path, mistakes: Mistakes) -> Options:
    """Return `options` with those of one more line; `folder` is where its relative paths are meant from."""
    for name, value in _words(text):
        if name in _WITH_VALUE and not value:
            mistakes.add(where, f"`{name}` has no value", f"write it behind: {name} …")
            continue
        options = _with(options, name, value, where, folder, mistakes)
    return options


def choices(name: str, value: str) -> list[str]:
    """Return `--no-binary a,b` as one option for each distribution."""
    return [f"{name} {each.strip()}" for each in re.split(r"[,\s]+", value) if each.strip()]


def _with(options: Options, name: str, value: str, where: object, folder: Path, mistakes: Mistakes) -> Options:
    places = options.places
    match name:
        case "--index-url" | "--pypi-url":
            url = _index(value, name, where, folder, mistakes)
            return replace(options, places=replace(places, index_url=url or places.index_url))
        case "--extra-index-url":
            url = _index(value, name, where, folder, mistakes)
            extra = (*places.extra_index_urls, *([url] if url else []))
            return replace(options, places=replace(places, extra_index_urls=extra))
        case "--find-links":
            link = _link(value, where, folder, mistakes)
            return replace(options, places=replace(places, find_links=(*places.find_links, *([link] if link else []))))
        case "--no-index":
            return replace(options, places=replace(places, no_index=True))
        case "--trusted-host":
            return replace(options, places=replace(places, trusted_hosts=(*places.trusted_hosts, value)))
        case "--pre":
            return replace(options, choice=(*options.choice, name))
        case "--no-binary" | "--only-binary":
            return replace(options, choice=(*options.choice, *_checked_choices(name, value, where, mistakes)))
        case "--require-hashes":
            return replace(options, require_hashes=True)
        case "--prefer-binary" | "--use-feature":
            return replace(
                options, notes=(*options.notes, f"{where}: `{name}` changes nothing: the image is made by uv")
            )
    mistakes.add(
        where, f"`{urls.hidden(name)}` is no option that an image knows", "take it out: libraries are installed by uv"
    )
    return options


def _checked_choices(name: str, value: str, where: object, mistakes: Mistakes) -> list[str]:
    found = choices(name, value)
    if all(re.fullmatch(r"\S+ (:all:|:none:|[\w.-]+)", each) for each in found):
        return found
    mistakes.add(where, f"`{name}` should name distributions", f"write {name} numpy,scipy or {name} :all:")
    return []


def _words(text: str) -> list[tuple[str, str]]:
    """Return the options of a line with their values, by their long names; "" where there is no value."""
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that nobody closes
        words = text.split()
    found: list[tuple[str, str]] = []
    waiting = False
    for word in words:
        if waiting:
            found[-1] = (found[-1][0], word)
            waiting = False
            continue
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        name = _SHORT.get(name, name)
        found.append((name, value))
        waiting = name in _WITH_VALUE and not equals
    return found


def _index(value: str, option: str, where: object, folder: Path, mistakes: Mistakes) -> str | None:
    if urls.is_one(value):
        try:
            host = urls.split(value)[1]
        except ValueError:
            host = ""
        if host:
            return value
        mistakes.add(where, f"the URL of `{option}` is not one", "write it as https://host/path")
        return None
    path = folder / urls.path_of(value)
    if path.is_dir():
        return urls.uri_of(path.resolve())
    mistakes.add(where, f"`{option}` names a folder that is not there", f"correct the path: it is meant from {folder}")
    return None


def _link(value: str, where: object, folder: Path, mistakes: Mistakes) -> str | None:
    if urls.is_one(value):
        return _index(value, "--find-links", where, folder, mistakes)
    path = folder / os.path.expanduser(urls.path_of(value))  # noqa: PTH111 - Path raises for ~nobody
    if path.exists():
        return str(path.resolve())
    mistakes.add(where, "`--find-links` names what is not there", f"correct the path: it is meant from {folder}")
    return None
