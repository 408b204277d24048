"""What AWS does and moto doesn't: each function says it, and makes moto do it for one test."""

import copy
import inspect
import json
import threading
import uuid
from urllib.parse import unquote

import xmltodict
from moto.apigatewayv2 import urls as gateway_urls
from moto.apigatewayv2.models import Route
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError, PreconditionFailedException
from moto.awslambda.models import LambdaAlias, LambdaFunction, LambdaStorage
from moto.awslambda.policy import Policy
from moto.awslambda.responses import LambdaResponse
from moto.core.exceptions import JsonRESTError
from moto.s3.responses import S3Response


def tag_new_buckets(monkeypatch):
    """CreateBucket gives the new bucket the tags in its configuration; moto drops them."""
    put = S3Response._bucket_response_put

    def put_with_tags(self, request, bucket_name, querystring):
        answer = put(self, request, bucket_name, querystring)
        body = xmltodict.parse(self.body, force_list=("Tag",)) if self.body and not querystring else {}
        tags = (body.get("CreateBucketConfiguration") or {}).get("Tags")
        if tags:
            self.backend.put_bucket_tagging(bucket_name, {tag["Key"]: tag["Value"] for tag in tags["Tag"]})
        return answer

    monkeypatch.setattr(S3Response, "_bucket_response_put", put_with_tags)


def take_objects_one_at_a_time(monkeypatch):
    """A conditional write is atomic, and a read sees one version whole; moto's threads look first and write then, and
    close what others are reading.
    """
    one_at_a_time = threading.Lock()
    respond = S3Response.key_response

    def respond_alone(self, *args, **kwargs):
        with one_at_a_time:
            return respond(self, *args, **kwargs)

    monkeypatch.setattr(S3Response, "key_response", respond_alone)


class _Conflict(LambdaClientError):
    code = 409

    def __init__(self, message):
        super().__init__("ResourceConflictException", message)


class _Absent(LambdaClientError):
    code = 404

    def __init__(self, message):
        super().__init__("ResourceNotFoundException", message)


def _before(monkeypatch, cls, method, check):
    original = getattr(cls, method)

    def checked(self, *args, **kwargs):
        check(self, *args, **kwargs)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(cls, method, checked)


def _function(response):
    name = unquote(response.path.split("/functions/")[1].split("/")[0]).split(":")[-1]
    return response.backend._lambdas._functions.get(name, {}).get("latest")


def _after(monkeypatch, cls, method, do):
    original = getattr(cls, method)

    def done(self):
        answer, function = original(self), _function(self)
        if function is not None:
            do(function)
        return answer

    monkeypatch.setattr(cls, method, done)


def _touch(function, left, state):
    function.left, function.state_shown, function.revision = left, state, str(uuid.uuid4())


def _count_down(function):
    if function.left > 0:
        function.left -= 1
        function.revision = str(uuid.uuid4()) if function.left == 0 else function.revision


def lambda_takes_its_time(monkeypatch, polls=1):
    """A new function is Pending, a changed one InProgress, until it was asked `polls` times; meanwhile it refuses
    every change with a conflict. The revision counts on with each change, and once more when it is done."""
    configuration = LambdaFunction.get_configuration

    def with_state(self, on_create=False):
        found = configuration(self, on_create)
        if not hasattr(self, "left"):
            _touch(self, polls, {"State": "Pending", "StateReasonCode": "Creating"})
        shown = self.state_shown if self.version == "$LATEST" and self.left > 0 else {}
        return {**found, **shown, "RevisionId": self.revision}

    def is_free(self):
        function = _function(self)
        if function is not None and function.left > 0:
            _count_down(function)
            raise _Conflict("The operation cannot be performed at this time. An update is in progress for resource: …")

    monkeypatch.setattr(LambdaFunction, "get_configuration", with_state)
    _after(monkeypatch, LambdaResponse, "get_function", _count_down)
    for method in ("update_function_configuration", "update_function_code"):
        _after(
            monkeypatch, LambdaResponse, method, lambda found: _touch(found, polls, {"LastUpdateStatus": "InProgress"})
        )
    for method in ("update_function_configuration", "update_function_code", "publish_version", "delete_function"):
        _before(monkeypatch, LambdaResponse, method, is_free)


def lambda_changes_tmp(monkeypatch):
    """UpdateFunctionConfiguration changes the size of /tmp."""

    def resize(self, config):
        self.ephemeral_storage = config.get("EphemeralStorage", {}).get("Size", self.ephemeral_storage)

    _before(monkeypatch, LambdaFunction, "update_configuration", resize)


