"""The REST API in front of what is live: read, compared, made as wanted, removed.

What is written to it is seen by nobody before it is deployed, and one call tells the stage what to serve from then on:
whom it lets in, what it answers and how much it lets through change in the same moment, for all callers.
"""

from collections.abc import Sequence

from thampi import names
from thampi.aws import execute_api, release
from thampi.aws.addresses import Target
from thampi.aws.domains import Api
from thampi.aws.ensured import Ensured
from thampi.aws.execute_api import source_arn
from thampi.aws.rest import account, ensuring, stage_settings, web_acl
from thampi.aws.rest import found as finding
from thampi.aws.rest.ensuring import ensure, remove
from thampi.aws.rest.found import Found, read
from thampi.aws.rest.tightening import check_bodies, tighten, uncheck
from thampi.aws.rest.wanted import Rest
from thampi.aws.session import Aws, doing

__all__ = [
    "PERMISSION",
    "check",
    "check_bodies",
    "differences",
    "ensure",
    "ensure_allowed",
    "is_allowed",
    "name",
    "read",
    "read_url",
    "remove",
    "source_arn",
    "target",
    "tighten",
    "uncheck",
    "url",
]

PERMISSION = "thampi-rest"  # how the id of the statement begins that lets the API call what is live


def read_url(aws: Aws, project: str, stage: str) -> str | None:
    """Find the URL of a stage with one call; None when there is no API, or more than one."""
    with doing(f"reading the REST API {names.api(project, stage)}"):
        apis = finding.ours(aws, project, stage)
    return execute_api.url(aws, str(apis[0]["id"]), project, stage) if len(apis) == 1 else None


def differences(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say all that `ensure_allowed` would change, a line each."""
    return ensuring.differences(found, wanted)


def check(aws: Aws, found: Found | None, wanted: Rest) -> None:
    """Raise what would stop `ensure` halfway, ConfigError or CloudError; asks only for what is to be changed."""
    has = stage_settings.read((found.staged if found else None) or {})
    if wanted.access_log_arn is not None and has.access_log_arn is None:
        account.check_logs(aws)
    if wanted.waf_acl_arn is not None and (found is None or found.acl.arn != wanted.waf_acl_arn):
        web_acl.check(aws, wanted.waf_acl_arn)


def ensure_allowed(aws: Aws, wanted: Rest) -> tuple[Ensured[Found], Ensured[str]]:
    """Make the API so, and let it call what is live; the permission names the API, so the API comes first.

    Unless it answers by itself until now: then it may call the function before it does. One that is to answer by
    itself needs no permission, and keeps what it has.
    """
    name = names.function(wanted.project, wanted.stage)
    before = read(aws, wanted.project, wanted.stage)
    if wanted.target is None:
        return ensuring.from_found(aws, before, wanted), Ensured(PERMISSION, "left")
    if before is not None and before.tree.answers_itself:
        release.allow(aws, name, source_arn(aws, before.api_id), PERMISSION)
    made = ensuring.from_found(aws, before, wanted)
    return made, release.allow(aws, name, source_arn(aws, made.value.api_id), PERMISSION)


def is_allowed(aws: Aws, found: Found, wanted: Rest, callers: Sequence[str]) -> bool:
    """Say whether the API may call what is live, by the ids that `release.callers` gives, or needs not."""
    return wanted.target is None or release.is_allowed(callers, source_arn(aws, found.api_id), PERMISSION)


def name(found: Found) -> str:
    """Return what people know it by."""
    return found.api_id


def url(aws: Aws, found: Found) -> str:
    """Return where predictions are asked for."""
    return execute_api.url(aws, found.api_id, found.endpoint.project, found.endpoint.stage)


def target(aws: Aws, found: Found) -> Target:
    """Return what a domain of one's own may lead to."""
    return Target(Api(found.api_id, found.endpoint.stage), finding.arn(aws, found.api_id), found.tags)
