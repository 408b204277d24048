"""The REST API in front of what is live: read, compared, made as wanted, removed.

What is written to it is seen by nobody before it is deployed, and one call tells the stage what to serve from then on:
whom it lets in, what it answers and how much it lets through change in the same moment, for all callers.
"""

from collections.abc import Sequence
from dataclasses import replace

from botocore import exceptions as failures

from thampi import names
from thampi.aws import owned, release
from thampi.aws.addresses import Target
from thampi.aws.domains import Api
from thampi.aws.ensured import Ensured
from thampi.aws.rest import aim, deployment, gateway_responses, resources, schemas, stage_settings, tree, usage_plan
from thampi.aws.rest import found as finding
from thampi.aws.rest.found import Found, Served
from thampi.aws.rest.gateway_responses import Responses
from thampi.aws.rest.stage_settings import Patch
from thampi.aws.rest.tree import Tree
from thampi.aws.rest.wanted import Rest
from thampi.aws.session import Aws, absent_is_fine, code_of, doing

PERMISSION = "thampi-rest"  # how the id of the statement begins that lets the API call what is live

_LOCAL = "local"  # the stage that lives on this machine

# An account may make one deployment in 5 s and one API in 3 s, and delete one API in 30 s; all others of it count, too:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_PAUSES_S = (1.0, 3.0, 6.0, 12.0, 24.0)
_PAUSES_TO_DELETE_S = (10.0, 20.0, 30.0, 30.0)

# From botocore's partitions.json; all others end in amazonaws.com.
_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}


def read(aws: Aws, project: str, stage: str) -> Found | None:
    """Find the API of a stage. Raises CloudError when AWS refuses."""
    return finding.read(aws, project, stage)


def read_url(aws: Aws, project: str, stage: str) -> str | None:
    """Find the URL of a stage with one call; None when there is no API, or more than one."""
    with doing(f"reading the REST API {names.api(project, stage)}"):
        apis = finding.ours(aws, project, stage)
    return _url(aws, str(apis[0]["id"]), project, stage) if len(apis) == 1 else None


