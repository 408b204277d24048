"""A domain is made when it is absent, changed when it is ours, and a path of it is moved by one call."""

from dataclasses import replace

import pytest
from moto.apigatewayv2.models import apigatewayv2_backends

from tests.aws import strict_domains, strict_rest
from tests.aws.conftest import Death
from thampi.aws import addresses, domains
from thampi.aws.addresses import Target
from thampi.aws.domains import Api, Domain, Mapped
from thampi.errors import CloudError

NAME = "models.example.com"
CERTIFICATE = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
OTHER = "arn:aws:acm:eu-central-1:123456789012:certificate/2"
WANTED = Domain(NAME, CERTIFICATE)
READS = {"GetDomainName", "GetApiMappings", "GetApis", "GetTags"}


@pytest.fixture
def aws(aws, monkeypatch):
    strict_domains.domains_are_strict(monkeypatch)
    strict_rest.rest_apis_are_strict(monkeypatch)
    return aws


def writes(calls):
    return [call for call in calls if call not in READS]


def http_api(aws, stage="staging"):
    client = aws.client("apigatewayv2")
    api_id = client.create_api(Name="thampi-iris-staging", ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=api_id, StageName=stage)
    return Api(api_id, stage)


def rest_api(aws, stage="staging"):
    client = aws.client("apigateway")
    api_id = client.create_rest_api(name="thampi-iris-staging")["id"]
    root = client.get_resources(restApiId=api_id)["items"][0]["id"]
    client.put_method(restApiId=api_id, resourceId=root, httpMethod="GET", authorizationType="NONE")
    client.put_integration(restApiId=api_id, resourceId=root, httpMethod="GET", type="MOCK")
    client.create_deployment(restApiId=api_id, stageName=stage)
    return Api(api_id, stage)


def foreign(aws, **configuration):
    """Make a domain as others do."""
    aws.client("apigatewayv2").create_domain_name(
        DomainName=NAME, DomainNameConfigurations=[{"CertificateArn": CERTIFICATE, **configuration}]
    )
    return domains.read(aws, NAME)


def made(aws):
    return domains.ensure(aws, domains.read(aws, NAME), WANTED).value


# ------------------------------------------------------------------------------------------------------------ domains


def test_a_domain_that_is_absent_is_made_regional_with_tls_1_2_and_the_tag_that_it_is_ours(aws, calls):
    assert domains.read(aws, NAME) is None
    done = domains.ensure(aws, None, WANTED)
    assert (done.action, done.value.domain, done.value.is_ours) == ("created", WANTED, True)
    assert done.value.target == f"d-{NAME}.execute-api.eu-central-1.amazonaws.com"
    assert (done.value.zone_id, done.value.status) == ("Z1U9ULNL0V5AJ3", "AVAILABLE")
    assert domains.read(aws, NAME) == done.value
    said = aws.client("apigatewayv2").get_domain_name(DomainName=NAME)
    assert said["Tags"] == {"thampi:domain": "made"}
    (configuration,) = said["DomainNameConfigurations"]
    assert (configuration["EndpointType"], configuration["SecurityPolicy"]) == ("REGIONAL", "TLS_1_2")
    assert writes(calls) == ["CreateDomainName"]


def test_a_domain_that_is_as_wanted_is_left(aws, calls):
    found = made(aws)
    calls.clear()
    assert domains.ensure(aws, domains.read(aws, NAME), WANTED).action == "left"
    assert (writes(calls), domains.read(aws, NAME)) == ([], found)


def test_another_certificate_is_given_to_a_domain_of_ours_and_its_paths_stay(aws, calls):
    found = made(aws)
    domains.lead(aws, found, "iris", http_api(aws))
    before = domains.read(aws, NAME)
    calls.clear()
    done = domains.ensure(aws, before, Domain(NAME, OTHER))
    assert (done.action, done.changes) == ("changed", (f"certificate_arn: {CERTIFICATE} -> {OTHER}",))
    assert writes(calls) == ["UpdateDomainName"]
    assert domains.read(aws, NAME) == done.value == replace(before, domain=Domain(NAME, OTHER))


def test_a_domain_that_somebody_else_has_made_is_never_changed(aws, calls):
    found = foreign(aws)
    calls.clear()
    assert domains.ensure(aws, found, Domain(NAME, OTHER)).action == "left"
    assert not domains.remove_unused(aws, found)
    assert (writes(calls), found.is_ours) == ([], False)


@pytest.mark.parametrize(
    ("configuration", "reason"),
    [
        ({"EndpointType": "EDGE"}, "its endpoint type is EDGE"),
        ({"EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_0"}, "its security policy is TLS_1_0"),
    ],
)
def test_a_domain_that_takes_no_http_api_is_unfit(aws, configuration, reason):
    assert reason in domains.unfit(foreign(aws, **configuration).domain)


