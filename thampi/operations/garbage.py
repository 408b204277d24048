"""What is no longer needed: releases beyond `keep_releases`, and images and models that no release of any stage names.

The stages share images and models, and each may be pushed at any moment from another machine. So whoever deletes those
holds the locks of all stages: none can be in the middle of a push that has seen an image, and not yet named it. Where
one is, they stay for the next time.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from thampi import names
from thampi.aws import function, lock, provisioned, registry, release, store
from thampi.aws.lock import Lock
from thampi.aws.release import Version
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations.place import Place, who

Say = Callable[[str], None]


@dataclass(frozen=True)
class Garbage:
    """What may go."""

    versions: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    models: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.versions or self.images or self.models)

    def __str__(self) -> str:
        parts = ((self.versions, "release"), (self.images, "image"), (self.models, "model"))
        return ", ".join(f"{len(what)} {word}{'s' * (len(what) > 1)}" for what, word in parts if what)


def after_flip(stage: Stage, place: Place, held: Lock, *, say: Say) -> None:
    """Collect when the stage has more releases than it keeps; what can't be done now is no failure of the push."""
    try:
        found = collect(stage, place, held, say=say)
    except CloudError as error:
        say(f"older releases were left where they are: {error.message}")
        return
    if found:
        say(f"deleted what is older than the {stage.keep_releases} releases to keep: {found}")


def collect(stage: Stage, place: Place, held: Lock, *, say: Say, thorough: bool = False) -> Garbage:
    """Delete old releases of the stage, and, after some or when `thorough`, images and models that are in no use.

    `held` is the stage's own lock. Returns what was deleted.
    """
    versions = old_versions(stage, place)
    name = names.function(stage.name, stage.stage)
    if versions:
        provisioned.remove_every(place.aws, name, versions)
    for number in versions:
        held.check()
        release.remove_version(place.aws, name, number)
    if not versions and not thorough:
        return Garbage()
    with contextlib.ExitStack() as stack:
        try:
            locks = [held, *_hold_others(stage, place, stack)]
        except CloudError as error:
            say(f"images and models stay for now: {error.message}")
            return Garbage(versions)
        shared = unused(stage, place)
        for each in locks:
            each.check()
        registry.remove_images(place.aws, stage.name, shared.images)
        for model in shared.models:
            for each in locks:
                each.check()
            store.remove_model(place.aws, place.bucket, stage.name, model)
    return Garbage(versions, shared.images, shared.models)


def old_versions(stage: Stage, place: Place) -> tuple[str, ...]:
    """Name the versions of a stage beyond those to keep, the oldest first.

    Those that never were live go first; one that an alias names, or that is newer than what is live, never goes.
    """
    name = names.function(stage.name, stage.stage)
    versions = release.versions(place.aws, name)
    if len(versions) <= stage.keep_releases:
        return ()
    named, were_live = release.named(place.aws, name)
    if not were_live:
        return ()
    ranked = sorted(versions, key=lambda each: (each.number in were_live, int(each.number)), reverse=True)
    beyond = [each.number for each in ranked[stage.keep_releases :]]
    return tuple(sorted((each for each in beyond if each not in named and int(each) < int(were_live[0])), key=int))


def unused(stage: Stage, place: Place, *, without: Sequence[str] = ()) -> Garbage:
    """Find the images and models that no version of any stage of the project names, but the newest ones.

    `without`: as if these versions of the stage were gone already.
    """
    aws, project = place.aws, stage.name
    images, models = registry.images(aws, project), store.list_models(aws, place.bucket, project)
    known = {each.digest for each in images}
    used_images: set[str] = set()
    used_models: set[str] = set()
    for each in function.stages(aws, project):
        name = names.function(project, each)
        latest = function.read(aws, name)
        if latest is not None:  # the next push changes it, and Lambda refuses that when its image is gone
            used_images.add(_digest(latest.function.image_uri))
            used_models.add(_instance(latest.function.environment.get("THAMPI_MODEL", "")))
        for version in release.versions(aws, name):
            if each == stage.stage and version.number in without:
                continue
            used_images |= _images_of(place, name, version, known)
            used_models.add(_instance(version.model))
    newest = sorted(models, key=lambda each: each.last_modified, reverse=True)
    return Garbage(
        images=tuple(each.digest for each in images[stage.keep_releases :] if each.digest not in used_images),
        models=tuple(each.instance_id for each in newest[stage.keep_releases :] if each.instance_id not in used_models),
    )


def _images_of(place: Place, name: str, version: Version, known: Iterable[str]) -> set[str]:
    """Name the image of a version: by Lambda's own digest of it when the registry knows that, else by asking for it."""
    digest = f"sha256:{version.code_sha256}"
    if digest in known:
        return {digest}
    found = function.read(place.aws, name, version.number)
    return {_digest(found.function.image_uri)} if found else set()


def _hold_others(stage: Stage, place: Place, stack: contextlib.ExitStack) -> Sequence[Lock]:
    """Hold the locks of all other stages until the stack ends; raise CloudError when one of them is another run's."""
    aws, project = place.aws, stage.name
    others = {*function.stages(aws, project), *lock.stages(aws, place.bucket, project)} - {stage.stage}
    mine = f"{who()}{lock.TIDYING}"
    return [stack.enter_context(lock.hold(aws, place.bucket, project, each, who=mine)) for each in sorted(others)]


def _digest(image_uri: str) -> str:
    return image_uri.rpartition("@")[2]


def _instance(url: str) -> str:
    found = re.search(r"/models/([^/]+)/?$", url)
    return found[1] if found else ""
