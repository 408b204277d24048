"""The answer for a project: that of its thampi.lock while the same is asked, else chosen anew and written there."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thampi.dependencies.wanted import Dependencies, Local
from thampi.errors import BuildError
from thampi.resolution import checks, conda, inputs, lock, pip, platforms, wheels
from thampi.resolution.resolved import Resolved

Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What is asked for: by whom, for which image."""

    dependencies: Dependencies
    python: str  # the minor version, like 3.11
    platform: str  # linux/amd64
    base_image: str  # its name; as it was asked for, or the official one
    libc: tuple[int, int]
    project_dir: Path


def get(
    asked: Asked,
    *,
    environ: Mapping[str, str],
    say: Say,
    pin: Callable[[str], str],
    refresh: bool = False,
    write: bool = True,
) -> tuple[Resolved, str]:
    """Return what the image installs, and the reference of the image that it stands on.

    `pin` finds the digest of a base image, and is only asked when the lock has none; `refresh` takes newer versions
    and a newer base; without `write` nothing is. Nothing is run and nobody is asked while the lock's answer holds.

    Raises ConfigError for a lock that can't be read, and what resolving raises.
    """
    entries = lock.read(asked.project_dir)
    before = lock.find(entries, asked.platform, asked.python)
    digest = inputs.digest(asked.dependencies, asked.libc)
    base = before.base if before and not refresh and _is_of(before.base, asked.base_image) else pin(asked.base_image)
    if before and before.inputs == digest and not refresh:
        resolved = before.resolved
    else:
        resolved = _choose(asked, environ, say, before.resolved if before and not refresh else None)
    if write:
        _write(asked, entries, lock.Entry(asked.platform, asked.python, base, digest, resolved), before, say)
    return resolved, base


def ship(asked: Asked, resolved: Resolved, *, environ: Mapping[str, str], say: Say) -> Mapping[str, bytes | Path]:
    """Return what has to be shipped, which a lock only names: found again, or made again, on this machine.

    Raises BuildError when it is not here, or is not what was locked.
    """
    if set(resolved.needed) <= set(resolved.shipped):
        return resolved.shipped
    found = _choose(_at_the_same_commits(asked, resolved), environ, say, resolved).shipped
    for name in resolved.needed:
        if name not in found:
            raise BuildError(
                f"{lock.FILE} names {name}, which was not fetched from an index, and is not on this machine",
                hint="put it where it was (a folder of --find-links, a project beside this one), or choose anew: "
                "`thampi build --refresh`",
            )
        digests = _digests(resolved, name)
        if digests and _sha256(found[name]) not in digests:
            raise BuildError(
                f"{name} on this machine is another one than {lock.FILE} names",
                hint="take the one that was used, or choose anew: `thampi build --refresh`",
            )
    return {name: found[name] for name in resolved.needed}


def _choose(asked: Asked, environ: Mapping[str, str], say: Say, before: Resolved | None) -> Resolved:
    known = {each.name: each.version for each in before.distributions if each.version} if before else {}
    choose: Callable[..., Resolved] = pip.resolve
    if asked.dependencies.manager == "conda":
        choose = functools.partial(conda.resolve, locked=before.packages if before else ())
    resolved = choose(
        asked.dependencies,
        python=asked.python,
        platform=asked.platform,
        environ=environ,
        say=say,
        libc=asked.libc,
        preferred=known,
    )
    notes = (*resolved.notes, *checks.size(resolved, asked.platform))
    return dataclasses.replace(resolved, needed=tuple(sorted(resolved.shipped)), notes=notes)


def _write(
    asked: Asked, entries: tuple[lock.Entry, ...], entry: lock.Entry, before: lock.Entry | None, say: Say
) -> None:
    if entry == before:
        return
    failed = lock.write(asked.project_dir, entries, entry)
    if failed:
        say(failed)
        return
    if before is None:
        say(f"{lock.FILE} written: commit it, and everyone builds this image")
        return
    changes = lock.changes(before.resolved, entry.resolved)
    if entry.base != before.base:
        changes = [f"base image {before.base} -> {entry.base}", *changes]
    said = "".join(f"\n  {change}" for change in changes) or " nothing: the same versions are asked for otherwise"
    say(f"{lock.FILE} rewritten; changed:{said}")


def _is_of(pinned: str, asked: str) -> bool:
    """Say whether a pinned reference is of the image that is asked for."""
    return pinned == asked or pinned.partition("@")[0] == asked


def _at_the_same_commits(asked: Asked, resolved: Resolved) -> Asked:
    """Ask for the commits that were locked, where a branch was asked for."""
    locked = re.findall(r"  # from (git\+\S+)$", "\n".join(resolved.requirements), re.MULTILINE)
    known = {_repository(url): url for url in locked}

    def at(local: Local) -> Local:
        return dataclasses.replace(local, target=known.get(_repository(local.target), local.target))

    local = tuple(at(each) if wheels.is_remote(each) else each for each in asked.dependencies.local)
    return dataclasses.replace(asked, dependencies=dataclasses.replace(asked.dependencies, local=local))


def _repository(target: str) -> tuple[str, str]:
    url, _, fragment = target.partition("#")
    host, slash, path = url.partition("://")[2].partition("/")
    inside = re.search(r"subdirectory=([^&]*)", fragment)
    return f"{host}{slash}{path.partition('@')[0]}", inside.group(1) if inside else ""


def _digests(resolved: Resolved, file: str) -> set[str]:
    """Return the digests that are locked for a file; none when it was made here, which its sources stand for."""
    name = file.partition("-")[0].replace("_", "-").lower()
    for line in (*resolved.requirements, *resolved.packages):
        if line.startswith(f"{file}#"):
            return {line.partition("#")[2]}
        if re.match(rf"{re.escape(name)}==", line):
            return set(re.findall(r"--hash=sha256:(\w+)", line))
    return set()


def _sha256(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def libc(base_image: str | None) -> tuple[int, int]:
    """Return the version of glibc that an image's wheels may count on; None is the official image."""
    return platforms.glibc(base_image)
