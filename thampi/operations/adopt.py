"""thampi push production --from staging: exactly what is live on one stage is released on another.

The same image by its digest, and the same model by its manifest's hash: nothing is built, saved or chosen anew. What
the stage's own region or bucket lacks is copied through this machine, and checked on its way.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thampi.aws import copying, registry, release, store
from thampi.aws.ensured import Ensured
from thampi.config import Stage
from thampi.errors import CloudError, ConfigError
from thampi.operations import desired, sharing
from thampi.operations.place import Place
from thampi.runtime import bundle
from thampi.runtime.bundle import About

Say = Callable[[str], None]


@dataclass(frozen=True)
class Recipe:
    """What names an image whose recipe was made elsewhere."""

    digest: str


@dataclass(frozen=True)
class Adopted:
    """What another stage serves: to be released as it is, in the place of a plan."""

    stage: Stage  # the one that adopts it, with the folder of the model that is to be adopted
    about: About  # of a model that is in the image: its id alone
    manifest_sha256: str
    model: Recipe
    image_digest: str
    bring_model: Callable[[], Ensured[store.Stored]] | None  # None: from the folder, or with the image
    deliver: Callable[..., str]


@contextlib.contextmanager
def live_of(origin: Stage, origin_place: Place, stage: Stage, place: Place, *, say: Say) -> Iterator[Adopted]:
    """Find what is live of `origin`, to be released by `stage`; its files are there for the time of the block.

    Raises CloudError when nothing is live there, or parts of it are gone.
    """
    if (origin.name, origin.stage) == (stage.name, stage.stage):
        raise ConfigError(f"--from {origin.stage} is the stage itself", hint=f"thampi push {stage.stage}")
    live = sharing.read_live(origin, origin_place)
    if live.candidate:
        say(f"{origin.stage}: a canary is under way, and what is live is taken: {sharing.describe(live)}")
    digest = live.function.image_uri.rpartition("@")[2]
    tag = _free_tag(stage, place, _tag(origin, origin_place, digest), digest)
    platform: Any = next(docker for docker, word in desired.ARCHITECTURES.items() if word == live.function.architecture)
    with tempfile.TemporaryDirectory(prefix="thampi-") as temporary:
        folder = Path(temporary)
        environment = live.function.environment
        if "THAMPI_MODEL" in environment:
            lies: Any = "s3"
            about, bring = _model(origin, origin_place, live, stage, place, folder, say)
        else:
            lies, bring = "image", None
            about = About(release.said(live.description).get("model", ""), "")
        say(f"releasing version {live.version} of {origin.stage}: model {about.instance_id}, image {digest[:19]}")
        yield Adopted(
            stage=replace(stage, model_dir=folder, build=replace(stage.build, platform=platform, model=lies)),
            about=about,
            manifest_sha256=environment["THAMPI_MANIFEST_SHA256"],
            model=Recipe(tag),
            image_digest=digest,
            bring_model=bring,
            deliver=functools.partial(_deliver, origin_place, place, stage.name, digest, tag, say),
        )


def _model(
    origin: Stage, origin_place: Place, live: release.Live, stage: Stage, place: Place, folder: Path, say: Say
) -> tuple[About, Callable[[], Ensured[store.Stored]] | None]:
    """Bring the manifest into the folder, and the model's files unless the stage's bucket has them."""
    url, sha256 = live.function.environment["THAMPI_MODEL"], live.function.environment["THAMPI_MANIFEST_SHA256"]
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    instance_id = prefix.rstrip("/").rpartition("/")[2]
    manifest = store.download_manifest(origin_place.aws, bucket, origin.name, instance_id, sha256)
    (folder / bundle.MANIFEST).write_bytes(manifest)
    about = bundle.parse(manifest, url)
    standing = store.read_model(place.aws, place.bucket, stage.name, instance_id)
    if standing is not None and standing.manifest_sha256 == sha256:
        return about, lambda: _still_there(stage, place, instance_id)
    say(f"copying the model {instance_id} to the bucket {place.bucket}")
    store.download_files(origin_place.aws, bucket, origin.name, about, folder)
    return about, None


def _still_there(stage: Stage, place: Place, instance_id: str) -> Ensured[store.Stored]:
    """Look again, while nobody else may delete it."""
    found = store.read_model(place.aws, place.bucket, stage.name, instance_id)
    if found is None:
        raise CloudError(f"the model {instance_id} is gone from the bucket {place.bucket}", hint="run it again")
    return Ensured(found, "left")


def _free_tag(stage: Stage, place: Place, tag: str, digest: str) -> str:
    """Return the tag, or one of the digest's own where the stage's registry has built the recipe itself."""
    there = registry.read_image(place.aws, stage.name, tag)
    return tag if there is None or there.digest == digest else f"{tag}-{digest[7:19]}"


def _tag(origin: Stage, place: Place, digest: str) -> str:
    """Return the tag of the image: its recipe's digest."""
    tagged = next((each.tags for each in registry.images(place.aws, origin.name) if each.digest == digest), None)
    if not tagged:
        what = "has no tag" if tagged is not None else "is gone from ECR"
        raise CloudError(f"the image {digest} of {origin.stage} {what}", hint=f"thampi push {origin.stage}")
    return sorted(tagged)[0]


def _deliver(
    origin: Place, place: Place, project: str, digest: str, tag: str, say: Say, uri: str, login: object, go_on: object
) -> str:
    say(f"copying the image to {uri}")
    return copying.copy_image(origin.aws, place.aws, project, digest, tag)
