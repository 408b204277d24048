"""A REST API as it is at AWS: found by its name and tags, read as one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thampi import names
from thampi.aws.rest import deployment, gateway_responses, resources, usage_plan, web_acl
from thampi.aws.rest.deployment import Deployment
from thampi.aws.rest.gateway_responses import Responses
from thampi.aws.rest.tree import Tree
from thampi.aws.rest.web_acl import WebAcl
from thampi.aws.session import Aws, doing


@dataclass(frozen=True)
class Served:
    """What callers see of it."""

    project: str
    stage: str
    auth: str | None  # none, iam, api_key; None where nothing is served, or nobody knows what


@dataclass(frozen=True)
class Found:
    """A REST API, and what only AWS knows of it."""

    api_id: str
    endpoint: Served
    tags: Mapping[str, str]
    tree: Tree = field(default_factory=Tree)  # as written: callers see it from the next deployment on
    resource_ids: Mapping[str, str] = field(default_factory=dict)  # by path
    responses: Responses = field(default_factory=dict)  # as written, likewise
    staged: Mapping[str, Any] | None = None  # the stage, as AWS says it
    acl: WebAcl = field(default_factory=WebAcl)  # what stands in front of the stage
    serves: Deployment | None = None  # what the stage serves
    spare_deployments: tuple[str, ...] = ()  # what no stage serves
    plan: usage_plan.Found | None = None  # of the API keys, where they are asked for
    doubles: tuple[str, ...] = ()  # other APIs of the same name and tags, from creations whose answer was lost


def read(aws: Aws, project: str, stage: str) -> Found | None:
    """Find the API of a stage by its name and tags; of several, the oldest of those that work is the one in use.

    One of that name without our tags is somebody else's, and not seen: API Gateway doesn't mind equal names.
    """
    with doing(f"reading the REST API {names.api(project, stage)}"):
        found = [_read(aws, api, project, stage) for api in ours(aws, project, stage)]
    if not found:
        return None
    served = [each for each in found if each.serves]
    used = next((each for each in served if each.tree.is_whole), (served or found)[0])
    return replace(used, doubles=tuple(each.api_id for each in found if each is not used))


def ours(aws: Aws, project: str, stage: str) -> list[dict[str, Any]]:
    """List the APIs of a stage, the oldest first."""
    name, tags = names.api(project, stage), names.tags(project, stage).items()
    apis = [
        api
        for api in resources.every(aws, "get_rest_apis", limit=500)
        if api["name"] == name and tags <= (api.get("tags") or {}).items()
    ]
    return sorted(apis, key=lambda api: (str(api["createdDate"]), api["id"]))


def arn(aws: Aws, api_id: str) -> str:
    """Return the ARN that tags are given to."""
    return aws.arn("apigateway", f"/restapis/{api_id}", account=False)


def stage_arn(aws: Aws, api_id: str, stage: str) -> str:
    """Return the ARN of its stage."""
    return f"{arn(aws, api_id)}/stages/{stage}"


def _read(aws: Aws, api: Mapping[str, Any], project: str, stage: str) -> Found:
    api_id = api["id"]
    tree, ids = resources.read(aws, api_id)
    stages = aws.client("apigateway").get_stages(restApiId=api_id)["item"]
    staged = next((each for each in stages if each["stageName"] == stage), None)
    deployments = [deployment.read(each) for each in resources.every(aws, "get_deployments", restApiId=api_id)]
    serving = {each.get("deploymentId") for each in stages}
    serves = next((each for each in deployments if staged and each.deployment_id == staged.get("deploymentId")), None)
    asks_for_keys = serves is not None and serves.auth == "api_key"
    return Found(
        api_id=api_id,
        endpoint=Served(project, stage, serves.auth if serves else None),
        tags=_tags(aws, api),
        tree=tree,
        resource_ids=ids,
        responses=gateway_responses.read(aws, api_id),
        staged=staged,
        acl=web_acl.read(aws, stage_arn(aws, api_id, stage), staged) if staged else WebAcl(),
        serves=serves,
        plan=usage_plan.read(aws, project, stage) if asks_for_keys else None,
        spare_deployments=tuple(each.deployment_id for each in deployments if each.deployment_id not in serving),
    )


def _tags(aws: Aws, api: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an API: AWS lists them with it, what plays AWS locally those of its creation."""
    if aws.endpoint_url is None:
        return dict(api.get("tags") or {})
    return dict(aws.client("apigateway").get_tags(resourceArn=arn(aws, api["id"])).get("tags", {}))