def lambda_keeps_snapstart(monkeypatch):
    """Whether versions are to be snapshots is kept, and a published version is one; moto says never."""
    create, update = LambdaFunction.__init__, LambdaFunction.update_configuration
    configuration = LambdaFunction.get_configuration

    def created(self, *args, **kwargs):
        spec = inspect.signature(create).bind(self, *args, **kwargs).arguments["spec"]
        self.applies_on = (spec.get("SnapStart") or {}).get("ApplyOn", "None")
        create(self, *args, **kwargs)

    def updated(self, config):
        self.applies_on = (config.get("SnapStart") or {}).get("ApplyOn", self.applies_on)
        return update(self, config)

    def with_snapstart(self, on_create=False):
        is_one = self.applies_on == "PublishedVersions" and self.version != "$LATEST"
        shown = {"ApplyOn": self.applies_on, "OptimizationStatus": "On" if is_one else "Off"}
        return {**configuration(self, on_create), "SnapStart": shown}

    monkeypatch.setattr(LambdaFunction, "__init__", created)
    monkeypatch.setattr(LambdaFunction, "update_configuration", updated)
    monkeypatch.setattr(LambdaFunction, "get_configuration", with_snapstart)


def lambda_knows_digests(monkeypatch):
    """The CodeSha256 of a function that is an image is the image's digest."""
    configuration = LambdaFunction.get_configuration

    def with_digest(self, on_create=False):
        uri = self.code.get("ImageUri") or ""
        if "@sha256:" in uri:
            self.code_sha_256 = uri.rpartition("@sha256:")[2]
        return configuration(self, on_create)

    monkeypatch.setattr(LambdaFunction, "get_configuration", with_digest)


def lambda_keeps_named_versions(monkeypatch):
    """A version that an alias names, or gives a share to, can't be deleted."""

    def is_free(self, name_or_arn, qualifier=None):
        for alias in self._get_function_aliases(name_or_arn).values() if qualifier else ():
            shares = (alias.routing_config or {}).get("AdditionalVersionWeights") or {}
            if qualifier in (alias.function_version, *shares):
                raise _Conflict(f"The version {qualifier} can't be deleted, because an alias names it: {alias.name}")

    _before(monkeypatch, LambdaStorage, "del_function", is_free)


def lambda_freezes_versions(monkeypatch):
    """A version shares nothing with $LATEST; its number is never given twice; when nothing was changed since the newest
    one, that is the answer; the revision and the digest that are given must be those of $LATEST."""

    def fits(self):
        body, function = json.loads(self.body or "{}"), _function(self)
        if body.get("RevisionId", function.revision) != function.revision:
            raise PreconditionFailedException("The RevisionId provided does not match the latest RevisionId")
        if body.get("CodeSha256", function.code_sha_256) != function.code_sha_256:
            raise InvalidParameterValueException("CodeSHA256 is different from current CodeSHA256 in $LATEST")

    def snapshot(function):
        found = function.get_code()
        config = {k: v for k, v in found["Configuration"].items() if k not in _OF_A_VERSION}
        return json.dumps([config, found["Code"]["ImageUri"]], sort_keys=True, default=str)

    def publish(self, name_or_arn, description=""):
        function = self.get_function_by_name_or_arn_forbid_qualifier(name_or_arn)
        record = self._functions[function.function_name]
        taken = snapshot(function)
        if record.get("taken") == taken and record["versions"]:
            return record["versions"][-1]
        record["taken"], record["count"] = taken, record.get("count", 0) + 1
        version = copy.copy(function)
        version.code, version.environment_vars = copy.deepcopy(function.code), dict(function.environment_vars)
        version.set_version(record["count"])
        version.description, version.revision = description or function.description, str(uuid.uuid4())
        record["versions"].append(version)
        self._arns[version.function_arn] = version
        return version

    _before(monkeypatch, LambdaResponse, "publish_version", fits)
    monkeypatch.setattr(LambdaStorage, "publish_version", publish)


_OF_A_VERSION = {"Version", "FunctionArn", "LastModified", "RevisionId", "State", "StateReasonCode", "LastUpdateStatus"}


