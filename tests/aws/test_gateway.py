"""There is one API for a stage, made once, as strict as wanted before anything counts on it, and nobody else's."""

from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
from moto.apigatewayv2.models import apigatewayv2_backends

from tests.aws import strict_http
from tests.aws.conftest import Death
from thampi import names
from thampi.aws import gateway
from thampi.aws.gateway import Endpoint, Found
from thampi.errors import CloudError

NAME = "thampi-iris-staging"
TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
OPEN = Endpoint("iris", "staging", TARGET, tags={**names.tags("iris", "staging"), "team": "ml"})
STRICT = replace(OPEN, auth="iam", rate_per_s=10.0, burst=20)
READS = {"GetApis", "GetRoutes", "GetIntegrations", "GetStages", "GetTags"}
CREATIONS = ["CreateApi", "CreateIntegration", "CreateRoute", "CreateStage"]


@pytest.fixture
def aws(aws, monkeypatch):
    strict_http.http_apis_have_stages(monkeypatch)
    strict_http.http_apis_have_authorizers(monkeypatch)
    return aws


def writes(calls):
    return [call for call in calls if call not in READS]


def parts(aws):
    """Everything that is there, without ids."""
    client, found = aws.client("apigatewayv2"), []
    for api in client.get_apis()["Items"]:
        of = {"ApiId": api["ApiId"]}
        (integration,) = client.get_integrations(**of)["Items"]
        (route,) = client.get_routes(**of)["Items"]
        (stage,) = client.get_stages(**of)["Items"]
        assert route["Target"] == f"integrations/{integration['IntegrationId']}"
        throttle = stage["DefaultRouteSettings"]
        found.append(
            (
                (api["Name"], api["ProtocolType"], api["Tags"]),
                *(integration[key] for key in ("IntegrationType", "IntegrationUri", "PayloadFormatVersion")),
                integration["TimeoutInMillis"],
                (route["RouteKey"], route["AuthorizationType"]),
                (stage["StageName"], stage["AutoDeploy"], stage["Tags"]),
                (throttle["ThrottlingRateLimit"], throttle["ThrottlingBurstLimit"]),
            )
        )
    return found


def wanted_parts(endpoint):
    return [
        (
            (NAME, "HTTP", endpoint.tags),
            *("AWS_PROXY", TARGET, "2.0"),
            30_000,
            ("$default", "AWS_IAM" if endpoint.auth == "iam" else "NONE"),
            ("staging", True, endpoint.tags),
            (endpoint.rate_per_s, endpoint.burst),
        )
    ]


# ------------------------------------------------------------------------------------------------------------- ensure


def test_a_new_endpoint_is_what_was_wanted(aws, calls):
    made = gateway.ensure(aws, OPEN)
    assert (made.action, made.changes) == ("created", ())
    assert writes(calls) == CREATIONS
    assert parts(aws) == wanted_parts(OPEN)
    assert gateway.read(aws, "iris", "staging") == made.value
    assert made.value.endpoint == OPEN


def test_the_second_time_nothing_is_written(aws, calls):
    first = gateway.ensure(aws, STRICT)
    calls.clear()
    assert gateway.ensure(aws, STRICT) == replace(first, action="left")
    assert set(calls) == READS - {"GetTags"}


def test_from_the_start_there_is_a_throttle():
    assert (OPEN.rate_per_s, OPEN.burst) == (gateway.RATE_PER_S, gateway.BURST) == (100.0, 200)


@pytest.mark.parametrize(
    ("wanted", "line", "written"),
    [
        (replace(OPEN, target=TARGET.replace("live", "other")), f"target: {TARGET} -> ", "UpdateIntegration"),
        (replace(OPEN, auth="iam"), "auth: none -> iam", "UpdateRoute"),
        (replace(OPEN, rate_per_s=5.0), "rate_per_s: 100.0 -> 5.0", "UpdateStage"),
        (replace(OPEN, burst=500), "burst: 200 -> 500", "UpdateStage"),
        (replace(OPEN, tags={**OPEN.tags, "cost": "7"}), "tags.cost: none -> 7", "TagResource"),
    ],
)
def test_only_the_difference_is_written_and_said(aws, calls, wanted, line, written):
    gateway.ensure(aws, OPEN)
    calls.clear()
    changed = gateway.ensure(aws, wanted)
    (said,) = changed.changes
    assert said.startswith(line)
    assert writes(calls) == [written]
    assert gateway.read(aws, "iris", "staging") == changed.value
    assert changed.value.endpoint == wanted


