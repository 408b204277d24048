"""uv's answer as it writes it (pylock.toml, PEP 751) -> which files were chosen."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from thampi.resolution import uv_command


@dataclass(frozen=True)
class File:
    """One file of a distribution, and where it is."""

    url: str  # without credentials; file:// for one of this machine
    sha256: str = ""  # "": the index doesn't say
    size: int = 0  # bytes; 0: the index doesn't say

    @property
    def name(self) -> str:
        """Return the file's name."""
        return unquote(urlsplit(self.url).path).rpartition("/")[2]

    @property
    def path(self) -> Path | None:
        """Return where it is on this machine; None for what can only be fetched."""
        return Path(url2pathname(urlsplit(self.url).path)) if self.url.startswith("file:") else None

    @property
    def size_here(self) -> int:
        """Return how many bytes it has on this machine; 0 for what can only be fetched."""
        return self.path.stat().st_size if self.path else 0

    @property
    def is_here(self) -> bool:
        """Say whether no build can reach it."""
        return uv_command.is_here(self.url)


@dataclass(frozen=True)
class Chosen:
    """One distribution of the answer, with the files of it that the image can use."""

    name: str
    version: str
    wheels: tuple[File, ...] = ()  # the best first
    sdist: File | None = None
    is_url: bool = False  # it was asked for by its URL, and no index has it
    source: str = ""  # a folder or git+URL@commit: it is to be made into a wheel

    @property
    def file(self) -> File | None:
        """Return the file that will be installed, one that can be fetched if there is such."""
        return next((file for file in self.wheels if not file.is_here), (*self.wheels, self.sdist)[0])


def read(text: str, fitting: Sequence[Tag], folder: Path) -> list[Chosen]:
    """Return what was chosen; `fitting` are the tags of the wheels that the image can use, best first.

    Paths in it are meant from `folder`.
    """
    ranks = {tag: rank for rank, tag in enumerate(fitting)}
    return [_chosen(entry, ranks, folder) for entry in tomllib.loads(text).get("packages", ())]


def with_pins(versions: Mapping[str, str]) -> str:
    """Return the least that uv takes for an earlier answer: it prefers these versions then."""
    entries = "".join(f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in versions.items())
    return f'lock-version = "1.0"\ncreated-by = "thampi"\n{entries}'


def _chosen(entry: Mapping[str, Any], ranks: Mapping[Tag, int], folder: Path) -> Chosen:
    name, version = entry["name"], entry.get("version", "")
    if "archive" in entry:
        file = _file(entry["archive"], folder)
        if file.name.endswith(".whl"):
            return Chosen(name, version or _version(file), (file,), is_url=True)
        return Chosen(name, version, sdist=file, is_url=True)
    if "vcs" in entry:
        vcs = entry["vcs"]
        inside = f"#subdirectory={vcs['subdirectory']}" if "subdirectory" in vcs else ""
        return Chosen(name, version, source=f"{vcs['type']}+{vcs['url']}@{vcs['commit-id']}{inside}")
    if "directory" in entry:
        return Chosen(name, version, source=str((folder / entry["directory"]["path"]).resolve()))
    ranked = sorted(
        (
            (rank, file)
            for wheel in entry.get("wheels", ())
            for file in [_file(wheel, folder)]
            for rank in _rank(file, ranks)
        ),
        key=lambda each: each[0],
    )
    sdist = _file(entry["sdist"], folder) if "sdist" in entry else None
    return Chosen(name, version, tuple(file for _, file in ranked), sdist)


def _file(entry: Mapping[str, Any], folder: Path) -> File:
    url = entry.get("url") or (folder / entry["path"]).resolve().as_uri()
    return File(str(url).partition("#")[0], entry.get("hashes", {}).get("sha256", ""), int(entry.get("size", 0)))


def _rank(file: File, ranks: Mapping[Tag, int]) -> list[int]:
    """Return how well a wheel fits, as a list of one; an empty one when it doesn't."""
    try:
        found = [ranks[tag] for tag in parse_wheel_filename(file.name)[3] if tag in ranks]
    except InvalidWheelFilename:
        return []
    return [min(found)] if found else []


def _version(file: File) -> str:
    return str(parse_wheel_filename(file.name)[1])
