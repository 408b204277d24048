"""Bodies are checked at the gateway, too, while all that is called there takes the same; who checks what, and when.

The check belongs to the endpoint, what it says to a release. So where one with another signature begins to get calls,
the check goes before, and comes back after, for what is called then: in between every body gets through to the
handler, which checks it anyway. A run that ends there leaves it off, and the next push puts it on.
"""

import contextlib
from collections.abc import Iterator

from thampi.aws import store
from thampi.aws.function import Function
from thampi.aws.release import Live
from thampi.config import Stage
from thampi.errors import BundleError, CloudError
from thampi.operations import checked, endpoint, gateway_schema, ground
from thampi.operations.place import Place
from thampi.runtime import bundle
from thampi.runtime.bundle import About

_SHA256, _MODEL = "THAMPI_MANIFEST_SHA256", "THAMPI_MODEL"


def of_push(
    stage: Stage, place: Place, about: About, manifest_sha256: str, live: Live | None, canary: float | None
) -> Stage:
    """Return the stage with the schema that bodies are to be checked by once this model is released.

    Beside a live release that takes something else there is none, and none where it isn't known what that takes.
    """
    schema = gateway_schema.make(about.signature) if _is_asked_for(stage) else None
    if schema is not None and canary is not None and live is not None:
        same = live.function.environment.get(_SHA256) == manifest_sha256
        schema = schema if same or _of_release(stage, place, live.function) == schema else None
    return checked.by(stage, schema)


@contextlib.contextmanager
def through(stage: Stage, place: Place, live: Live | None, *called: Function) -> Iterator[str | None]:
    """Have nobody refused while the block moves the alias, after which the releases `called` get all calls.

    Yields what the alias is to note of the ground (see `release.point_live`).
    """
    schemas = {_of_release(stage, place, each) for each in called} if _is_asked_for(stage) else {None}
    aim = checked.by(stage, schemas.pop() if len(schemas) == 1 else None)
    if ground.is_laid(aim, place, live):
        yield None
        return
    endpoint.uncheck(aim, place)  # also where the settings say another type: a REST API may stand from before
    yield ground.UNKNOWN  # what is checked isn't what the last push has noted any more
    endpoint.check_bodies(aim, place)


def _is_asked_for(stage: Stage) -> bool:
    return stage.api.type == "rest" and stage.api.validate and not stage.api.mock


def _of_release(stage: Stage, place: Place, released: Function) -> str | None:
    """Return the schema of what a release takes; None where there is none, or its manifest is only in its image."""
    bucket, _, prefix = released.environment.get(_MODEL, "").removeprefix("s3://").partition("/")
    instance_id, sha256 = prefix.rstrip("/").rpartition("/")[2], released.environment.get(_SHA256, "")
    if not instance_id:
        return None
    with contextlib.suppress(BundleError, CloudError):  # it is gone, or can't be read: then nothing is checked
        manifest = store.download_manifest(place.aws, bucket, stage.name, instance_id, sha256)
        return gateway_schema.make(bundle.parse(manifest, prefix).signature)
    return None
