"""The parts of a REST API at AWS, written: the API itself, what it serves, its stage, its tags."""

from collections.abc import Sequence
from dataclasses import replace

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import owned
from thampi.aws.rest import deployment, gateway_responses, resources, schemas, tree, usage_plan
from thampi.aws.rest import found as finding
from thampi.aws.rest.found import Found, Served
from thampi.aws.rest.gateway_responses import Responses
from thampi.aws.rest.stage_settings import Patch
from thampi.aws.rest.tree import Tree
from thampi.aws.rest.wanted import Rest
from thampi.aws.session import Aws, absent_is_fine, code_of

# An account may delete one API in 30 s: https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_PAUSES_TO_DELETE_S = (10.0, 20.0, 30.0, 30.0)


def api(aws: Aws, wanted: Rest) -> Found:
    """Make an API that has nothing yet. Asking twice would make two, so it is asked once."""
    made = aws.once("apigateway").create_rest_api(
        name=names.api(wanted.project, wanted.stage),
        endpointConfiguration={"types": ["REGIONAL"]},
        tags=dict(wanted.tags),
    )
    return Found(made["id"], Served(wanted.project, wanted.stage, None), wanted.tags)


def serve(aws: Aws, found: Found, wanted: Rest, wished: Tree, responses: Responses, settings: Sequence[Patch]) -> Found:
    """Write the tree and the gateway's own answers, and have them served, with these settings, from one moment on.

    `wanted` says whom they let in, and what else belongs to that.
    """
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
        # The settings may be of methods that only this deployment has.
        patches.insert(0, {"op": "replace", "path": "/deploymentId", "value": serves.deployment_id})
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
        stage(aws, api_id, wanted.stage, patches)
    deployment.remove(aws, api_id, spare)
    return replace(found, endpoint=replace(found.endpoint, auth=wanted.auth), serves=serves, spare_deployments=())


def stage(aws: Aws, api_id: str, name: str, patches: Sequence[Patch]) -> None:
    """Change the stage: all of it, or none."""
    aws.client("apigateway").update_stage(restApiId=api_id, stageName=name, patchOperations=list(patches))


def tags(aws: Aws, found: Found, wanted: Rest) -> Found:
    """Give the API the tags that it lacks; those of others stay."""
    if owned.changes(found.tags, wanted.tags):
        aws.client("apigateway").tag_resource(resourceArn=finding.arn(aws, found.api_id), tags=dict(wanted.tags))
    return replace(found, tags={**found.tags, **wanted.tags})


def delete(aws: Aws, api_id: str) -> None:
    """Delete an API, patiently; absent is fine."""
    pauses = iter(_PAUSES_TO_DELETE_S)
    while True:
        try:
            with absent_is_fine("NotFoundException"):
                aws.client("apigateway").delete_rest_api(restApiId=api_id)
            return
        except ClientError as error:
            pause = next(pauses, None)
            if pause is None or code_of(error) != "TooManyRequestsException":
                raise
        aws.sleep(pause)