def differences(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say all that `ensure_allowed` would change, a line each."""
    wished, responses = aim.make(wanted)
    written = (
        *_changes_of_auth(found.endpoint, wanted.auth),
        *tree.changes(_with_auth(found.tree, wished), wished),
        *gateway_responses.changes(found.responses, responses),
    )
    has, new = found.serves.digest if found.serves else None, tree.digest(wished, responses)
    if has != new and not written:
        written = (f"deployed: {has or 'nothing'} -> {new}",)  # written by a run that ended before it was served
    return (
        *written,
        *stage_settings.differences(found.staged or {}, wanted),
        *_changes_of_plan(found, wanted),
        *owned.changes(found.tags, wanted.tags),
        *(f"old deployment: {each} -> removed" for each in found.spare_deployments),
        *(f"double: {each} -> removed" for each in found.doubles),
    )


def tighten(aws: Aws, found: Found, wanted: Rest) -> Ensured[Found]:
    """Make an existing API as strict as wanted, and nothing else: before the release that counts on it is live.

    Who asks for another proof than before is stricter, whichever of them it is. A run that ends in between leaves what
    is served as it was, or as it is wanted.

    The one thing that gets looser is the check of bodies, where it is by another schema than wanted: as long as two
    releases are called, the one before and the one after, neither must be refused what it takes.
    """
    if found.staged is None or found.serves is None:
        return Ensured(found, "left")
    settings, lines = stage_settings.stricter(found.staged, wanted)
    closes = wanted.auth not in ("none", found.endpoint.auth)
    checks = found.serves.model if found.serves.model == schemas.name(wanted.validation) else None
    lines = (
        *(_changes_of_auth(found.endpoint, wanted.auth) if closes else ()),
        *((f"schema: {found.serves.model} -> none",) if found.serves.model != checks else ()),
        *lines,
    )
    if found.plan is not None and wanted.plan is not None:
        plan = usage_plan.tighten(aws, found.plan, wanted.plan)
        found = replace(found, plan=plan.value)
        if plan.changes and not lines:
            return Ensured(found, "changed", plan.changes)
        lines = (*lines, *plan.changes)
    if not lines:
        return Ensured(found, "left")
    stricter = wanted if closes else replace(wanted, auth=str(found.endpoint.auth), plan=None)
    with doing(f"tightening the REST API {names.api(wanted.project, wanted.stage)}"):
        if closes or found.serves.model != checks:
            hardened = tree.checked(tree.hardened(found.tree, aim.make(stricter)[0]), wanted.project, checks)
            _write(aws, found, stricter, hardened, found.responses, settings)
        else:
            _update_stage(aws, found.api_id, wanted.stage, settings)
    return Ensured(replace(found, endpoint=replace(found.endpoint, auth=stricter.auth)), "changed", lines)


def check_bodies(aws: Aws, found: Found, schema: str) -> bool:
    """Have bodies checked by a schema, and change nothing else; say whether that is so.

    It isn't where a run has ended that wrote more than is served: that would be served with it.
    """
    has, model = found.endpoint, schemas.name(schema)
    if found.serves is None or found.serves.digest != tree.digest(found.tree, found.responses) or has.auth is None:
        return False
    if found.serves.model != model:
        with doing(f"having the REST API {names.api(has.project, has.stage)} check bodies"):
            checked = tree.checked(found.tree, has.project, model)
            wanted = Rest(has.project, has.stage, None, has.auth, validation=schema)
            _write(aws, found, wanted, checked, gateway_responses.with_refusal(found.responses), ())
    return True


def ensure(aws: Aws, wanted: Rest) -> Ensured[Found]:
    """Make the API so. Nobody can call it before the permission for `source_arn` is there, too.

    A run that ends in between leaves parts that the next run finds by name and tags, and finishes; what was made twice
    because an answer was lost is removed. Raises CloudError when AWS refuses.
    """
    return _ensure(aws, read(aws, wanted.project, wanted.stage), wanted)


def _ensure(aws: Aws, found: Found | None, wanted: Rest) -> Ensured[Found]:
    first = found
    lines = differences(found, wanted) if found else ()
    if found and not lines:
        return Ensured(found, "left")
    pauses = iter(_PAUSES_S)
    with doing(f"making the REST API {names.api(wanted.project, wanted.stage)}"):
        while True:
            try:
                return Ensured(_converge(aws, found, wanted), "changed" if first else "created", lines)
            except (failures.ClientError, failures.HTTPClientError, failures.ConnectionError) as error:
                pause = next(pauses, None)
                if pause is None or not _may_pass(error):
                    raise
            # Creating twice makes two, so nothing is repeated before it was looked for.
            aws.sleep(pause)
            found = read(aws, wanted.project, wanted.stage)


def ensure_allowed(aws: Aws, wanted: Rest) -> tuple[Ensured[Found], Ensured[str]]:
    """Make the API so, and let it call what is live; the permission names the API, so the API comes first.

    Unless it answers by itself until now: then it may call the function before it does. One that is to answer by
    itself needs no permission, and keeps what it has.
    """
    name = names.function(wanted.project, wanted.stage)
    if wanted.target is None:
        return ensure(aws, wanted), Ensured(PERMISSION, "left")
    before = read(aws, wanted.project, wanted.stage)
    if before is not None and before.tree.answers_itself:
        release.allow(aws, name, source_arn(aws, before.api_id), PERMISSION)
    made = _ensure(aws, before, wanted)
    return made, release.allow(aws, name, source_arn(aws, made.value.api_id), PERMISSION)


def is_allowed(aws: Aws, found: Found, wanted: Rest, callers: Sequence[str]) -> bool:
    """Say whether the API may call what is live, by the ids that `release.callers` gives, or needs not."""
    return wanted.target is None or release.is_allowed(callers, source_arn(aws, found.api_id), PERMISSION)


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the API of a stage, and its doubles; say whether there was one."""
    with doing(f"deleting the REST API {names.api(project, stage)}"):
        apis = finding.ours(aws, project, stage)
        for api in reversed(apis):
            usage_plan.detach(aws, project, stage, api["id"])
            _delete(aws, api["id"])
    return bool(apis)


def name(found: Found) -> str:
    """Return what people know it by."""
    return found.api_id


def url(aws: Aws, found: Found) -> str:
    """Return where predictions are asked for."""
    return _url(aws, found.api_id, found.endpoint.project, found.endpoint.stage)


def target(aws: Aws, found: Found) -> Target:
    """Return what a domain of one's own may lead to."""
    return Target(Api(found.api_id, found.endpoint.stage), finding.arn(aws, found.api_id), found.tags)


def source_arn(aws: Aws, api_id: str) -> str:
    """Return the ARN by which Lambda knows all calls of this API: one permission for every stage, method and path."""
    return aws.arn("execute-api", f"{api_id}/*/*")


def _url(aws: Aws, api_id: str, project: str, stage: str) -> str:
    path = f"{stage}/{project}/predict"
    if aws.endpoint_url is not None and stage == _LOCAL:
        return f"{aws.endpoint_url.rstrip('/')}/_aws/execute-api/{api_id}/{path}"
    return f"https://{api_id}.execute-api.{aws.region}.{_SUFFIXES.get(aws.partition, 'amazonaws.com')}/{path}"


def _changes_of_auth(found: Served, auth: str) -> tuple[str, ...]:
    return (f"auth: {found.auth or 'unknown'} -> {auth}",) if found.auth != auth else ()


def _changes_of_plan(found: Found, wanted: Rest) -> tuple[str, ...]:
    """Say what would change of the plan; where keys are asked for anew, that is all there is to say."""
    if wanted.plan is None or found.endpoint.auth != wanted.auth:
        return ()
    return usage_plan.changes(found.plan, api_id=found.api_id, limits=wanted.plan, tags=wanted.tags)


def _with_auth(found: Tree, aim: Tree) -> Tree:
    """Return `found` with the auth of `aim`: a change of it is said once, not for each method."""
    methods = {
        place: replace(method, auth=aim.methods[place].auth) if place in aim.methods else method
        for place, method in found.methods.items()
    }
    return replace(found, methods=methods)


def _converge(aws: Aws, found: Found | None, wanted: Rest) -> Found:
    """Write what differs, in an order in which each part finds those that it needs."""
    if found is None:
        made = aws.once("apigateway").create_rest_api(
            name=names.api(wanted.project, wanted.stage),
            endpointConfiguration={"types": ["REGIONAL"]},
            tags=dict(wanted.tags),
        )
        found = Found(made["id"], Served(wanted.project, wanted.stage, None), wanted.tags)
    wished, responses = aim.make(wanted)
    settings = stage_settings.patches(found.staged or {}, wanted)
    found = _write(aws, found, wanted, wished, responses, settings)
    if owned.changes(found.tags, wanted.tags):
        aws.client("apigateway").tag_resource(resourceArn=finding.arn(aws, found.api_id), tags=dict(wanted.tags))
    for double in found.doubles:
        _delete(aws, double)
    return replace(found, tags={**found.tags, **wanted.tags}, doubles=())


def _write(
    aws: Aws, found: Found, wanted: Rest, wished: Tree, responses: Responses, settings: Sequence[Patch]
) -> Found:
    """Write the tree and the gateway's own answers, and have them served, with these settings, from one moment on."""
    api_id = found.api_id
    model, validator_id = tree.model(wished, wanted.project), ""
    if model is not None and model != tree.model(found.tree, wanted.project):
        validator_id = schemas.ensure(aws, api_id, str(wanted.validation))
    resources.write(aws, api_id, found.tree, found.resource_ids, wished, validator_id)
    gateway_responses.write(aws, api_id, found.responses, responses)
    digest, serves, spare = tree.digest(wished, responses), found.serves, list(found.spare_deployments)
    patches = list(settings)
    if serves is None or serves.digest != digest:
        spare += [serves.deployment_id] if serves else []
        if found.staged is not None or model is not None:
            schemas.sweep(aws, api_id, wished, validator_id or tree.validator_id(found.tree, wanted.project))
        serves = deployment.create(aws, api_id, digest, wanted.auth, model)
        patches.append({"op": "replace", "path": "/deploymentId", "value": serves.deployment_id})
    if found.staged is None:
        # Without a limit till the next call; nobody gets through to the function yet.
        aws.client("apigateway").create_stage(
            restApiId=api_id, stageName=wanted.stage, deploymentId=serves.deployment_id, tags=dict(wanted.tags)
        )
        patches = [each for each in patches if each["path"] != "/deploymentId"]
    if wanted.plan is not None:
        # Before anybody is asked for a key: those that have one are let in from that moment on.
        plan = usage_plan.ensure(
            aws, project=wanted.project, stage=wanted.stage, api_id=api_id, limits=wanted.plan, tags=wanted.tags
        )
        found = replace(found, plan=plan.value)
    if patches:
        _update_stage(aws, api_id, wanted.stage, patches)
    deployment.remove(aws, api_id, spare)
    return replace(found, endpoint=replace(found.endpoint, auth=wanted.auth), serves=serves, spare_deployments=())


def _update_stage(aws: Aws, api_id: str, stage: str, patches: Sequence[Patch]) -> None:
    aws.client("apigateway").update_stage(restApiId=api_id, stageName=stage, patchOperations=list(patches))


def _delete(aws: Aws, api_id: str) -> None:
    pauses = iter(_PAUSES_TO_DELETE_S)
    while True:
        try:
            with absent_is_fine("NotFoundException"):
                aws.client("apigateway").delete_rest_api(restApiId=api_id)
            return
        except failures.ClientError as error:
            pause = next(pauses, None)
            if pause is None or code_of(error) != "TooManyRequestsException":
                raise
        aws.sleep(pause)


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, failures.ClientError):
        return True  # no answer: what was asked for may have happened, or not
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = {"TooManyRequestsException", "ThrottlingException", "ConflictException", "NotFoundException"}
    return code_of(error) in passing or status >= 500
