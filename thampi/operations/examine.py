"""What a push would do: all that a stage is made of is read and compared; nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thampi import names
from thampi.aws import buckets, function, logs, registry, release, role, store
from thampi.config import Stage
from thampi.errors import BundleError
from thampi.operations import access_log, desired, domain, endpoint, ground, provisioning, sharing, validation, warmth
from thampi.operations.place import Place
from thampi.runtime.bundle import About


class Recipe(Protocol):
    """What names an image."""

    @property
    def digest(self) -> str:
        """Return the tag of the image."""


class Planned(Protocol):
    """What is to be released: a plan, or what another stage serves."""

    @property
    def about(self) -> About:
        """Return what is known of the model."""

    @property
    def manifest_sha256(self) -> str:
        """Return the hash of the model's thampi.json, which vouches for all the rest of it."""

    @property
    def model(self) -> Recipe:
        """Return what names the image."""


@dataclass(frozen=True)
class Row:
    """What became, or would become, of one thing."""

    thing: str
    name: str
    action: str  # created, changed, left
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pushed:
    """How it ended: where predictions are asked for (empty before the first push, in a dry run), and what was done."""

    url: str
    rows: tuple[Row, ...]
    version: str = ""
    trial_ms: int = 0

    @property
    def candidate(self) -> str:
        """Return the version that gets a share of the calls beside what is live; empty when there is none."""
        return next((row.name for row in self.rows if row.thing == "candidate"), "")

    @property
    def changed(self) -> bool:
        """Say whether anything was, or would be, done."""
        return any(row.action != "left" for row in self.rows)


@dataclass(frozen=True)
class Known:
    """What decides whether there is anything to release: what is live, and the image of the plan."""

    live: release.Live | None
    image: registry.Image | None


def examine(
    stage: Stage,
    plan: Planned,
    place: Place,
    *,
    canary: float | None = None,
    known: Known | None = None,
    replace_endpoint: bool = False,
) -> Pushed:
    """Say what a push would do; only reads.

    `known` is what was read of it a moment ago.
    Raises ConfigError when the endpoint would become another and `replace_endpoint` isn't set, BundleError when the
    bundle's instance id was pushed with another content.
    """
    aws = place.aws
    if known is None:
        known = look(stage, plan, place)
        stage = validation.of_push(stage, place, plan.about, plan.manifest_sha256, known.live, canary)
    live, image = known.live, known.image
    is_laid = ground.is_laid(stage, place, live)
    bucket = buckets.read(aws, place.bucket, closely=not is_laid)
    wanted_manifest = plan.manifest_sha256
    if stage.build.model == "image":
        model_row = _baked(stage, plan, live, image)
    else:
        stored = _stored(stage, plan, place, live, wanted_manifest) if bucket else False
        model_row = _row("model", plan.about.instance_id, stored or None)
    stand = endpoint.read(stage, place, is_laid=is_laid)
    if live is not None or any(map(endpoint.answers_itself, stand.others)):
        endpoint.check_replaced(stage, place, stand, replacing=replace_endpoint)
    endpoint.check(stage, place, stand)
    latest = function.read(aws, names.function(stage.name, stage.stage))
    callers = release.callers(aws, names.function(stage.name, stage.stage)) if live else []
    rows = [
        _row("bucket", place.bucket, bucket, buckets.changes(bucket) if bucket else ()),
        model_row,
        *_examine_ground(stage, place),
        _row("image", plan.model.digest, image),
        *_examine_release(stage, plan, place, known, latest, wanted_manifest, canary),
        *(Row(*each) for each in endpoint.examine(stage, place, stand, callers)),
        *(Row(*each) for each in domain.examine(stage, place, stand)),
        *(Row(*each) for each in warmth.examine(stage, place, latest, callers)),
    ]
    ready = provisioning.examine(stage, place, live, reserved=latest.reserved if latest else None)
    if ready:
        rows.append(Row("provisioned", names.function(stage.name, stage.stage), "changed", ready))
    return Pushed(stand.wanted.url if stand.wanted else "", tuple(rows), live.version if live else "")


def look(stage: Stage, plan: Planned, place: Place) -> Known:
    """Read what decides whether there is anything to release."""
    return Known(
        release.read_live(place.aws, names.function(stage.name, stage.stage)),
        registry.read_image(place.aws, stage.name, plan.model.digest),
    )


