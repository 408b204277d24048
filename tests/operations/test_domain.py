"""A domain leads to a stage's endpoint under its path, and never to nowhere while the stage has it."""

import json
from dataclasses import replace

import pytest

from tests.operations.stand import REGION, Death, refusal
from thampi.aws import addresses
from thampi.config import Api, Domain
from thampi.errors import CloudError, ConfigError
from thampi.operations import destroy, domain, examine, info

ACCOUNT = "123456789012"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1"
OTHER = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/2"
IRIS = Domain(name="models.example.com", certificate_arn=CERTIFICATE, path="iris")
THINGS = ("domain", "mapping", "old mapping")
READS = ("Get", "List", "Head", "Desc", "BatchGet")


def with_domain(stand, wanted, kind="http", **more):
    return replace(stand.stage, api=Api(type=kind, domain=wanted), **more)


def leads(stand):
    """Where each address leads: the ids of APIs."""
    client, found = stand.clients["apigatewayv2"], {}
    for each in client.get_domain_names()["Items"]:
        name = each["DomainName"]
        for one in client.get_api_mappings(DomainName=name)["Items"]:
            path = one.get("ApiMappingKey", "")
            found[f"{name}/{path}" if path else name] = one["ApiId"]
    return found


def names_of(stand):
    return [each["DomainName"] for each in stand.clients["apigatewayv2"].get_domain_names()["Items"]]


def apis(stand):
    """The tags of each API, of either kind, by its id."""
    found = {each["ApiId"]: each["Tags"] for each in stand.clients["apigatewayv2"].get_apis()["Items"]}
    return found | {each["id"]: each["tags"] for each in stand.clients["apigateway"].get_rest_apis()["items"]}


def api_id(stand):
    (found,) = apis(stand)
    return found


def noted(stand):
    (tags,) = apis(stand).values()
    return sorted(value for key, value in tags.items() if key.startswith("thampi:address"))


def somebody_elses(stand, name=IRIS.name, certificate=CERTIFICATE, **configuration):
    stand.clients["apigatewayv2"].create_domain_name(
        DomainName=name, DomainNameConfigurations=[{"CertificateArn": certificate, **configuration}]
    )


def another_api(stand, name="theirs"):
    client = stand.clients["apigatewayv2"]
    made = client.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=made, StageName="staging")
    return made


def examined(stand, stage, **more):
    return examine.examine(stage, stand.plan(stage), stand.place, **more)


def rows_of(pushed):
    return [(row.thing, row.name, row.action, row.changes) for row in pushed.rows if row.thing in THINGS]


def writes(stand):
    return [call for call in stand.calls if not call.split(".")[1].startswith(READS)]


def of_domains(stand):
    return [
        call.split(".")[1] for call in writes(stand) if "Domain" in call or "Mapping" in call or "agResource" in call
    ]


# ---------------------------------------------------------------------------------------------------------- switched on


@pytest.mark.parametrize("path", ["", "iris", "models/iris"])
def test_a_first_push_makes_domain_and_mapping_when_the_endpoint_stands_and_was_let_in(stand, path):
    stage = with_domain(stand, replace(IRIS, path=path))
    address = f"models.example.com/{path}".rstrip("/")
    would = examined(stand, stage)
    assert rows_of(would) == [("domain", IRIS.name, "created", ()), ("mapping", address, "created", ())]
    stand.calls.clear()
    pushed = stand.push(stage)
    assert rows_of(pushed) == rows_of(would)
    assert leads(stand) == {address: api_id(stand)}
    assert noted(stand) == [address]
    made = [call for call in writes(stand) if "apigateway" in call or "Permission" in call]
    assert made == [
        *(f"apigatewayv2.Create{each}" for each in ("Api", "Integration", "Route", "Stage")),
        "lambda.AddPermission",
        *(f"apigatewayv2.{each}" for each in ("TagResource", "CreateDomainName", "CreateApiMapping")),
    ]
    assert pushed.url.endswith(".amazonaws.com/staging/scale/predict")
    assert domain.url(stage, stand.place) == f"https://{address}/scale/predict"


