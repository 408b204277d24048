"""Each setting of an HTTP API switched on, changed and off: only what differs is written, and in which order."""

from dataclasses import replace

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.aws import strict_http
from tests.aws.conftest import Death
from tests.aws.http_apis import (
    LIMITS,
    LOG,
    NAME,
    OPEN,
    PING,
    PREDICT,
    PREFLIGHT,
    READS,
    SITES,
    TOKENS,
    door,
    doors,
    expected,
    whole,
    writes,
)
from thampi.aws import gateway
from thampi.aws.gateway import Jwt, Limit
from thampi.errors import CloudError

IAM = replace(OPEN, auth="iam")
ASKED = replace(OPEN, auth="jwt", jwt=TOKENS)
BROWSED = replace(ASKED, cors=SITES)
ALL = replace(BROWSED, limits=LIMITS, access_log=LOG)
THESE, OTHERS = "https://i.example/", "https://j.example/"
STATES = {
    "open": OPEN,
    "iam": IAM,
    "jwt": ASKED,
    "another issuer": replace(ASKED, jwt=replace(TOKENS, issuer="https://other.example.com/")),
    "fewer": replace(ASKED, jwt=replace(TOKENS, audience=("one",), scopes=("ask",))),
    "other audience and scopes": replace(ASKED, jwt=replace(TOKENS, audience=("three",), scopes=())),
    "cors": replace(OPEN, cors=SITES),
    "cors with iam": replace(IAM, cors=replace(SITES, origins=("https://c.example",), credentials=True)),
    "routes": replace(OPEN, limits=LIMITS),
    "other routes": replace(IAM, limits={PREDICT: Limit(7.0, 10)}),
    "log": replace(OPEN, access_log=LOG),
    "another log": replace(OPEN, access_log=replace(LOG, format='{"b": 2}')),
    "all": ALL,
}


@pytest.fixture
def aws(aws, monkeypatch):
    strict_http.http_apis_have_stages(monkeypatch)
    strict_http.http_apis_have_authorizers(monkeypatch)
    return aws


def change(aws, calls, *steps):
    """Make the endpoint each of these in turn; what the last one wrote."""
    for wanted in steps:
        calls.clear()
        gateway.ensure(aws, wanted)
    return writes(calls)


@pytest.mark.parametrize("name", STATES)
def test_every_setting_is_switched_on_changed_and_off_and_then_nothing_is_left_to_do(aws, calls, name):
    states, old = STATES[name], None
    for wanted in (OPEN, states, OPEN, ALL, states, ALL):
        made = gateway.ensure(aws, wanted)
        assert whole(aws) == expected(wanted)
        assert (made.action == "left") == (old == wanted)
        read = gateway.read(aws, "iris", "staging")
        assert read == made.value
        assert read.endpoint == wanted
        old = wanted
    gateway.ensure(aws, states)
    calls.clear()
    assert gateway.ensure(aws, states).action == "left"
    assert set(calls) - READS == ({"GetAuthorizers"} if states.auth == "jwt" else set())
    assert gateway.tighten(aws, gateway.read(aws, "iris", "staging"), states).action == "left"


def test_a_new_endpoint_with_all_settings_is_made_in_one_go(aws, calls):
    written = change(aws, calls, ALL)
    assert written == ["CreateApi", "CreateIntegration", "CreateAuthorizer", *["CreateRoute"] * 4, "CreateStage"]
    assert whole(aws) == expected(ALL)


# --------------------------------------------------------------------------------------------------------------- tokens


def test_a_token_is_asked_for_by_one_call_after_all_that_the_call_needs(aws, calls):
    assert change(aws, calls, OPEN, ASKED) == ["TagResource", "CreateAuthorizer", "UpdateRoute"]
    assert change(aws, calls, OPEN) == ["UpdateRoute", "DeleteAuthorizer", "UntagResource"]