def _stored(stage: Stage, plan: Planned, place: Place, live: release.Live | None, manifest_sha256: str) -> bool:
    """Say whether the bucket has the model; raise BundleError when another one has its id."""
    if live is not None and live.function.environment.get("THAMPI_MANIFEST_SHA256") == manifest_sha256:
        return store.has_files(place.aws, place.bucket, stage.name, plan.about)
    stored = store.read_model(place.aws, place.bucket, stage.name, plan.about.instance_id)
    if stored is not None and stored.manifest_sha256 != manifest_sha256:
        raise _another(stage, plan)
    return stored is not None


def _baked(stage: Stage, plan: Planned, live: release.Live | None, image: registry.Image | None) -> Row:
    """Say what becomes of a model that comes with its image; raise BundleError when what is live has its id.

    Those before are not asked: nowhere can two models of one id get mixed up.
    """
    if live is not None and serves_another(plan, live):
        raise _another(stage, plan)
    return baked_row(plan, "left" if image else "created")


def baked_row(plan: Planned, image_action: str) -> Row:
    """Say what became of a model that comes with its image."""
    return Row("model", f"{plan.about.instance_id}, in the image", image_action)


def serves_another(plan: Planned, live: release.Live) -> bool:
    """Say whether what is live is another model with the same instance id."""
    same_id = release.said(live.description).get("model") == plan.about.instance_id
    return same_id and live.function.environment.get("THAMPI_MANIFEST_SHA256") != plan.manifest_sha256


def _another(stage: Stage, plan: Planned) -> BundleError:
    return BundleError(
        f"the model {plan.about.instance_id} was pushed before, and is not the one in {stage.model_dir}",
        hint="save the model again: each save has an instance id of its own",
    )


def wanted_function(
    stage: Stage, plan: Planned, place: Place, manifest_sha256: str, image_digest: str, now: str
) -> function.Function:
    """Return the function that serves the plan's model in its image."""
    return desired.served_function(
        stage,
        place,
        about=plan.about,
        manifest_sha256=manifest_sha256,
        image_digest=image_digest,
        served_time_utc=now,
    )


def _examine_ground(stage: Stage, place: Place) -> list[Row]:
    aws = place.aws
    wanted_group, wanted_role = desired.log_group(stage), ground.role(stage, place)
    wanted_repository = desired.repository(stage, place)
    group, repository = logs.read(aws, stage.name, stage.stage), registry.read(aws, stage.name)
    rows = [
        _row("log group", wanted_group.name, group, logs.changes(group, wanted_group) if group else ()),
        _row(
            "repository",
            wanted_repository.name,
            repository,
            registry.changes(repository, wanted_repository) if repository else (),
        ),
    ]
    rows += [Row(*each) for each in access_log.examine(stage, place)]
    if wanted_role is not None:
        found = role.read(aws, stage.name, stage.stage)
        rows.append(_row("role", wanted_role.name, found, role.changes(found, wanted_role) if found else ()))
    return rows


def _examine_release(
    stage: Stage,
    plan: Planned,
    place: Place,
    known: Known,
    latest: function.Found | None,
    manifest_sha256: str,
    canary: float | None,
) -> list[Row]:
    live, digest = known.live, known.image.digest if known.image else "sha256:" + "0" * 64
    wanted = wanted_function(stage, plan, place, manifest_sha256, digest, "")
    tags = function.tag_changes(latest, wanted) if latest else ()  # a function that isn't ours is found before the work
    if live is None:
        return [Row("release", "1", "created")]
    of_release = function.changes(live.function, wanted)
    shares = sharing.lines(place.aws, wanted, live, canary) if of_release else None
    if shares is not None and live.candidate:
        return [Row("candidate", live.candidate[0], "changed" if (*shares, *tags) else "left", (*shares, *tags))]
    differences = [*of_release, *tags]
    differences += [f"weights: {live.weights} -> none"] if live.weights else []
    return [Row("release", live.version, "changed" if differences else "left", tuple(differences))]


def _row(thing: str, name: str, found: object | None, differences: Sequence[str] = ()) -> Row:
    action = "created" if found is None else "changed" if differences else "left"
    return Row(thing, name, action, tuple(differences))
