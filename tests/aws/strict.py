"""What AWS does and moto doesn't: each function says it, and makes moto do it for one test."""

import copy
import inspect
import json
import threading
import uuid
from urllib.parse import unquote

import xmltodict
from moto.awslambda import urls
from moto.awslambda.exceptions import InvalidParameterValueException, LambdaClientError, PreconditionFailedException
from moto.awslambda.models import LambdaAlias, LambdaFunction, LambdaStorage
from moto.awslambda.policy import Policy
from moto.awslambda.responses import LambdaResponse
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


def lambda_changes_settings(monkeypatch):
    """UpdateFunctionConfiguration changes the size of /tmp, and whether requests are traced."""

    def change(self, config):
        self.ephemeral_storage = config.get("EphemeralStorage", {}).get("Size", self.ephemeral_storage)
        self.tracing_config = config.get("TracingConfig", self.tracing_config)

    _before(monkeypatch, LambdaFunction, "update_configuration", change)


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


def _with_rules(given):
    """Refuse rules for other sites that name none."""
    if given.get("Cors") and not given["Cors"].get("AllowOrigins"):
        raise InvalidParameterValueException("You can't leave AllowOrigins as empty when Cors is enabled.")
    return given


def _shown(config):
    return json.dumps({key: each for key, each in config.items() if each != {}})


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

    def create(self):
        alias, urls = configs(self)
        if alias in urls:
            raise _Conflict("Failed to create function url config. Error message: FunctionUrlConfig exists")
        url = f"https://{uuid.uuid4().hex}.lambda-url.{self.region}.on.aws/"
        urls[alias] = {"FunctionUrl": url, "InvokeMode": "BUFFERED", **_with_rules(self.json_body)}
        return 201, {"status": 201}, json.dumps(urls[alias])

    def update(self):
        found = find(self)
        found.update(_with_rules({**found, **self.json_body}))
        return _shown(found)

    def delete(self):
        find(self)
        alias, urls = configs(self)
        del urls[alias]
        return 204, {"status": 204}, ""

    made = {"create": create, "get": lambda self: _shown(find(self)), "update": update, "delete": delete}
    for verb, do in made.items():
        monkeypatch.setattr(LambdaResponse, f"{verb}_function_url_config", do)