@pytest.mark.parametrize("jwt", [replace(TOKENS, issuer="https://o.example/"), replace(TOKENS, audience=("one",))])
def test_another_issuer_or_audience_is_one_call(aws, calls, jwt):
    assert change(aws, calls, ASKED, replace(ASKED, jwt=jwt)) == ["UpdateAuthorizer"]
    assert doors(aws) == {"$default": door(replace(ASKED, jwt=jwt))}


def test_other_scopes_are_one_call(aws, calls):
    assert change(aws, calls, ASKED, replace(ASKED, jwt=replace(TOKENS, scopes=()))) == ["UpdateRoute"]


def test_what_would_change_is_said_in_the_words_of_the_settings(aws):
    found = gateway.ensure(aws, OPEN).value
    wanted = replace(ALL, limits={PREDICT: Limit(5.0, 10)})
    assert gateway.differences(found, wanted) == (
        "auth: none -> jwt",
        "jwt.issuer: absent -> https://login.example.com/",
        "jwt.audience: absent -> one, two",
        "jwt.scopes: absent -> ask, see",
        f"limit of {PREDICT}: absent -> 5/s, burst 10",
        f"access_log: absent -> {LOG.destination}",
        'its form: absent -> {"a": 1}',
        "cors: none -> https://a.example, https://b.example",
        f"route {PREFLIGHT}: absent -> none",
        f"route {PREDICT}: absent -> jwt (ask, see)",
        "tags.thampi:auth: none -> jwt",
    )
    made = gateway.ensure(aws, wanted).value
    lines = gateway.differences(made, OPEN)
    assert {"authorizer -> removed", f"route {PREDICT} -> removed", f"route {PREFLIGHT} -> removed"} <= {*lines}


def test_an_authorizer_of_somebody_elses_is_replaced_by_ours_and_stays(aws, calls):
    made = gateway.ensure(aws, ASKED).value
    client, api = aws.client("apigatewayv2"), {"ApiId": made.api_id}
    theirs = client.create_authorizer(
        Name="theirs",
        AuthorizerType="JWT",
        IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": TOKENS.issuer, "Audience": [*TOKENS.audience]},
        **api,
    )["AuthorizerId"]
    client.update_route(RouteId=made.route_id, AuthorizationType="JWT", AuthorizerId=theirs, **api)
    assert gateway.ensure(aws, ASKED).changes == ("route $default: another authorizer -> ours",)
    (route,) = client.get_routes(**api)["Items"]
    assert route["AuthorizerId"] == made.authorizer.authorizer_id
    gateway.ensure(aws, OPEN)
    assert [each["Name"] for each in client.get_authorizers(**api)["Items"]] == ["theirs"]


def test_where_the_token_is_looked_for_is_made_right(aws, calls):
    made = gateway.ensure(aws, ASKED).value
    client, api = aws.client("apigatewayv2"), {"ApiId": made.api_id}
    of = {"AuthorizerId": made.authorizer.authorizer_id, **api}
    client.update_authorizer(IdentitySource=["$request.querystring.t"], **of)
    calls.clear()
    assert gateway.ensure(aws, ASKED).changes == (
        "identity source: $request.querystring.t -> $request.header.Authorization",
    )
    assert writes(calls) == ["UpdateAuthorizer"]
    assert client.get_authorizer(**of)["IdentitySource"] == ["$request.header.Authorization"]


def test_an_authorizer_that_was_made_twice_is_removed(aws, calls):
    made = gateway.ensure(aws, ASKED).value
    client, api = aws.client("apigatewayv2"), {"ApiId": made.api_id}
    theirs = client.create_authorizer(
        Name="x", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"], JwtConfiguration={}, **api
    )["AuthorizerId"]
    client.update_authorizer(AuthorizerId=theirs, Name=NAME, **api)
    assert gateway.ensure(aws, ASKED).changes == (f"double authorizer: {theirs} -> removed",)
    assert whole(aws) == expected(ASKED)