def test_what_somebody_changed_is_made_right(aws, calls):
    api = {"ApiId": gateway.ensure(aws, STRICT).value.api_id}
    client, found = aws.client("apigatewayv2"), gateway.read(aws, "iris", "staging")
    client.update_integration(IntegrationId=found.integration_id, PayloadFormatVersion="1.0", **api)
    client.update_route(RouteId=found.route_id, AuthorizationType="NONE", **api)
    client.update_stage(StageName="staging", AutoDeploy=False, **api)
    calls.clear()
    changed = gateway.ensure(aws, STRICT)
    assert changed.changes == ("auth: none -> iam", "payload_format: 1.0 -> 2.0", "auto_deploy: false -> true")
    assert writes(calls) == ["UpdateIntegration", "UpdateRoute", "UpdateStage"]
    assert parts(aws) == wanted_parts(STRICT)


@pytest.mark.parametrize("part", ["integration", "route", "stage"])
def test_what_somebody_deleted_is_made_again(aws, part):
    found = gateway.ensure(aws, STRICT).value
    client, api = aws.client("apigatewayv2"), {"ApiId": found.api_id}
    if part == "integration":
        client.delete_integration(IntegrationId=found.integration_id, **api)
    elif part == "route":
        client.delete_route(RouteId=found.route_id, **api)
    else:
        client.delete_stage(StageName="staging", **api)
    changed = gateway.ensure(aws, STRICT)
    assert (changed.action, changed.value.api_id) == ("changed", found.api_id)
    assert parts(aws) == wanted_parts(STRICT)


def test_routes_that_somebody_added_stay(aws, calls):
    api = {"ApiId": gateway.ensure(aws, OPEN).value.api_id}
    client = aws.client("apigatewayv2")
    target = client.create_integration(IntegrationType="HTTP_PROXY", IntegrationUri="https://x", **api)["IntegrationId"]
    client.create_route(RouteKey="GET /docs", Target=f"integrations/{target}", **api)
    calls.clear()
    assert gateway.ensure(aws, OPEN).action == "left"
    assert set(calls) == READS - {"GetTags"}


def test_integrations_of_routes_that_somebody_added_are_not_taken_for_ours(aws):
    found = gateway.ensure(aws, OPEN).value
    client, api = aws.client("apigatewayv2"), {"ApiId": found.api_id}
    theirs = client.create_integration(IntegrationType="HTTP_PROXY", IntegrationUri="https://x", **api)["IntegrationId"]
    client.create_route(RouteKey="GET /docs", Target=f"integrations/{theirs}", **api)
    client.delete_route(RouteId=found.route_id, **api)
    client.delete_integration(IntegrationId=found.integration_id, **api)
    assert gateway.ensure(aws, OPEN).value.integration_id != theirs
    assert client.get_integration(IntegrationId=theirs, **api)["IntegrationUri"] == "https://x"


def test_an_integration_that_was_made_twice_is_removed(aws):
    found = gateway.ensure(aws, OPEN).value
    client, api = aws.client("apigatewayv2"), {"ApiId": found.api_id}
    client.create_integration(IntegrationType="AWS_PROXY", IntegrationUri=TARGET, **api)
    (line,) = gateway.ensure(aws, OPEN).changes
    assert line.startswith("double integration: ")
    assert parts(aws) == wanted_parts(OPEN)


# ------------------------------------------------------------------------------------------------------------- tighten


def test_only_what_is_stricter_is_done_beforehand(aws, calls):
    found = gateway.ensure(aws, replace(OPEN, rate_per_s=50.0)).value
    calls.clear()
    wanted = replace(OPEN, auth="iam", rate_per_s=70.0, burst=20, target="arn:other")
    tightened = gateway.tighten(aws, found, wanted)
    assert tightened.changes == ("auth: none -> iam", "burst: 200 -> 20")
    assert calls == ["UpdateStage", "UpdateRoute"]
    assert gateway.read(aws, "iris", "staging") == tightened.value
    assert tightened.value.endpoint == replace(OPEN, auth="iam", rate_per_s=50.0, burst=20)
    assert gateway.ensure(aws, replace(wanted, target=TARGET)).changes == ("rate_per_s: 50.0 -> 70.0",)


@pytest.mark.parametrize("wanted", [OPEN, STRICT])
def test_nothing_is_loosened_beforehand(aws, calls, wanted):
    found = gateway.ensure(aws, STRICT).value
    calls.clear()
    assert gateway.tighten(aws, found, wanted) == gateway.Ensured(found, "left")
    assert calls == []


def test_what_is_tightened_reaches_callers_at_once(aws):
    found = gateway.ensure(aws, OPEN).value
    aws.client("apigatewayv2").update_stage(ApiId=found.api_id, StageName="staging", AutoDeploy=False)
    gateway.tighten(aws, gateway.read(aws, "iris", "staging"), replace(OPEN, auth="iam"))
    assert gateway.read(aws, "iris", "staging").endpoint == replace(OPEN, auth="iam")


