"""The ground of a stage: all that a push makes around the function; its digest, noted where a push has ended well.

The alias `live` carries it. Where it is the one that the settings make, a release of another model, or of other
settings of the function, has nothing to make around it, and asks for nothing of it.
"""

import hashlib
import json
from dataclasses import asdict

from thampi import names
from thampi.aws import release
from thampi.aws.release import Live
from thampi.aws.role import Role
from thampi.config import Stage
from thampi.operations import desired, endpoint
from thampi.operations.place import Place
from thampi.version import __version__

UNKNOWN = "unknown"  # a digest that no settings make


def digest(stage: Stage, place: Place) -> str:
    """Return a digest of what lies around the function; another thampi may make it in another way."""
    wanted_role = role(stage, place)
    parts = {
        "thampi": __version__,
        "bucket": place.bucket,
        "repository": asdict(desired.repository(stage, place)),
        "log group": asdict(desired.log_group(stage)),
        "role": asdict(wanted_role) if wanted_role else stage.role_arn,
        "schedule": stage.keep_warm,
        "concurrency": stage.reserved_concurrency,
        "endpoint": [stage.api.type, asdict(endpoint.wanted(stage, place))],
        "tags": {**stage.tags, **names.tags(stage.name, stage.stage)},
    }
    if stage.api.domain is not None:
        parts["domain"] = asdict(stage.api.domain)
    if stage.provisioned_concurrency is not None:
        parts["provisioned"] = stage.provisioned_concurrency
    if (written := desired.access_log_group(stage)) is not None:
        parts["access log"] = asdict(written)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def forget(stage: Stage, place: Place, live: Live | None) -> Live | None:
    """Have the next push look at everything, should this run end before it has made all of it so.

    Before anything around the function is changed: else the settings from before would pass for laid, while the
    endpoint may be as those after it, closed or open. Returns what is live, as it is noted then.
    """
    if live is None or live.ground in ("", UNKNOWN) or (is_laid(stage, place, live) and not stage.api.mock):
        return live
    name = names.function(stage.name, stage.stage)
    release.point_live(place.aws, name, live.version, live, share=live.candidate, ground=UNKNOWN)
    return release.read_live(place.aws, name)


def role(stage: Stage, place: Place) -> Role | None:
    """Return the role that the function should have; None when the user brings one.

    It may read models from S3 as long as one release that could be live again has its model there, so that a rollback
    from a release with its model in the image finds all that it needs.
    """
    if stage.role_arn is not None or stage.build.model == "s3":
        return desired.execution_role(stage, place)
    versions = release.versions(place.aws, names.function(stage.name, stage.stage))
    reads = any(version.model for version in versions)
    return desired.execution_role(stage, place, reads_models=reads)


def is_laid(stage: Stage, place: Place, live: Live | None) -> bool:
    """Say whether a push has made all of it, as the settings want it."""
    return live is not None and live.ground == digest(stage, place)