def test_an_issuer_that_api_gateway_does_not_take_is_said_with_its_cure(aws, meddler):
    gateway.ensure(aws, OPEN)
    wanted = replace(ASKED, jwt=replace(TOKENS, issuer="http://login.example.com/"))
    for do in (gateway.ensure, lambda aws, wanted: gateway.tighten(aws, gateway.read(aws, "iris", "staging"), wanted)):
        with pytest.raises(CloudError, match=r"does not take http://login\.example\.com/ for an issuer") as refused:
            do(aws, wanted)
        assert "http://login.example.com/.well-known/openid-configuration has to answer" in refused.value.hint
        assert doors(aws) == {"$default": "none"}
    meddler.refuse("CreateAuthorizer", "BadRequestException", 400, "too many")
    with pytest.raises(CloudError, match="too many"):
        gateway.ensure(aws, ASKED)


def test_an_authorizer_that_a_route_still_names_for_a_moment_is_tried_again(aws, meddler, sleeps):
    gateway.ensure(aws, ASKED)
    meddler.refuse("DeleteAuthorizer", "ConflictException", 409, times=2)
    gateway.ensure(aws, OPEN)
    assert sleeps == [1.0, 2.0]
    assert whole(aws) == expected(OPEN)


# ---------------------------------------------------------------------------------------------------------- other sites


def test_rules_for_other_sites_are_one_call_each(aws, calls):
    sited = replace(OPEN, cors=SITES)
    assert change(aws, calls, OPEN, sited) == ["UpdateApi"]
    assert change(aws, calls, replace(sited, cors=replace(SITES, max_age_s=60))) == ["UpdateApi"]
    assert change(aws, calls, OPEN) == ["DeleteCorsConfiguration"]


def test_rules_of_which_one_differs_say_which(aws):
    found = gateway.ensure(aws, replace(OPEN, cors=SITES)).value
    wanted = replace(OPEN, cors=replace(SITES, max_age_s=60, credentials=True, origins=("https://c.example",)))
    assert gateway.differences(found, wanted) == (
        "cors.origins: https://a.example, https://b.example -> https://c.example",
        "cors.credentials: false -> true",
        "cors.max_age_s: 600 -> 60",
    )


def test_rules_that_somebody_else_has_made_stay_until_there_are_ours(aws, calls):
    api_id = gateway.ensure(aws, OPEN).value.api_id
    theirs = {"AllowOrigins": ["https://theirs.example"], "ExposeHeaders": ["date"]}
    aws.client("apigatewayv2").update_api(ApiId=api_id, CorsConfiguration=theirs)
    assert change(aws, calls, OPEN) == []
    assert change(aws, calls, IAM) == ["UpdateRoute"]
    assert aws.client("apigatewayv2").get_api(ApiId=api_id)["CorsConfiguration"] == theirs
    assert change(aws, calls, replace(IAM, cors=SITES)) == ["CreateRoute", "UpdateApi"]
    assert whole(aws) == expected(replace(IAM, cors=SITES))


