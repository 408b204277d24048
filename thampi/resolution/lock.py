"""thampi.lock: what was chosen, for each platform and Python; who has it builds the same image."""

import contextlib
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thampi.errors import ConfigError
from thampi.resolution.resolved import Distribution, Resolved

FILE = "thampi.lock"
_VERSION = 1
_HEADER = """\
# Written by thampi: exactly what the image installs. Commit it: who has it builds the same image.
# It follows thampi.toml and the dependency file by itself; `thampi build --refresh` takes newer versions.
"""
_LISTS = ("requirements", "packages", "provided", "shipped", "without_wheel")
_TEXTS = ("platform", "python", "base", "inputs")


@dataclass(frozen=True)
class Entry:
    """What was chosen for one platform and Python, and the digest of what was asked."""

    platform: str
    python: str
    base: str  # the image that ours stands on, with its digest where a registry knows it
    inputs: str
    resolved: Resolved


def read(project_dir: Path) -> tuple[Entry, ...]:
    """Return what the project's lock says; nothing when there is none. Raises ConfigError for one that is broken."""
    file = project_dir / FILE
    try:
        written = tomllib.loads(file.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}", hint="check its permissions") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _broken(file, str(error)) from error
    version = written.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise ConfigError(f"{file} was written by a newer thampi", hint="pip install --upgrade thampi")
    if version != _VERSION:
        raise _broken(file, "it does not say its version")
    images = written.get("image", [])
    if not isinstance(images, list):
        raise _broken(file, "`image` is no list of tables")
    entries = tuple(_entry(file, number, image) for number, image in enumerate(images, 1))
    if len({(entry.platform, entry.python) for entry in entries}) != len(entries):
        raise _broken(file, "two of its images are for the same platform and Python")
    return entries


def find(entries: Sequence[Entry], platform: str, python: str) -> Entry | None:
    """Return the entry of a platform and Python, None when there is none."""
    return next((entry for entry in entries if (entry.platform, entry.python) == (platform, python)), None)


def write(project_dir: Path, entries: Sequence[Entry], entry: Entry) -> str | None:
    """Put `entry` in the place of the one that it replaces; return why the file can't be written, None when it was.

    It is replaced in one step: whoever reads meanwhile sees the old one or the new one.
    """
    others = [each for each in entries if (each.platform, each.python) != (entry.platform, entry.python)]
    ordered = sorted([*others, entry], key=lambda each: (each.platform, each.python))
    text = render(ordered)
    file = project_dir / FILE
    try:
        if file.is_file() and file.read_bytes() == text.encode():
            return None
        descriptor, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=project_dir)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as opened:
                opened.write(text)
            Path(name).chmod(0o644 & ~_umask())
            Path(name).replace(file)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        return f"{file} can't be written ({error.strerror}): the next build may choose other versions"
    return None


def render(entries: Sequence[Entry]) -> str:
    """Return the file's text: the same entries are the same text, one requirement a line."""
    return "\n".join([_HEADER, f"version = {_VERSION}\n", *map(_table, entries)])


def changes(before: Resolved, after: Resolved) -> list[str]:
    """Say what is another version now, one line each: `numpy 2.3.0 -> 2.4.6`."""
    old, new = _versions(before), _versions(after)
    said = []
    for name in sorted(old | new):
        if old.get(name) != new.get(name):
            said.append(f"{name} {old.get(name, '(new)')} -> {new.get(name, '(gone)')}")
    return said


def _versions(resolved: Resolved) -> dict[str, str]:
    return {each.name: each.version for each in resolved.distributions}


def _table(entry: Entry) -> str:
    resolved = entry.resolved
    named = {name for line in resolved.requirements if (name := _named(line)[0])}
    lists: Mapping[str, Sequence[str]] = {
        "requirements": resolved.requirements,
        "packages": resolved.packages,
        "provided": [f"{each.name}=={each.version}" for each in resolved.distributions if each.name not in named],
        "shipped": resolved.needed,
        "without_wheel": [each.name for each in resolved.distributions if not each.has_wheel],
    }
    lines = ["[[image]]", *(f"{key} = {_quoted(str(getattr(entry, key)))}" for key in _TEXTS)]
    for key in _LISTS:
        if lists[key]:
            lines += [f"{key} = [", *(f"    {_quoted(line)}," for line in lists[key]), "]"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # as TOML's basic strings


def _entry(file: Path, number: int, image: Any) -> Entry:
    where = f"image {number}"
    if not isinstance(image, dict):
        raise _broken(file, f"{where} is no table")
    for key in _TEXTS:
        if not isinstance(image.get(key), str) or not image[key]:
            raise _broken(file, f"{where} has no `{key}`")
    lists: dict[str, tuple[str, ...]] = {}
    for key in _LISTS:
        value = image.get(key, [])
        if not isinstance(value, list) or not all(isinstance(line, str) and line.isprintable() for line in value):
            raise _broken(file, f"`{key}` of {where} is no list of texts")
        lists[key] = tuple(value)
    unknown = set(image) - {*_TEXTS, *_LISTS}
    if unknown:
        raise _broken(file, f"{where} has a key that nobody wrote: {', '.join(sorted(unknown))}")
    known = [_named(line) for line in (*lists["provided"], *lists["requirements"]) if not line.startswith("--")]
    for line, (name, version) in zip(
        [line for line in (*lists["provided"], *lists["requirements"]) if not line.startswith("--")], known, strict=True
    ):
        if not name or (not version and " @ " not in line):
            raise _broken(file, f"{where} has a line that is no requirement: {line[:60]}")
        if line in lists["requirements"] and "--hash=sha256:" not in line and not _MADE.search(line):
            raise _broken(file, f"{where} has a requirement without a hash: {name}")
    without = lists["without_wheel"]
    resolved = Resolved(
        requirements=lists["requirements"],
        packages=lists["packages"],
        distributions=tuple(Distribution(name, version, has_wheel=name not in without) for name, version in known),
        needed=lists["shipped"],
    )
    return Entry(image["platform"], image["python"], image["base"], image["inputs"], resolved)


_MADE = re.compile(r" @ file:///mnt/dependencies/wheels/[^\s/]+  # from \S+$")
_REQUIREMENT = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)(==(?P<version>[^\s;]+)| @ (?P<url>\S+))")


def _named(line: str) -> tuple[str, str]:
    """Return name and version of a line that we wrote; of a URL the version that its file is called by."""
    match = _REQUIREMENT.match(line)
    if match is None:
        return "", ""
    if match["version"]:
        return match["name"], match["version"]
    file = match["url"].partition("#")[0].rpartition("/")[2]
    parts = file.removesuffix(".whl").removesuffix(".tar.gz").removesuffix(".zip").split("-")
    return match["name"], parts[1].replace("%2B", "+") if len(parts) > 1 else ""


def _broken(file: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{file} is broken: {why}",
        hint="take the committed one back (git checkout thampi.lock), or delete it: the next build writes it anew",
    )


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
