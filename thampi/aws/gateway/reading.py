"""An HTTP API is found by its name and tags, and read whole; where it is called."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thampi import names
from thampi.aws import cors, execute_api, release
from thampi.aws.gateway.parts import (
    AUTH,
    EVERYTHING,
    IDENTITY_SOURCE,
    MARK,
    MARKED,
    PREFLIGHT,
    AccessLog,
    Authorizer,
    Endpoint,
    Found,
    Jwt,
    Limit,
    Route,
    route_keys,
)
from thampi.aws.session import Aws, doing

Said = Mapping[str, Any]


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
    return execute_api.url(aws, str(apis[0]["ApiId"]), project, stage) if len(apis) == 1 else None


def url(aws: Aws, found: Found) -> str:
    """Return where predictions are asked for."""
    return execute_api.url(aws, found.api_id, found.endpoint.project, found.endpoint.stage)


def arn(aws: Aws, api_id: str) -> str:
    """Return the ARN by which the API is tagged."""
    return aws.arn("apigateway", f"/apis/{api_id}", account=False)


def _ours(aws: Aws, project: str, stage: str) -> list[dict[str, Any]]:
    name, ours = names.api(project, stage), names.tags(project, stage).items()
    apis = [api for api in _all(aws, "get_apis") if api["Name"] == name and ours <= api.get("Tags", {}).items()]
    return sorted(apis, key=lambda api: (str(api["CreatedDate"]), api["ApiId"]))


def _all(aws: Aws, operation: str, **of: str) -> list[dict[str, Any]]:
    pages = aws.client("apigatewayv2").get_paginator(operation).paginate(**of)
    return [each for page in pages for each in page["Items"]]


def _tags(aws: Aws, api: Said) -> dict[str, str]:
    """Return the tags of an API: AWS lists them with it, what plays AWS locally those of its creation."""
    if aws.endpoint_url is None:
        return dict(api.get("Tags", {}))
    return dict(aws.client("apigatewayv2").get_tags(ResourceArn=arn(aws, api["ApiId"])).get("Tags", {}))


def _read(aws: Aws, api: Said, project: str, stage: str) -> Found:
    of = {"ApiId": api["ApiId"]}
    routes, integrations = _all(aws, "get_routes", **of), _all(aws, "get_integrations", **of)
    staged = next((each for each in _all(aws, "get_stages", **of) if each["StageName"] == stage), {})
    tags = _tags(aws, api)
    marked = tags.pop(MARK, None) == MARKED
    authorizers = []
    if marked or any(each.get("AuthorizationType") == AUTH["jwt"] for each in routes):
        authorizers = _all(aws, "get_authorizers", **of)
    ours = [_authorizer(each) for each in authorizers if each["Name"] == names.api(project, stage)]
    everything = next((each for each in routes if each["RouteKey"] == EVERYTHING), {})
    named = everything.get("AuthorizerId")
    ours.sort(key=lambda each: each.authorizer_id != named)  # the one in use first
    integration, spare = _integrations(integrations, routes, f":{names.function(project, stage)}:{release.LIVE}")
    known = {EVERYTHING, PREFLIGHT, *route_keys(project).values()}
    throttle = staged.get("DefaultRouteSettings", {})
    endpoint = Endpoint(
        project=project,
        stage=stage,
        target=integration.get("IntegrationUri"),
        auth=_auth(everything),
        rate_per_s=throttle.get("ThrottlingRateLimit"),
        burst=throttle.get("ThrottlingBurstLimit"),
        tags=tags,
        payload_format=integration.get("PayloadFormatVersion"),
        timeout_ms=integration.get("TimeoutInMillis"),
        routed=_leads_to(everything) == integration.get("IntegrationId") if everything else None,
        auto_deploy=staged.get("AutoDeploy", False) if staged else None,
        jwt=_jwt(everything, authorizers),
        limits=_limits(staged, known),
        cors=cors.read(api.get("CorsConfiguration")),
        access_log=_access_log(staged),
    )
    return Found(
        api_id=api["ApiId"],
        endpoint=endpoint,
        integration_id=integration.get("IntegrationId"),
        routes={each["RouteKey"]: _route(each) for each in routes if each["RouteKey"] in known},
        authorizer=ours[0] if ours else None,
        marked=marked,
        has_stage=bool(staged),
        spare_integrations=tuple(spare),
        spare_authorizers=tuple(each.authorizer_id for each in ours[1:]),
    )


def _integrations(found: Sequence[Said], routes: Sequence[Said], live: str) -> tuple[Said, list[str]]:
    """Return ours, and what is left of attempts to make it.

    Ours is the one that the route of everything leads to, or the first to which none does but one of ours; those of
    other routes are not ours. `live` is how the ARN of what is live ends.
    """
    main = next((_leads_to(each) for each in routes if each["RouteKey"] == EVERYTHING), None)
    theirs = {_leads_to(each) for each in routes if each["RouteKey"] != EVERYTHING}
    theirs -= {each["IntegrationId"] for each in found if str(each.get("IntegrationUri")).endswith(live)}
    ours = [each for each in found if each["IntegrationId"] not in theirs - {main}]
    ours.sort(key=lambda each: each["IntegrationId"] != main)
    if not ours:
        return {}, []
    spare = [each for each in ours[1:] if each.get("IntegrationUri") == ours[0].get("IntegrationUri")]
    return ours[0], [each["IntegrationId"] for each in spare]


def _leads_to(route: Said) -> str | None:
    return str(route.get("Target") or "").removeprefix("integrations/") or None


def _auth(route: Said) -> str | None:
    kind = route.get("AuthorizationType")
    return next((auth for auth, known in AUTH.items() if known == kind), kind)


def _route(said: Said) -> Route:
    return Route(
        auth=_auth(said),
        target=_leads_to(said),
        scopes=tuple(sorted(said.get("AuthorizationScopes") or ())),
        authorizer_id=said.get("AuthorizerId") or None,
        route_id=said["RouteId"],
    )


def _authorizer(said: Said) -> Authorizer:
    tokens = said.get("JwtConfiguration") or {}
    source = ", ".join(said.get("IdentitySource") or [IDENTITY_SOURCE])
    audience = tuple(sorted(tokens.get("Audience") or ()))
    return Authorizer(said["AuthorizerId"], tokens.get("Issuer") or "", audience, source)


def _jwt(route: Said, authorizers: Sequence[Said]) -> Jwt | None:
    """Return whose tokens a route asks for, whoever made its authorizer."""
    if _auth(route) != "jwt":
        return None
    named = [_authorizer(each) for each in authorizers if each["AuthorizerId"] == route.get("AuthorizerId")]
    scopes = _route(route).scopes
    return Jwt(named[0].issuer, named[0].audience, scopes) if named else Jwt("", (), scopes)


def _limits(staged: Said, known: set[str]) -> dict[str, Limit]:
    """Return the limits of routes; what else is set for a route is not ours."""
    found = {}
    for key, each in (staged.get("RouteSettings") or {}).items():
        if key in known - {EVERYTHING, PREFLIGHT} and {"ThrottlingRateLimit", "ThrottlingBurstLimit"} & set(each):
            found[key] = Limit(each.get("ThrottlingRateLimit", 0.0), each.get("ThrottlingBurstLimit", 0))
    return found


def _access_log(staged: Said) -> AccessLog | None:
    said = staged.get("AccessLogSettings") or {}
    return AccessLog(said["DestinationArn"], said.get("Format", "")) if said.get("DestinationArn") else None


def _is_whole(endpoint: Endpoint) -> bool:
    return None not in (endpoint.target, endpoint.auth, endpoint.auto_deploy) and endpoint.routed is True
