"""A whole account on moto in this process, a saved model to push there, and all that can be seen of it afterwards.

One `Stand` serves all tests of a worker: making its clients costs more than most of the tests. See `conftest.py`.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

import thampi
from tests.aws import strict, strict_domains, strict_http, strict_keys, strict_rest, strict_stages
from tests.aws.conftest import Death, refusal
from thampi.aws import session
from thampi.config import Build, Stage
from thampi.operations import build, examine, mock, push
from thampi.operations.place import Place

REGION = "eu-central-1"
BUCKET = "thampi-models-of-a-test"
SERVICES = ("s3", "ecr", "logs", "iam", "lambda", "apigatewayv2", "apigateway", "events")
SELDOM = ("wafv2", "acm")  # asked only where something is set that is theirs
__all__ = ["BUCKET", "REGION", "SELDOM", "SERVICES", "Death", "Scale", "Stand", "refusal", "tightened"]


class Scale(thampi.Model):
    """The smallest model."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, args: Any, context: Any) -> Any:
        return {"result": self.factor * args["input"]}


def tightened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make moto do what AWS does where a push depends on it; until the test ends."""
    strict.tag_new_buckets(monkeypatch)
    strict.take_objects_one_at_a_time(monkeypatch)
    strict.lambda_takes_its_time(monkeypatch)
    strict.lambda_changes_settings(monkeypatch)
    strict.lambda_freezes_versions(monkeypatch)
    strict.lambda_guards_aliases(monkeypatch)
    strict.lambda_knows_digests(monkeypatch)
    strict.lambda_keeps_named_versions(monkeypatch)
    strict.lambda_refuses_equal_statements(monkeypatch)
    strict.lambda_provisions(monkeypatch)
    strict.lambda_keeps_snapstart(monkeypatch)
    strict.lambda_urls_belong_to_aliases(monkeypatch)
    strict_http.http_apis_have_stages(monkeypatch)
    strict_http.http_apis_have_authorizers(monkeypatch)
    strict_rest.rest_apis_are_strict(monkeypatch)
    strict_stages.rest_stages_are_strict(monkeypatch)
    strict_keys.keys_are_strict(monkeypatch)
    strict_domains.domains_are_strict(monkeypatch)


class Stand:
    """One project with two saved models, and the place where its stages live.

    `calls` are the calls that thampi made since `account` was entered, `lambda.CreateFunction` each. `before` is
    called with one before it is sent, and may raise or return an answer in AWS's stead (`refusal`); `after`, when AWS
    has done it and before anybody hears of it.
    """

    def __init__(self, folder: Path) -> None:
        self.calls: list[str] = []
        self.sleeps: list[float] = []
        self.said: list[str] = []
        self.undisturbed()
        (folder / "requirements.txt").write_text("")
        saved = folder / "saved"
        saved.mkdir()
        # The same name would be the same folder.
        self.models = [
            thampi.save(Scale(factor), "scale", saved / str(factor), instance_id=f"model-{factor}", verify=False)
            for factor in (2, 3)
        ]
        self.stage = Stage(
            project_dir=folder,
            name="scale",
            stage="staging",
            model_dir=self.models[0],
            build=Build(dependency_file=folder / "requirements.txt"),
            region=REGION,
            bucket=BUCKET,
        )
        self._plans: dict[tuple[Path, Build], build.Plan] = {}
        with _no_credentials(folder), mock_aws():
            aws = session.connect(region=REGION, credentials=("testing", "testing"), sleep=self.sleeps.append)
            # A client copies the session's handlers when it is made, so they come first.
            aws.session.events.register("before-call", lambda model, **_: self._before(model))
            aws.session.events.register("after-call", lambda model, **_: self.after(_called(model)))
            self.wire: Callable[[str, Any], Any] = lambda operation, request: None
            aws.session.events.register_first("before-send", self._sent)
            for service in (*SERVICES, *SELDOM):
                aws.client(service)
                aws.once(service)
            aws.invoker(self.stage.timeout_s)
            aside = boto3.Session(region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing")
            # What a test itself asks; nothing of it is counted or disturbed.
            self.clients = {service: aside.client(service) for service in (*SERVICES, *SELDOM)}
        self.place = Place(aws, BUCKET, None)

    def undisturbed(self) -> None:
        """Let nothing come between thampi and AWS any more."""
        self.before: Callable[[str], Any] = lambda call: None
        self.after: Callable[[str], Any] = lambda call: None
        self.wire = lambda operation, request: None

    @contextlib.contextmanager
    def account(self) -> Iterator["Stand"]:
        """Be in an account in which there is nothing; Lambda answers a trial with what it was asked."""
        with mock_aws(config={"lambda": {"use_docker": False}}):
            self.undisturbed()
            self.calls.clear()
            self.sleeps.clear()
            self.said.clear()
            try:
                yield self
            finally:
                self.undisturbed()

    @property
    def flip(self) -> int:
        """Return which of the calls has made a release live: before its trial `live` gets no more than a note."""
        return self.calls.index("lambda.UpdateAlias", self.calls.index("lambda.Invoke"))

    def plan(self, stage: Stage) -> build.Plan:
        """Plan as `thampi push` does."""
        key = stage.model_dir, stage.build
        if key not in self._plans:
            self._plans[key] = build.plan(stage)
        return self._plans[key]

    def push(self, stage: Stage | None = None, *, force: bool = False, **more: Any) -> examine.Pushed:
        """Push as `thampi push` does, with `deliver` in docker's stead."""
        stage = stage or self.stage
        if stage.api.mock:
            said = {"say": self.said.append, "try_out": self.try_out, **more}
            return mock.push(mock.resolved(stage), self.place, force=force, **said)
        plan = self.plan(stage)
        arguments = {
            "deliver": lambda uri, login, go_on: self.deliver(plan, login),
            "say": self.said.append,
            "try_out": self.try_out,
            **more,
        }
        return push.push(stage, plan, self.place, force=force, **arguments)

    def try_out(self, stage: Stage, place: Place) -> None:
        """Find a way from the URL of the wanted type to the model; moto answers at no URL."""
        assert self.answers(stage.api.type) is not None

    def deliver(self, plan: build.Plan, login: Callable[[], Any]) -> str:
        """Log in and put an image into the registry, as docker would."""
        login()
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": kind,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "size": 7,
                    "digest": _digest(b"config"),
                },
                "layers": [{"mediaType": layer, "size": 123, "digest": _digest(plan.model.digest.encode())}],
            }
        )
        self.clients["ecr"].put_image(
            repositoryName=f"thampi-{self.stage.name}",
            imageManifest=manifest,
            imageManifestMediaType=kind,
            imageDigest=_digest(manifest.encode()),
            imageTag=plan.model.digest,
        )
        return _digest(manifest.encode())

    def snapshot(self) -> dict[str, Any]:
        """Describe the account, all of it that thampi may have touched; equal for two stories that ended equally.

        Ids that AWS chooses are numbered, and times, and whose run it was, are left out.
        """
        seen = {
            "buckets": self._buckets(),
            "roles": self._roles(),
            "log groups": self._log_groups(),
            "functions": self._functions(),
            "apis": self._apis(),
            "REST APIs": self._rest_apis(),
            "usage plans": self._usage_plans(),
            "API keys": self._api_keys(),
            "domains": self._domains(),
            "repositories": self._repositories(),
            "rules": self._rules(),
        }
        text = json.dumps(seen, sort_keys=True, default=str)
        for number, api in enumerate(sorted(self._every("apigatewayv2", "get_apis", "Items"), key=_age)):
            text = text.replace(api["ApiId"], f"<api {number}>")
        for number, api in enumerate(self._every("apigateway", "get_rest_apis", "items")):
            for each in self._every("apigateway", "get_request_validators", "items", restApiId=api["id"]):
                text = text.replace(each["id"], "<validator>")
            text = text.replace(api["id"], f"<REST API {number}>")
        text = re.sub(r"thampi-(api|rest)-[0-9a-f]{8}", r"thampi-\1-<hash>", text)
        text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+(?:Z|\+0000|\+00:00)?", "<time>", text)
        found: dict[str, Any] = json.loads(text)
        return found

    def answers(self, kind: str | None = None) -> str | None:
        """Return the id of the model that a caller of a URL (of this kind) reaches; None when nothing answers.

        Goes the way of a request: API, stage, route, integration, permission, alias, version; or function URL,
        permissions, alias, version.
        """
        if kind in (None, "url") and self._url_is_open():
            return self._live_model()
        if kind in (None, "rest") and (example := self.example()) is not None:
            return f"example {example}"
        if kind in (None, "rest") and self._rest_api_is_open():
            return self._live_model()
        return self._answers_of_api() if kind in (None, "http") else None

    def example(self) -> Any:
        """Return what a REST API answers to predictions by itself, as `result`; None where none does."""
        for api in self._every("apigateway", "get_rest_apis", "items"):
            method = self._served(api["id"]).get("methods", {}).get(f"POST /{self.stage.name}/predict")
            if method and method["methodIntegration"]["type"] == "MOCK":
                (response,) = method["methodIntegration"]["integrationResponses"].values()
                return json.loads(response["responseTemplates"]["application/json"])["result"]
        return None

    def checks(self) -> str | None:
        """Return the schema that a REST API checks bodies of predictions by, as callers see it; None for none."""
        for api in self._every("apigateway", "get_rest_apis", "items"):
            served = self._served(api["id"])
            method = served.get("methods", {}).get(f"POST /{self.stage.name}/predict") or {}
            if method.get("requestValidatorId") in served.get("validators", ()):
                found: str = served["models"][method["requestModels"]["application/json"]]
                return found
        return None

    def whom_rest_lets_in(self) -> set[tuple[str, bool]]:
        """Return what the methods that a REST API serves ask of who calls, but for the questions of browsers.

        How AWS calls it: authorizationType, apiKeyRequired. Empty where none is served.
        """
        return {
            (method["authorizationType"], method["apiKeyRequired"])
            for api in self._every("apigateway", "get_rest_apis", "items")
            for key, method in self._served(api["id"]).get("methods", {}).items()
            if not key.startswith("OPTIONS ")
        }

    def _rest_api_is_open(self) -> bool:
        """Say whether a REST API serves a way to what is live, and may call it."""
        arn = self.place.aws.arn("lambda", f"function:thampi-{self.stage.name}-{self.stage.stage}:live")
        policy = str(self._policy(self.clients["lambda"]))
        for api in self._every("apigateway", "get_rest_apis", "items"):
            method = self._served(api["id"]).get("methods", {}).get(f"POST /{self.stage.name}/predict")
            if method and arn in (method["methodIntegration"]["uri"] or "") and api["id"] in policy:
                return True
        return False

    def _served(self, api_id: str) -> dict[str, Any]:
        stages = self.clients["apigateway"].get_stages(restApiId=api_id)["item"]
        if self.stage.stage not in [each["stageName"] for each in stages]:
            return {}
        account = self.place.aws.account
        found: dict[str, Any] = strict_rest.served(account, REGION, api_id, self.stage.stage)
        return found

    def _url_is_open(self) -> bool:
        """Say whether the function URL lets anybody in: everybody, or those who sign."""
        client, name = self.clients["lambda"], f"thampi-{self.stage.name}-{self.stage.stage}"
        try:
            url = client.get_function_url_config(FunctionName=name, Qualifier="live")
        except client.exceptions.ResourceNotFoundException:
            return False
        ids = {each["Sid"] for each in self._policy(client)}
        return url["AuthType"] == "AWS_IAM" or ids >= {"thampi-url-call", "thampi-url-invoke"}

    def _live_model(self) -> str | None:
        live = self.live()
        return live["Environment"]["Variables"]["THAMPI_MODEL"].rpartition("/")[2] if live else None

    def _answers_of_api(self) -> str | None:
        arn = self.place.aws.arn("lambda", f"function:thampi-{self.stage.name}-{self.stage.stage}:live")
        gateway, function = self.clients["apigatewayv2"], self.clients["lambda"]
        for api in sorted(gateway.get_apis()["Items"], key=_age):
            of = {"ApiId": api["ApiId"]}
            if self.stage.stage not in [each["StageName"] for each in gateway.get_stages(**of)["Items"]]:
                continue
            for route in gateway.get_routes(**of)["Items"]:
                target = route.get("Target", "").removeprefix("integrations/")
                uris = {
                    each["IntegrationId"]: each["IntegrationUri"] for each in gateway.get_integrations(**of)["Items"]
                }
                if uris.get(target) == arn and api["ApiId"] in str(self._policy(function)):
                    return self._live_model()
        return None

    def live(self) -> dict[str, Any] | None:
        """Return the configuration of the version that is live, None when there is none."""
        client, name = self.clients["lambda"], f"thampi-{self.stage.name}-{self.stage.stage}"
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            version = client.get_alias(FunctionName=name, Name="live")["FunctionVersion"]
            found: dict[str, Any] = client.get_function(FunctionName=name, Qualifier=version)["Configuration"]
            return found
        return None

    def _before(self, model: Any) -> Any:
        call = _called(model)
        self.calls.append(call)
        return self.before(call)

    def _sent(self, request: Any, event_name: str, **_: Any) -> Any:
        _, service, operation = event_name.split(".")
        service = {"eventbridge": "events", "api-gateway": "apigateway"}.get(service, service)
        service = service.removeprefix("cloudwatch-")
        return self.wire(f"{service}.{operation}", request)

    def _every(self, service: str, operation: str, key: str, **of: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = getattr(self.clients[service], operation)(**of).get(key, [])
        return found

    def _buckets(self) -> dict[str, Any]:
        s3, found = self.clients["s3"], {}
        for bucket in self._every("s3", "list_buckets", "Buckets"):
            of = {"Bucket": bucket["Name"]}
            objects = {
                # A lock is written anew all the time; its being there is what counts.
                each["Key"]: ""
                if "/locks/" in each["Key"]
                else _digest(s3.get_object(**of, Key=each["Key"])["Body"].read())
                for each in self._every("s3", "list_objects_v2", "Contents", **of)
            }
            settings = {}
            for what in ("public_access_block", "bucket_encryption", "bucket_tagging"):
                with contextlib.suppress(s3.exceptions.ClientError):
                    settings[what] = _plain(getattr(s3, f"get_{what}")(**of))
            uploads = [each["Key"] for each in self._every("s3", "list_multipart_uploads", "Uploads", **of)]
            found[bucket["Name"]] = {"objects": objects, "uploads": uploads, **settings}
        return found

    def _roles(self) -> dict[str, Any]:
        iam, found = self.clients["iam"], {}
        for each in self._every("iam", "list_roles", "Roles"):
            of = {"RoleName": each["RoleName"]}
            role = iam.get_role(**of)["Role"]
            policies = iam.list_role_policies(**of)["PolicyNames"]
            found[role["RoleName"]] = {
                "trust": role["AssumeRolePolicyDocument"],
                "tags": sorted((tag["Key"], tag["Value"]) for tag in role.get("Tags", [])),
                "policies": {name: iam.get_role_policy(**of, PolicyName=name)["PolicyDocument"] for name in policies},
                "attached": iam.list_attached_role_policies(**of)["AttachedPolicies"],
            }
        return found

    def _log_groups(self) -> dict[str, Any]:
        logs = self.clients["logs"]
        return {
            each["logGroupName"]: {
                "days": each.get("retentionInDays"),
                "tags": logs.list_tags_log_group(logGroupName=each["logGroupName"])["tags"],
            }
            for each in self._every("logs", "describe_log_groups", "logGroups")
        }

    def _functions(self) -> dict[str, Any]:
        client, found = self.clients["lambda"], {}
        for each in self._every("lambda", "list_functions", "Functions"):
            of = {"FunctionName": each["FunctionName"]}
            numbers = [one["Version"] for one in self._every("lambda", "list_versions_by_function", "Versions", **of)]
            versions = {}
            for number in numbers:
                one = client.get_function(**of, Qualifier=number)
                own = {k: v for k, v in one["Configuration"].items() if k not in ("RevisionId", "CodeSize")}
                own["Description"] = re.sub(r"when=\S+ who=.*", "", own["Description"])
                versions[number] = {**own, "image": one["Code"].get("ImageUri")}
            aliases = [
                # Whether all around the function was noted to be as wanted: the next push needs more calls, or fewer.
                {k: _groundless(k, v) for k, v in alias.items() if k != "RevisionId"}
                for alias in self._every("lambda", "list_aliases", "Aliases", **of)
            ]
            ready = self._every("lambda", "list_provisioned_concurrency_configs", "ProvisionedConcurrencyConfigs", **of)
            for one in ready:
                number = one["FunctionArn"].rpartition(":")[2]
                versions[number]["provisioned"] = one["RequestedProvisionedConcurrentExecutions"]
            tags = client.get_function(**of).get("Tags")
            policy = self._policy(client, each["FunctionName"])
            found[each["FunctionName"]] = {"versions": versions, "aliases": aliases, "tags": tags, "policy": policy}
            with contextlib.suppress(client.exceptions.ResourceNotFoundException):
                url = _plain(client.get_function_url_config(**of, Qualifier="live"))
                found[each["FunctionName"]]["url"] = {**url, "FunctionUrl": "<url>"}
        return found

    def _policy(self, client: Any, name: str | None = None) -> Any:
        name = name or f"thampi-{self.stage.name}-{self.stage.stage}"
        with contextlib.suppress(client.exceptions.ResourceNotFoundException):
            return json.loads(client.get_policy(FunctionName=name, Qualifier="live")["Policy"])["Statement"]
        return []

    def _apis(self) -> list[Any]:
        found = []
        for api in sorted(self._every("apigatewayv2", "get_apis", "Items"), key=_age):
            of, ids = {"ApiId": api["ApiId"]}, {}
            integrations = self._every("apigatewayv2", "get_integrations", "Items", **of)
            for number, each in enumerate(integrations):
                ids[each.pop("IntegrationId")] = f"<integration {number}>"
            routes = self._every("apigatewayv2", "get_routes", "Items", **of)
            for each in routes:
                each.pop("RouteId")
                each["Target"] = "/".join(ids.get(part, part) for part in each.get("Target", "").split("/"))
                each["AuthorizerId"] = "<authorizer>" if each.get("AuthorizerId") else ""
            stages = self._every("apigatewayv2", "get_stages", "Items", **of)
            authorizers = self._every("apigatewayv2", "get_authorizers", "Items", **of)
            for each in authorizers:
                each.pop("AuthorizerId")
            parts = {"integrations": integrations, "routes": routes, "stages": stages, "authorizers": authorizers}
            found.append({"api": api, **parts})
        return found

    def _rest_apis(self) -> list[Any]:
        client, found = self.clients["apigateway"], []
        for api in self._every("apigateway", "get_rest_apis", "items"):
            of = {"restApiId": api["id"]}
            resources = self._every("apigateway", "get_resources", "items", **of, embed=["methods"])
            deployments = self._every("apigateway", "get_deployments", "items", **of)
            stages = client.get_stages(**of)["item"]
            for each in stages:
                serving = each.pop("deploymentId")
                each["serves"] = next(one["description"] for one in deployments if one["id"] == serving)
            found.append(
                {
                    "api": {**api, "createdDate": "", "rootResourceId": ""},
                    "resources": {each["path"]: each.get("resourceMethods", {}) for each in resources},
                    "answers": self._every("apigateway", "get_gateway_responses", "items", **of),
                    "models": sorted(each["name"] for each in self._every("apigateway", "get_models", "items", **of)),
                    "validators": len(self._every("apigateway", "get_request_validators", "items", **of)),
                    "deployments": sorted(each["description"] for each in deployments),
                    "stages": stages,
                    "served": self._served(api["id"]),
                }
            )
        return found

    def _domains(self) -> dict[str, Any]:
        found = {}
        for each in self._every("apigatewayv2", "get_domain_names", "Items"):
            mapped = self._every("apigatewayv2", "get_api_mappings", "Items", DomainName=each["DomainName"])
            of_apis = {one.get("ApiMappingKey", ""): [one["ApiId"], one["Stage"]] for one in mapped}
            found[each["DomainName"]] = {"domain": each, "mappings": of_apis}
        return found

    def _usage_plans(self) -> list[Any]:
        """Describe the plans, each with the names of the keys in it."""
        client, found = self.clients["apigateway"], []
        for plan in self._every("apigateway", "get_usage_plans", "items"):
            held = client.get_usage_plan_keys(usagePlanId=plan.pop("id"))["items"]
            found.append({**plan, "keys": sorted(each["name"] for each in held)})
        return sorted(found, key=str)

    def _api_keys(self) -> list[Any]:
        keys = self._every("apigateway", "get_api_keys", "items")
        kept = ("name", "enabled", "tags")
        return sorted(({each: key.get(each) for each in kept} for key in keys), key=str)

    def _rules(self) -> dict[str, Any]:
        events, found = self.clients["events"], {}
        for each in self._every("events", "list_rules", "Rules"):
            targets = events.list_targets_by_rule(Rule=each["Name"])["Targets"]
            tags = events.list_tags_for_resource(ResourceARN=each["Arn"])["Tags"]
            found[each["Name"]] = {"rule": each, "targets": targets, "tags": tags}
        return found

    def _repositories(self) -> dict[str, Any]:
        ecr, found = self.clients["ecr"], {}
        for each in self._every("ecr", "describe_repositories", "repositories"):
            of = {"repositoryName": each["repositoryName"]}
            policy = None
            with contextlib.suppress(ecr.exceptions.RepositoryPolicyNotFoundException):
                policy = json.loads(ecr.get_repository_policy(**of)["policyText"])
            images = [
                (i["imageDigest"], i.get("imageTags"))
                for i in self._every("ecr", "describe_images", "imageDetails", **of)
            ]
            tags = ecr.list_tags_for_resource(resourceArn=each["repositoryArn"])["tags"]
            each.pop("createdAt")
            found[each["repositoryName"]] = {"repository": each, "policy": policy, "images": images, "tags": tags}
        return found


@contextlib.contextmanager
def _no_credentials(folder: Path) -> Iterator[None]:
    """Read nobody's configuration; what is made here never reaches an account."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(variable)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-credentials"))
        yield


def _called(model: Any) -> str:
    return f"{model.service_model.service_name}.{model.name}"


def _groundless(key: str, value: Any) -> Any:
    return re.sub(r"ground=\w+ ?", "", value) if key == "Description" else value


def _plain(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "ResponseMetadata"}


def _age(api: dict[str, Any]) -> tuple[str, str]:
    return str(api["CreatedDate"]), api["ApiId"]


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
