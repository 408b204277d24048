"""What of this machine a requirement may name: a project's folder, a wheel or an sdist."""

import hashlib
import os
import re
import tomllib
from collections.abc import Collection
from pathlib import Path

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

_PROJECT = ("pyproject.toml", "setup.py", "setup.cfg")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz|tar\.zst|tar)$", re.IGNORECASE)


def find(text: str, folder: Path, project_dir: Path) -> Path | None:
    """Return the absolute path that a requirement names, from its file's folder or else the project's; None: no such.

    pip means it from the folder in which it runs, and that is one of the two.
    """
    for start in (folder, project_dir):
        try:
            path = start / os.path.expanduser(text.rstrip("/\\") or "/")  # noqa: PTH111 - Path raises for ~nobody
            if path.exists():
                return path.resolve()
        except (OSError, ValueError):  # a name too long, or with a NUL in it
            continue
    return None


def wrong(path: Path) -> tuple[str, str] | None:
    """Return why nothing can be installed from a path, and the cure; None when it can."""
    if path.is_dir():
        if any((path / name).is_file() for name in _PROJECT):
            return None
        return (
            "is a folder without a project in it",
            "name a folder with a pyproject.toml or setup.py; modules without one are shipped by build.include",
        )
    if not is_archive(path.name):
        return "is no wheel and no sdist", "name a project's folder, a .whl or a .tar.gz"
    if path.suffix == ".whl" and name(path) is None:
        return "is not named as a wheel is", "give it back the name that it was built with: name-1.0-py3-none-any.whl"
    return None


def wrong_hash(path: Path, hashes: Collection[str]) -> tuple[str, str] | None:
    """Return what is wrong when a file has none of the hashes, written like sha256:0f3c…, and the cure."""
    if path.is_dir():
        return "is a folder, which has no hash", "take --hash out of the line"
    for algorithm, _, wanted in (each.partition(":") for each in hashes):
        if algorithm in hashlib.algorithms_guaranteed and not algorithm.startswith("shake"):
            with path.open("rb") as file:
                if hashlib.file_digest(file, algorithm).hexdigest() == wanted.lower():
                    return None
    return "has another hash than the line says", "get the file anew, or correct the hash"


def name(path: Path) -> str | None:
    """Return the distribution that a wheel, an sdist or a project's folder says it is; None when it says none."""
    return _project_name(path / "pyproject.toml") if path.is_dir() else archive_name(path.name)


def archive_name(file: str) -> str | None:
    """Return the distribution that the file name of a wheel or sdist says; None when it says none."""
    for parse in (parse_wheel_filename, parse_sdist_filename):
        try:
            return str(parse(file)[0])
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
    return None


def is_archive(file: str) -> bool:
    """Say whether a file name is that of a wheel or sdist."""
    return _ARCHIVE.search(file) is not None


def _project_name(file: Path) -> str | None:
    try:
        known = tomllib.loads(file.read_text("utf-8")).get("project", {}).get("name")
    except (OSError, ValueError, AttributeError):  # building it says what is wrong with it
        return None
    return canonicalize_name(known) if isinstance(known, str) else None