def test_a_domain_that_routes_by_rules_only_is_unfit_and_one_as_ours_is_not():
    assert "routes by rules only" in domains.unfit(replace(WANTED, routing="ROUTING_RULE_ONLY"))
    assert domains.unfit(replace(WANTED, routing="ROUTING_RULE_THEN_API_MAPPING")) is None
    assert domains.unfit(WANTED) is None


@pytest.mark.parametrize("changing", [False, True])
def test_a_certificate_that_can_not_be_used_is_refused_with_what_to_look_at(aws, changing):
    found = made(aws) if changing else None
    pending = "arn:aws:acm:eu-central-1:123456789012:certificate/pending"
    with pytest.raises(CloudError, match=f"does not take the certificate for {NAME}: .*has not been issued") as refused:
        domains.ensure(aws, found, Domain(NAME, pending))
    assert f"aws acm describe-certificate --certificate-arn {pending}" in refused.value.hint
    assert f"ISSUED, and one of its names {NAME} or *.example.com" in refused.value.hint


def test_a_name_that_another_account_has_is_said_so(aws, meddler):
    said = "The domain name you provided already exists."
    meddler.refuse("CreateDomainName", "ConflictException", 409, said)
    with pytest.raises(CloudError, match=f"{NAME} is taken: {said}") as refused:
        domains.ensure(aws, None, WANTED)
    assert "another account has it in eu-central-1" in refused.value.hint


def test_a_domain_whose_creation_was_not_answered_is_found(aws, lossy):
    assert domains.ensure(aws, None, WANTED).value == domains.read(aws, NAME)


def test_a_second_domain_within_half_a_minute_is_waited_for(aws, meddler, sleeps):
    meddler.refuse("CreateDomainName", "TooManyRequestsException", 429, times=2)
    assert domains.ensure(aws, None, WANTED).action == "created"
    assert sleeps == [5.0, 10.0]


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ConflictException"])
def test_a_domain_that_is_being_changed_is_waited_for(aws, meddler, sleeps, code):
    found = made(aws)
    meddler.refuse("UpdateDomainName", code, 409, "busy")
    with pytest.raises(CloudError, match="busy"):
        domains.ensure(aws, found, Domain(NAME, OTHER))
    assert sleeps == [5.0, 10.0, 20.0]
    meddler.refuse("UpdateDomainName", code, 409, times=3)
    assert domains.ensure(aws, found, Domain(NAME, OTHER)).action == "changed"


def test_a_domain_of_ours_goes_when_it_leads_nowhere_and_not_before(aws, calls):
    found = made(aws)
    api = http_api(aws)
    domains.lead(aws, found, "iris", api)
    domains.lead(aws, found, "", api)
    found = domains.read(aws, NAME)
    found = domains.leave(aws, found, found.at("iris"))
    assert not domains.remove_unused(aws, found)
    found = domains.leave(aws, found, found.at(""))
    calls.clear()
    assert domains.remove_unused(aws, found)
    assert (domains.read(aws, NAME), writes(calls)) == (None, ["DeleteDomainName"])
    assert domains.remove_unused(aws, found)  # another run was faster


def test_a_domain_that_another_stage_has_joined_meanwhile_stays(aws, calls):
    found, api = made(aws), http_api(aws)
    domains.lead(aws, found, "theirs", api)
    calls.clear()
    assert not domains.remove_unused(aws, found)  # as it was read before they came
    assert writes(calls) == []


# ----------------------------------------------------------------------------------------------------------- mappings


@pytest.mark.parametrize("path", ["", "iris", "models/v1/iris"])
@pytest.mark.parametrize("make", [http_api, rest_api])
def test_a_path_leads_to_an_api_of_either_kind(aws, calls, make, path):
    found, api = made(aws), make(aws)
    calls.clear()
    done = domains.lead(aws, found, path, api)
    assert (done.action, writes(calls)) == ("created", ["CreateApiMapping"])
    again = domains.read(aws, NAME)
    assert again.mapped == (done.value,) == (Mapped(done.value.id, path, api),)
    assert again.at(path) == done.value
    assert again.at("other") is None
    calls.clear()
    assert domains.lead(aws, again, path, api).action == "left"
    assert calls == []


