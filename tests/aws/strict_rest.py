"""What API Gateway does with REST APIs and moto doesn't; `served` tells what callers see, which moto doesn't keep."""

import json
from urllib.parse import unquote

from moto.apigateway.exceptions import BadRequestException, ConflictException, NotFoundException, StageStillActive
from moto.apigateway.models import APIGatewayBackend, RestAPI, apigateway_backends
from moto.apigateway.responses import APIGatewayResponse

from tests.aws.strict import _before

_FAMILIES = ("DEFAULT_4XX", "DEFAULT_5XX")


class _Absent(NotFoundException):
    code = 404


def served(account, region, api_id, stage):
    """Return what callers of a stage get: {"GET /path": method, …}, and the gateway's own answers."""
    api = apigateway_backends[account][region].apis[api_id]
    return api.deployments[api.stages[stage].deployment_id].served


def rest_apis_are_strict(monkeypatch):
    """All of it."""
    resources_have_methods(monkeypatch)
    deployments_are_copies(monkeypatch)
    gateway_responses_have_defaults(monkeypatch)
    rest_apis_have_tags(monkeypatch)
    models_are_used(monkeypatch)


def resources_have_methods(monkeypatch):
    """Equal names beside each other, and methods that are there, are conflicts; methods can be changed, and are listed
    with their content only when that is asked for; what lies under a resource goes with it."""
    _before(monkeypatch, APIGatewayBackend, "create_resource", _is_new_resource)
    _before(monkeypatch, APIGatewayBackend, "put_method", _is_new_method)
    monkeypatch.setattr(APIGatewayResponse, "update_method", _update_method, raising=False)
    monkeypatch.setattr(APIGatewayResponse, "get_resources", _get_resources)
    monkeypatch.setattr(APIGatewayResponse, "delete_resource", _delete_resource)


def _is_new_resource(self, function_id, parent_resource_id, path_part):
    for each in self.get_rest_api(function_id).resources.values():
        if (each.parent_id, each.path_part) == (parent_resource_id, path_part):
            raise ConflictException(f"Another resource with the same parent already has this name: {path_part}")


def _is_new_method(self, function_id, resource_id, method_type, *_, **__):
    if method_type in self.get_resource(function_id, resource_id).resource_methods:
        raise ConflictException("Method already exists for this resource")


def _update_method(self):
    _, _, api_id, _, resource_id, _, name = self.path.split("/")[:7]
    method = self.backend.get_method(api_id, resource_id, name)
    for each in self._get_param("patchOperations"):
        if (each["op"], each["path"]) == ("replace", "/authorizationType"):
            method.authorization_type = each["value"]
        elif (each["op"], each["path"]) == ("replace", "/apiKeyRequired"):
            method.api_key_required = {"true": True, "false": False}[each["value"]]
        else:
            raise BadRequestException(f"Invalid patch {each}")
    return json.dumps(method.to_json())


def _get_resources(self):
    found = [each.to_dict() for each in self.backend.get_resources(self.path.split("/")[2])]
    if self.querystring.get("embed") != ["methods"]:
        found = [{**each, "resourceMethods": {key: {} for key in each.get("resourceMethods", {})}} for each in found]
    return json.dumps({"item": found})


def _delete_resource(self):
    _, _, api_id, _, resource_id = self.path.split("/")[:5]
    self.backend.get_resource(api_id, resource_id)
    resources, gone = self.backend.get_rest_api(api_id).resources, {resource_id}
    while more := {key for key, each in resources.items() if each.parent_id in gone} - gone:
        gone |= more
    for key in gone:
        del resources[key]
    return 202, {"status": 202}, ""


def deployments_are_copies(monkeypatch):
    """A deployment is a copy of what is written, has no method that nothing answers, and stays as long as a stage
    serves it; a stage serves one that there is."""
    create = RestAPI.create_deployment

    def copied(self, name, description, stage_variables=None):
        content = _content(self)
        made = create(self, name, description or "", stage_variables)
        made.served = content
        return made

    monkeypatch.setattr(RestAPI, "create_deployment", copied)
    monkeypatch.setattr(RestAPI, "delete_deployment", _delete_deployment)
    _before(monkeypatch, APIGatewayBackend, "create_stage", lambda self, *args, **_: _is_deployed(self, *args[:3]))
    _before(monkeypatch, APIGatewayBackend, "update_stage", _are_deployed)
    # Answers at URLs of moto's own, two more for each method and deployment.
    monkeypatch.setattr(RestAPI, "update_integration_mocks", lambda self, stage_name: None)


def _content(api):
    methods = {
        f"{key} {each.get_path()}": method.to_json()
        for each in api.resources.values()
        for key, method in each.resource_methods.items()
    }
    if not all(method["methodIntegration"] for method in methods.values()):
        raise BadRequestException("No integration defined for method")
    for method in methods.values():
        said = method["methodIntegration"]
        announced = [key for each in method["methodResponses"].values() for key in each["responseParameters"] or {}]
        given = [k for r in (said["integrationResponses"] or {}).values() for k in r.get("responseParameters") or {}]
        if not {*given} <= {*announced}:
            raise BadRequestException("Invalid mapping expression specified")
    answers = {key: each.to_json() for key, each in api.gateway_responses.items()}
    models = {name: each.schema for name, each in api.models.items()}
    said = {"methods": methods, "answers": answers, "models": models, "validators": [*api.request_validators]}
    return json.loads(json.dumps(said))