def lambda_guards_aliases(monkeypatch):
    """A second alias of a name is a conflict; its revision counts on with each change, and one that is given must fit;
    weights that are not given stay."""
    update = LambdaAlias.update

    def is_new(self, name, function_name, *_, **__):
        if name in self._get_function_aliases(function_name):
            raise _Conflict(f"Alias already exists: {name}")

    def fits(self):
        body, parts = json.loads(self.body), self.path.split("/")
        revision = self.backend.get_alias(unquote(parts[-1]), unquote(parts[-3])).revision_id
        if body.get("RevisionId", revision) != revision:
            raise PreconditionFailedException("The RevisionId provided does not match the latest RevisionId")

    def updated(self, *args):
        update(self, *args)
        self.revision_id = str(uuid.uuid4())

    _before(monkeypatch, LambdaStorage, "put_alias", is_new)
    _before(monkeypatch, LambdaResponse, "update_alias", fits)
    monkeypatch.setattr(LambdaAlias, "update", updated)


def lambda_refuses_equal_statements(monkeypatch):
    """A statement id is given once only."""

    def is_new(self, raw, qualifier=None):
        sid = json.loads(raw)["StatementId"]
        if any(statement["Sid"] == sid for statement in self.statements):
            raise _Conflict(f"The statement id ({sid}) provided already exists.")

    _before(monkeypatch, Policy, "add_statement", is_new)


def lambda_provisions(monkeypatch, *, polls=1, fails=None):
    """A published version may have provisioned concurrency, which is ready after it was asked about `polls` times, or
    has failed for the reason that `fails` gives for its number. All versions together have no more than is reserved for
    the function. Neither $LATEST nor an alias with weights may have any; who has some is deleted only after it.

    (Whether Lambda deletes such a version isn't known: thampi never tries.)
    """
    path = r"{0}/(?P<api_version>[^/]+)/functions/(?P<function_name>[\w_:%-]+)/provisioned-concurrency/?$"

    def answer(request, full_url, headers):
        response = LambdaResponse()
        response.setup_class(request, full_url, headers)
        return _Provisioned(response, polls, fails or {}).answer(request.method)

    def is_free(self, name_or_arn, qualifier=None):
        record = self._functions.get(name_or_arn, {"versions": []})
        for version in record["versions"]:
            if hasattr(version, "provisioned") and qualifier in (None, str(version.version)):
                raise _Conflict(f"version {version.version} has provisioned concurrency")

    monkeypatch.setitem(urls.url_paths, path, answer)
    _before(monkeypatch, LambdaStorage, "del_function", is_free)


class _Provisioned:
    """One call about the provisioned concurrency of a function's versions, which each has its own of."""

    def __init__(self, response, polls, fails):
        self.response, self.polls, self.fails = response, polls, fails
        self.function = _function(response)
        functions = response.backend._lambdas._functions
        self.versions = functions[self.function.function_name]["versions"] if self.function else []

    def answer(self, method):
        number = self.response._get_param("Qualifier")
        if self.function is None:
            return _said(404, "ResourceNotFoundException", "Function not found")
        if self.response._get_param("List"):
            return self.listed()
        if not number.isdecimal():
            return _said(400, "InvalidParameterValueException", f"Provisioned Concurrency Configs can't be on {number}")
        found = next((each for each in self.versions if str(each.version) == number), None)
        if found is None:
            return _said(404, "ResourceNotFoundException", f"Function version not found: {number}")
        return {"GET": self.read, "PUT": self.put, "DELETE": self.delete}[method](found)

    def listed(self):
        having = [each for each in self.versions if hasattr(each, "provisioned")]
        shown = [{"FunctionArn": each.function_arn, **self.shown(each)} for each in having]
        return 200, {}, json.dumps({"ProvisionedConcurrencyConfigs": shown})

    def read(self, version):
        if not hasattr(version, "provisioned"):
            absent = "ProvisionedConcurrencyConfigNotFoundException"
            return _said(404, absent, "No Provisioned Concurrency Config found for this function")
        version.provisioned["left"] -= 1
        return 200, {}, json.dumps(self.shown(version))

    def put(self, version):
        wanted, limit = json.loads(self.response.body)["ProvisionedConcurrentExecutions"], self.function
        others = [each.provisioned["wanted"] for each in self.versions if hasattr(each, "provisioned")]
        own = version.provisioned["wanted"] if hasattr(version, "provisioned") else 0
        if limit.reserved_concurrency is not None and wanted + sum(others) - own > limit.reserved_concurrency:
            said = "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution"
            return _said(400, "InvalidParameterValueException", f"{said} for function")
        version.provisioned = {"wanted": wanted, "left": self.polls}
        return 202, {}, json.dumps(self.shown(version))

    def delete(self, version):
        version.__dict__.pop("provisioned", None)
        return 204, {}, ""

    def shown(self, version):
        one, number = version.provisioned, str(version.version)
        status = "IN_PROGRESS" if one["left"] > 0 else "FAILED" if number in self.fails else "READY"
        ready = one["wanted"] if status == "READY" else 0
        return {
            "RequestedProvisionedConcurrentExecutions": one["wanted"],
            "AvailableProvisionedConcurrentExecutions": ready,
            "AllocatedProvisionedConcurrentExecutions": ready,
            "Status": status,
            **({"StatusReason": self.fails[number]} if status == "FAILED" else {}),
        }