def test_preflights_have_a_door_of_their_own_before_the_other_one_is_closed_and_as_long_as_it_is(aws, calls):
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html says that a browser's preflight
    brings no token, and that the route which takes everything takes it, too."""
    found = gateway.ensure(aws, replace(OPEN, cors=SITES)).value
    calls.clear()
    gateway.tighten(aws, found, BROWSED)
    assert writes(calls) == ["TagResource", "CreateAuthorizer", "CreateRoute", "UpdateRoute"]
    assert doors(aws) == {PREFLIGHT: "none", "$default": door(BROWSED)}
    assert change(aws, calls, BROWSED, replace(OPEN, cors=SITES)) == [
        *("UpdateRoute", "DeleteRoute", "DeleteAuthorizer", "UntagResource"),
    ]


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_route_with_a_limit_is_there_before_it_and_the_limit_goes_first(aws, calls):
    limited = replace(OPEN, limits={PREDICT: Limit(5.0, 10)})
    assert change(aws, calls, OPEN, limited) == ["CreateRoute", "UpdateStage"]
    assert change(aws, calls, replace(OPEN, limits={PREDICT: Limit(6.0, 10)})) == ["UpdateStage"]
    assert change(aws, calls, OPEN) == ["DeleteRouteSettings", "DeleteRoute"]


def test_a_route_of_somebody_elses_with_our_key_stays_as_long_as_none_of_ours_is_wanted(aws, calls):
    api = {"ApiId": gateway.ensure(aws, OPEN).value.api_id}
    client = aws.client("apigatewayv2")
    target = client.create_integration(IntegrationType="HTTP_PROXY", IntegrationUri="https://x", **api)["IntegrationId"]
    client.create_route(RouteKey=PING, Target=f"integrations/{target}", **api)
    client.update_stage(StageName="staging", RouteSettings={PING: {"DetailedMetricsEnabled": True}}, **api)
    assert change(aws, calls, IAM) == ["UpdateRoute"]
    assert PING not in doors(aws)
    assert change(aws, calls, replace(IAM, limits={PING: Limit(1.0, 2)})) == ["UpdateRoute", "UpdateStage"]
    assert doors(aws)[PING] == "iam"


def test_when_the_route_of_everything_was_deleted_the_others_still_show_which_integration_is_ours(aws):
    made = gateway.ensure(aws, replace(OPEN, limits=LIMITS)).value
    aws.client("apigatewayv2").delete_route(ApiId=made.api_id, RouteId=made.route_id)
    changed = gateway.ensure(aws, replace(OPEN, limits=LIMITS)).value
    assert changed.integration_id == made.integration_id
    assert whole(aws) == expected(replace(OPEN, limits=LIMITS))


def test_the_access_log_is_ended_by_a_call_of_its_own(aws, calls):
    assert change(aws, calls, OPEN, replace(OPEN, access_log=LOG)) == ["UpdateStage"]
    assert change(aws, calls, replace(OPEN, access_log=LOG, burst=7)) == ["UpdateStage"]
    assert whole(aws)["log"]["DestinationArn"] == LOG.destination
    assert change(aws, calls, replace(OPEN, burst=7)) == ["DeleteAccessLogSettings"]


# ---------------------------------------------------------------------------------------------- strict before the flip


def tightened(aws, calls, old, new):
    """Tighten what stands; what was written, and whom the routes let in then."""
    found = gateway.ensure(aws, old).value
    calls.clear()
    made = gateway.tighten(aws, found, new)
    assert gateway.read(aws, "iris", "staging") == made.value
    return writes(calls), doors(aws)


@pytest.mark.parametrize(
    ("old", "new", "written"),
    [
        (OPEN, IAM, ["UpdateRoute"]),
        (OPEN, ASKED, ["TagResource", "CreateAuthorizer", "UpdateRoute"]),
        (IAM, ASKED, ["TagResource", "CreateAuthorizer", "UpdateRoute"]),
        (ASKED, IAM, ["UpdateRoute"]),
        (ASKED, OPEN, []),
        (IAM, OPEN, []),
    ],
)
def test_whom_it_lets_in_is_changed_beforehand_unless_it_will_be_all(aws, calls, old, new, written):
    calls_made, found = tightened(aws, calls, old, new)
    assert (calls_made, found) == (written, {"$default": door(new if new.auth != "none" else old)})
    gateway.ensure(aws, new)
    assert whole(aws) == expected(new)


@pytest.mark.parametrize(
    ("old", "new", "then"),
    [
        (Jwt(THESE, ("a", "b"), ("x", "y")), Jwt(THESE, ("b", "c"), ("y", "z")), (("b",), ("y",))),
        (Jwt(THESE, ("a",), ("x",)), Jwt(THESE, ("a", "b"), ("x", "y")), (("a",), ("x",))),
        (Jwt(THESE, ("a", "b"), ("x", "y")), Jwt(THESE, ("a",), ("x",)), (("a",), ("x",))),
        (Jwt(THESE, ("a",), ("x",)), Jwt(THESE, ("b",), ("y",)), (("b",), ("y",))),
        (Jwt(THESE, ("a",), ()), Jwt(THESE, ("a",), ("x",)), (("a",), ("x",))),
        (Jwt(THESE, ("a",), ("x",)), Jwt(THESE, ("a",), ()), (("a",), ("x",))),
        (Jwt(THESE, ("a",), ("x",)), Jwt(OTHERS, ("a", "b"), ("x", "y")), (("a", "b"), ("x",))),
    ],
)
def test_only_tokens_that_are_let_in_before_and_after_are_let_in_between_where_there_are_such(
    aws, calls, old, new, then
):
    _, found = tightened(aws, calls, replace(ASKED, jwt=old), replace(ASKED, jwt=new))
    assert found == {"$default": (new.issuer, *then)}


def test_scopes_come_before_the_issuer_so_that_its_tokens_need_them_from_the_first(aws, calls):
    written, _ = tightened(aws, calls, ASKED, replace(ASKED, jwt=Jwt("https://o.example/", ("x",), ("ask",))))
    assert written == ["UpdateRoute", "UpdateAuthorizer"]


def test_the_route_of_predictions_is_closed_first_and_all_others_with_it(aws, calls, meddler):
    old, new = replace(OPEN, limits=LIMITS), replace(ASKED, limits=LIMITS)
    found = gateway.ensure(aws, old).value
    meddler.kill("after", 2)
    with pytest.raises(Death):
        gateway.tighten(aws, found, new)
    meddler.stop()
    assert doors(aws) == {PREDICT: door(new), PING: "none", "$default": "none"}
    tight = gateway.tighten(aws, gateway.read(aws, "iris", "staging"), new)
    assert doors(aws) == dict.fromkeys((PREDICT, PING, "$default"), door(new))
    assert "auth: none -> jwt" in tight.changes
    assert f"route {PING}: none -> jwt (ask, see)" in tight.changes


def test_a_route_that_will_go_is_closed_with_the_others(aws, calls):
    written, found = tightened(aws, calls, replace(OPEN, limits=LIMITS), IAM)
    assert (written, found) == (["UpdateRoute"] * 3, dict.fromkeys((PREDICT, PING, "$default"), "iam"))
    gateway.ensure(aws, IAM)
    assert whole(aws) == expected(IAM)


def test_a_route_of_somebody_elses_is_not_closed_with_ours(aws, calls):
    made = gateway.ensure(aws, OPEN).value
    client, of = aws.client("apigatewayv2"), {"ApiId": made.api_id}
    theirs = client.create_integration(**of, IntegrationType="HTTP_PROXY", IntegrationUri="https://e.example")
    target = f"integrations/{theirs['IntegrationId']}"
    route_id = client.create_route(**of, RouteKey=PING, Target=target)["RouteId"]
    gateway.tighten(aws, gateway.read(aws, "iris", "staging"), IAM)
    assert doors(aws) == {"$default": "iam"}
    stays = client.get_route(**of, RouteId=route_id)
    assert (stays["Target"], stays["AuthorizationType"]) == (target, "NONE")


def test_a_route_that_was_left_open_alone_is_closed(aws, calls):
    limited = replace(IAM, limits=LIMITS)
    made = gateway.ensure(aws, limited).value
    client = aws.client("apigatewayv2")
    client.update_route(ApiId=made.api_id, RouteId=made.routes[PING].route_id, AuthorizationType="NONE")
    assert gateway.differences(gateway.read(aws, "iris", "staging"), limited) == (f"route {PING}: none -> iam",)
    tight = gateway.tighten(aws, gateway.read(aws, "iris", "staging"), limited)
    assert tight.changes == (f"route {PING}: none -> iam",)
    assert doors(aws) == dict.fromkeys((PREDICT, PING, "$default"), "iam")


def test_a_route_that_was_left_without_its_limit_is_closed_with_the_others(aws):
    made = gateway.ensure(aws, replace(OPEN, limits={PREDICT: Limit(5.0, 10)})).value
    aws.client("apigatewayv2").delete_route_settings(ApiId=made.api_id, StageName="staging", RouteKey=PREDICT)
    gateway.tighten(aws, gateway.read(aws, "iris", "staging"), IAM)
    assert doors(aws) == {PREDICT: "iam", "$default": "iam"}


def limits(aws):
    found = whole(aws)
    return {**found["limits"], "": found["limit"]}


@pytest.mark.parametrize(
    ("old", "new", "then"),
    [
        # a new one is a change from that of the stage
        ({}, {PREDICT: Limit(5.0, 10)}, {PREDICT: (5.0, 10), "": (100.0, 200)}),
        ({}, {PREDICT: Limit(500.0, 500)}, {"": (100.0, 200)}),
        ({PREDICT: Limit(5.0, 10)}, {PREDICT: Limit(9.0, 2)}, {PREDICT: (5.0, 2), "": (100.0, 200)}),
        # one that goes is a change to that of the stage
        ({PREDICT: Limit(500.0, 10)}, {}, {PREDICT: (100.0, 10), "": (100.0, 200)}),
        ({PREDICT: Limit(5.0, 10)}, {}, {PREDICT: (5.0, 10), "": (100.0, 200)}),
    ],
)
def test_limits_of_routes_are_lowered_beforehand_and_raised_after(aws, calls, old, new, then):
    tightened(aws, calls, replace(OPEN, limits=old), replace(OPEN, limits=new))
    assert limits(aws) == then
    gateway.ensure(aws, replace(OPEN, limits=new))
    assert whole(aws) == expected(replace(OPEN, limits=new))


def test_a_route_that_is_new_lets_in_whom_the_others_let_in_from_the_first(aws, calls):
    limited = replace(ASKED, limits={PREDICT: Limit(5.0, 10)})
    written, found = tightened(aws, calls, OPEN, limited)
    assert written == ["TagResource", "CreateAuthorizer", "CreateRoute", "UpdateStage", "UpdateRoute"]
    assert found == dict.fromkeys((PREDICT, "$default"), door(limited))


def test_an_endpoint_that_was_removed_meanwhile_is_said(aws, meddler):
    found = gateway.ensure(aws, OPEN).value
    gateway.remove(aws, "iris", "staging")
    with pytest.raises(CloudError, match="was removed a moment ago") as said:
        gateway.tighten(aws, found, IAM)
    assert said.value.hint == "run the same command again"


# ------------------------------------------------------------------------------------------------------- interruptions


CREATIONS = ["CreateAuthorizer", "CreateRoute"]


@pytest.mark.parametrize("do", ["ensure", "tighten"])
@pytest.mark.parametrize("operation", CREATIONS)
def test_what_was_created_without_an_answer_is_not_created_twice(aws, meddler, calls, sleeps, do, operation):
    found = gateway.ensure(aws, replace(OPEN, cors=SITES)).value
    calls.clear()

    def lose(done):
        if done == operation:
            meddler.stop()
            raise ReadTimeoutError(endpoint_url="x")

    meddler.after = lose
    if do == "ensure":
        gateway.ensure(aws, BROWSED)
    else:
        gateway.tighten(aws, found, BROWSED)
    assert (calls.count(operation), sleeps) == (1, [1.0])
    assert whole(aws) == expected(BROWSED)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("old", "new"), [("open", "all"), ("all", "iam")])
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next_and_opens_nothing(aws, meddler, old, new, moment):
    """Before and after each call that changes something: who is let in is let in before, or will be."""
    may = {str(door(STATES[old])), str(door(STATES[new]))}
    for number in range(60):
        gateway.ensure(aws, STATES[old])
        meddler.kill(moment, number)
        killed = True
        try:
            found = gateway.read(aws, "iris", "staging")
            gateway.tighten(aws, found, STATES[new])
            gateway.ensure(aws, STATES[new])
            killed = False
        except Death:
            pass
        meddler.stop()
        between = doors(aws)
        assert {str(each) for key, each in between.items() if key != PREFLIGHT} <= may, number
        assert "$default" in between
        gateway.ensure(aws, STATES[new])
        assert whole(aws) == expected(STATES[new]), number
        gateway.remove(aws, "iris", "staging")
        if not killed:
            break
    assert number > 8


def test_the_sdk_makes_nothing_twice_when_every_answer_is_lost_once(aws, lossy):
    for wanted in (ALL, OPEN, BROWSED, IAM):
        gateway.ensure(aws, wanted)
        assert whole(aws) == expected(wanted)
