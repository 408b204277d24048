"""thampi push: a bundle becomes a URL that answers; after any failure the same command finishes what this one began.

The order, and why it is this one:

1. Mistakes in thampi.toml, the bundle and the dependency file, and the credentials, are found before anything slow:
   `build.plan` and `place.find` have run when `push` is called.
2. Everything is read and compared. When nothing differs this was all: a push that changes nothing only reads.
3. The bucket comes first, because the lock lies in it: two pushes of one stage at once would make a mixture.
4. The image (found in ECR by its recipe's digest, or built, tried and pushed), the model (its manifest last) and the
   ground that the function stands on (its log group before Lambda makes one without retention, its role) depend on
   nothing of each other and are made side by side. None of them can be seen by callers.
5. The function's $LATEST is made so, and published as a version. Callers still get the old one.
6. The version itself is asked to answer the bundle's example. If it can't, it never becomes live: ReleaseError.
7. An endpoint that is to be stricter becomes so before the release that counts on it.
8. The alias `live` moves. This one call is the release.
9. The permission for the endpoint, and the rest of the endpoint: what is loosened is loosened last.

What is compared is what is live, never $LATEST: after a refused trial $LATEST is as wanted, and callers don't have it.
"""

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thampi import names
from thampi.aws import buckets, function, gateway, lock, logs, registry, release, role, store, trial
from thampi.aws.ensured import Ensured
from thampi.config import Stage
from thampi.errors import BundleError, CloudError, ReleaseError
from thampi.operations import cold_start, desired
from thampi.operations.build import Plan
from thampi.operations.place import Place, who

Say = Callable[[str], None]

_TIDY_UP_S = 5.0

_LAST_LINES = 16  # the model's traceback, and ours after it
# In a log: the journal and the cold start, for programs, and what Lambda and its emulator say of themselves.
_NOISE = re.compile(r'^\{"(_aws|thampi)"|^(START|END) RequestId: |\(rapid\)')


# Raises when the run has been stopped: only the main thread gets Ctrl-C.
GoOn = Callable[[], None]
# Called with the repository's URI, what gives a login, and what it is to ask between its steps; returns the digest,
# None when another run had the tag first.
Deliver = Callable[[str, Callable[[], registry.Login], GoOn], str | None]


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
    def changed(self) -> bool:
        """Say whether anything was, or would be, done."""
        return any(row.action != "left" for row in self.rows)


def examine(stage: Stage, plan: Plan, place: Place) -> Pushed:
    """Say what a push would do; only reads.

    Raises BundleError when the bundle's instance id was pushed with another content.
    """
    aws = place.aws
    bucket = buckets.read(aws, place.bucket)
    stored = store.read_model(aws, place.bucket, stage.name, plan.about.instance_id) if bucket else None
    wanted_manifest = desired.manifest_sha256(stage)
    if stored is not None and stored.manifest_sha256 != wanted_manifest:
        raise BundleError(
            f"the model {plan.about.instance_id} was pushed before, and is not the one in {stage.model_dir}",
            hint="save the model again: each save has an instance id of its own",
        )
    image = registry.read_image(aws, stage.name, plan.model.digest)
    found_api = gateway.read(aws, stage.name, stage.stage)
    rows = [
        _row("bucket", place.bucket, bucket, buckets.changes(bucket) if bucket else ()),
        _row("model", plan.about.instance_id, stored),
        *_examine_ground(stage, place),
        _row("image", plan.model.digest, image),
        *_examine_release(stage, plan, place, image.digest if image else "", wanted_manifest),
        *_examine_endpoint(stage, place, found_api),
    ]
    url = gateway.url(aws, found_api.api_id, stage.name, stage.stage) if found_api else ""
    live = release.read_live(aws, names.function(stage.name, stage.stage))
    return Pushed(url, tuple(rows), live.version if live else "")


