"""What of a REST API becomes stricter before a release is live that counts on it."""

from dataclasses import replace

from thampi import names
from thampi.aws.ensured import Ensured
from thampi.aws.rest import aim, gateway_responses, schemas, stage_settings, tree, usage_plan, web_acl, writing
from thampi.aws.rest import found as finding
from thampi.aws.rest.again import again
from thampi.aws.rest.ensuring import changes_of_auth
from thampi.aws.rest.found import Found, read
from thampi.aws.rest.wanted import Rest
from thampi.aws.session import Aws, doing


def tighten(aws: Aws, found: Found, wanted: Rest) -> Ensured[Found]:
    """Make an existing API as strict as wanted, and nothing else: before the release that counts on it is live.

    Who asks for another proof than before is stricter, whichever of them it is. A run that ends in between leaves what
    is served as it was, or as it is wanted.

    The one thing that gets looser is the check of bodies, where it is by another schema than wanted: as long as two
    releases are called, the one before and the one after, neither must be refused what it takes.
    """
    with doing(f"tightening the REST API {names.api(wanted.project, wanted.stage)}"):
        return again(
            aws,
            found,
            lambda: read(aws, wanted.project, wanted.stage) or found,
            lambda seen: _tighten(aws, seen, wanted),
        )


def uncheck(aws: Aws, found: Found, wanted: Rest) -> None:
    """Have bodies checked by nothing, unless they are by what is wanted, and change nothing else that is served.

    What a run has written that ended before it was served is made as wanted, but lets nobody in who isn't.
    """
    served = found.serves.model if found.serves else None
    if served not in (None, schemas.name(wanted.validation)):
        has = replace(wanted, auth=str(found.endpoint.auth), plan=None)
        loose = tree.checked(tree.hardened(found.tree, aim.make(has)[0]), wanted.project, None)
        with doing(f"having the REST API {names.api(wanted.project, wanted.stage)} check no bodies"):
            writing.serve(aws, found, has, loose, found.responses, ())


def check_bodies(aws: Aws, found: Found, schema: str) -> bool:
    """Have bodies checked by a schema, and change nothing else; say whether that is so.

    It isn't where a run has ended that wrote more than is served: that would be served with it.
    """
    has, model = found.endpoint, schemas.name(schema)
    if found.serves is None or found.serves.digest != tree.digest(found.tree, found.responses) or has.auth is None:
        return False
    if found.serves.model != model:
        checked = tree.checked(found.tree, has.project, model)
        responses = gateway_responses.with_refusal(found.responses)
        wanted = Rest(has.project, has.stage, None, has.auth, validation=schema)
        with doing(f"having the REST API {names.api(has.project, has.stage)} check bodies"):
            writing.serve(aws, found, wanted, checked, responses, ())
    return True


def _tighten(aws: Aws, found: Found, wanted: Rest) -> Ensured[Found]:
    if found.staged is None or found.serves is None:
        return Ensured(found, "left")
    has = stage_settings.read(found.staged)
    lower = stage_settings.tightened(has, stage_settings.of_methods(wanted, found.tree.methods))
    settings = stage_settings.patches(has, lower)
    closes = wanted.auth not in ("none", found.endpoint.auth)
    model = found.serves.model if found.serves.model == schemas.name(wanted.validation) else None
    written = (
        *(changes_of_auth(found, wanted) if closes else ()),
        *((f"schema: {found.serves.model} -> none",) if found.serves.model != model else ()),
    )
    at = finding.stage_arn(aws, found.api_id, wanted.stage)
    acl, lines = web_acl.put_on(aws, at, found.acl, wanted.waf_acl_arn)
    found = replace(found, acl=acl)
    if found.plan is not None and wanted.plan is not None:
        plan = usage_plan.tighten(aws, found.plan, wanted.plan)
        found, lines = replace(found, plan=plan.value), (*lines, *plan.changes)
    lines = (*written, *stage_settings.changes(has, lower), *lines)
    if written:
        aimed = wanted if closes else replace(wanted, auth=str(found.endpoint.auth), plan=None)
        hardened = tree.checked(tree.hardened(found.tree, aim.make(aimed)[0]), wanted.project, model)
        found = writing.serve(aws, found, aimed, hardened, found.responses, settings)
    elif settings:
        writing.stage(aws, found.api_id, wanted.stage, settings)
    return Ensured(found, "changed" if lines else "left", lines)
