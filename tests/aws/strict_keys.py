"""What API Gateway does with API keys and usage plans, and moto doesn't."""

import json
from urllib.parse import unquote

from moto.apigateway import urls
from moto.apigateway.exceptions import BadRequestException, ConflictException, NotFoundException
from moto.apigateway.models import APIGatewayBackend, UsagePlan
from moto.apigateway.responses import APIGatewayResponse

from tests.aws.strict import _before

_USAGE = "{0}/usageplans/(?P<usage_plan_id>[^/]+)/usage$"


class _Absent(NotFoundException):
    code = 404


def keys_are_strict(monkeypatch):
    """All of it."""
    plans_hold_stages(monkeypatch)
    plans_hold_keys(monkeypatch)
    plans_have_numbers(monkeypatch)
    keys_and_plans_have_tags(monkeypatch)
    plans_tell_usage(monkeypatch)


def plans_hold_stages(monkeypatch):
    """A plan holds stages that are there, each once; one that holds any is not deleted, and it loses those that go."""
    _before(monkeypatch, APIGatewayBackend, "create_usage_plan", _hold_stages_that_are_there)
    _before(monkeypatch, APIGatewayBackend, "update_usage_plan", _can_be_patched)
    _before(monkeypatch, APIGatewayBackend, "delete_usage_plan", _holds_none)
    for method in ("delete_rest_api", "delete_stage"):
        _before(monkeypatch, APIGatewayBackend, method, _let_go)


def _hold_stages_that_are_there(self, payload):
    for each in payload.get("apiStages", []):
        api = self.apis.get(each["apiId"])
        if api is None or each["stage"] not in api.stages:
            raise BadRequestException("Invalid API Stage specified")


def _can_be_patched(self, usage_plan_id, patch_operations):
    plan = self.get_usage_plan(usage_plan_id)
    for each in patch_operations:
        if each["path"] == "/apiStages":
            held = dict(zip(("apiId", "stage"), each["value"].split(":"), strict=True))
            _hold_stages_that_are_there(self, {"apiStages": [held]})
            if (each["op"] == "add") == (held in plan.api_stages):
                raise ConflictException(f"{each['op']} {each['value']}: {plan.api_stages}")
            _check_no_other(self, plan, held)
        elif each["path"].startswith("/apiStages"):
            raise BadRequestException(f"Invalid patch path '{each['path']}' specified for op '{each['op']}'")


def _holds_none(self, usage_plan_id):
    held = self.get_usage_plan(usage_plan_id).api_stages
    if held:
        why = f"there are API Stages associated with it, including {held[0]['apiId']}:{held[0]['stage']}"
        raise BadRequestException(f"Cannot delete Usage Plan {usage_plan_id} because {why}")


def _let_go(self, function_id, stage_name=None):
    for plan in self.usage_plans.values():
        gone = [
            each for each in plan.api_stages if each["apiId"] == function_id and stage_name in (None, each["stage"])
        ]
        plan.api_stages = [each for each in plan.api_stages if each not in gone]


def _check_no_other(backend, plan, held):
    """No key is in two plans of one stage."""
    keys = set(backend.usage_plan_keys.get(plan.id, {}))
    for other in backend.usage_plans.values():
        if other is not plan and held in other.api_stages and keys & set(backend.usage_plan_keys.get(other.id, {})):
            raise ConflictException("API Key cannot be in two usage plans of one API stage")


def plans_hold_keys(monkeypatch):
    """A plan holds a key once, and one of those that hold a stage; it loses the keys that are deleted."""

    def is_new(self, usage_plan_id, payload):
        plan, key = self.get_usage_plan(usage_plan_id), self.get_api_key(payload["keyId"])
        for other in self.usage_plans.values():
            shared = other is plan or any(each in other.api_stages for each in plan.api_stages)
            if shared and key.id in self.usage_plan_keys.get(other.id, {}):
                raise ConflictException(f"API Key {key.id} is in usage plan {other.id} already")

    def is_held(self, usage_plan_id, key_id):
        if key_id not in self.usage_plan_keys.get(usage_plan_id, {}):
            raise _Absent("Invalid Usage Plan Key identifier specified")

    def let_go(self, api_key_id):
        for held in self.usage_plan_keys.values():
            held.pop(api_key_id, None)

    _before(monkeypatch, APIGatewayBackend, "create_usage_plan_key", is_new)
    _before(monkeypatch, APIGatewayBackend, "delete_usage_plan_key", is_held)
    _before(monkeypatch, APIGatewayBackend, "delete_api_key", let_go)
    _before(monkeypatch, APIGatewayBackend, "get_usage_plan_keys", lambda self, plan, **_: self.get_usage_plan(plan))


def plans_have_numbers(monkeypatch):
    """A rate may be a fraction, a quota is a number; the other half of a throttle is 0, that of a quota a must."""
    patch = UsagePlan.apply_patch_operations

    def patched(self, operations):
        rates = [each for each in operations if each["path"] == "/throttle/rateLimit"]
        patch(self, [each for each in operations if each not in rates])
        for each in rates:
            self.throttle["rateLimit"] = float(each["value"])
        if self.throttle:
            self.throttle = {"rateLimit": 0.0, "burstLimit": 0, **self.throttle}
        if self.quota:
            if self.quota.get("period") not in ("DAY", "WEEK", "MONTH") or int(self.quota.get("limit", 0)) < 1:
                raise BadRequestException("Usage Plan quota needs a limit and a period")
            self.quota["limit"] = int(self.quota["limit"])

    monkeypatch.setattr(UsagePlan, "apply_patch_operations", patched)


def keys_and_plans_have_tags(monkeypatch):
    """Keys and plans have tags, not only stages have."""
    read, write = APIGatewayResponse.get_tags, APIGatewayResponse.tag_resource

    def tagged(self):
        kind, _, thing = unquote(self.path.split("/tags/")[1]).partition("::/")[2].partition("/")
        find = {"usageplans": self.backend.get_usage_plan, "apikeys": self.backend.get_api_key}.get(kind)
        return find and find(thing)

    def get_tags(self):
        found = tagged(self)
        return json.dumps({"tags": found.tags or {}}) if found else read(self)

    def tag_resource(self):
        found = tagged(self)
        if not found:
            return write(self)
        found.tags = {**(found.tags or {}), **self._get_param("tags")}
        return 204, {"status": 204}, ""

    monkeypatch.setattr(APIGatewayResponse, "get_tags", get_tags)
    monkeypatch.setattr(APIGatewayResponse, "tag_resource", tag_resource)


def plans_tell_usage(monkeypatch):
    """A plan tells what was used of its quota: a line for each key and day, of what `used` has put there."""

    def answer(request, full_url, headers):
        response = APIGatewayResponse()
        response.setup_class(request, full_url, headers)
        plan = response.backend.get_usage_plan(response.path.split("/")[2])
        days = {key: response.querystring[key][0] for key in ("startDate", "endDate")}
        values = {
            key: [[used, plan.quota["limit"] - used]]
            for key, used in vars(plan).get("used", {}).items()
            if key in response.backend.usage_plan_keys.get(plan.id, {})
        }
        return 200, {}, json.dumps({"usagePlanId": plan.id, **days, "values": values})

    monkeypatch.setitem(urls.url_paths, _USAGE, answer)