def _delete_deployment(self, deployment_id):
    if deployment_id not in self.deployments:
        raise _Absent("Invalid Deployment identifier specified")
    if any(stage.deployment_id == deployment_id for stage in self.stages.values()):
        raise StageStillActive()
    return self.deployments.pop(deployment_id)


def _is_deployed(self, function_id, stage_name, deployment_id):
    if deployment_id not in self.get_rest_api(function_id).deployments:
        raise BadRequestException("Deployment id does not exist")


def _are_deployed(self, function_id, stage_name, patch_operations):
    for each in patch_operations:
        if each["path"] == "/deploymentId":
            _is_deployed(self, function_id, stage_name, each["value"])


def gateway_responses_have_defaults(monkeypatch):
    """The answers of the gateway's own are listed also where nobody has said how they are to be."""
    listed = APIGatewayResponse.get_gateway_responses

    def get_gateway_responses(self):
        found = json.loads(listed(self)[2])["item"]
        own = {*_FAMILIES} - {each["responseType"] for each in found}
        found += [{"responseType": each, "defaultResponse": True} for each in sorted(own)]
        return 200, {}, json.dumps({"item": found})

    monkeypatch.setattr(APIGatewayResponse, "get_gateway_responses", get_gateway_responses)


def rest_apis_have_tags(monkeypatch):
    """An API has tags, not only its stages have; one that is not there is not deleted."""
    read, write, erase = (getattr(APIGatewayResponse, name) for name in ("get_tags", "tag_resource", "untag_resource"))

    def api(self):
        resource = unquote(self.path).partition("/restapis/")[2]
        return self.backend.get_rest_api(resource) if resource and "/" not in resource else None

    def get_tags(self):
        found = api(self)
        return json.dumps({"tags": found.tags}) if found else read(self)

    def tag_resource(self):
        found = api(self)
        if found is None:
            return write(self)
        found.tags = {**found.tags, **self._get_param("tags")}
        return 204, {"status": 204}, ""

    def untag_resource(self):
        found = api(self)
        if found is None:
            return erase(self)
        found.tags = {key: value for key, value in found.tags.items() if key not in self.querystring["tagKeys"]}
        return 204, {"status": 204}, ""

    def is_there(self, function_id):
        if function_id not in self.apis:
            raise _Absent("Invalid API identifier specified")

    monkeypatch.setattr(APIGatewayResponse, "get_tags", get_tags)
    monkeypatch.setattr(APIGatewayResponse, "tag_resource", tag_resource)
    monkeypatch.setattr(APIGatewayResponse, "untag_resource", untag_resource)
    _before(monkeypatch, APIGatewayBackend, "delete_rest_api", is_there)


def models_are_used(monkeypatch):
    """A model has a name of its own, of letters and digits, and stays as long as a method names it; a validator, too,
    and a method names those that are there. A response is announced once."""
    _before(monkeypatch, APIGatewayBackend, "create_model", _is_new_model)
    _before(monkeypatch, APIGatewayBackend, "delete_model", _is_unused)
    _before(monkeypatch, APIGatewayBackend, "delete_request_validator", _validates_nothing)
    _before(monkeypatch, APIGatewayBackend, "put_method", _names_what_is_there)
    _before(monkeypatch, APIGatewayBackend, "put_method_response", _is_new_response)


def _is_new_model(self, rest_api_id, name, content_type, description, schema):
    json.loads(schema)
    if not name.isalnum():
        raise BadRequestException("Model name must be alphanumeric")
    if name in self.get_rest_api(rest_api_id).models:
        raise ConflictException("Model name already exists for this REST API")


def _is_unused(self, rest_api_id, model_name):
    if any(model_name in (each.request_models or {}).values() for each in _methods(self, rest_api_id)):
        raise ConflictException("Cannot delete a model that is referenced")


def _validates_nothing(self, restapi_id, validator_id):
    if any(each.request_validator_id == validator_id for each in _methods(self, restapi_id)):
        raise ConflictException("Cannot delete a validator that is referenced")


def _names_what_is_there(self, function_id, *_, request_models=None, request_validator_id=None, **__):
    api = self.get_rest_api(function_id)
    if not {*(request_models or {}).values()} <= {*api.models}:
        raise BadRequestException("Invalid model identifier specified")
    if request_validator_id and request_validator_id not in api.request_validators:
        raise BadRequestException("Invalid Request Validator identifier specified")


def _is_new_response(self, function_id, resource_id, method_type, response_code, *_):
    if response_code in self.get_method(function_id, resource_id, method_type).method_responses:
        raise ConflictException("Response already exists for this resource")


def _methods(backend, api_id):
    resources = backend.get_rest_api(api_id).resources.values()
    return [method for each in resources for method in each.resource_methods.values()]