def test_an_endpoint_without_a_throttle_gets_one(aws):
    found = gateway.ensure(aws, OPEN).value
    bare = replace(found, endpoint=replace(found.endpoint, rate_per_s=None, burst=None))
    assert gateway.tighten(aws, bare, OPEN).changes == ("rate_per_s: absent -> 100.0", "burst: absent -> 200")


def test_a_half_made_endpoint_has_nothing_to_tighten(aws, calls):
    api = aws.client("apigatewayv2").create_api(Name=NAME, ProtocolType="HTTP", Tags=dict(OPEN.tags))["ApiId"]
    found = gateway.read(aws, "iris", "staging")
    calls.clear()
    assert (found.api_id, gateway.tighten(aws, found, STRICT).action, calls) == (api, "left", [])


# ------------------------------------------------------------------------------------------------------ whose and which


@pytest.mark.parametrize("tags", [{}, names.tags("iris", "production"), {"thampi:project": "iris"}])
@pytest.mark.parametrize("name", [NAME, "else"])
def test_an_api_of_somebody_else_is_not_seen(aws, name, tags):
    other = aws.client("apigatewayv2").create_api(Name=name, ProtocolType="HTTP", Tags=tags)["ApiId"]
    assert gateway.read(aws, "iris", "staging") is None
    assert not gateway.remove(aws, "iris", "staging")
    made = gateway.ensure(aws, OPEN).value
    assert made.api_id != other
    assert gateway.remove(aws, "iris", "staging")
    assert [api["ApiId"] for api in aws.client("apigatewayv2").get_apis()["Items"]] == [other]


def test_a_double_is_removed_and_the_one_in_use_is_kept(aws):
    client = aws.client("apigatewayv2")
    older = client.create_api(Name=NAME, ProtocolType="HTTP", Tags=dict(OPEN.tags))["ApiId"]
    used = gateway.ensure(aws, OPEN).value.api_id
    assert used == older  # taken over, not doubled
    younger = client.create_api(Name=NAME, ProtocolType="HTTP", Tags=dict(OPEN.tags))["ApiId"]
    client.delete_stage(ApiId=used, StageName="staging")
    assert gateway.read(aws, "iris", "staging").api_id in (older, younger)
    changed = gateway.ensure(aws, OPEN)
    assert len(changed.value.doubles) == 0
    assert parts(aws) == wanted_parts(OPEN)


def test_of_a_whole_and_an_older_empty_one_the_whole_is_in_use(aws, monkeypatch):
    used = gateway.ensure(aws, OPEN).value
    client = aws.client("apigatewayv2")
    empty = client.create_api(Name=NAME, ProtocolType="HTTP", Tags=dict(OPEN.tags))["ApiId"]
    backend = apigatewayv2_backends["123456789012"]["eu-central-1"]
    backend.apis[empty].created_date = backend.apis[used.api_id].created_date.replace(year=2000)
    assert gateway.read(aws, "iris", "staging") == replace(used, doubles=(empty,))
    changed = gateway.ensure(aws, OPEN)
    assert (changed.action, changed.changes) == ("changed", (f"double: {empty} -> removed",))
    assert changed.value == used
    assert [api["ApiId"] for api in client.get_apis()["Items"]] == [used.api_id]


def test_all_pages_of_apis_are_looked_through(aws, meddler):
    def page(name, token):
        api = {"ApiId": name, "Name": name, "Tags": OPEN.tags, "CreatedDate": "2026-01-01"}
        items = {"GetApis": [api]}
        return lambda asked: (AWSResponse("", 200, {}, None), {"Items": items.get(asked, []), "NextToken": token})

    pages = {"GetApis": iter([page("else", "1"), page("more", "2"), page(NAME, None)])}
    meddler.before = lambda operation: next(pages.get(operation, iter([page("", None)])))(operation)
    assert gateway.read(aws, "iris", "staging").api_id == NAME


# --------------------------------------------------------------------------------------------- answers that are lost


@pytest.mark.parametrize("operation", CREATIONS)
@pytest.mark.parametrize("error", [ReadTimeoutError, ConnectionClosedError])
def test_what_was_created_without_an_answer_is_not_created_twice(aws, meddler, calls, sleeps, operation, error):
    def lose(done):
        if done == operation:
            meddler.stop()
            raise error(endpoint_url="x")

    meddler.after = lose
    made = gateway.ensure(aws, OPEN)
    assert (made.action, made.value.endpoint) == ("created", OPEN)
    assert calls.count(operation) == 1
    assert sleeps == [1.0]
    assert parts(aws) == wanted_parts(OPEN)


