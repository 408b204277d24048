"""What API Gateway does with domains and moto doesn't."""

import json
import uuid
from types import SimpleNamespace
from urllib.parse import unquote

from moto.acm.exceptions import CertificateNotFound
from moto.acm.models import AWSCertificateManagerBackend
from moto.apigateway.models import APIGatewayBackend, apigateway_backends
from moto.apigatewayv2.models import ApiGatewayV2Backend, DomainName, apigatewayv2_backends
from moto.apigatewayv2.responses import ApiGatewayV2Response
from moto.core.exceptions import JsonRESTError

from tests.aws.strict import _before
from tests.aws.strict_http import _Conflict


def domains_are_strict(monkeypatch):
    """All of it."""
    domains_have_certificates(monkeypatch)
    mappings_lead_to_apis(monkeypatch)
    mapped_apis_stay(monkeypatch)
    certificates_are_as_their_ids_say(monkeypatch)


class _Absent(JsonRESTError):
    code = 404

    def __init__(self, message):
        super().__init__("NotFoundException", message)


class _Refusal(JsonRESTError):
    code = 400

    def __init__(self, message):
        super().__init__("BadRequestException", message)


def domains_have_certificates(monkeypatch):
    """A domain has a certificate of its region that was issued, which can be changed, and a name of AWS's own that its
    DNS record points at; it goes with its mappings."""
    create = DomainName.__init__

    def configured(given, name, region):
        (found,) = given
        certificate = found["certificateArn"]
        if certificate.split(":")[3] != region:
            raise _Refusal(f"Invalid certificate ARN: {certificate}. Certificate must be in '{region}'.")
        if "pending" in certificate:
            raise _Refusal(f"The certificate {certificate} has not been issued")
        own = {"apiGatewayDomainName": f"d-{name}.execute-api.{region}.amazonaws.com", "hostedZoneId": "Z1U9ULNL0V5AJ3"}
        return [{"endpointType": "REGIONAL", "domainNameStatus": "AVAILABLE", **found, **own}]

    def created(self, **given):
        create(self, **given)
        found, region = self.domain_name_configurations, given["backend"].region_name
        self.domain_name_configurations = configured(found, self.domain_name, region)

    def update_domain_name(self):
        found = self.apigatewayv2_backend.get_domain_name(unquote(self.path.split("/")[-1]))
        given = json.loads(self.body)["domainNameConfigurations"]
        found.domain_name_configurations = configured(given, found.domain_name, self.apigatewayv2_backend.region_name)
        return 200, {}, json.dumps(found.to_json())

    def delete_domain_name(self, domain_name):
        for each in self.get_api_mappings(domain_name):
            del self.api_mappings[each.api_mapping_id]
        del self.domain_names[domain_name]

    monkeypatch.setattr(DomainName, "__init__", created)
    monkeypatch.setattr(ApiGatewayV2Response, "update_domain_name", update_domain_name, raising=False)
    monkeypatch.setattr(ApiGatewayV2Backend, "delete_domain_name", delete_domain_name)


class _Mapping:
    def __init__(self, api_id, key, domain_name, stage):
        self.api_mapping_id, self.domain_name, self.api_mapping_key = uuid.uuid4().hex[:6], domain_name, key
        self.api_id, self.stage = api_id, stage

    def to_json(self):
        said = {"apiId": self.api_id, "apiMappingId": self.api_mapping_id, "stage": self.stage}
        return {**said, "apiMappingKey": self.api_mapping_key}


def mappings_lead_to_apis(monkeypatch):
    """A path of a domain is given once, to an API of either version that is there and has the stage; where it leads can
    be changed."""

    def check(backend, api_id, stage):
        rest = apigateway_backends[backend.account_id][backend.region_name].apis
        if api_id in backend.apis:
            stages = [each.name for each in backend.get_stages(api_id)]
        elif api_id in rest:
            stages = list(rest[api_id].stages)
        else:
            raise _Absent("Invalid API identifier specified")
        if stage not in stages:
            raise _Refusal("Invalid stage identifier specified")

    def create_api_mapping(self, api_id, api_mapping_key, domain_name, stage):
        self.get_domain_name(domain_name)
        check(self, api_id, stage)
        if any(each.api_mapping_key == api_mapping_key for each in self.get_api_mappings(domain_name)):
            raise _Conflict("ApiMapping key already exists for this domain name")
        mapping = _Mapping(api_id, api_mapping_key, domain_name, stage)
        self.api_mappings[mapping.api_mapping_id] = mapping
        return mapping

    def update_api_mapping(self):
        name, given, backend = unquote(self.path.split("/")[-3]), json.loads(self.body), self.apigatewayv2_backend
        mapping = backend.get_api_mapping(self.path.split("/")[-1], name)
        check(backend, given["apiId"], given.get("stage", mapping.stage))
        mapping.api_id, mapping.stage = given["apiId"], given.get("stage", mapping.stage)
        return 200, {}, json.dumps(mapping.to_json())

    def get_api_mappings(self, domain_name):
        self.get_domain_name(domain_name)
        return [each for each in self.api_mappings.values() if each.domain_name == domain_name]

    monkeypatch.setattr(ApiGatewayV2Backend, "create_api_mapping", create_api_mapping)
    monkeypatch.setattr(ApiGatewayV2Response, "update_api_mapping", update_api_mapping, raising=False)
    monkeypatch.setattr(ApiGatewayV2Backend, "get_api_mappings", get_api_mappings)


def mapped_apis_stay(monkeypatch):
    """An API that a domain leads to can't be deleted (gruntwork-io/cloud-nuke#370, glomex/gcdt#373)."""

    def is_free(self, api_id):
        mappings = apigatewayv2_backends[self.account_id][self.region_name].api_mappings.values()
        if any(each.api_id == api_id for each in mappings):
            said = "Please remove all API mappings for the API from your custom domain names."
            raise _Refusal(f"Deleting API {api_id} failed. {said}")

    _before(monkeypatch, ApiGatewayV2Backend, "delete_api", is_free)
    _before(monkeypatch, APIGatewayBackend, "delete_rest_api", is_free)


def certificates_are_as_their_ids_say(monkeypatch):
    """A certificate whose id ends in `gone` is not there, in `pending` not issued; all others are for example.com,
    example.org and what is one level below. (moto makes a key for each, which takes most of such a test's time.)
    """

    def describe_certificate(self, arn):
        if arn.endswith("gone"):
            raise CertificateNotFound(arn=arn, account_id=self.account_id)
        record = {"Name": "_1.example.com.", "Type": "CNAME", "Value": "_2.acm-validations.aws."}
        waits = arn.endswith("pending")
        said = {
            "CertificateArn": arn,
            "Status": "PENDING_VALIDATION" if waits else "ISSUED",
            "DomainName": "example.com",
            "SubjectAlternativeNames": ["example.com", "*.example.com", "example.org", "*.example.org"],
            "DomainValidationOptions": [{"DomainName": "example.com", "ResourceRecord": record}],
        }
        return SimpleNamespace(describe=lambda: {"Certificate": said})

    monkeypatch.setattr(AWSCertificateManagerBackend, "describe_certificate", describe_certificate)