def test_what_the_dns_record_has_to_point_at_is_said_when_the_domain_is_new_and_not_again(stand):
    stage = with_domain(stand, IRIS)
    stand.push(stage)
    said = f"{IRIS.name} answers when its DNS record points at d-{IRIS.name}.execute-api.{REGION}.amazonaws.com"
    (line,) = [each for each in stand.said if "DNS" in each]
    assert line.startswith(said)
    assert "in the hosted zone Z1U9ULNL0V5AJ3" in line
    stand.said.clear()
    stand.push(replace(stage, tags={"team": "ml"}))
    assert not [each for each in stand.said if "DNS" in each]


def test_a_push_that_changes_nothing_only_reads_and_asks_two_things_of_the_domain(stand):
    stage = with_domain(stand, IRIS)
    stand.push(stage)
    stand.calls.clear()
    again = stand.push(stage)
    assert (again.changed, writes(stand)) == (False, [])
    assert [each for each in stand.calls if "Domain" in each or "Mapping" in each] == [
        "apigatewayv2.GetDomainName",
        "apigatewayv2.GetApiMappings",
    ]
    assert len(stand.calls) <= 22


def test_a_new_model_asks_nothing_of_the_domain(stand):
    stand.push(with_domain(stand, IRIS))
    stand.calls.clear()
    stand.push(with_domain(stand, IRIS, model_dir=stand.models[1]))
    assert not [each for each in stand.calls if "Domain" in each or "Mapping" in each or "agResource" in each]
    assert stand.answers() == "model-3"


def test_a_new_model_and_a_change_of_the_domain_come_with_one_push(stand):
    stand.push()
    stage = with_domain(stand, IRIS, model_dir=stand.models[1])
    stand.push(stage)
    assert leads(stand) == {"models.example.com/iris": api_id(stand)}
    stand.push(replace(stage, model_dir=stand.models[0], api=Api(domain=replace(IRIS, certificate_arn=OTHER))))
    (found,) = stand.clients["apigatewayv2"].get_domain_names()["Items"]
    assert found["DomainNameConfigurations"][0]["CertificateArn"] == OTHER
    assert stand.answers() == "model-2"


def test_where_no_domain_was_ever_set_nothing_is_asked_of_domains(stand):
    stand.push()
    stand.push(with_domain(stand, None, tags={"team": "ml"}))
    destroy.destroy(stand.stage, stand.place, who="me")
    assert not [each for each in stand.calls if "Domain" in each or "Mapping" in each]


def test_what_was_taken_away_by_hand_is_made_again(stand):
    stage = with_domain(stand, IRIS)
    stand.push(stage)
    before = stand.snapshot()
    client = stand.clients["apigatewayv2"]
    (mapping,) = client.get_api_mappings(DomainName=IRIS.name)["Items"]
    client.delete_api_mapping(DomainName=IRIS.name, ApiMappingId=mapping["ApiMappingId"])
    assert rows_of(examined(stand, stage))[1][2] == "created"
    stand.push(stage)
    assert stand.snapshot() == before
    client.delete_domain_name(DomainName=IRIS.name)
    stand.push(stage)
    assert stand.snapshot() == before


# -------------------------------------------------------------------------------------------------------------- changed


@pytest.mark.parametrize(
    ("new", "calls"),
    [
        (replace(IRIS, path="v2"), ["CreateApiMapping", "DeleteApiMapping"]),
        (replace(IRIS, path=""), ["CreateApiMapping", "DeleteApiMapping"]),
        (
            replace(IRIS, name="ml.example.org"),
            ["CreateDomainName", "CreateApiMapping", "DeleteApiMapping", "DeleteDomainName"],
        ),
    ],
)
def test_another_address_leads_to_the_endpoint_before_the_old_one_does_no_longer(stand, new, calls):
    stand.push(with_domain(stand, IRIS))
    stage, old = with_domain(stand, new), "models.example.com/iris"
    address = f"{new.name}/{new.path}".rstrip("/")
    stand.calls.clear()
    ways = []
    stand.before = lambda call: ways.append(set(leads(stand)) & {old, address})
    would = examined(stand, stage)
    pushed = stand.push(stage)
    stand.undisturbed()
    assert all(ways)
    assert {old, address} in ways
    assert leads(stand) == {address: api_id(stand)}
    assert (noted(stand), names_of(stand)) == ([address], [new.name])
    assert rows_of(pushed) == rows_of(would)
    assert rows_of(pushed)[-1] == ("old mapping", old, "changed", ("-> removed",))
    assert of_domains(stand) == ["TagResource", *calls, "UntagResource"]
    assert not stand.push(stage).changed


