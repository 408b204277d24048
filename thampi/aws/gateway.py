"""The HTTP API in front of what is live: read, compared, made as wanted, removed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from botocore import exceptions as failures

from thampi import names
from thampi.aws import owned, release
from thampi.aws.addresses import Target
from thampi.aws.domains import Api
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws, absent_is_fine, code_of, doing

PERMISSION = "thampi-api"  # how the id of the statement begins that lets the API call what is live

RATE_PER_S = 100.0  # requests of all callers together, so that a leaked URL has a bound
BURST = 200

_LOCAL = "local"  # the stage that lives on this machine
_ROUTE = "$default"  # everything: what is a path and what isn't is decided by the handler
_PAYLOAD = "2.0"
_TIMEOUT_MS = 30_000  # the longest that an HTTP API waits
_AUTH = {"none": "NONE", "iam": "AWS_IAM"}
_OF_STAGE = ("rate_per_s", "burst", "auto_deploy")
_PAUSES = (1.0, 2.0, 4.0, 8.0)

# From botocore's partitions.json; all others end in amazonaws.com.
_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}


@dataclass(frozen=True)
class Endpoint:
    """An HTTP API with one integration, one route and one stage, as wanted and as read alike."""

    project: str
    stage: str
    target: str | None  # the ARN of what is live; as read: None where a run that ended in between didn't get to
    auth: str | None = "none"  # none, iam
    rate_per_s: float | None = RATE_PER_S
    burst: int | None = BURST
    tags: Mapping[str, str] = field(default_factory=dict)  # thampi's and the user's
    payload_format: str | None = _PAYLOAD
    timeout_ms: int | None = _TIMEOUT_MS
    routed: bool | None = True  # the route leads to the integration
    auto_deploy: bool | None = True  # of the stage


@dataclass(frozen=True)
class Found:
    """An endpoint as it is at AWS, and what only AWS knows of it."""

    api_id: str
    endpoint: Endpoint
    integration_id: str | None = None
    route_id: str | None = None
    has_stage: bool = False
    doubles: tuple[str, ...] = ()  # other APIs of the same name and tags, from creations whose answer was lost
    spare_integrations: tuple[str, ...] = ()  # likewise


def read(aws: Aws, project: str, stage: str) -> Found | None:
    """Find the API of a stage by its name and tags; of several, the oldest of those that work is the one in use.

    One of that name without our tags is somebody else's, and not seen: API Gateway doesn't mind equal names.
    """
    with doing(f"reading the API {names.api(project, stage)}"):
        apis = _ours(aws, project, stage)
        found = [_read(aws, api, project, stage) for api in apis]
    if not found:
        return None
    used = next((each for each in found if _is_whole(each.endpoint)), found[0])
    return replace(used, doubles=tuple(each.api_id for each in found if each is not used))


def read_url(aws: Aws, project: str, stage: str) -> str | None:
    """Find the URL of a stage with one call; None when there is no API, or more than one."""
    with doing(f"reading the API {names.api(project, stage)}"):
        apis = _ours(aws, project, stage)
    return _url(aws, str(apis[0]["ApiId"]), project, stage) if len(apis) == 1 else None


def changes(found: Endpoint, wanted: Endpoint) -> tuple[str, ...]:
    """Say what would have to change, a line each."""
    old, new = asdict(found), asdict(wanted)
    keys = [key for key in new if key != "tags" and old[key] != new[key]]
    return (
        *(f"{key}: {_shown(old[key])} -> {_shown(new[key])}" for key in keys),
        *owned.changes(found.tags, wanted.tags),
    )


def differences(found: Found, wanted: Endpoint) -> tuple[str, ...]:
    """Say all that `ensure` would do: what would change, and what was made twice and goes."""
    return (*changes(found.endpoint, wanted), *_surplus(found))


def tighten(aws: Aws, found: Found, wanted: Endpoint) -> Ensured[Found]:
    """Make an existing endpoint as strict as wanted, and nothing else: before the release that counts on it is live.

    A run that ends in between leaves an endpoint that is too strict rather than too open.
    """
    has = found.endpoint
    stricter = replace(has, auth="iam" if (has.auth, wanted.auth) == ("none", "iam") else has.auth)
    if found.has_stage:
        rate_per_s, burst = _lower(has.rate_per_s, wanted.rate_per_s), _lower(has.burst, wanted.burst)
        stricter = replace(stricter, rate_per_s=rate_per_s, burst=burst)
    lines = changes(has, stricter)
    if not lines:
        return Ensured(found, "left")
    if found.has_stage:
        stricter = replace(stricter, auto_deploy=True)  # else callers would see nothing of it
    with doing(f"tightening the API {names.api(has.project, has.stage)}"):
        if _differ(has, stricter, *_OF_STAGE):
            _write_stage(aws, found, stricter)
        if stricter.auth != has.auth:
            _write_route(aws, found, stricter)
    return Ensured(replace(found, endpoint=stricter), "changed", lines)


def ensure(aws: Aws, wanted: Endpoint) -> Ensured[Found]:
    """Make the endpoint so. Nobody can call it before the permission for `source_arn` is there, too.

    A run that ends in between leaves parts that the next run finds by name and tags, and finishes; what was made twice
    because an answer was lost is removed. Raises CloudError when AWS refuses.
    """
    first = found = read(aws, wanted.project, wanted.stage)
    lines = differences(found, wanted) if found else ()
    if found and not lines:
        return Ensured(found, "left")
    pauses = iter(_PAUSES)
    with doing(f"making the API {names.api(wanted.project, wanted.stage)}"):
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


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the API of a stage, and its doubles; say whether there was one."""
    found = read(aws, project, stage)
    if found is None:
        return False
    with doing(f"deleting the API {names.api(project, stage)}"):
        for api_id in (*found.doubles, found.api_id):
            _delete(aws, api_id)
    return True


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