def push(
    stage: Stage,
    plan: Plan,
    place: Place,
    *,
    deliver: Deliver,
    say: Say,
    uploaded: Callable[[int], None] = lambda size: None,
    force: bool = False,
) -> Pushed:
    """Make the stage serve this model, unless it does; `force` takes the lock of a run that died.

    `deliver` brings the image into the registry when it isn't there; `uploaded` gets the bytes of the model that went.

    Raises ReleaseError when the new version does not answer (callers still get the old one), BuildError, BundleError
    and CloudError for what their names say; whatever was made by then is found again by the next push.
    """
    seen = examine(stage, plan, place)
    if not seen.changed:
        return seen
    aws = place.aws
    bucket = buckets.ensure(aws, place.bucket, desired.bucket_tags(stage))
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        (image, repository), model, ground = _side_by_side(
            lambda go_on: _image(stage, plan, place, deliver, go_on),
            lambda go_on: store.ensure_model(
                aws, place.bucket, stage.name, stage.model_dir, plan.about, progress=uploaded
            ),
            lambda _: _ground(stage, place),
        )
        held.check()
        released, version, trial_ms, tightened = _release(stage, plan, place, image.value, model.value, held.check, say)
        api, permission = _endpoint(stage, place)
    rows = (
        Row("bucket", place.bucket, bucket.action, bucket.changes),
        Row("model", plan.about.instance_id, model.action, model.changes),
        *ground,
        Row("repository", repository.value.name, repository.action, repository.changes),
        Row("image", plan.model.digest, image.action, image.changes),
        released,
        Row(
            "endpoint",
            api.value.api_id,
            "changed" if tightened and api.action == "left" else api.action,
            (*tightened, *api.changes),
        ),
        Row("permission", permission.value, permission.action),
    )
    return Pushed(gateway.url(aws, api.value.api_id, stage.name, stage.stage), rows, version, trial_ms)


# ------------------------------------------------------------------------------------------------ the steps, in order


def _image(
    stage: Stage, plan: Plan, place: Place, deliver: Deliver, go_on: GoOn
) -> tuple[Ensured[str], Ensured[registry.Repository]]:
    """Have the image in the registry, and return its digest; what is there is neither built nor pushed."""
    aws, tag = place.aws, plan.model.digest
    repository = registry.ensure(aws, desired.repository(stage, place))
    found = registry.read_image(aws, stage.name, tag)
    digest = None
    if found is None:
        uri = registry.uri(repository.value, place.registry)
        digest = deliver(uri, lambda: registry.login(aws, place.registry), go_on)
        # Without a digest another push of the recipe was faster: the tag is the recipe's digest, so theirs is ours.
        found = (
            registry.check_pushed(aws, stage.name, tag, digest) if digest else registry.read_image(aws, stage.name, tag)
        )
    if found is None:
        raise CloudError(
            f"the image {tag} was pushed by another run, and is gone again", hint="run the same command again"
        )
    registry.check_image(found)
    return Ensured(found.digest, "created" if digest else "left"), repository


def _ground(stage: Stage, place: Place) -> tuple[Row, ...]:
    wanted_role = desired.execution_role(stage, place)
    group = logs.ensure(place.aws, desired.log_group(stage))
    rows = [Row("log group", group.value.name, group.action, group.changes)]
    if wanted_role is not None:
        made = role.ensure(place.aws, wanted_role)
        rows.append(Row("role", made.value.name, made.action, made.changes))
    return tuple(rows)


def _release(
    stage: Stage, plan: Plan, place: Place, image_digest: str, stored: store.Stored, check: Callable[[], None], say: Say
) -> tuple[Row, str, int, tuple[str, ...]]:
    """Publish, try, and make live what is wanted; leave what is live already.

    Returns the row, the version, how long its trial took, and what was tightened of the endpoint.
    """
    aws, now = place.aws, _now()
    wanted = desired.served_function(
        stage,
        place,
        about=plan.about,
        manifest_sha256=stored.manifest_sha256,
        image_digest=image_digest,
        served_time_utc=now,
    )
    live = release.read_live(aws, wanted.name)
    differences = function.changes(live.function, wanted) if live else ()
    if live is not None and not differences:
        tags = function.ensure_tags(aws, wanted)
        # A canary that was begun and not ended: all callers get what is live.
        moved = release.point_live(aws, wanted.name, live.version, live)
        action = "changed" if tags else moved.action
        return Row("release", live.version, action, (*tags, *moved.changes)), live.version, 0, ()
    function.ensure(aws, wanted)
    description = release.describe(model=plan.about.instance_id, recipe=plan.model.digest, when=now, who=who())
    version = release.publish(aws, wanted, description)
    say(f"trying version {version.number}")
    tried = trial.try_out(aws, wanted.name, version.number, {"thampi": "trial"}, stage.timeout_s)
    if not tried.ok:
        raise _refused(stage, version.number, live, tried)
    for sentence in cold_start.told(tried.log_tail.splitlines(), stage.memory_mb):
        say(sentence)
    check()
    found_api = gateway.read(aws, stage.name, stage.stage)
    tightened: tuple[str, ...] = ()
    if found_api is not None:
        tightened = gateway.tighten(aws, found_api, desired.endpoint(stage, place)).changes
    moved = release.point_live(aws, wanted.name, version.number, live)
    return Row("release", version.number, moved.action, differences), version.number, tried.duration_ms, tightened