def test_another_certificate_is_one_call(stand):
    stand.push(with_domain(stand, IRIS))
    stage = with_domain(stand, replace(IRIS, certificate_arn=OTHER))
    stand.calls.clear()
    pushed = stand.push(stage)
    assert of_domains(stand) == ["UpdateDomainName"]
    assert rows_of(pushed)[0] == (
        "domain",
        IRIS.name,
        "changed",
        (f"certificate_arn: {CERTIFICATE} -> {OTHER}",),
    )
    assert not stand.push(stage).changed


def test_switched_off_the_mapping_goes_and_the_domain_of_ours_with_the_last_one(stand):
    stand.push()
    plain = stand.snapshot()
    stand.push(with_domain(stand, IRIS))
    stand.calls.clear()
    would = examined(stand, stand.stage)
    pushed = stand.push()
    assert rows_of(pushed) == rows_of(would) == [("old mapping", "models.example.com/iris", "changed", ("-> removed",))]
    assert stand.snapshot() == plain
    assert of_domains(stand) == ["DeleteApiMapping", "DeleteDomainName", "UntagResource"]
    assert not stand.push().changed


def test_a_run_that_died_with_a_new_address_is_not_forgotten_under_the_old_settings(stand):
    """Also where the next push brings another model, which asks nothing of what is laid."""
    stand.push()
    plain = stand.snapshot()["domains"]

    def die(call):
        if call == "apigatewayv2.CreateApiMapping":
            raise Death(call)

    stand.after = die
    with pytest.raises(Death):
        stand.push(with_domain(stand, IRIS))
    stand.undisturbed()
    assert leads(stand)
    stand.push(replace(stand.stage, model_dir=stand.models[1]), force=True)
    assert (stand.snapshot()["domains"], noted(stand)) == (plain, [])


# -------------------------------------------------------------------------------------------------------- another type


@pytest.mark.parametrize(("old", "new"), [("http", "rest"), ("rest", "http")])
def test_the_address_moves_by_one_call_when_the_new_endpoint_was_tried_and_before_the_old_one_goes(stand, old, new):
    first = stand.push(with_domain(stand, IRIS, old))
    before, stage = api_id(stand), with_domain(stand, IRIS, new)
    would = rows_of(examined(stand, stage, replace_endpoint=True))
    assert would[1] == ("mapping", "models.example.com/iris", "changed", (f"API: {before} -> the new one",))
    stand.calls.clear()
    stand.sleeps.clear()
    tried, ways = [], []

    def try_out(*_):
        tried.append(leads(stand)["models.example.com/iris"])

    stand.before = lambda call: ways.append(leads(stand)["models.example.com/iris"] in apis(stand))
    pushed = stand.push(stage, replace_endpoint=True, try_out=try_out)
    stand.undisturbed()
    after = api_id(stand)
    assert stand.sleeps == [20.0]
    assert (tried, leads(stand)) == ([before], {"models.example.com/iris": after})
    assert all(ways)
    assert rows_of(pushed)[1] == ("mapping", "models.example.com/iris", "changed", (f"API: {before} -> {after}",))
    assert of_domains(stand) == ["TagResource", "UpdateApiMapping"]
    assert (noted(stand), first.url != pushed.url) == (["models.example.com/iris"], True)
    assert not stand.push(stage).changed
    destroy.destroy(stage, stand.place, who="me")
    assert (leads(stand), names_of(stand)) == ({}, [])


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_a_type_that_can_have_no_domain_takes_it_away_before_the_endpoint_that_it_led_to(stand, kind):
    stand.push(with_domain(stand, IRIS, kind))
    stand.calls.clear()
    pushed = stand.push(with_domain(stand, None, "url"), replace_endpoint=True)
    assert rows_of(pushed) == [("old mapping", "models.example.com/iris", "changed", ("-> removed",))]
    assert (leads(stand), names_of(stand), apis(stand)) == ({}, [], {})