def url(aws: Aws, found: Found) -> str:
    """Return where predictions are asked for."""
    return _url(aws, found.api_id, found.endpoint.project, found.endpoint.stage)


def target(aws: Aws, found: Found) -> Target:
    """Return what a domain of one's own may lead to."""
    return Target(Api(found.api_id, found.endpoint.stage), _arn(aws, found.api_id), found.endpoint.tags)


def _url(aws: Aws, api_id: str, project: str, stage: str) -> str:
    path = f"{stage}/{project}/predict"
    if aws.endpoint_url is not None and stage == _LOCAL:
        return f"{aws.endpoint_url.rstrip('/')}/_aws/execute-api/{api_id}/{path}"
    return f"https://{api_id}.execute-api.{aws.region}.{_SUFFIXES.get(aws.partition, 'amazonaws.com')}/{path}"


def source_arn(aws: Aws, api_id: str) -> str:
    """Return the ARN by which Lambda knows all calls of this API: one permission for every stage and route."""
    return aws.arn("execute-api", f"{api_id}/*/*")


def _ours(aws: Aws, project: str, stage: str) -> list[dict[str, Any]]:
    name, ours = names.api(project, stage), names.tags(project, stage).items()
    apis = [api for api in _all(aws, "get_apis") if api["Name"] == name and ours <= api.get("Tags", {}).items()]
    return sorted(apis, key=lambda api: (str(api["CreatedDate"]), api["ApiId"]))