def _endpoint(stage: Stage, place: Place) -> tuple[Ensured[gateway.Found], Ensured[str]]:
    """Open the way from the URL to what is live; the permission names the API, so the API comes first."""
    api = gateway.ensure(place.aws, desired.endpoint(stage, place))
    source = gateway.source_arn(place.aws, api.value.api_id)
    name = names.function(stage.name, stage.stage)
    return api, release.allow(place.aws, name, source, desired.PERMISSION)


# ------------------------------------------------------------------------------------------------- what a push would do


def _examine_ground(stage: Stage, place: Place) -> list[Row]:
    aws = place.aws
    wanted_group, wanted_role = desired.log_group(stage), desired.execution_role(stage, place)
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
    if wanted_role is not None:
        found = role.read(aws, stage.name, stage.stage)
        rows.append(_row("role", wanted_role.name, found, role.changes(found, wanted_role) if found else ()))
    return rows


def _examine_release(stage: Stage, plan: Plan, place: Place, image_digest: str, manifest_sha256: str) -> list[Row]:
    wanted = desired.served_function(
        stage,
        place,
        about=plan.about,
        manifest_sha256=manifest_sha256,
        image_digest=image_digest or "sha256:" + "0" * 64,
        served_time_utc="",
    )
    live = release.read_live(place.aws, wanted.name)
    latest = function.read(place.aws, wanted.name)
    tags = function.tag_changes(latest, wanted) if latest else ()  # a function that isn't ours is found before the work
    if live is None:
        return [Row("release", "1", "created")]
    differences = [*function.changes(live.function, wanted), *tags]
    differences += [f"weights: {live.weights} -> none"] if live.weights else []
    return [Row("release", live.version, "changed" if differences else "left", tuple(differences))]


def _examine_endpoint(stage: Stage, place: Place, found: gateway.Found | None) -> list[Row]:
    wanted = desired.endpoint(stage, place)
    if found is None:
        return [Row("endpoint", names.api(stage.name, stage.stage), "created")]
    differences = gateway.differences(found, wanted)
    source = gateway.source_arn(place.aws, found.api_id)
    allowed = release.is_allowed(place.aws, names.function(stage.name, stage.stage), source, desired.PERMISSION)
    return [
        Row("endpoint", found.api_id, "changed" if differences else "left", differences),
        Row("permission", desired.PERMISSION, "left" if allowed else "created"),
    ]


def _row(thing: str, name: str, found: object | None, differences: Sequence[str] = ()) -> Row:
    action = "created" if found is None else "changed" if differences else "left"
    return Row(thing, name, action, tuple(differences))


# ----------------------------------------------------------------------------------------------------------- the rest


def _refused(stage: Stage, version: str, live: release.Live | None, tried: trial.Trial) -> ReleaseError:
    """Say why a version is not released, with the last lines of its log."""
    still = f"version {live.version} still is" if live else "nothing is live yet"
    lines = [line for line in tried.log_tail.splitlines() if line.strip() and not _NOISE.search(line)][-_LAST_LINES:]
    said = "\n".join(f"  {line}" for line in lines)
    return ReleaseError(
        f"version {version} did not become live, {still}: {tried.error}" + (f"\n{said}" if said else ""),
        hint=f"mend it and push again; `thampi logs {stage.stage}` shows the whole log",
    )


def _side_by_side(*steps: Callable[[GoOn], Any]) -> list[Any]:
    """Run steps that need nothing of each other; when one fails, the others end before its failure is raised.

    After Ctrl-C they get a moment to tidy up: the client of a build, say, has got the same signal; what asks `go_on`
    begins nothing new. What still goes on then ends with the process. Not an executor's `with`: it would wait for a
    whole upload; and before Python 3.13 a join that is interrupted takes the thread for ended, and the process goes
    while it still works.
    """
    stopped = threading.Event()

    def go_on() -> None:
        if stopped.is_set():
            raise KeyboardInterrupt

    def run(step: Callable[[GoOn], Any], told: "Future[Any]") -> None:
        try:
            told.set_result(step(go_on))
        except BaseException as error:
            told.set_exception(error)

    begun: list[Future[Any]] = []
    try:
        for step in steps:
            begun.append(Future())
            threading.Thread(target=run, args=(step, begun[-1]), name="push", daemon=True).start()
        wait(begun)
    except KeyboardInterrupt:
        stopped.set()
        wait(begun, timeout=_TIDY_UP_S)
        raise
    return [each.result() for each in begun]


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