def _said(status, code, message):
    return status, {"x-amzn-ErrorType": code}, json.dumps({"Message": message})


def lambda_urls_belong_to_aliases(monkeypatch):
    """Each alias may have a function URL, one; what is not there is said so; everything of it can be changed. Rules for
    other sites name those; empty ones take them away."""

    def configs(self):
        name, alias = unquote(self.path.split("/")[-2]), self.querystring["Qualifier"][0]
        if alias not in self.backend._lambdas._get_function_aliases(name):
            raise _Absent("the function or the alias is not there")
        function = self.backend._lambdas.get_function_by_name_or_arn_forbid_qualifier(name)
        return alias, vars(function).setdefault("urls", {})

    def find(self):
        alias, urls = configs(self)
        if alias not in urls:
            raise _Absent("the URL is not there")
        return urls[alias]

    def checked(given):
        rules = given.get("Cors")
        if rules and not rules.get("AllowOrigins"):
            raise InvalidParameterValueException("You can't leave AllowOrigins as empty when Cors is enabled.")
        return given

    def create(self):
        alias, urls = configs(self)
        if alias in urls:
            raise _Conflict("Failed to create function url config. Error message: FunctionUrlConfig exists")
        checked(self.json_body)
        url = f"https://{uuid.uuid4().hex}.lambda-url.{self.region}.on.aws/"
        urls[alias] = {"FunctionUrl": url, "InvokeMode": "BUFFERED", **self.json_body}
        return 201, {"status": 201}, json.dumps(urls[alias])

    def update(self):
        find(self).update(checked(self.json_body))
        if find(self).get("Cors") == {}:
            del find(self)["Cors"]
        return json.dumps(find(self))

    def delete(self):
        find(self)
        alias, urls = configs(self)
        del urls[alias]
        return 204, {"status": 204}, ""

    made = {"create": create, "get": lambda self: json.dumps(find(self)), "update": update, "delete": delete}
    for verb, do in made.items():
        monkeypatch.setattr(LambdaResponse, f"{verb}_function_url_config", do)


class _GatewayConflict(JsonRESTError):
    code = 409

    def __init__(self, message):
        super().__init__("ConflictException", message)


class _GatewayRefusal(JsonRESTError):
    code = 400

    def __init__(self, message):
        super().__init__("BadRequestException", message)


class _GatewayAbsent(JsonRESTError):
    code = 404

    def __init__(self, message):
        super().__init__("NotFoundException", message)


_SETTINGS = r"{0}/v2/apis/(?P<api_id>[^/]+)/stages/(?P<stage_name>[^/]+)/"


