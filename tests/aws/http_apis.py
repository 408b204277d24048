"""An HTTP API as API Gateway sees it, whole, and whom it lets in: for tests of what is written there."""

from thampi import names
from thampi.aws.cors import Cors, make
from thampi.aws.gateway import AccessLog, Endpoint, Jwt, Limit

NAME = "thampi-iris-staging"
TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
PREDICT, PING = "POST /iris/predict", "GET /iris/ping"
PREFLIGHT = "OPTIONS /{proxy+}"
OPEN = Endpoint("iris", "staging", TARGET, tags=names.tags("iris", "staging"))
TOKENS = Jwt("https://login.example.com/", ("one", "two"), ("ask", "see"))
LIMITS = {PREDICT: Limit(5.0, 10), PING: Limit(1.0, 2)}
SITES: Cors = make(
    origins=["https://b.example", "https://a.example"],
    methods=["POST", "GET"],
    headers=["Content-Type", "authorization"],
    credentials=False,
    max_age_s=600,
)
LOG = AccessLog("arn:aws:logs:eu-central-1:123456789012:log-group:/aws/apigateway/thampi-iris-staging", '{"a": 1}')
READS = {"GetApis", "GetRoutes", "GetIntegrations", "GetStages", "GetTags"}


def writes(calls):
    """What was written, in order."""
    return [call for call in calls if call not in READS and call != "GetAuthorizers"]


def doors(aws):
    """Whom each route lets in: `none`, `iam`, or issuer, audience and scopes; only of those that lead to what is live.

    An authorizer that a route names and that isn't there, as well as a route that leads nowhere, lets nobody in.
    """
    client, found = aws.client("apigatewayv2"), {}
    (api,) = client.get_apis()["Items"]
    of = {"ApiId": api["ApiId"]}
    live = {i["IntegrationId"] for i in client.get_integrations(**of)["Items"] if i["IntegrationUri"] == TARGET}
    authorizers = {each["AuthorizerId"]: each for each in client.get_authorizers(**of)["Items"]}
    for each in client.get_routes(**of)["Items"]:
        if each.get("Target", "").removeprefix("integrations/") not in live:
            continue
        door = {"NONE": "none", "AWS_IAM": "iam"}.get(each["AuthorizationType"])
        if door is None and each["AuthorizerId"] in authorizers:
            tokens = authorizers[each["AuthorizerId"]]["JwtConfiguration"]
            scopes = tuple(sorted(each.get("AuthorizationScopes") or ()))
            door = (tokens["Issuer"], tuple(sorted(tokens["Audience"])), scopes)
        found[each["RouteKey"]] = door
    return found


def door(wanted):
    """Whom the endpoint is to let in, as `doors` says it."""
    return (wanted.jwt.issuer, wanted.jwt.audience, wanted.jwt.scopes) if wanted.auth == "jwt" else wanted.auth


def whole(aws):
    """All that the one API has, without ids."""
    client = aws.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    of = {"ApiId": api["ApiId"]}
    (stage,) = client.get_stages(**of)["Items"]
    rules = api.get("CorsConfiguration")
    return {
        "doors": doors(aws),
        "authorizers": [each["Name"] for each in client.get_authorizers(**of)["Items"]],
        "integrations": len(client.get_integrations(**of)["Items"]),
        "tags": api["Tags"],
        "cors": {key: sorted(each) if isinstance(each, list) else each for key, each in rules.items()} if rules else {},
        "limits": {key: _limit(each) for key, each in stage["RouteSettings"].items()},
        "limit": _limit(stage["DefaultRouteSettings"]),
        "log": stage.get("AccessLogSettings"),
        "auto": stage["AutoDeploy"],
    }


def expected(wanted):
    """What `whole` says of it when all is as wanted."""
    is_asked, rules, log = wanted.auth == "jwt", wanted.cors, wanted.access_log
    routes = {**dict.fromkeys(wanted.limits, door(wanted)), "$default": door(wanted)}
    if rules and wanted.auth != "none":
        routes[PREFLIGHT] = "none"
    return {
        "doors": routes,
        "authorizers": [NAME] if is_asked else [],
        "integrations": 1,
        "tags": {**wanted.tags, **({"thampi:auth": "jwt"} if is_asked else {})},
        "cors": {
            "AllowOrigins": list(rules.origins),
            "AllowMethods": list(rules.methods),
            "AllowHeaders": list(rules.headers),
            "AllowCredentials": rules.credentials,
            "MaxAge": rules.max_age_s,
            "ExposeHeaders": ["age", "allow", "retry-after", "x-request-id", "x-thampi-cache"],
        }
        if rules
        else {},
        "limits": {key: (each.rate_per_s, each.burst) for key, each in wanted.limits.items()},
        "limit": (wanted.rate_per_s, wanted.burst),
        "log": {"DestinationArn": log.destination, "Format": log.format} if log else None,
        "auto": True,
    }


def _limit(said):
    return said["ThrottlingRateLimit"], said["ThrottlingBurstLimit"]