def test_another_type_under_another_address_leaves_nothing_of_the_old_one(stand):
    stand.push(with_domain(stand, IRIS))
    stage = with_domain(stand, replace(IRIS, path="v2"), "rest")
    stand.push(stage, replace_endpoint=True)
    assert leads(stand) == {"models.example.com/v2": api_id(stand)}
    assert not stand.push(stage).changed


def test_back_to_the_old_type_the_address_comes_back(stand):
    """Where the run died with the address moved, and somebody changed their mind."""
    stand.push(with_domain(stand, IRIS, "http"))
    before = api_id(stand)

    def die(call):
        if call == "apigatewayv2.UpdateApiMapping":
            raise Death(call)

    stand.after = die
    with pytest.raises(Death):
        stand.push(with_domain(stand, IRIS, "rest"), replace_endpoint=True)
    stand.undisturbed()
    assert leads(stand)["models.example.com/iris"] != before
    stand.push(with_domain(stand, IRIS, "http"), replace_endpoint=True, force=True)
    assert leads(stand) == {"models.example.com/iris": api_id(stand)} == {"models.example.com/iris": before}


# -------------------------------------------------------------------------------------------------------------- shared


def test_stages_share_a_domain_by_their_paths_and_the_last_one_takes_it_away(stand):
    production = with_domain(stand, replace(IRIS, path=""), stage="production")
    stand.push(with_domain(stand, IRIS))
    stand.push(production)
    assert sorted(leads(stand)) == ["models.example.com", "models.example.com/iris"]
    gone = destroy.destroy(with_domain(stand, IRIS), stand.place, who="me")
    assert (gone[0].thing, gone[0].name) == ("mapping", "models.example.com/iris")
    assert list(leads(stand)) == ["models.example.com"]
    assert not stand.push(production).changed
    destroy.destroy(production, stand.place, who="me")
    assert names_of(stand) == []


def test_destroy_finds_the_mapping_also_where_the_setting_is_gone(stand):
    stand.push(with_domain(stand, IRIS))
    stand.calls.clear()
    gone = destroy.destroy(stand.stage, stand.place, who="me")
    assert [each.thing for each in gone][:2] == ["mapping", "endpoint"]
    assert (leads(stand), names_of(stand)) == ({}, [])
    deletions = [call.split(".")[1] for call in stand.calls if call.startswith("apigatewayv2.Delete")]
    assert deletions == ["DeleteApiMapping", "DeleteDomainName", "DeleteApi"]


def test_a_domain_that_somebody_else_has_made_is_used_and_never_changed_or_deleted(stand):
    somebody_elses(stand)
    before = stand.snapshot()["domains"]
    stage = with_domain(stand, IRIS)
    pushed = stand.push(stage)
    assert rows_of(pushed)[0][2] == "left"
    assert leads(stand) == {"models.example.com/iris": api_id(stand)}
    destroy.destroy(stage, stand.place, who="me")
    assert stand.snapshot()["domains"] == before


@pytest.mark.parametrize("all_goes", [False, True])
def test_an_address_that_others_have_led_elsewhere_is_left_to_them(stand, all_goes):
    stand.push(with_domain(stand, IRIS))
    client, theirs = stand.clients["apigatewayv2"], another_api(stand)
    (mapping,) = client.get_api_mappings(DomainName=IRIS.name)["Items"]
    client.update_api_mapping(DomainName=IRIS.name, ApiMappingId=mapping["ApiMappingId"], ApiId=theirs, Stage="staging")
    assert "leads to another API already" in refused(stand, with_domain(stand, IRIS)).message
    if all_goes:
        destroy.destroy(stand.stage, stand.place, who="me")
    else:
        stand.push()
    assert leads(stand) == {"models.example.com/iris": theirs}


