"""The image that ours stands on: which one exactly, by its digest, and how old its system is."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from thampi.builder import failures
from thampi.builder.client import Client
from thampi.recipe import Recipe

# Debian mends bookworm about every two months (https://www.debian.org/releases/bookworm/), Python more often.
_OLD = timedelta(days=60)


@dataclass(frozen=True)
class Base:
    """An image that the engine has: `name@sha256:…`, or just its name when no registry knows it."""

    reference: str
    created: datetime | None  # the newest of its layers; None: it doesn't say

    @property
    def is_pinned(self) -> bool:
        """Say whether its reference means the same bytes on every machine."""
        return "@sha256:" in self.reference

    def is_old(self, now: datetime) -> bool:
        """Say whether its system has missed updates for long."""
        return self.created is not None and now - self.created > _OLD

    def note(self, now: datetime) -> str | None:
        """Return the sentence that an old one is worth; None for others."""
        if self.created is None or not self.is_old(now):
            return None
        name = self.reference.partition("@")[0]
        return f"the base image {name} is {(now - self.created).days} days old: `thampi build --refresh` takes a newer"


def pin(client: Client, reference: str, platform: str, *, refresh: bool = False) -> Base:
    """Return what `reference` means for `platform` now; what the engine has counts, unless `refresh`.

    An image that is not there is pulled. `refresh` asks the registry, also for one that is there, and drops the digest
    of a reference that has a tag, too; one that is only on this machine, because it was built or imported here, stays
    what it is. Raises BuildError when it can't be had.
    """
    name, _, digest = reference.partition("@")
    if refresh and _tag(name):
        reference, digest = name, ""
    found = _inspect(client, reference)
    if found is None or (refresh and not digest and _digest(found, reference)) or not _is_for(found, platform):
        _pull(client, reference, platform)
        found = _inspect(client, reference) or {}
    known = digest or _digest(found, reference)
    return Base(f"{name}@{known}" if known else reference, _created(client, reference))


def _inspect(client: Client, reference: str) -> dict[str, Any] | None:
    """Return what the engine knows of an image; None when it has none of that name."""
    asked = client.run("image", "inspect", "--format", "{{json .}}", reference)
    if asked.returncode == 0:
        return dict(json.loads(asked.stdout))
    if "no such image" in asked.stderr.lower():
        return None
    raise failures.no_engine(asked.stderr)


def _is_for(found: dict[str, Any], platform: str) -> bool:
    return f"{found.get('Os')}/{found.get('Architecture')}" == platform


def _pull(client: Client, reference: str, platform: str) -> None:
    done = client.run("pull", "--quiet", "--platform", platform, reference)
    if done.returncode != 0:
        # The words that a build says of the same failure, so that there is one list of cures.
        said = [f"[internal] load metadata for {reference}", *done.stderr.splitlines()]
        raise failures.explain(said, Recipe(dockerfile="", platform=platform, files={}))


def _digest(found: dict[str, Any], reference: str) -> str:
    """Return the digest under which the image's own registry has it; an empty one when none does.

    It is the index's, where there is one: the same for all platforms.
    """
    name = _whole(_without_tag(reference.partition("@")[0]))
    known = [each.partition("@") for each in found.get("RepoDigests") or ()]
    return next((digest for repository, _, digest in known if _whole(repository) == name), "")


def _created(client: Client, reference: str) -> datetime | None:
    """Return when the newest layer was made.

    The image's own time is that of its Dockerfile's last change for the official images, whose system below it is
    renewed without one; a layer's is that of its content.
    """
    asked = client.run("history", "--no-trunc", "--format", "{{.CreatedAt}}", reference)
    times = []
    for line in asked.stdout.split() if asked.returncode == 0 else ():
        try:
            times.append(datetime.fromisoformat(line).astimezone(UTC))
        except (ValueError, OverflowError):  # Go's zero time, say
            continue
    newest = max(times, default=None)
    # Reproducible builders give all layers the time 0, which says nothing.
    return newest if newest and newest.year > 1980 else None


def _without_tag(name: str) -> str:
    return name.removesuffix(f":{_tag(name)}") if _tag(name) else name


def _tag(name: str) -> str:
    """Return the tag of a name; a colon before the last slash is that of a port."""
    return name.rpartition("/")[2].partition(":")[2]


def _whole(repository: str) -> str:
    """Return a repository's name as the engine shortens it: without what stands for Docker Hub."""
    return repository.removeprefix("docker.io/").removeprefix("library/")
