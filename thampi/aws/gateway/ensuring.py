"""The order in which an HTTP API becomes as wanted: each part finds those that it needs, no caller falls in between."""

from dataclasses import replace

from thampi import names
from thampi.aws.ensured import Ensured
from thampi.aws.gateway import writing
from thampi.aws.gateway.parts import Endpoint, Found, differences
from thampi.aws.gateway.reading import read
from thampi.aws.session import Aws, doing


def ensure(aws: Aws, wanted: Endpoint) -> Ensured[Found]:
    """Make the endpoint so. Nobody can call it before the permission for `source_arn` is there, too.

    A run that ends in between leaves parts that the next run finds by name and tags, and finishes; what was made twice
    because an answer was lost is removed. Raises CloudError when AWS refuses.
    """
    found = read(aws, wanted.project, wanted.stage)
    lines = differences(found, wanted) if found else ()
    if found and not lines:
        return Ensured(found, "left")
    with doing(f"making the API {names.api(wanted.project, wanted.stage)}"):
        made = writing.repeatedly(aws, found, wanted, lambda seen: _converge(aws, seen, wanted))
    return Ensured(made, "changed" if found else "created", lines)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the API of a stage, and its doubles; say whether there was one."""
    found = read(aws, project, stage)
    if found is None:
        return False
    with doing(f"deleting the API {names.api(project, stage)}"):
        for api_id in (*found.doubles, found.api_id):
            writing.delete(aws, api_id)
    return True


def _converge(aws: Aws, found: Found | None, wanted: Endpoint) -> Found:
    """Write what differs.

    What is asked before a caller is let in stands before a route names it, and goes when none does. The route of
    everything is always there, so that a route which comes or goes takes nothing away.
    """
    found = found or writing.api(aws, wanted)
    found = writing.integration(aws, found, wanted)
    if wanted.auth == "jwt":
        found = writing.authorizer(aws, found, wanted)
    found = writing.routes(aws, found, wanted, wanted.keys)
    if found.has_stage:
        writing.no_limits(aws, found, wanted)
        writing.no_access_log(aws, found, wanted)
    found = writing.stage(aws, found, wanted)
    writing.other_sites(aws, found, wanted)
    found = writing.no_routes(aws, found, wanted)
    found = writing.no_authorizer(aws, found, wanted)
    writing.rest(aws, found, wanted)
    endpoint = replace(wanted, tags={**found.endpoint.tags, **wanted.tags})
    return replace(found, endpoint=endpoint, doubles=(), spare_integrations=())
