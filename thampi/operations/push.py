"""thampi push: a bundle becomes a URL that answers; after any failure the same command finishes what this one began.

The order, and why it is this one:

1. Mistakes in thampi.toml, the bundle and the dependency file, and the credentials, are found before anything slow:
   `build.plan` and `place.find` have run when `push` is called.
2. Everything is read and compared. When nothing differs this was all: a push that changes nothing only reads.
3. The bucket comes first, because the lock lies in it: two pushes of one stage at once would make a mixture.
4. The image (found in ECR by its recipe's digest, or built, tried and pushed), the model (its manifest last; unless it
   comes with the image) and the ground that the function stands on (its log group before Lambda makes one without
   retention, its role) depend on nothing of each other and are made side by side. None of them can be seen by callers.
5. The function's $LATEST is made so, and published as a version. Callers still get the old one.
6. The version itself is asked to answer the bundle's example. If it can't, it never becomes live: ReleaseError. Where
   environments are to stand ready, those of the version do so before it gets calls (see `provisioning`).
7. An endpoint that is to be stricter becomes so before the release that counts on it; one that checks bodies by what
   another release takes checks none till after (see `validation`).
8. The alias `live` moves. This one call is the release.
9. The permission for the endpoint, and the rest of the endpoint: what is loosened is loosened last. An endpoint of
   another type, which callers knew until now, goes when the new one has answered.

Where all around the function is laid already (see `ground`), and only the release differs, nothing around it is asked
about: a new model takes some twenty calls, and no engine.

What is compared is what is live, never $LATEST: after a refused trial $LATEST is as wanted, and callers don't have it.
"""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import UTC, datetime
from typing import Any

from thampi import names
from thampi.aws import buckets, function, lock, logs, registry, release, role, store, trial
from thampi.aws.ensured import Ensured
from thampi.config import Stage
from thampi.errors import CloudError
from thampi.operations import (
    access_log,
    cold_start,
    desired,
    endpoint,
    examine,
    garbage,
    ground,
    provisioning,
    refusal,
    replacement,
    sharing,
    validation,
    warmth,
)
from thampi.operations.place import Place, who

Say = Callable[[str], None]

_TIDY_UP_S = 5.0

# Raises when the run has been stopped: only the main thread gets Ctrl-C.
GoOn = Callable[[], None]
# Called with the repository's URI, what gives a login, and what it is to ask between its steps; returns the digest,
# None when another run had the tag first.
Deliver = Callable[[str, Callable[[], registry.Login], GoOn], str | None]

BringModel = Callable[[], Ensured[store.Stored]]


def push(
    stage: Stage,
    plan: examine.Planned,
    place: Place,
    *,
    deliver: Deliver,
    say: Say,
    uploaded: Callable[[int], None] = lambda size: None,
    force: bool = False,
    canary: float | None = None,
    bring_model: BringModel | None = None,
    replace_endpoint: bool = False,
    try_out: replacement.Try = replacement.try_out,
) -> examine.Pushed:
    """Make the stage serve this model, unless it does; `force` takes the lock of a run that died.

    With `canary` the new release gets that many percent of the calls, and what is live stays so.

    `deliver` brings the image into the registry when it isn't there; `uploaded` gets the bytes of the model that went,
    unless `bring_model` has another way to bring it than from its folder. With `replace_endpoint` an endpoint of
    another type may go; `try_out` asks the new one before.

    Raises ConfigError when the endpoint would become another, and nobody has said that it may;
    ReleaseError when the new version does not answer (callers still get the old one), BuildError, BundleError
    and CloudError for what their names say; whatever was made by then is found again by the next push.
    """
    aws, known = place.aws, examine.look(stage, plan, place)
    stage = validation.of_push(stage, place, plan.about, plan.manifest_sha256, known.live, canary)
    bring = bring_model or functools.partial(
        store.ensure_model, aws, place.bucket, stage.name, stage.model_dir, plan.about, progress=uploaded
    )
    sharing.tell(known.live, say)
    url = _url_of_laid(stage, plan, place, known)
    if url:
        return _push_release(stage, plan, place, known, url, say=say, bring=bring, force=force, canary=canary)
    seen = examine.examine(stage, plan, place, canary=canary, known=known, replace_endpoint=replace_endpoint)
    if not seen.changed:
        return seen
    bucket = buckets.ensure(aws, place.bucket, desired.bucket_tags(stage))
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        (image, repository), model, around = _side_by_side(
            lambda go_on: _image(stage, plan, place, deliver, go_on),
            lambda _: _model(stage, plan, bring),
            lambda _: _ground(stage, place),
        )
        held.check()
        live = ground.forget(stage, place, release.read_live(aws, names.function(stage.name, stage.stage)))
        released, version, trial_ms, tightened = _release(
            stage,
            plan,
            place,
            image.value,
            model,
            held.check,
            say,
            live=live,
            canary=canary,
            role_is_new=any(row.thing == "role" and row.action != "left" for row in around),
        )
        others = endpoint.read(stage, place).others
        standing, opened = endpoint.ensure(stage, place)
        opened += replacement.finish(stage, place, standing, others, try_out=try_out, say=say)
        ready = _settle(stage, place, live, version, canary)
        warm = warmth.ensure(stage, place)
        _note_ground(stage, place)
        garbage.after_flip(stage, place, held, say=say)
    rows = (
        examine.Row("bucket", place.bucket, bucket.action, bucket.changes),
        _model_row(stage, plan, model, image.action),
        *around,
        examine.Row("repository", repository.value.name, repository.action, repository.changes),
        examine.Row("image", plan.model.digest, image.action, image.changes),
        released,
        *(examine.Row(*each) for each in endpoint.with_tightened(opened, tightened)),
        *(examine.Row(*each) for each in warm),
        *ready,
    )
    return examine.Pushed(standing.url, rows, version, trial_ms)


