"""What uv's configuration says of indexes: the UV_ variables, uv.toml and [tool.uv] of the project.

Where the files are and what beats what: https://docs.astral.sh/uv/concepts/configuration-files/
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from thampi.dependencies import text_file
from thampi.dependencies.pip_configuration import present
from thampi.dependencies.pip_options import Places
from thampi.dependencies.wanted import Credentials
from thampi.errors import ConfigError

_NAMED = re.compile(r"(?P<name>[\w.-]+)=(?P<url>.+)", re.DOTALL)


@dataclass(frozen=True)
class Configuration:
    """What uv was told outside of a requirements file."""

    variables: Places
    files: Places
    credentials: Mapping[str, Credentials] = field(default_factory=dict, repr=False)  # by URL of the index
    named: Mapping[str, str] = field(default_factory=dict, repr=False)  # the URL of each index that has a name
    notes: tuple[str, ...] = ()


def read(environ: Mapping[str, str], folder: Path) -> Configuration:
    """Return uv's configuration for a project in `folder`; raise ConfigError when a file can't be read."""
    notes: list[str] = []
    named: dict[str, str] = {}
    variables = _of_variables(environ, folder, named, notes)
    places = [_of_table(table, file.parent, named, notes) for file, table in _tables(environ, folder)]
    files = Places(
        index_url=next((each.index_url for each in places if each.index_url), None),
        extra_index_urls=tuple(url for each in places for url in each.extra_index_urls),
        find_links=tuple(link for each in places for link in each.find_links),
        no_index=any(each.no_index for each in places),
        trusted_hosts=tuple(host for each in places for host in each.trusted_hosts),
    )
    return Configuration(variables, files, _credentials(named, environ), named, tuple(notes))


def _of_variables(environ: Mapping[str, str], folder: Path, named: dict[str, str], notes: list[str]) -> Places:
    def said(name: str) -> list[str]:
        return [_url(each, named) for each in environ.get(name, "").split()]

    index = said("UV_DEFAULT_INDEX") or said("UV_INDEX_URL")
    links = environ.get("UV_FIND_LINKS", "").split(",")
    return Places(
        index_url=next(iter(present(index[:1], folder, "uv", notes, index=True)), None),
        extra_index_urls=present([*said("UV_INDEX"), *said("UV_EXTRA_INDEX_URL")], folder, "uv", notes, index=True),
        find_links=present((each for each in links if each.strip()), folder, "uv", notes),
        trusted_hosts=tuple(environ.get("UV_INSECURE_HOST", "").split()),
    )


def _url(text: str, named: dict[str, str]) -> str:
    """Return the URL of `name=URL`, which a variable of uv's may have, and keep the name."""
    match = _NAMED.fullmatch(text)
    if match is None or "/" in match["name"]:
        return text
    named[match["name"]] = match["url"]
    return match["url"]


def _tables(environ: Mapping[str, str], folder: Path) -> Iterable[tuple[Path, dict[str, Any]]]:
    """Yield uv's tables, the strongest first: of the project, the user, the machine."""
    if environ.get("UV_NO_CONFIG", "") not in ("", "0", "false"):
        return
    named = environ.get("UV_CONFIG_FILE")
    if named:
        yield Path(named), _toml(Path(named))
        return
    for parent in (folder.resolve(), *folder.resolve().parents):
        if (parent / "uv.toml").is_file():
            yield parent / "uv.toml", _toml(parent / "uv.toml")
            break
        project = parent / "pyproject.toml"
        table = _toml(project).get("tool", {}).get("uv") if project.is_file() else None
        if isinstance(table, dict):
            yield project, table
            break
    home = Path(environ.get("USERPROFILE" if os.name == "nt" else "HOME") or Path.home())
    if os.name == "nt":
        own = Path(environ.get("APPDATA") or home / "AppData/Roaming") / "uv/uv.toml"
        shared = Path(environ.get("PROGRAMDATA", r"C:\ProgramData")) / "uv/uv.toml"
    else:
        own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv/uv.toml"
        shared = Path("/etc/uv/uv.toml")
    for file in (own, shared):
        if file.is_file():
            yield file, _toml(file)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text_file.decoded(file.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} can't be read: {error}", hint="correct it: it has uv's settings") from error


def _of_table(table: Mapping[str, Any], folder: Path, named: dict[str, str], notes: list[str]) -> Places:
    default: list[str] = []
    further: list[str] = []
    for each in _list(table.get("index")):
        url = each.get("url") if isinstance(each, dict) else None
        if not isinstance(url, str):
            continue
        if isinstance(each.get("name"), str):
            named.setdefault(each["name"], url)
        if not each.get("explicit"):  # an explicit one is only for those that [tool.uv.sources] gives to it
            (default if each.get("default") else further).append(url)
    default += [url for url in [table.get("index-url")] if isinstance(url, str)]
    further += [url for url in _list(table.get("extra-index-url")) if isinstance(url, str)]
    links = [link for link in _list(table.get("find-links")) if isinstance(link, str)]
    return Places(
        index_url=next(iter(present(default[:1], folder, "uv", notes, index=True)), None),
        extra_index_urls=present(further, folder, "uv", notes, index=True),
        find_links=present(links, folder, "uv", notes),
        no_index=table.get("no-index") is True,
        trusted_hosts=tuple(host for host in _list(table.get("allow-insecure-host")) if isinstance(host, str)),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _credentials(named: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, Credentials]:
    """Return who we are at indexes that have a name: UV_INDEX_NAME_USERNAME and UV_INDEX_NAME_PASSWORD."""
    found = {}
    for name, url in named.items():
        key = "UV_INDEX_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
        user, password = environ.get(f"{key}_USERNAME", ""), environ.get(f"{key}_PASSWORD", "")
        if user or password:
            found[url] = Credentials(user, password)
    return found