@pytest.mark.parametrize(("old", "new"), [(http_api, rest_api), (rest_api, http_api)])
def test_a_path_moves_from_one_kind_to_the_other_by_one_call(aws, calls, old, new):
    found, before, after = made(aws), old(aws), new(aws, "production")
    first = domains.lead(aws, found, "iris", before).value
    found = domains.read(aws, NAME)
    calls.clear()
    moved = domains.lead(aws, found, "iris", after)
    assert (moved.changes, calls) == ((f"API: {before.id} -> {after.id}",), ["UpdateApiMapping"])
    assert domains.read(aws, NAME).mapped == (moved.value,) == (replace(first, api=after),)


def test_a_mapping_whose_creation_was_not_answered_is_found(aws, lossy):
    found, api = made(aws), http_api(aws)
    done = domains.lead(aws, found, "iris", api)
    assert domains.read(aws, NAME).mapped == (done.value,)


def test_a_mapping_that_another_was_faster_to_make_is_not_taken(aws):
    found, theirs, ours = made(aws), http_api(aws), http_api(aws)
    domains.lead(aws, found, "iris", theirs)
    with pytest.raises(CloudError, match="ApiMapping key already exists"):
        domains.lead(aws, found, "iris", ours)
    assert domains.read(aws, NAME).at("iris").api == theirs


def test_what_is_gone_already_is_no_failure(aws):
    found = made(aws)
    there = domains.lead(aws, found, "iris", http_api(aws)).value
    found = domains.read(aws, NAME)
    assert domains.leave(aws, found, there).mapped == ()
    assert domains.leave(aws, found, there).mapped == ()


def test_all_mappings_are_read_however_many_pages_there_are(aws, monkeypatch):
    made(aws)
    backend = apigatewayv2_backends["123456789012"]["eu-central-1"]
    for number in range(3):
        backend.create_api_mapping(http_api(aws).id, f"v{number}", NAME, "staging")
    client, asked = aws.client("apigatewayv2"), []
    whole = client.get_api_mappings(DomainName=NAME)["Items"]

    def paged(**given):
        asked.append(given.get("NextToken"))
        at = int(given.get("NextToken", 0))
        return {"Items": whole[at : at + 1], **({"NextToken": str(at + 1)} if at < 2 else {})}

    monkeypatch.setattr(client, "get_api_mappings", paged)
    assert [each.path for each in domains.read(aws, NAME).mapped] == ["v0", "v1", "v2"]
    assert asked == [None, "1", "2"]


# -------------------------------------------------------------------------------------------------------------- notes


def target(aws, make, **tags):
    api = make(aws)
    kind = "apis" if make is http_api else "restapis"
    return Target(api, f"arn:aws:apigateway:eu-central-1::/{kind}/{api.id}", tags)


def tags_of(aws, found):
    if "/restapis/" in found.arn:
        return aws.client("apigateway").get_tags(resourceArn=found.arn)["tags"]
    return aws.client("apigatewayv2").get_tags(ResourceArn=found.arn)["Tags"]


@pytest.mark.parametrize("make", [http_api, rest_api])
def test_addresses_are_noted_at_the_api_beside_its_other_tags_and_erased_one_by_one(aws, calls, make):
    found = target(aws, make)
    for address in ("a.example.com/iris", "b.example.com", "a.example.com"):
        found = addresses.note(aws, found, address)
    assert found.addresses == ("a.example.com/iris", "b.example.com", "a.example.com")
    assert tags_of(aws, found) == found.tags
    calls.clear()
    assert addresses.note(aws, found, "b.example.com") == found
    assert addresses.erase(aws, found, ["nowhere.example.com"]) == found
    assert calls == []
    found = addresses.erase(aws, found, ["a.example.com/iris", "a.example.com"])
    assert (found.addresses, tags_of(aws, found)) == (("b.example.com",), found.tags)
    assert addresses.note(aws, found, "c.example.com").addresses == ("c.example.com", "b.example.com")


def test_other_tags_are_no_addresses():
    tags = {"thampi:stage": "a", "thampi:addressee": "b", "address": "c", "thampi:address-2": "d.example.com"}
    assert Target(Api("1", "staging"), "", tags).addresses == ("d.example.com",)


def test_an_address_is_written_as_people_do():
    assert [domains.address(NAME, path) for path in ("", "a/b")] == [NAME, f"{NAME}/a/b"]
    assert [addresses.split(each) for each in (NAME, f"{NAME}/a/b")] == [(NAME, ""), (NAME, "a/b")]


def test_a_run_that_dies_in_a_call_leaves_what_the_next_one_finds(aws, meddler):
    found, api = made(aws), http_api(aws)
    meddler.kill("after", 0)
    with pytest.raises(Death):
        domains.lead(aws, found, "iris", api)
    meddler.stop()
    assert domains.lead(aws, domains.read(aws, NAME), "iris", api).action == "left"
