"""The ground of a stage: all that a push makes around the function; its digest, noted where a push has ended well.

The alias `live` carries it. Where it is the one that the settings make, a release of another model, or of other
settings of the function, has nothing to make around it, and asks for nothing of it.
"""

import hashlib
import json
from dataclasses import asdict

from thampi import names
from thampi.aws.release import Live
from thampi.config import Stage
from thampi.operations import desired, endpoint
from thampi.operations.place import Place
from thampi.version import __version__


def digest(stage: Stage, place: Place) -> str:
    """Return a digest of what lies around the function; another thampi may make it in another way."""
    role = desired.execution_role(stage, place)
    parts = {
        "thampi": __version__,
        "bucket": place.bucket,
        "repository": asdict(desired.repository(stage, place)),
        "log group": asdict(desired.log_group(stage)),
        "role": asdict(role) if role else stage.role_arn,
        "schedule": stage.keep_warm,
        "concurrency": stage.reserved_concurrency,
        "endpoint": [stage.api.type, asdict(endpoint.wanted(stage, place))],
        "tags": {**stage.tags, **names.tags(stage.name, stage.stage)},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def is_laid(stage: Stage, place: Place, live: Live | None) -> bool:
    """Say whether a push has made all of it, as the settings want it."""
    return live is not None and live.ground == digest(stage, place)
