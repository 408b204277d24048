"""What pip's configuration says of indexes: pip.conf and the PIP_ variables.

Where the files are and what beats what: https://pip.pypa.io/en/stable/topics/configuration/
"""

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thampi.dependencies import text_file, urls
from thampi.dependencies.pip_options import Places, choices
from thampi.errors import ConfigError

_TRUE = ("1", "true", "yes", "on", "y", "t")


@dataclass(frozen=True)
class Configuration:
    """What pip was told outside of a requirements file."""

    variables: Places
    files: Places
    choice: tuple[str, ...] = ()  # --pre, --no-binary NAME, --only-binary NAME
    constraints: tuple[Path, ...] = ()
    certificate: Path | None = None
    notes: tuple[str, ...] = ()


def read(environ: Mapping[str, str], folder: Path) -> Configuration:
    """Return pip's configuration; relative paths in it are meant from `folder`.

    A folder that is not there is left out with a note: configuration is often of another machine. Raises ConfigError
    when a file can't be read.
    """
    from_files: dict[str, str] = {}
    for file in files(environ):
        sections = _sections(file)
        # [install] beats [global], whichever file they stand in.
        from_files |= {f"global.{key}": value for key, value in sections.get("global", {}).items()}
        from_files |= {f"install.{key}": value for key, value in sections.get("install", {}).items()}
    in_files = {
        key.partition(".")[2]: value for key, value in sorted(from_files.items())
    }  # "global." sorts before "install."
    in_variables = {
        name[len("PIP_") :].lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value.strip()
    }
    notes: list[str] = []
    rest = {key: value for key, value in in_files.items() if key not in in_variables}
    both = {**in_files, **in_variables}
    return Configuration(
        variables=_places(in_variables, folder, notes),
        files=_places(rest, folder, notes),
        choice=_choice(both),
        constraints=tuple(folder / urls.path_of(each) for each in both.get("constraint", "").split()),
        certificate=Path(os.path.expanduser(both["cert"])) if "cert" in both else None,  # noqa: PTH111 - as below
        notes=tuple(notes),
    )


def files(environ: Mapping[str, str]) -> list[Path]:
    """Return the configuration files that pip would read, the strongest last."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:  # pip's way to say: none
        return []
    home = Path(environ.get("USERPROFILE" if os.name == "nt" else "HOME") or Path.home())
    if os.name == "nt":
        shared = [Path(environ.get("PROGRAMDATA", r"C:\ProgramData")) / "pip/pip.ini"]
        own = [home / "pip/pip.ini", Path(environ.get("APPDATA") or home / "AppData/Roaming") / "pip/pip.ini"]
    else:
        everyone = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")
        shared = [*(Path(each) / "pip/pip.conf" for each in everyone if each), Path("/etc/pip.conf")]
        modern = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"
        own = [home / ".pip/pip.conf", modern]
        if sys.platform == "darwin":
            shared = [Path("/Library/Application Support/pip/pip.conf")]
            support = home / "Library/Application Support/pip"
            own = [home / ".pip/pip.conf", support / "pip.conf" if support.is_dir() else modern]
    place = environ.get("VIRTUAL_ENV") or environ.get("CONDA_PREFIX") or sys.prefix
    of_environment = Path(place) / ("pip.ini" if os.name == "nt" else "pip.conf")
    if named and Path(named).exists():
        return [file for file in (*shared, of_environment, Path(named)) if file.is_file()]
    return [file for file in (*shared, *own, of_environment) if file.is_file()]


def _sections(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text_file.decoded(file.read_bytes()))
    except (OSError, ValueError, configparser.Error) as error:
        # What the parser says may repeat a line of the file, with a password in it.
        raise ConfigError(
            f"pip's configuration {file} can't be read: {type(error).__name__}", hint="pip config debug"
        ) from None
    return {
        title: {
            key.lower().replace("_", "-").removeprefix("--"): value
            for key, value in parser.items(title)
            if value.strip()
        }
        for title in parser.sections()
    }


def _places(said: Mapping[str, str], folder: Path, notes: list[str]) -> Places:
    index = said.get("index-url") or said.get("pypi-url")
    return Places(
        index_url=next(iter(present([index] if index else [], folder, "pip", notes, index=True)), None),
        extra_index_urls=present(said.get("extra-index-url", "").split(), folder, "pip", notes, index=True),
        find_links=present(said.get("find-links", "").split(), folder, "pip", notes),
        no_index=said.get("no-index", "").strip().lower() in _TRUE,
        trusted_hosts=tuple(said.get("trusted-host", "").split()),
    )


def present(said: Iterable[str], folder: Path, whose: str, notes: list[str], *, index: bool = False) -> tuple[str, ...]:
    """Return the places of a configuration that can be used: URLs, and paths of this machine that are there."""
    found = []
    for place in (each.strip() for each in said):
        if urls.is_one(place):
            try:
                usable = bool(urls.split(place)[1])
            except ValueError:
                usable = False
            if usable:
                found.append(place)
            else:
                notes.append(f"{whose}'s configuration names an index whose URL is not one: it is not used")
            continue
        path = (folder / os.path.expanduser(urls.path_of(place))).resolve()  # noqa: PTH111 - Path raises for ~nobody
        if path.exists():
            found.append(urls.uri_of(path) if index else str(path))
        else:
            notes.append(f"{whose}'s configuration names {path}, which is not there: it is not used")
    return tuple(found)


def _choice(said: Mapping[str, str]) -> tuple[str, ...]:
    found = ["--pre"] if said.get("pre", "").strip().lower() in _TRUE else []
    for name in ("no-binary", "only-binary"):
        found += choices(f"--{name}", said.get(name, ""))
    return tuple(found)
