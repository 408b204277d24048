"""The order in which a REST API becomes as wanted: each part finds those that it needs, no caller falls in between."""

from dataclasses import replace

from thampi import names
from thampi.aws import owned
from thampi.aws.ensured import Ensured
from thampi.aws.rest import aim, gateway_responses, stage_settings, tree, usage_plan, web_acl, writing
from thampi.aws.rest import found as finding
from thampi.aws.rest.again import again
from thampi.aws.rest.found import Found, read
from thampi.aws.rest.tree import Tree
from thampi.aws.rest.wanted import Rest
from thampi.aws.session import Aws, doing


def differences(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say all that `ensure` would change, a line each; raise CloudError where it would refuse to."""
    wished, responses = aim.make(wanted)
    written = (
        *changes_of_auth(found, wanted),
        *tree.changes(_with_auth(found.tree, wished), wished),
        *gateway_responses.changes(found.responses, responses),
    )
    has, new = found.serves.digest if found.serves else None, tree.digest(wished, responses)
    if has != new and not written:
        written = (f"deployed: {has or 'nothing'} -> {new}",)  # written by a run that ended before it was served
    return (
        *written,
        *stage_settings.changes(stage_settings.read(found.staged or {}), stage_settings.make(wanted)),
        *web_acl.changes(found.acl, wanted.waf_acl_arn),
        *_changes_of_plan(found, wanted),
        *owned.changes(found.tags, wanted.tags),
        *(f"old deployment: {each} -> removed" for each in found.spare_deployments),
        *(f"double: {each} -> removed" for each in found.doubles),
    )


def changes_of_auth(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say whether other callers are let in than those that are wanted."""
    has = found.endpoint.auth
    return (f"auth: {has or 'unknown'} -> {wanted.auth}",) if has != wanted.auth else ()


def ensure(aws: Aws, wanted: Rest) -> Ensured[Found]:
    """Make the API so. Nobody can call it before the permission for `source_arn` is there, too.

    A run that ends in between leaves parts that the next run finds by name and tags, and finishes; what was made twice
    because an answer was lost is removed. Raises CloudError when AWS refuses.
    """
    return from_found(aws, read(aws, wanted.project, wanted.stage), wanted)


def from_found(aws: Aws, found: Found | None, wanted: Rest) -> Ensured[Found]:
    """Do as `ensure`, from what was found a moment ago."""
    lines = differences(found, wanted) if found else ()
    if found and not lines:
        return Ensured(found, "left")
    with doing(f"making the REST API {names.api(wanted.project, wanted.stage)}"):
        made = again(
            aws,
            found,
            lambda: read(aws, wanted.project, wanted.stage),
            lambda seen: _converge(aws, seen or writing.api(aws, wanted), wanted),
        )
    return Ensured(made, "changed" if found else "created", lines)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the API of a stage, and its doubles; say whether there was one. The plan of its keys stays."""
    with doing(f"deleting the REST API {names.api(project, stage)}"):
        apis = finding.ours(aws, project, stage)
        for api in reversed(apis):
            usage_plan.detach(aws, project, stage, api["id"])
            writing.delete(aws, api["id"])
    return bool(apis)


def _converge(aws: Aws, found: Found, wanted: Rest) -> Found:
    wished, responses = aim.make(wanted)
    settings = stage_settings.patches(stage_settings.read(found.staged or {}), stage_settings.make(wanted))
    found = writing.serve(aws, found, wanted, wished, responses, settings)
    # What is to go goes last; what is to stand there does so since `tighten`, or before anybody gets through.
    acl = web_acl.ensure(aws, finding.stage_arn(aws, found.api_id, wanted.stage), found.acl, wanted.waf_acl_arn)
    found = writing.tags(aws, replace(found, acl=acl), wanted)
    for double in found.doubles:
        writing.delete(aws, double)
    return replace(found, doubles=())


def _changes_of_plan(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say what would change of the plan; where keys are asked for anew, that is all there is to say."""
    if wanted.plan is None or found.endpoint.auth != wanted.auth:
        return ()
    return usage_plan.changes(found.plan, api_id=found.api_id, limits=wanted.plan, tags=wanted.tags)


def _with_auth(found: Tree, wished: Tree) -> Tree:
    """Return `found` with the auth that is wished for: a change of it is said once, not for each method."""
    methods = {
        place: replace(method, auth=wished.methods[place].auth) if place in wished.methods else method
        for place, method in found.methods.items()
    }
    return replace(found, methods=methods)
