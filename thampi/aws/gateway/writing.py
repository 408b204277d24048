"""Each part of an HTTP API, written when it differs; returns what is found then."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from botocore import exceptions as failures

from thampi import names
from thampi.aws import cors, owned
from thampi.aws.gateway.parts import (
    AUTH,
    IDENTITY_SOURCE,
    MARK,
    MARKED,
    Authorizer,
    Endpoint,
    Found,
    Limit,
    route,
    unwanted,
)
from thampi.aws.gateway.reading import arn, read
from thampi.aws.session import Aws, absent_is_fine, code_of
from thampi.errors import CloudError

_PAUSES = (1.0, 2.0, 4.0, 8.0)
_OF_STAGE = ("rate_per_s", "burst", "auto_deploy")
# API Gateway asks the issuer itself, when it is named: https://github.com/aws/serverless-application-model/issues/1727
_ISSUER = "issuer"


def repeatedly(aws: Aws, found: Found | None, wanted: Endpoint, work: Callable[[Found | None], Found]) -> Found:
    """Do the work, and again after a while when that may help, as long as it gets on.

    Creating twice makes two, so nothing is repeated before it was looked for.
    """
    pauses, seen = iter(_PAUSES), list[Found | None]()
    while True:
        try:
            return work(found)
        except (failures.ClientError, failures.HTTPClientError, failures.ConnectionError) as error:
            pause = next(pauses, None)
            if pause is None or not _may_pass(error):
                raise
        aws.sleep(pause)
        found = read(aws, wanted.project, wanted.stage)
        if seen and found != seen[-1]:
            pauses = iter(_PAUSES)
        seen.append(found)


def api(aws: Aws, wanted: Endpoint) -> Found:
    """Make the API itself; nobody can call it yet."""
    marked = wanted.auth == "jwt"
    more = {"CorsConfiguration": cors.written(wanted.cors)} if wanted.cors else {}
    made = aws.once("apigatewayv2").create_api(
        Name=names.api(wanted.project, wanted.stage),
        ProtocolType="HTTP",
        Tags={**wanted.tags, **({MARK: MARKED} if marked else {})},
        **more,
    )
    bare = Endpoint(wanted.project, wanted.stage, None, None, None, None, wanted.tags, cors=wanted.cors)
    return Found(made["ApiId"], bare, marked=marked)


def integration(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    """Let the API lead to what is live."""
    values = {
        "ApiId": found.api_id,
        "IntegrationUri": wanted.target,
        "PayloadFormatVersion": wanted.payload_format,
        "TimeoutInMillis": wanted.timeout_ms,
    }
    if found.integration_id is None:
        once = aws.once("apigatewayv2")
        made = once.create_integration(IntegrationType="AWS_PROXY", IntegrationMethod="POST", **values)
        return replace(found, integration_id=made["IntegrationId"])
    if differ(found.endpoint, wanted, "target", "payload_format", "timeout_ms"):
        aws.client("apigatewayv2").update_integration(IntegrationId=found.integration_id, **values)
    return found


def authorizer(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    """Have what looks at the tokens, before a route names it; raises CloudError when its issuer is none."""
    assert wanted.jwt is not None
    if not found.marked:
        aws.client("apigatewayv2").tag_resource(ResourceArn=arn(aws, found.api_id), Tags={MARK: MARKED})
        found = replace(found, marked=True)
    has, issuer, audience = found.authorizer, wanted.jwt.issuer, wanted.jwt.audience
    if has and has == Authorizer(has.authorizer_id, issuer, audience):
        return found
    values = {
        "ApiId": found.api_id,
        "AuthorizerType": "JWT",
        "IdentitySource": [IDENTITY_SOURCE],
        "JwtConfiguration": {"Issuer": issuer, "Audience": list(audience)},
    }
    try:
        if has:
            aws.client("apigatewayv2").update_authorizer(AuthorizerId=has.authorizer_id, **values)
            return replace(found, authorizer=Authorizer(has.authorizer_id, issuer, audience))
        name = names.api(wanted.project, wanted.stage)
        made = aws.once("apigatewayv2").create_authorizer(Name=name, **values)
    except failures.ClientError as error:
        said = str(error.response.get("Error", {}).get("Message", ""))
        if code_of(error) != "BadRequestException" or _ISSUER not in said.lower():
            raise
        raise CloudError(
            f"API Gateway does not take {issuer} for an issuer of tokens: {said}",
            hint=f"{issuer.rstrip('/')}/.well-known/openid-configuration has to answer on the internet, and to name "
            "this issuer: set api.jwt.issuer as the tokens have it in `iss`",
        ) from error
    return replace(found, authorizer=Authorizer(made["AuthorizerId"], issuer, audience))


def routes(aws: Aws, found: Found, wanted: Endpoint, keys: Iterable[str]) -> Found:
    """Have the routes of these keys let in who should be, one after the other; one call for each that differs."""
    client, once = aws.client("apigatewayv2"), aws.once("apigatewayv2")
    for key in keys:
        has, aim = found.routes.get(key), route(found, key, wanted)
        if has == aim:
            continue
        values: dict[str, Any] = {
            "ApiId": found.api_id,
            "RouteKey": key,
            "AuthorizationType": AUTH[str(aim.auth)],
            "Target": f"integrations/{aim.target}",
        }
        # An empty one takes it away: https://github.com/hashicorp/terraform-provider-aws does so in its own tests.
        if aim.authorizer_id or (has and has.authorizer_id):
            values["AuthorizerId"] = aim.authorizer_id or ""
        if aim.scopes or (has and has.scopes):
            values["AuthorizationScopes"] = list(aim.scopes)
        if has is None:
            route_id = once.create_route(**values)["RouteId"]
        else:
            route_id = has.route_id
            client.update_route(RouteId=route_id, **values)
        found = replace(found, routes={**found.routes, key: replace(aim, route_id=route_id)})
    return found


def stage(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    """Have the stage as wanted; the routes that it limits are there before, API Gateway refuses it else.

    Limits that are not given stay: `no_limits` takes them away. So does an access log.
    """
    has = found.endpoint
    limits = {key: _throttle(limit) for key, limit in wanted.limits.items() if has.limits.get(key) != limit}
    is_logged = wanted.access_log is not None and wanted.access_log != has.access_log
    if found.has_stage and not (differ(has, wanted, *_OF_STAGE) or limits or is_logged):
        return found
    values: dict[str, Any] = {
        "ApiId": found.api_id,
        "StageName": wanted.stage,
        "AutoDeploy": wanted.auto_deploy,
        # Both: one without the other is 0, which lets nothing through (terraform-provider-aws#43307).
        "DefaultRouteSettings": {"ThrottlingRateLimit": wanted.rate_per_s, "ThrottlingBurstLimit": wanted.burst},
    }
    if limits:
        values["RouteSettings"] = limits
    if is_logged and wanted.access_log:
        values["AccessLogSettings"] = {
            "DestinationArn": wanted.access_log.destination,
            "Format": wanted.access_log.format,
        }
    if found.has_stage:
        aws.client("apigatewayv2").update_stage(**values)
    else:
        aws.once("apigatewayv2").create_stage(Tags=dict(wanted.tags), **values)
    return replace(found, has_stage=True)


def no_limits(aws: Aws, found: Found, wanted: Endpoint) -> None:
    """Take away the limits of routes that should have none; the routes themselves go after it, with `no_routes`.

    A limit outlives its route: https://github.com/aws/serverless-application-model/issues/1939
    """
    for key in found.endpoint.limits:
        if key not in wanted.limits:
            with absent_is_fine("NotFoundException"):
                aws.client("apigatewayv2").delete_route_settings(
                    ApiId=found.api_id, StageName=wanted.stage, RouteKey=key
                )


def no_access_log(aws: Aws, found: Found, wanted: Endpoint) -> None:
    """End an access log that isn't wanted: UpdateStage would keep it (https://github.com/go-to-k/cdkd/pull/1577)."""
    if found.endpoint.access_log is not None and wanted.access_log is None:
        with absent_is_fine("NotFoundException"):
            aws.client("apigatewayv2").delete_access_log_settings(ApiId=found.api_id, StageName=wanted.stage)