def _url_of_laid(stage: Stage, plan: examine.Planned, place: Place, known: examine.Known) -> str:
    """Return the URL when only the release is to be made, empty when there is more to do, or nothing at all."""
    live, image = known.live, known.image
    if live is None or image is None or not ground.is_laid(stage, place, live):
        return ""
    wanted = examine.wanted_function(stage, plan, place, plan.manifest_sha256, image.digest, "")
    if examine.serves_another(plan, live) or not function.changes(live.function, wanted):
        return ""
    if buckets.read(place.aws, place.bucket, closely=False) is None:
        return ""
    return endpoint.read_url(stage, place)


def _push_release(
    stage: Stage,
    plan: examine.Planned,
    place: Place,
    known: examine.Known,
    url: str,
    *,
    say: Say,
    bring: BringModel,
    force: bool,
    canary: float | None,
) -> examine.Pushed:
    """Make the release, and nothing around it; the image is in the registry, so no engine is needed."""
    assert known.image is not None
    registry.check_image(known.image)
    with lock.hold(place.aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        model = _model(stage, plan, bring)
        held.check()
        # What is live was read before the lock was taken: where it has moved since, its revision refuses the flip.
        released, version, trial_ms, _ = _release(
            stage, plan, place, known.image.digest, model, held.check, say, live=known.live, canary=canary
        )
        ready = _settle(stage, place, known.live, version, canary)
        garbage.after_flip(stage, place, held, say=say)
    rows = (
        _model_row(stage, plan, model, "left"),
        examine.Row("image", plan.model.digest, "left"),
        released,
        *ready,
    )
    return examine.Pushed(url, rows, version, trial_ms)


# ------------------------------------------------------------------------------------------------ the steps, in order


def _image(
    stage: Stage, plan: examine.Planned, place: Place, deliver: Deliver, go_on: GoOn
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


def _model(stage: Stage, plan: examine.Planned, bring: BringModel) -> Ensured[str]:
    """Have the model where the release will look for it; return the hash of its manifest."""
    if stage.build.model == "image":
        return Ensured(plan.manifest_sha256, "left")
    stored = bring()
    return Ensured(stored.value.manifest_sha256, stored.action, stored.changes)


def _model_row(stage: Stage, plan: examine.Planned, model: Ensured[str], image_action: str) -> examine.Row:
    if stage.build.model == "image":
        return examine.baked_row(plan, image_action)
    return examine.Row("model", plan.about.instance_id, model.action, model.changes)


def _ground(stage: Stage, place: Place) -> tuple[examine.Row, ...]:
    wanted_role = ground.role(stage, place)
    group = logs.ensure(place.aws, desired.log_group(stage))
    rows = [examine.Row("log group", group.value.name, group.action, group.changes)]
    rows += [examine.Row(*each) for each in access_log.ensure(stage, place)]
    if wanted_role is not None:
        made = role.ensure(place.aws, wanted_role)
        rows.append(examine.Row("role", made.value.name, made.action, made.changes))
    return tuple(rows)


def _release(
    stage: Stage,
    plan: examine.Planned,
    place: Place,
    image_digest: str,
    model: Ensured[str],
    check: Callable[[], None],
    say: Say,
    *,
    live: release.Live | None,
    canary: float | None,
    role_is_new: bool = False,
) -> tuple[examine.Row, str, int, tuple[str, ...]]:
    """Publish, try, and make live what is wanted; leave what is live already.

    Returns the row, the version, how long its trial took, and what was tightened of the endpoint.
    """
    aws, now = place.aws, _now()
    wanted = examine.wanted_function(stage, plan, place, model.value, image_digest, now)
    differences = function.changes(live.function, wanted) if live else ()
    if live is not None and not differences:
        tags, tightened = function.ensure_tags(aws, wanted), _tighten(stage, place, live)
        # A canary that was begun and not ended: all callers get what is live.
        moved = release.point_live(aws, wanted.name, live.version, live)
        action = "changed" if tags else moved.action
        return examine.Row("release", live.version, action, (*tags, *moved.changes)), live.version, 0, tightened
    if live is not None and live.candidate and sharing.lines(aws, wanted, live, canary) is not None:
        old = live.candidate[0]
        live, warmed = provisioning.allocate(stage, place, old, live, share=canary, say=say)
        tightened = _tighten(stage, place, live)
        moved = sharing.flip(aws, wanted.name, old, live, canary, say)
        return examine.Row("candidate", old, moved.action, (*moved.changes, *warmed)), old, 0, tightened
    function.ensure(aws, wanted)
    description = release.describe(model=plan.about.instance_id, recipe=plan.model.digest, when=now, who=who())
    version = release.publish(aws, wanted, description)
    say(f"trying version {version.number}")
    tried = trial.try_out(
        aws, wanted.name, version.number, {"thampi": "trial"}, stage.timeout_s, role_is_new=role_is_new
    )
    if not tried.ok:
        raise refusal.of_trial(stage, version.number, live, tried)
    for sentence in cold_start.told(tried.log_tail.splitlines(), stage.memory_mb):
        say(sentence)
    if near := cold_start.warning(tried.log_tail.splitlines(), tried.duration_ms, stage):
        say(near)
    share = canary if live is not None else None
    live, warmed = provisioning.allocate(stage, place, version.number, live, share=share, say=say)
    check()
    tightened = _tighten(stage, place, live)
    moved = sharing.flip(aws, wanted.name, version.number, live, canary, say)
    thing = "candidate" if canary is not None and live is not None else "release"
    shares = [line for line in moved.changes if line.startswith("share")]
    return (
        examine.Row(thing, version.number, moved.action, (*differences, *shares, *warmed)),
        version.number,
        tried.duration_ms,
        tightened,
    )


def _tighten(stage: Stage, place: Place, live: release.Live | None) -> tuple[str, ...]:
    """Make the endpoint as strict as wanted, before anything of it is loosened, and before a release counts on it."""
    return () if ground.is_laid(stage, place, live) else endpoint.tighten(stage, place)


def _settle(
    stage: Stage, place: Place, live: release.Live | None, version: str, canary: float | None
) -> list[examine.Row]:
    """Free what stood ready for what gets no calls any more; `live` is what was live before."""
    serving = {version: 1.0}
    if canary is not None and live is not None and version != live.version:
        serving = {live.version: 1.0, version: canary / 100}
    lines = provisioning.settle(stage, place, live, serving)
    return [examine.Row("provisioned", names.function(stage.name, stage.stage), "changed", lines)] if lines else []


def _note_ground(stage: Stage, place: Place) -> None:
    """Note that all around the function is as the settings want it."""
    name = names.function(stage.name, stage.stage)
    live = release.read_live(place.aws, name)
    if live is not None:
        made = ground.digest(stage, place)
        release.point_live(place.aws, name, live.version, live, share=live.candidate, ground=made)


# ----------------------------------------------------------------------------------------------------------- the rest


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
