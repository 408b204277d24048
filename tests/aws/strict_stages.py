"""How API Gateway changes a stage of a REST API by patches, all of them or none; moto takes more, and forgets some."""

import copy
import re
from urllib.parse import unquote

from moto.apigateway.exceptions import BadRequestException
from moto.apigateway.models import APIGatewayBackend, Stage
from moto.apigateway.responses import APIGatewayResponse
from moto.wafv2.models import WAFV2Backend

from tests.aws.strict import _before


def _true_or_false(text):
    return {"true": True, "false": False}[text]


def _ttl(text):
    assert 0 <= int(text) <= 3600, text
    return int(text)


_STAGE = {
    "/deploymentId": str,
    "/description": str,
    "/cacheClusterEnabled": _true_or_false,
    "/cacheClusterSize": str,
    "/accessLogSettings/destinationArn": str,
    "/accessLogSettings/format": str,
    "/tracingEnabled": _true_or_false,
}
_METHOD = {
    "metrics/enabled": ("metricsEnabled", _true_or_false),
    "logging/loglevel": ("loggingLevel", str),
    "logging/dataTrace": ("dataTraceEnabled", _true_or_false),
    "throttling/rateLimit": ("throttlingRateLimit", float),
    "throttling/burstLimit": ("throttlingBurstLimit", int),
    "caching/enabled": ("cachingEnabled", _true_or_false),
    "caching/ttlInSeconds": ("cacheTtlInSeconds", _ttl),
    "caching/dataEncrypted": ("cacheDataEncrypted", _true_or_false),
    "caching/requireAuthorizationForCacheControl": ("requireAuthorizationForCacheControl", _true_or_false),
    "caching/unauthorizedCacheControlHeaderStrategy": ("unauthorizedCacheControlHeaderStrategy", str),
}
# What an entry has that only one thing was set of: the account's own limits, whatever the stage's are.
DEFAULTS = {
    "metricsEnabled": False,
    "dataTraceEnabled": False,
    "throttlingBurstLimit": 5000,
    "throttlingRateLimit": 10000.0,
    "cachingEnabled": False,
    "cacheTtlInSeconds": 300,
    "cacheDataEncrypted": False,
    "requireAuthorizationForCacheControl": True,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}


def patched(stage, operations, defaults=DEFAULTS):
    """Return a stage, as GetStage says it, after patches; raise for what AWS refuses."""
    stage = copy.deepcopy(stage)
    assert len(operations) <= 80, "more than AWS takes in one call"
    for each in operations:
        named, rest = _method_of(each["path"])
        entries = stage.setdefault("methodSettings", {})
        if each["op"] == "remove" and named and not rest:
            if named not in entries:
                raise BadRequestException(
                    f"Cannot remove method setting {named} because there is no method setting for this method "
                )
            del entries[named]
        elif each["op"] == "remove" and each["path"] == "/accessLogSettings" and stage.get("accessLogSettings"):
            del stage["accessLogSettings"]
        elif each["op"] == "replace" and each["path"] in _STAGE:
            *above, last = each["path"].split("/")[1:]
            (stage.setdefault(above[0], {}) if above else stage)[last] = _STAGE[each["path"]](each["value"])
        elif each["op"] == "replace" and rest in _METHOD:
            setting, read = _METHOD[rest]
            entries.setdefault(named, dict(defaults))[setting] = read(each["value"])
        else:
            raise BadRequestException(f"Invalid patch: {each}")
    log = stage.get("accessLogSettings")
    if log and (
        "$context.requestId" not in log.get("format", "") or "destinationArn" not in log or "\n" in log["format"]
    ):
        raise BadRequestException("Invalid access log settings")
    return stage


def _method_of(path):
    """Return `~1iris~1predict/POST` and what follows; a resource's path is one part, so its slashes are escaped."""
    found = re.fullmatch(r"/(\*/\*|[^/]+/(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|ANY))(?:/(.+))?", path)
    return (found[1], found[2]) if found and path not in _STAGE else (None, None)


def rest_stages_are_strict(monkeypatch):
    """A stage is changed by patches as above, and has tags; access logs need the account's role, which is only there
    where it was set; an integration keeps what its cache depends on, which its method has to take; a web ACL takes the
    place of another."""

    def apply_operations(self, operations):
        names = {
            "methodSettings": "method_settings",
            "cacheClusterEnabled": "cache_cluster_enabled",
            "cacheClusterSize": "cache_cluster_size",
            "accessLogSettings": "access_log_settings",
            "tracingEnabled": "tracing_enabled",
            "deploymentId": "deployment_id",
            "description": "description",
        }
        shown = {key: getattr(self, name) for key, name in names.items() if getattr(self, name) is not None}
        after = patched(shown, operations)
        for key, name in names.items():
            setattr(self, name, after.get(key))
        return self

    def may_log(self, function_id, stage_name, patch_operations):
        logs = any(each["path"].startswith("/accessLog") and each["op"] == "replace" for each in patch_operations)
        if logs and not self.account.to_json().get("cloudwatchRoleArn"):
            raise BadRequestException("CloudWatch Logs role ARN must be set in account settings to enable logging")

    put_integration = APIGatewayResponse.put_integration

    def put_cached_integration(self):
        answer = put_integration(self)
        _, _, api_id, _, resource_id, _, name = self.path.split("/")[:7]
        method, keys = self.backend.get_method(api_id, resource_id, name), self._get_param("cacheKeyParameters") or []
        if not set(keys) <= set(method.request_parameters or ()):
            raise BadRequestException("Invalid cache key parameter specified")
        method.method_integration.cache_key_parameters = keys
        return answer

    def takes_the_place(self, web_acl_arn, resource_arn):
        if web_acl_arn in self.wacls:
            self.disassociate_web_acl(resource_arn)

    of_apis = {name: getattr(APIGatewayResponse, name) for name in ("tag_resource", "untag_resource", "get_tags")}
    for name, of_stages in _OF_STAGES.items():
        monkeypatch.setattr(APIGatewayResponse, name, _told_apart(of_stages, of_apis[name]))
    monkeypatch.setattr(Stage, "apply_operations", apply_operations)
    monkeypatch.setattr(APIGatewayResponse, "put_integration", put_cached_integration)
    _before(monkeypatch, APIGatewayBackend, "update_stage", may_log)
    _before(monkeypatch, WAFV2Backend, "associate_web_acl", takes_the_place)


# moto's own, which know stages and nothing else.
_OF_STAGES = {name: getattr(APIGatewayResponse, name) for name in ("tag_resource", "untag_resource", "get_tags")}


def _told_apart(of_stages, of_apis):
    return lambda self: (of_stages if "/stages/" in unquote(self.path) else of_apis)(self)
