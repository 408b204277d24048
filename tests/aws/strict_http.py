"""What API Gateway does with HTTP APIs and moto doesn't: each function says it, and makes moto do it for one test."""

import inspect
import json
from urllib.parse import unquote

from moto.apigateway import urls  # all of its host are in there, those of HTTP APIs, too
from moto.apigatewayv2.models import Route
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.core.exceptions import JsonRESTError

from tests.aws.strict import _before

_SETTINGS = r"{0}/v2/apis/(?P<api_id>[^/]+)/stages/(?P<stage_name>[^/]+)/"


class _Conflict(JsonRESTError):
    code = 409

    def __init__(self, message):
        super().__init__("ConflictException", message)


class _Refusal(JsonRESTError):
    code = 400

    def __init__(self, message):
        super().__init__("BadRequestException", message)


class _Absent(JsonRESTError):
    code = 404

    def __init__(self, message):
        super().__init__("NotFoundException", message)


def _api(response):
    parts = response.path.split("/")
    return response.apigatewayv2_backend.get_api(parts[parts.index("apis") + 1])


def _given(response):
    return json.loads(response.body)


# --------------------------------------------------------------------------------------------------------------- stages


def http_apis_have_stages(monkeypatch):
    """UpdateStage exists, a throttle of which one half isn't given is 0, and a stage limits only routes that are there.

    It keeps what isn't given, also the limits of single routes, which outlive them, and the access log: these are taken
    away each by a call of its own. A second stage, or a second route, of one name is a conflict.
    """
    monkeypatch.setattr(ApiGatewayV2Response, "update_stage", _update_stage, raising=False)
    _before(monkeypatch, ApiGatewayV2Response, "create_stage", _is_new_stage)
    _before(monkeypatch, ApiGatewayV2Response, "create_stage", _limits)
    _before(monkeypatch, ApiGatewayV2Response, "create_route", _is_new_route)
    monkeypatch.setitem(urls.url_paths, f"{_SETTINGS}accesslogsettings$", _end_access_log)
    monkeypatch.setitem(urls.url_paths, f"{_SETTINGS}routesettings/(?P<key>.+)$", _end_limit)


def _throttle(given):
    return {"throttlingRateLimit": 0, "throttlingBurstLimit": 0, **given}


def _limits(response):
    found = _given(response).get("routeSettings", {})
    for key in found:
        if key not in {route.route_key for route in _api(response).routes.values()}:
            raise _Absent(f"Unable to find Route by key {key} within the provided RouteSettings")
    return {key: _throttle(each) if "throttling" in str(each) else each for key, each in found.items()}


def _update_stage(self):
    stage, given = _api(self).get_stage(unquote(self.path.split("/")[-1])), _given(self)
    stage.route_settings = {**stage.route_settings, **_limits(self)}
    stage.auto_deploy = given.get("autoDeploy", stage.auto_deploy)
    if "defaultRouteSettings" in given:
        stage.default_route_settings = _throttle(given["defaultRouteSettings"])
    stage.access_log_settings = given.get("accessLogSettings", stage.access_log_settings)
    return 200, {}, json.dumps(stage.to_json())


def _is_new_stage(self):
    if _given(self)["stageName"] in _api(self).stages:
        raise _Conflict("Stage already exists")


def _is_new_route(self):
    key = _given(self)["routeKey"]
    if any(route.route_key == key for route in _api(self).routes.values()):
        raise _Conflict(f"Route with key {key} already exists for this API")


def _stage_of(request, full_url, headers):
    response = ApiGatewayV2Response()
    response.setup_class(request, full_url, headers)
    parts = unquote(response.path).split("/")
    return _api(response).get_stage(parts[5]), "/".join(parts[7:])


def _end_access_log(request, full_url, headers):
    stage, _ = _stage_of(request, full_url, headers)
    stage.access_log_settings = None
    return 204, {}, ""


def _end_limit(request, full_url, headers):
    stage, key = _stage_of(request, full_url, headers)
    if stage.route_settings.pop(key, None) is None:
        return 404, {"x-amzn-errortype": "NotFoundException"}, json.dumps({"message": f"no settings of {key}"})
    return 204, {}, ""


# ---------------------------------------------------------------------------------------------------------- authorizers


def http_apis_have_authorizers(monkeypatch):
    """Authorizers can be listed; each has a name of its own, and an issuer that answers (here: one of https). One that
    a route names can't be deleted, and a route that asks for tokens names one that is there. Scopes that are given
    empty are none, and a route that doesn't ask for tokens has no authorizer."""
    update = Route.update

    def updated(self, *args, **kwargs):
        given = inspect.signature(update).bind(self, *args, **kwargs).arguments
        update(self, *args, **kwargs)
        if given["authorization_scopes"] is not None:
            self.authorization_scopes = given["authorization_scopes"]
        if self.authorization_type != "JWT":
            self.authorizer_id = None

    monkeypatch.setattr(Route, "update", updated)
    monkeypatch.setattr(ApiGatewayV2Response, "get_authorizers", _get_authorizers, raising=False)
    checks = {
        "create_authorizer": (_has_issuer, _is_new_authorizer),
        "update_authorizer": (_has_issuer,),
        "delete_authorizer": (_is_free,),
        "create_route": (_names_one,),
        "update_route": (_names_one,),
    }
    for method, each in checks.items():
        for check in each:
            _before(monkeypatch, ApiGatewayV2Response, method, check)


def _get_authorizers(self):
    return 200, {}, json.dumps({"items": [each.to_json() for each in _api(self).authorizers.values()]})


def _has_issuer(self):
    issuer = (_given(self).get("jwtConfiguration") or {}).get("issuer", "https://")
    if not issuer.startswith("https://"):
        raise _Refusal(f"Invalid issuer: {issuer}. Issuer must have a valid discovery endpoint")


def _is_new_authorizer(self):
    name = _given(self)["name"]
    if any(each.name == name for each in _api(self).authorizers.values()):
        raise _Refusal(f"Authorizer name must be unique. Authorizer {name} already exists")


def _is_free(self):
    for route in _api(self).routes.values():
        if route.authorizer_id == self.path.split("/")[-1]:
            raise _Conflict(f"Cannot delete authorizer, is referenced in route: {route.route_key}")


def _names_one(self):
    given = _given(self)
    if given.get("authorizationType") == "JWT" and given.get("authorizerId") not in _api(self).authorizers:
        raise _Refusal("Invalid authorizer ID specified.")