def test_a_mapping_that_thampi_has_not_noted_stays(stand):
    stand.push(with_domain(stand, IRIS))
    stand.clients["apigatewayv2"].create_api_mapping(
        DomainName=IRIS.name, ApiId=api_id(stand), Stage="staging", ApiMappingKey="by-hand"
    )
    stand.push(with_domain(stand, replace(IRIS, path="v2")))
    assert sorted(leads(stand)) == ["models.example.com/by-hand", "models.example.com/v2"]


# ------------------------------------------------------------------------------------------------------------- refused


def refused(stand, stage, kind=ConfigError):
    """The refusal, which comes before anything is made."""
    before = stand.snapshot()
    stand.calls.clear()
    with pytest.raises(kind) as no:
        stand.push(stage)
    assert (stand.snapshot(), writes(stand)) == (before, [])
    with pytest.raises(kind):
        examined(stand, stage)
    return no.value


@pytest.mark.parametrize("first", [True, False])
def test_a_path_that_leads_to_another_api_is_somebody_elses(stand, first):
    if not first:
        stand.push()
    somebody_elses(stand)
    theirs = another_api(stand)
    stand.clients["apigatewayv2"].create_api_mapping(
        DomainName=IRIS.name, ApiId=theirs, Stage="staging", ApiMappingKey="iris"
    )
    no = refused(stand, with_domain(stand, IRIS))
    assert f"models.example.com/iris leads to another API already, {theirs}" in no.message
    assert no.hint == "set another path in stages.staging.api.domain, or remove that mapping first"
    stand.push(with_domain(stand, replace(IRIS, path="v2")))
    assert leads(stand)["models.example.com/iris"] == theirs


def test_a_path_that_others_take_while_a_push_goes_on_is_not_taken_from_them(stand):
    stand.push()
    theirs = []

    def take(call):
        if call == "lambda.UpdateAlias" and not theirs:
            somebody_elses(stand)
            theirs.append(another_api(stand))
            stand.clients["apigatewayv2"].create_api_mapping(
                DomainName=IRIS.name, ApiId=theirs[0], Stage="staging", ApiMappingKey="iris"
            )

    stand.before = take
    with pytest.raises(ConfigError, match="leads to another API already"):
        stand.push(with_domain(stand, IRIS))
    assert leads(stand) == {"models.example.com/iris": theirs[0]}


def test_a_path_of_another_stage_is_not_taken(stand):
    stand.push(with_domain(stand, IRIS, stage="production"))
    assert "leads to another API already" in refused(stand, with_domain(stand, IRIS)).message


@pytest.mark.parametrize(
    ("arn", "says"),
    [
        (f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/1", f"is of account {ACCOUNT}, region us-east-1"),
        (f"arn:aws:acm:{REGION}:000000000000:certificate/1", f"is of account 000000000000, region {REGION}"),
    ],
)
def test_a_certificate_from_elsewhere_is_refused(stand, arn, says):
    no = refused(stand, with_domain(stand, replace(IRIS, certificate_arn=arn)))
    assert says in no.message
    assert f"aws acm request-certificate --region {REGION}" in no.hint


def test_the_certificate_of_a_domain_that_is_not_ours_is_not_changed(stand):
    somebody_elses(stand, certificate=OTHER)
    no = refused(stand, with_domain(stand, IRIS))
    assert "thampi changes no domain that it has not made" in no.message
    assert f'set certificate_arn = "{OTHER}"' in no.hint


def test_a_domain_that_takes_no_http_api_is_refused(stand):
    somebody_elses(stand, EndpointType="EDGE")
    assert "its endpoint type is EDGE" in refused(stand, with_domain(stand, IRIS)).message


def test_an_address_too_long_to_be_noted_is_refused(stand):
    long = replace(IRIS, path="p" * (addresses.LONGEST - len(IRIS.name)))
    assert "letters long together" in refused(stand, with_domain(stand, long)).message
    stand.push(with_domain(stand, replace(long, path=long.path[1:])))
    assert len(noted(stand)[0]) == addresses.LONGEST


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (
            replace(IRIS, certificate_arn=f"{CERTIFICATE}-pending"),
            "not issued yet: ACM waits to see in DNS _1.example.com. CNAME _2.acm-validations.aws.",
        ),
        (replace(IRIS, certificate_arn=f"{CERTIFICATE}-gone"), f"there is no certificate {CERTIFICATE}-gone"),
        (replace(IRIS, name="a.b.example.com"), "the certificate is not for a.b.example.com, but for example.com"),
    ],
)
def test_a_certificate_that_can_not_be_used_is_refused_before_anything_is_made(stand, wanted, says, changing):
    if changing:
        stand.push(with_domain(stand, IRIS))
    no = refused(stand, with_domain(stand, wanted), CloudError)
    assert says in no.message
    assert no.hint


