"""thampi clean: what nobody needs any more, in AWS and on this machine."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thampi import names
from thampi.aws import buckets, lock
from thampi.builder import client as docker_client
from thampi.builder import leftovers as images
from thampi.config import Stage
from thampi.errors import ThampiError
from thampi.local import leftovers as folders
from thampi.operations import build, garbage
from thampi.operations.garbage import Garbage
from thampi.operations.place import Place, who

Say = Callable[[str], None]


@dataclass(frozen=True)
class Left:
    """What is left on this machine."""

    images: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


def clean_stage(stage: Stage, place: Place, *, say: Say, dry_run: bool = False, force: bool = False) -> Garbage:
    """Delete what a stage has beyond `keep_releases`, and what no stage of the project uses; `dry_run`: only say it.

    Raises CloudError when another run is changing the stage, or AWS refuses.
    """
    if buckets.read(place.aws, place.bucket, closely=False) is None:
        return Garbage()
    if dry_run:
        versions = garbage.old_versions(stage, place)
        shared = garbage.unused(stage, place, without=versions)
        return Garbage(versions, shared.images, shared.models)
    with lock.hold(place.aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        return garbage.collect(stage, place, held, say=say, thorough=True)


def clean_machine(
    stages: Iterable[Stage], environ: Mapping[str, str], *, everything: bool, say: Say, dry_run: bool = False
) -> Left:
    """Delete images of the project that none of its stages would push; `everything`: also what all projects have left.

    What can be read of the project decides: an image is kept when a stage's plan can't be made.
    """
    found = Left(_images(list(stages), environ, everything, say), tuple(folders.find(environ)) if everything else ())
    if dry_run:
        return found
    client = docker_client.find(environ) if found.images else None
    return Left(
        tuple(images.remove(client, list(found.images))) if client else (), tuple(folders.remove(found.folders))
    )


def _images(stages: list[Stage], environ: Mapping[str, str], everything: bool, say: Say) -> tuple[str, ...]:
    repository = names.repository(stages[0].name)
    keep: set[str] = set()
    try:
        client = docker_client.find(environ)
        for stage in stages:
            plan = build.plan(stage)
            keep.add(plan.reference)
    except ThampiError as error:
        say(f"the engine's images stay: {error.message}")
        return ()

    return tuple(images.find(client, repository, frozenset(keep), everybodys=everything))