def test_the_sdk_makes_nothing_twice_when_every_answer_is_lost_once(aws, lossy):
    for wanted in (OPEN, STRICT):
        gateway.ensure(aws, wanted)
        assert parts(aws) == wanted_parts(wanted)
    assert len(lossy) == len([*CREATIONS, "UpdateRoute", "UpdateStage"])
    assert gateway.remove(aws, "iris", "staging")


@pytest.mark.parametrize("operation", CREATIONS)
def test_what_was_not_created_is_tried_again_and_not_for_ever(aws, meddler, sleeps, operation):
    meddler.refuse(operation, "TooManyRequestsException", 429, times=4)
    gateway.ensure(aws, OPEN)
    assert sleeps == [1.0, 2.0, 4.0, 8.0]
    assert parts(aws) == wanted_parts(OPEN)
    assert gateway.remove(aws, "iris", "staging")
    meddler.refuse(operation, "TooManyRequestsException", 429)
    with pytest.raises(CloudError, match=f"making the API {NAME}: .* again and again"):
        gateway.ensure(aws, OPEN)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("existing", [False, True], ids=["first", "update"])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(aws, meddler, moment, existing):
    wanted = replace(STRICT, tags={**STRICT.tags, "cost": "7"})
    for number in range(30):
        if existing:
            gateway.ensure(aws, replace(OPEN, tags=wanted.tags, target="arn:other"))
        meddler.kill(moment, number)
        try:
            gateway.ensure(aws, wanted)
            killed = False
        except Death:
            killed = True
        meddler.stop()
        gateway.ensure(aws, wanted)
        assert parts(aws) == wanted_parts(wanted), number
        assert gateway.ensure(aws, wanted).action == "left"
        assert gateway.remove(aws, "iris", "staging")
        assert gateway.read(aws, "iris", "staging") is None
        if not killed:
            break
    assert number > 4


@pytest.mark.parametrize("operation", ["GetApis", "CreateApi", "UpdateRoute", "DeleteApi"])
def test_a_refusal_is_said_with_its_cure(aws, meddler, operation):
    if operation != "CreateApi":
        gateway.ensure(aws, OPEN)
    for code, status, said in [
        ("AccessDeniedException", 403, "AWS refuses"),
        ("InternalError", 500, "again and again"),
    ]:
        meddler.refuse(operation, code, status)
        with pytest.raises(CloudError, match=said) as refused:
            gateway.remove(aws, "iris", "staging") if operation == "DeleteApi" else gateway.ensure(aws, STRICT)
        assert NAME in refused.value.message
        assert refused.value.hint


# ---------------------------------------------------------------------------------------------------- what it is called


def found(stage):
    return Found("abc", Endpoint("iris", stage, None))


@pytest.mark.parametrize(
    ("partition", "region", "host"),
    [
        ("aws", "eu-central-1", "abc.execute-api.eu-central-1.amazonaws.com"),
        ("aws-us-gov", "us-gov-west-1", "abc.execute-api.us-gov-west-1.amazonaws.com"),
        ("aws-cn", "cn-north-1", "abc.execute-api.cn-north-1.amazonaws.com.cn"),
        ("aws-eusc", "eusc-de-east-1", "abc.execute-api.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_url_has_the_stage_and_the_project_in_every_partition(aws, partition, region, host):
    there = replace(aws, partition=partition, region=region)
    assert gateway.url(there, found("staging")) == f"https://{host}/staging/iris/predict"
    assert gateway.source_arn(there, "abc") == f"arn:{partition}:execute-api:{region}:123456789012:abc/*/*"


def test_the_local_stage_is_called_through_what_plays_aws(aws):
    here = replace(aws, endpoint_url="http://127.0.0.1:4566/")
    assert gateway.url(here, found("local")) == "http://127.0.0.1:4566/_aws/execute-api/abc/local/iris/predict"
    assert gateway.url(here, found("staging")).startswith("https://abc.execute-api.")


def test_in_china_the_api_is_tagged_by_its_arn_there(aws, meddler):
    gateway.ensure(aws, OPEN)
    asked = []
    there = replace(aws, partition="aws-cn", _clients={})
    aws.session.events.register("provide-client-params", lambda params, model, **_: asked.append((model.name, params)))
    meddler.refuse("TagResource", "AccessDeniedException", 403)
    with pytest.raises(CloudError):
        gateway.ensure(there, replace(OPEN, tags={**OPEN.tags, "cost": "7"}))
    operation, params = asked[-1]
    api_id = gateway.read(aws, "iris", "staging").api_id
    assert (operation, params["ResourceArn"]) == ("TagResource", f"arn:aws-cn:apigateway:eu-central-1::/apis/{api_id}")