def http_apis_have_stages(monkeypatch):
    """UpdateStage exists, a throttle of which one half isn't given is 0, and a stage limits only routes that are there.

    It keeps what isn't given, also the limits of single routes, which outlive them, and the access log: these are taken
    away each by a call of its own. A second stage, or a second route, of one name is a conflict.
    """

    def throttle(given):
        return {"throttlingRateLimit": 0, "throttlingBurstLimit": 0, **given}

    def limits(self, api_id, given):
        keys = {route.route_key for route in self.apigatewayv2_backend.get_routes(api_id)}
        for key in given.get("routeSettings", {}):
            if key not in keys:
                raise _GatewayAbsent(f"Unable to find Route by key {key} within the provided RouteSettings")
        return {key: throttle(each) for key, each in given.get("routeSettings", {}).items()}

    def update_stage(self):
        api_id, name = self.path.split("/")[-3], unquote(self.path.split("/")[-1])
        stage, given = self.apigatewayv2_backend.get_stage(api_id, name), json.loads(self.body)
        stage.route_settings = {**stage.route_settings, **limits(self, api_id, given)}
        stage.auto_deploy = given.get("autoDeploy", stage.auto_deploy)
        if "defaultRouteSettings" in given:
            stage.default_route_settings = throttle(given["defaultRouteSettings"])
        stage.access_log_settings = given.get("accessLogSettings", stage.access_log_settings)
        return 200, {}, json.dumps(stage.to_json())

    def is_new_stage(self):
        api_id, given = self.path.split("/")[-2], json.loads(self.body)
        stages = self.apigatewayv2_backend.get_stages(api_id)
        if any(stage.name == given["stageName"] for stage in stages):
            raise _GatewayConflict("Stage already exists")
        limits(self, api_id, given)

    def is_new_route(self):
        key = json.loads(self.body)["routeKey"]
        routes = self.apigatewayv2_backend.get_routes(self.path.split("/")[-2])
        if any(route.route_key == key for route in routes):
            raise _GatewayConflict(f"Route with key {key} already exists for this API")

    def without(request, full_url, headers):
        response = ApiGatewayV2Response()
        response.setup_class(request, full_url, headers)
        _, rest = unquote(full_url).partition("/v2/apis/")[::2]
        api_id, _, name, what, *key = rest.split("/", 4)
        stage = response.apigatewayv2_backend.get_stage(api_id, name)
        if what == "accesslogsettings":
            stage.access_log_settings = None
        elif stage.route_settings.pop(key[0], None) is None:
            return 404, {"x-amzn-errortype": "NotFoundException"}, json.dumps({"message": f"no settings of {key[0]}"})
        return 204, {}, ""

    monkeypatch.setattr(ApiGatewayV2Response, "update_stage", update_stage, raising=False)
    _before(monkeypatch, ApiGatewayV2Response, "create_stage", is_new_stage)
    _before(monkeypatch, ApiGatewayV2Response, "create_route", is_new_route)
    monkeypatch.setitem(gateway_urls.url_paths, f"{_SETTINGS}accesslogsettings$", without)
    monkeypatch.setitem(gateway_urls.url_paths, f"{_SETTINGS}routesettings/(?P<key>.+)$", without)


def http_apis_have_authorizers(monkeypatch):
    """Authorizers can be listed, have a name of their own, and an issuer that answers (here: over https); one that a
    route names can't be deleted, and a route that asks for tokens names one that is there. What is given empty is
    empty; a route that doesn't ask for tokens has no authorizer."""

    def listed(self):
        api = self.apigatewayv2_backend.get_api(self.path.split("/")[-2])
        return 200, {}, json.dumps({"items": [each.to_json() for each in api.authorizers.values()]})

    def given(self):
        return json.loads(self.body)

    def has_issuer(self):
        issuer = (given(self).get("jwtConfiguration") or {}).get("issuer", "https://")
        if not issuer.startswith("https://"):
            raise _GatewayRefusal(f"Invalid issuer: {issuer}. Issuer must have a valid discovery endpoint")

    def is_new(self):
        api = self.apigatewayv2_backend.get_api(self.path.split("/")[-2])
        if any(each.name == given(self)["name"] for each in api.authorizers.values()):
            raise _GatewayRefusal(f"Authorizer name must be unique. Authorizer {given(self)['name']} already exists")

    def is_free(self):
        api, number = self.apigatewayv2_backend.get_api(self.path.split("/")[-3]), self.path.split("/")[-1]
        for route in api.routes.values():
            if route.authorizer_id == number:
                raise _GatewayConflict(f"Cannot delete authorizer, is referenced in route: {route.route_key}")

    def names_one(self):
        parts = self.path.split("/")
        api = self.apigatewayv2_backend.get_api(parts[parts.index("apis") + 1])
        if given(self).get("authorizationType") == "JWT" and given(self).get("authorizerId") not in api.authorizers:
            raise _GatewayRefusal("Invalid authorizer ID specified.")

    def emptied(self, *args, **kwargs):
        found = inspect.signature(update).bind(self, *args, **kwargs).arguments
        update(self, *args, **kwargs)
        if found["authorization_scopes"] is not None:
            self.authorization_scopes = found["authorization_scopes"]
        if self.authorization_type != "JWT":
            self.authorizer_id = None

    update = Route.update
    monkeypatch.setattr(Route, "update", emptied)
    monkeypatch.setattr(ApiGatewayV2Response, "get_authorizers", listed, raising=False)
    _before(monkeypatch, ApiGatewayV2Response, "create_authorizer", has_issuer)
    _before(monkeypatch, ApiGatewayV2Response, "update_authorizer", has_issuer)
    _before(monkeypatch, ApiGatewayV2Response, "create_authorizer", is_new)
    _before(monkeypatch, ApiGatewayV2Response, "delete_authorizer", is_free)
    _before(monkeypatch, ApiGatewayV2Response, "create_route", names_one)
    _before(monkeypatch, ApiGatewayV2Response, "update_route", names_one)