def test_the_certificate_of_a_domain_that_stays_as_it_is_is_not_asked_for(stand):
    stage = with_domain(stand, IRIS)
    stand.push(stage)
    assert stand.calls.count("acm.DescribeCertificate") == 2  # before anything, and before the domain
    stand.calls.clear()
    stand.push(replace(stage, tags={"team": "ml"}))
    stand.push(replace(stage, api=replace(stage.api, domain=replace(IRIS, path="v2"))))
    assert "acm.DescribeCertificate" not in stand.calls


def test_where_acm_may_not_be_asked_the_release_stays_and_the_next_push_goes_on(stand):
    """Who may not ask is told of the certificate when the domain is made, after the release."""
    pending = replace(IRIS, certificate_arn=f"{CERTIFICATE}-pending")
    stand.before = lambda call: refusal("AccessDeniedException", 400) if call.startswith("acm.") else None
    with pytest.raises(CloudError, match="does not take the certificate"):
        stand.push(with_domain(stand, pending))
    stand.undisturbed()
    assert (stand.answers(), names_of(stand)) == ("model-2", [])
    stand.push(with_domain(stand, IRIS))
    assert leads(stand) == {"models.example.com/iris": api_id(stand)}


# ---------------------------------------------------------------------------------------------------------------- told


def test_info_tells_the_domain_and_what_its_dns_record_has_to_point_at(stand):
    stage = with_domain(stand, IRIS)
    stand.push(stage)
    found = info.info(stand.stage, stand.place)  # what is there counts, not what is set
    assert list(found)[:2] == ["url", "domain_url"]
    assert found["domain_url"] == "https://models.example.com/iris/scale/predict"
    assert found["domain_target"] == f"d-{IRIS.name}.execute-api.{REGION}.amazonaws.com"
    assert (found["domain_zone"], found["domain_status"]) == ("Z1U9ULNL0V5AJ3", "AVAILABLE")
    assert found["certificate"] == CERTIFICATE
    json.dumps(found)


def test_info_tells_of_a_domain_that_does_not_lead_to_the_endpoint(stand):
    stand.push(with_domain(stand, IRIS))
    client = stand.clients["apigatewayv2"]
    (mapping,) = client.get_api_mappings(DomainName=IRIS.name)["Items"]
    client.delete_api_mapping(DomainName=IRIS.name, ApiMappingId=mapping["ApiMappingId"])
    assert "push again" in info.info(stand.stage, stand.place)["domain_status"]
    client.delete_domain_name(DomainName=IRIS.name)
    assert "domain_url" not in info.info(stand.stage, stand.place)


def test_without_a_domain_info_says_nothing_of_one_and_asks_nothing(stand):
    stand.push()
    stand.calls.clear()
    assert not [key for key in info.info(stand.stage, stand.place) if "domain" in key]
    assert domain.url(stand.stage, stand.place) == ""
    assert not [each for each in stand.calls if "Domain" in each or "Mapping" in each]


def test_on_this_machine_the_domain_is_tried_without_dns(stand):
    aws = replace(stand.place.aws, endpoint_url="http://127.0.0.1:4566")
    stage, place = with_domain(stand, IRIS, stage="local"), replace(stand.place, aws=aws)
    assert domain.url(stage, place) == "http://models.example.com:4566/iris/scale/predict"
    said = domain.advice(stage, place, "models.example.com/iris", "target", "zone")
    resolved = "curl --resolve models.example.com:4566:127.0.0.1 http://models.example.com:4566/iris/scale/ping"
    assert said.endswith(resolved)
