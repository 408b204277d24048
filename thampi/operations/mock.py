"""thampi push with `mock = true`: an endpoint that answers with an example, before the model is there.

Nothing is built and nothing released: there is a REST API, whom it lets in as it will be, and the bucket for the lock.
A function that the stage has from before stays, with its releases, and gets no calls; the next push with `mock = false`
releases the model, and then the same URL leads to it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from thampi import names
from thampi.aws import buckets, lock, release
from thampi.aws.rest import mocks
from thampi.config import Stage
from thampi.errors import ConfigError
from thampi.operations import access_log, desired, domain, endpoint, examine, example, ground, replacement
from thampi.operations.place import Place, who
from thampi.runtime import bundle

Say = Callable[[str], None]


def resolved(stage: Stage) -> Stage:
    """Return the stage with what it is to answer: as the settings say, or else as the saved model has answered.

    Raises ConfigError when neither says anything, or more than API Gateway can keep; BundleError for a bundle that
    can't be read.
    """
    if stage.api.mock_result is None:
        stage = replace(stage, api=replace(stage.api, mock_result=_recorded(stage)))
    size = len(mocks.template(example.answer(stage)))
    if size > mocks.LARGEST:
        raise ConfigError(
            f"stages.{stage.stage}.api.mock_result has {size:,} characters, and API Gateway keeps {mocks.LARGEST:,}",
            hint="give a shorter example",
        )
    return stage


def looked_at(stage: Stage, place: Place, *, replace_endpoint: bool = False) -> examine.Pushed:
    """Say what a push would do; only reads. `stage` is as `resolved` returns it.

    Raises ConfigError when the endpoint would become another and `replace_endpoint` isn't set.
    """
    bucket = buckets.read(place.aws, place.bucket)
    stand = endpoint.read(stage, place)
    endpoint.check_replaced(stage, place, stand, replacing=replace_endpoint)
    endpoint.check(stage, place, stand)
    row = examine.Row("bucket", place.bucket, "left")
    if bucket is None:
        row = replace(row, action="created")
    elif lines := buckets.changes(bucket):
        row = replace(row, action="changed", changes=lines)
    rows = (
        *access_log.examine(stage, place),
        *endpoint.examine(stage, place, stand, ()),
        *domain.examine(stage, place, stand),
    )
    return examine.Pushed(stand.wanted.url if stand.wanted else "", (row, *(examine.Row(*each) for each in rows)))


def push(
    stage: Stage,
    place: Place,
    *,
    say: Say,
    force: bool = False,
    replace_endpoint: bool = False,
    try_out: replacement.Try = replacement.try_out,
) -> examine.Pushed:
    """Make the endpoint answer with the example, unless it does; `stage` is as `resolved` returns it.

    Raises as `looked_at` does, and CloudError when AWS refuses; whatever was made by then is found by the next push.
    """
    seen = looked_at(stage, place, replace_endpoint=replace_endpoint)
    if not seen.changed:
        return seen
    aws, name = place.aws, names.function(stage.name, stage.stage)
    bucket = buckets.ensure(aws, place.bucket, desired.bucket_tags(stage))
    with lock.hold(aws, place.bucket, stage.name, stage.stage, who=who(), force=force) as held:
        live = ground.forget(stage, place, release.read_live(aws, name))
        others = endpoint.read(stage, place).others
        held.check()
        written = access_log.ensure(stage, place)
        standing, rows = endpoint.ensure(stage, place)
        rows += replacement.finish(stage, place, standing, others, try_out=try_out, say=say)
    if live is not None:
        say(f"version {live.version} stays, and gets no calls: callers get the example")
    bucket_row = examine.Row("bucket", place.bucket, bucket.action, bucket.changes)
    return examine.Pushed(standing.url, (bucket_row, *(examine.Row(*each) for each in (*written, *rows))))


def _recorded(stage: Stage) -> Any:
    """Return what the saved model has answered to its example, when it was saved."""
    setting = f"stages.{stage.stage}.api.mock_result"
    about = None
    if (stage.model_dir / bundle.MANIFEST).is_file():
        about = bundle.read(stage.model_dir)
        if about.answer is not None:
            return about.answer
    why = f"{stage.model_dir} has no answer to an example" if about else f"no model is in {stage.model_dir}"
    raise ConfigError(
        f"mock = true, and nothing says what is to be answered: {why}, and {setting} is not set",
        hint=f'write it under [stages.{stage.stage}.api]: mock_result = {{ label = "setosa" }}'
        + ("; or save the model with an example" if about else ""),
    )


def check_flags(stage: Stage, flags: dict[str, bool]) -> None:
    """Raise ConfigError for what a push of a mock can't mean: it releases nothing."""
    for flag, given in flags.items():
        if given:
            raise ConfigError(
                f"{flag} is of a release, and stage {stage.stage} releases none: mock = true",
                hint=f"leave {flag} out, or take mock out of [stages.{stage.stage}.api]",
            )
