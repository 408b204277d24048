"""What API Gateway does with REST APIs and moto doesn't; `served` tells what callers see, which moto doesn't keep."""

import json
from urllib.parse import unquote

from moto.apigateway.exceptions import BadRequestException, ConflictException, NotFoundException, StageStillActive
from moto.apigateway.models import APIGatewayBackend, RestAPI, apigateway_backends
from moto.apigateway.responses import APIGatewayResponse

from tests.aws.strict import _before

_OURS = ("DEFAULT_4XX", "DEFAULT_5XX")


class _Absent(NotFoundException):
    code = 404


def served(account, region, api_id, stage):
    """Return what callers of a stage get: {"GET /path": method, …}, and the gateway's own answers."""
    api = apigateway_backends[account][region].apis[api_id]
    return api.deployments[api.stages[stage].deployment_id].served


def rest_apis_are_strict(monkeypatch):
    """Equal names beside each other, and methods that are there, are conflicts; what is not there is said so; methods
    can be changed, and are listed with their content only when that is asked for; a deployment is a copy of what is
    written, has no method that nothing answers, and stays as long as a stage serves it; APIs have tags."""
    create, listed = RestAPI.create_deployment, APIGatewayResponse.get_gateway_responses

    def is_new_resource(self, function_id, parent_resource_id, path_part):
        for each in self.get_rest_api(function_id).resources.values():
            if (each.parent_id, each.path_part) == (parent_resource_id, path_part):
                raise ConflictException(f"Another resource with the same parent already has this name: {path_part}")

    def is_new_method(self, function_id, resource_id, method_type, *_, **__):
        if method_type in self.get_resource(function_id, resource_id).resource_methods:
            raise ConflictException("Method already exists for this resource")

    def is_there(self, function_id):
        if function_id not in self.apis:
            raise _Absent("Invalid API identifier specified")

    def knows_deployment(self, function_id, stage_name, deploymentId, **_):
        if deploymentId not in self.get_rest_api(function_id).deployments:
            raise BadRequestException("Deployment id does not exist")

    def knows_patched(self, function_id, stage_name, patch_operations):
        for each in patch_operations:
            if each["path"] == "/deploymentId":
                knows_deployment(self, function_id, stage_name, each["value"])

    def update_method(self):
        _, _, api_id, _, resource_id, _, name = self.path.split("/")[:7]
        method = self.backend.get_method(api_id, resource_id, name)
        for each in self._get_param("patchOperations"):
            assert each["op"] == "replace", each
            if each["path"] == "/authorizationType":
                method.authorization_type = each["value"]
            elif each["path"] == "/apiKeyRequired":
                method.api_key_required = {"true": True, "false": False}[each["value"]]
            else:
                raise BadRequestException(f"Invalid patch path {each['path']}")
        return json.dumps(method.to_json())

    def get_resources(self):
        found = [each.to_dict() for each in self.backend.get_resources(self.path.split("/")[2])]
        if self.querystring.get("embed") != ["methods"]:
            found = [
                {**each, "resourceMethods": {key: {} for key in each.get("resourceMethods", {})}} for each in found
            ]
        return json.dumps({"item": found})

    def delete_resource(self):
        _, _, api_id, _, resource_id = self.path.split("/")[:5]
        self.backend.get_resource(api_id, resource_id)
        resources, gone = self.backend.get_rest_api(api_id).resources, {resource_id}
        while more := {key for key, each in resources.items() if each.parent_id in gone} - gone:
            gone |= more
        for key in gone:
            del resources[key]
        return 202, {"status": 202}, ""

    def create_deployment(self, name, description, stage_variables=None):
        methods = {
            f"{key} {each.get_path()}": method.to_json()
            for each in self.resources.values()
            for key, method in each.resource_methods.items()
        }
        if not all(method["methodIntegration"] for method in methods.values()):
            raise BadRequestException("No integration defined for method")
        made = create(self, name, description or "", stage_variables)
        answers = {key: each.to_json() for key, each in self.gateway_responses.items()}
        made.served = json.loads(json.dumps({"methods": methods, "answers": answers}))
        return made

    def delete_deployment(self, deployment_id):
        if deployment_id not in self.deployments:
            raise _Absent("Invalid Deployment identifier specified")
        if any(stage.deployment_id == deployment_id for stage in self.stages.values()):
            raise StageStillActive()
        return self.deployments.pop(deployment_id)

    def get_gateway_responses(self):
        found = json.loads(listed(self)[2])["item"]
        own = set(_OURS) - {each["responseType"] for each in found}
        found += [{"responseType": each, "defaultResponse": True} for each in sorted(own)]
        return 200, {}, json.dumps({"item": found})

    def tags(self):
        return self.backend.get_rest_api(unquote(self.path).rpartition("/restapis/")[2]).tags

    def tag_resource(self):
        tags(self).update(self._get_param("tags"))
        return 204, {"status": 204}, ""

    for method, check in {
        "create_resource": is_new_resource,
        "put_method": is_new_method,
        "delete_rest_api": is_there,
        "create_stage": knows_deployment,
        "update_stage": knows_patched,
    }.items():
        _before(monkeypatch, APIGatewayBackend, method, check)
    for method in (update_method, get_resources, delete_resource, get_gateway_responses, tag_resource):
        monkeypatch.setattr(APIGatewayResponse, method.__name__, method, raising=False)
    monkeypatch.setattr(APIGatewayResponse, "get_tags", lambda self: json.dumps({"tags": tags(self)}))
    monkeypatch.setattr(RestAPI, "create_deployment", create_deployment)
    monkeypatch.setattr(RestAPI, "delete_deployment", delete_deployment)
    # Answers at URLs of moto's own, two more for each method and deployment.
    monkeypatch.setattr(RestAPI, "update_integration_mocks", lambda self, stage_name: None)