def _tags(aws: Aws, api: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of an API: AWS lists them with it, what plays AWS locally those of its creation."""
    if aws.endpoint_url is None:
        return dict(api.get("Tags", {}))
    return dict(aws.client("apigatewayv2").get_tags(ResourceArn=_arn(aws, api["ApiId"])).get("Tags", {}))


def _read(aws: Aws, api: Mapping[str, Any], project: str, stage: str) -> Found:
    of = {"ApiId": api["ApiId"]}
    routes, integrations = _all(aws, "get_routes", **of), _all(aws, "get_integrations", **of)
    staged = next((each for each in _all(aws, "get_stages", **of) if each["StageName"] == stage), {})
    route = next((each for each in routes if each["RouteKey"] == _ROUTE), {})
    target = route.get("Target", "").removeprefix("integrations/")
    # Ours is the one that the route leads to, or the first to which none does; those of other routes are not ours.
    others = {each.get("Target", "").removeprefix("integrations/") for each in routes if each is not route}
    ours = [each for each in integrations if each["IntegrationId"] not in others - {target}]
    ours.sort(key=lambda each: each["IntegrationId"] != target)
    integration = ours[0] if ours else {}
    spare = [i["IntegrationId"] for i in ours[1:] if i.get("IntegrationUri") == integration.get("IntegrationUri")]
    kind, throttle = route.get("AuthorizationType"), staged.get("DefaultRouteSettings", {})
    endpoint = Endpoint(
        project=project,
        stage=stage,
        target=integration.get("IntegrationUri"),
        auth=next((auth for auth, known in _AUTH.items() if known == kind), kind),
        rate_per_s=throttle.get("ThrottlingRateLimit"),
        burst=throttle.get("ThrottlingBurstLimit"),
        tags=_tags(aws, api),
        payload_format=integration.get("PayloadFormatVersion"),
        timeout_ms=integration.get("TimeoutInMillis"),
        routed=target == integration.get("IntegrationId") if route else None,
        auto_deploy=staged.get("AutoDeploy", False) if staged else None,
    )
    return Found(
        api_id=api["ApiId"],
        endpoint=endpoint,
        integration_id=integration.get("IntegrationId"),
        route_id=route.get("RouteId"),
        has_stage=bool(staged),
        spare_integrations=tuple(spare),
    )


def _arn(aws: Aws, api_id: str) -> str:
    return aws.arn("apigateway", f"/apis/{api_id}", account=False)


def _all(aws: Aws, operation: str, **of: str) -> list[dict[str, Any]]:
    pages = aws.client("apigatewayv2").get_paginator(operation).paginate(**of)
    return [each for page in pages for each in page["Items"]]


def _is_whole(endpoint: Endpoint) -> bool:
    return None not in (endpoint.target, endpoint.auth, endpoint.auto_deploy) and endpoint.routed is True


def _surplus(found: Found) -> tuple[str, ...]:
    return (
        *(f"double: {api_id} -> removed" for api_id in found.doubles),
        *(f"double integration: {each} -> removed" for each in found.spare_integrations),
    )


def _converge(aws: Aws, found: Found | None, wanted: Endpoint) -> Found:
    """Write what differs, in an order in which each part finds those that it needs."""
    client, once = aws.client("apigatewayv2"), aws.once("apigatewayv2")
    if found is None:
        name = names.api(wanted.project, wanted.stage)
        made = once.create_api(Name=name, ProtocolType="HTTP", Tags=dict(wanted.tags))
        found = Found(made["ApiId"], Endpoint(wanted.project, wanted.stage, None, None, None, None, wanted.tags))
    has = found.endpoint
    integration = {
        "ApiId": found.api_id,
        "IntegrationUri": wanted.target,
        "PayloadFormatVersion": wanted.payload_format,
        "TimeoutInMillis": wanted.timeout_ms,
    }
    if found.integration_id is None:
        made = once.create_integration(IntegrationType="AWS_PROXY", IntegrationMethod="POST", **integration)
        found = replace(found, integration_id=made["IntegrationId"])
    elif _differ(has, wanted, "target", "payload_format", "timeout_ms"):
        client.update_integration(IntegrationId=found.integration_id, **integration)
    if found.route_id is None or _differ(has, wanted, "auth", "routed"):
        found = _write_route(aws, found, wanted)
    if not found.has_stage or _differ(has, wanted, *_OF_STAGE):
        found = _write_stage(aws, found, wanted)
    if owned.changes(has.tags, wanted.tags):
        client.tag_resource(ResourceArn=_arn(aws, found.api_id), Tags=dict(wanted.tags))
    for spare in found.spare_integrations:
        with absent_is_fine("NotFoundException"):
            client.delete_integration(ApiId=found.api_id, IntegrationId=spare)
    for double in found.doubles:
        _delete(aws, double)
    endpoint = replace(wanted, tags={**has.tags, **wanted.tags})
    return replace(found, endpoint=endpoint, doubles=(), spare_integrations=())


def _write_route(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    values = {
        "ApiId": found.api_id,
        "RouteKey": _ROUTE,
        "AuthorizationType": _AUTH[str(wanted.auth)],
        "Target": f"integrations/{found.integration_id}",
    }
    if found.route_id is None:
        return replace(found, route_id=aws.once("apigatewayv2").create_route(**values)["RouteId"])
    aws.client("apigatewayv2").update_route(RouteId=found.route_id, **values)
    return found


def _write_stage(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    values = {
        "ApiId": found.api_id,
        "StageName": wanted.stage,
        "AutoDeploy": wanted.auto_deploy,
        # Both: one without the other is 0, which lets nothing through (terraform-provider-aws#43307).
        "DefaultRouteSettings": {"ThrottlingRateLimit": wanted.rate_per_s, "ThrottlingBurstLimit": wanted.burst},
    }
    if found.has_stage:
        aws.client("apigatewayv2").update_stage(**values)
    else:
        aws.once("apigatewayv2").create_stage(Tags=dict(wanted.tags), **values)
    return replace(found, has_stage=True)


def _delete(aws: Aws, api_id: str) -> None:
    with absent_is_fine("NotFoundException"):
        aws.client("apigatewayv2").delete_api(ApiId=api_id)


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, failures.ClientError):
        return True  # no answer: what was asked for may have happened, or not
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = {"TooManyRequestsException", "ThrottlingException", "ConflictException", "NotFoundException"}
    return code_of(error) in passing or status >= 500


def _differ(found: Endpoint, wanted: Endpoint, *keys: str) -> bool:
    return any(getattr(found, key) != getattr(wanted, key) for key in keys)


def _lower(found: float | None, wanted: float | None) -> Any:
    return wanted if found is None else found if wanted is None else min(found, wanted)


def _shown(value: object) -> str:
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
