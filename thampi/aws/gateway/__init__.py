"""The HTTP API in front of what is live: read, compared, made as wanted, removed."""

from collections.abc import Sequence

from thampi import names
from thampi.aws import release
from thampi.aws.addresses import Target
from thampi.aws.domains import Api
from thampi.aws.ensured import Ensured
from thampi.aws.execute_api import source_arn
from thampi.aws.gateway.ensuring import ensure, remove
from thampi.aws.gateway.parts import (
    BURST,
    RATE_PER_S,
    AccessLog,
    Endpoint,
    Found,
    Jwt,
    Limit,
    changes,
    differences,
    route_keys,
)
from thampi.aws.gateway.reading import arn, read, read_url, url
from thampi.aws.gateway.tightening import tighten
from thampi.aws.session import Aws

__all__ = [
    "BURST",
    "PERMISSION",
    "RATE_PER_S",
    "AccessLog",
    "Endpoint",
    "Found",
    "Jwt",
    "Limit",
    "changes",
    "differences",
    "ensure",
    "ensure_allowed",
    "is_allowed",
    "name",
    "read",
    "read_url",
    "remove",
    "route_keys",
    "source_arn",
    "target",
    "tighten",
    "url",
]

PERMISSION = "thampi-api"  # how the id of the statement begins that lets the API call what is live


def ensure_allowed(aws: Aws, wanted: Endpoint) -> tuple[Ensured[Found], Ensured[str]]:
    """Make the endpoint so, and let it call what is live; the permission names the API, so the API comes first."""
    made = ensure(aws, wanted)
    source = source_arn(aws, made.value.api_id)
    return made, release.allow(aws, names.function(wanted.project, wanted.stage), source, PERMISSION)


def is_allowed(aws: Aws, found: Found, wanted: Endpoint, callers: Sequence[str]) -> bool:
    """Say whether the API may call what is live, by the ids that `release.callers` gives."""
    return release.is_allowed(callers, source_arn(aws, found.api_id), PERMISSION)


def name(found: Found) -> str:
    """Return what people know it by."""
    return found.api_id


def target(aws: Aws, found: Found) -> Target:
    """Return what a domain of one's own may lead to."""
    return Target(Api(found.api_id, found.endpoint.stage), arn(aws, found.api_id), found.endpoint.tags)