def other_sites(aws: Aws, found: Found, wanted: Endpoint) -> None:
    """Have the API answer browsers as wanted; it replaces all of the rules, and takes none away by itself."""
    if not cors.changes(found.endpoint.cors, wanted.cors):
        return
    if wanted.cors is None:
        aws.client("apigatewayv2").delete_cors_configuration(ApiId=found.api_id)
    else:
        aws.client("apigatewayv2").update_api(ApiId=found.api_id, CorsConfiguration=cors.written(wanted.cors))


def no_routes(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    """Remove our routes that aren't wanted: what came through them comes through the one of everything."""
    gone = unwanted(found, wanted)
    for key in gone:
        with absent_is_fine("NotFoundException"):
            aws.client("apigatewayv2").delete_route(ApiId=found.api_id, RouteId=found.routes[key].route_id)
    return replace(found, routes={key: each for key, each in found.routes.items() if key not in gone})


def no_authorizer(aws: Aws, found: Found, wanted: Endpoint) -> Found:
    """Remove what looks at tokens when no route asks for it, and doubles of it."""
    client, is_used = aws.client("apigatewayv2"), wanted.auth == "jwt"
    gone = [*found.spare_authorizers]
    gone += [found.authorizer.authorizer_id] if found.authorizer and not is_used else []
    for each in gone:
        with absent_is_fine("NotFoundException"):
            client.delete_authorizer(ApiId=found.api_id, AuthorizerId=each)
    if found.marked and not is_used:
        client.untag_resource(ResourceArn=arn(aws, found.api_id), TagKeys=[MARK])
    kept = found.authorizer if is_used else None
    return replace(found, authorizer=kept, marked=is_used, spare_authorizers=())


def rest(aws: Aws, found: Found, wanted: Endpoint) -> None:
    """Tag it, and remove what was made twice."""
    client = aws.client("apigatewayv2")
    if owned.changes(found.endpoint.tags, wanted.tags):
        client.tag_resource(ResourceArn=arn(aws, found.api_id), Tags=dict(wanted.tags))
    for spare in found.spare_integrations:
        with absent_is_fine("NotFoundException"):
            client.delete_integration(ApiId=found.api_id, IntegrationId=spare)
    for double in found.doubles:
        delete(aws, double)


def delete(aws: Aws, api_id: str) -> None:
    """Delete an API, with all that it has."""
    with absent_is_fine("NotFoundException"):
        aws.client("apigatewayv2").delete_api(ApiId=api_id)


def differ(found: Endpoint, wanted: Endpoint, *keys: str) -> bool:
    """Say whether one of these settings has to change."""
    return any(getattr(found, key) != getattr(wanted, key) for key in keys)


def _throttle(limit: Limit) -> dict[str, Any]:
    return {"ThrottlingRateLimit": limit.rate_per_s, "ThrottlingBurstLimit": limit.burst}


def _may_pass(error: Exception) -> bool:
    if not isinstance(error, failures.ClientError):
        return True  # no answer: what was asked for may have happened, or not
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    passing = {"TooManyRequestsException", "ThrottlingException", "ConflictException", "NotFoundException"}
    return code_of(error) in passing or status >= 500
