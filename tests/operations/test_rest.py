"""A stage with a REST API: made, told of, called, left alone, replaced and removed like any other."""

from dataclasses import asdict, replace

import pytest

from thampi.config import Api, Cors, Jwt, Limit, Plan
from thampi.errors import ConfigError
from thampi.operations import destroy, endpoint, ground, info, listing, predict

REST, SIGNED = Api(type="rest"), Api(type="rest", auth="iam")
KEYS = Api(type="rest", auth="api_key")
TOKENS = Api(auth="jwt", jwt=Jwt(issuer="https://issuer.example", audience=("me",)))


def with_api(stand, api, **settings):
    return replace(stand.stage, api=api, **settings)


def apis(stand):
    """How many there are: REST APIs, HTTP APIs."""
    rest = stand.clients["apigateway"].get_rest_apis()["items"]
    return len(rest), len(stand.clients["apigatewayv2"].get_apis()["Items"])


def test_a_stage_gets_a_rest_api_and_no_other(stand):
    stage = with_api(stand, SIGNED)
    pushed = stand.push(stage)
    assert apis(stand) == (1, 0)
    assert stand.answers("rest") == "model-2"
    (api,) = stand.clients["apigateway"].get_rest_apis()["items"]
    assert pushed.url == f"https://{api['id']}.execute-api.eu-central-1.amazonaws.com/staging/scale/predict"
    found = info.info(stage, stand.place)
    assert (found["url"], found["endpoint"], found["auth"]) == (pushed.url, "rest", "iam")
    (state,) = listing.states([stage], lambda _: stand.place)
    assert (state.state, state.url) == ("live", pushed.url)
    assert predict.reach(stage, stand.place).url == pushed.url


def test_a_push_that_changes_nothing_reads_little(stand):
    stage = with_api(stand, SIGNED)
    first = stand.push(stage)
    stand.calls.clear()
    again = stand.push(stage)
    assert (again.changed, again.url) == (False, first.url)
    assert not [call for call in stand.calls if call.split(".")[1].startswith(("Create", "Update", "Put", "Delete"))]
    assert len(stand.calls) <= 20


def test_a_new_model_asks_nothing_of_what_stands_around_it_but_its_url(stand):
    first = stand.push(with_api(stand, SIGNED))
    stand.calls.clear()
    pushed = stand.push(with_api(stand, SIGNED, model_dir=stand.models[1]))
    assert (pushed.url, stand.answers()) == (first.url, "model-3")
    assert [call for call in stand.calls if "apigateway" in call] == ["apigateway.GetRestApis"]


def test_another_type_of_endpoint_asks_after_rest_apis_only_where_there_may_be_one(stand):
    stand.push()
    assert "apigateway.GetRestApis" in stand.calls
    stand.calls.clear()
    stand.push()
    stand.push(replace(stand.stage, model_dir=stand.models[1]))
    assert not [call for call in stand.calls if call.startswith("apigateway.")]


def test_it_takes_the_place_of_an_http_api_only_when_that_is_said(stand):
    old = stand.push()
    with pytest.raises(ConfigError, match=r'type is "rest", and what callers know is an HTTP API: https://'):
        stand.push(with_api(stand, REST))
    assert apis(stand) == (0, 1)
    new = stand.push(with_api(stand, REST), replace_endpoint=True)
    assert (apis(stand), new.url != old.url, stand.answers()) == ((1, 0), True, "model-2")
    with pytest.raises(ConfigError, match="what callers know is a REST API"):
        stand.push()


def test_destroy_takes_it_first(stand):
    stand.push(with_api(stand, REST))
    stand.calls.clear()
    gone = destroy.destroy(stand.stage, stand.place, who="me")
    assert (gone[0].thing, gone[0].was_there, apis(stand)) == ("endpoint", True, (0, 0))
    deletions = [call for call in stand.calls if ".Delete" in call and "s3" not in call]
    assert deletions[0] == "apigateway.DeleteRestApi"


@pytest.mark.parametrize(
    ("api", "kind", "auth"),
    [
        (KEYS, "rest", "api_key"),
        (KEYS, "http", "iam"),
        (KEYS, "url", "iam"),
        (TOKENS, "http", "jwt"),
        (TOKENS, "rest", "iam"),
        (TOKENS, "url", "iam"),
        (REST, "http", "none"),
        (REST, "url", "none"),
        (SIGNED, "rest", "iam"),
    ],
)
def test_an_endpoint_of_a_type_that_cannot_tell_callers_apart_as_wanted_lets_in_who_signs(stand, api, kind, auth):
    assert endpoint.wanted(with_api(stand, api), stand.place, kind).auth == auth


@pytest.mark.parametrize(
    "other",
    [
        SIGNED,
        KEYS,
        replace(REST, rate_per_s=7.0),
        replace(REST, burst=7),
        replace(REST, routes={"ping": Limit(rate_per_s=1.0, burst=1)}),
        replace(REST, cors=Cors(origins=("https://a.example",))),
        replace(REST, cache_ttl_s=60),
        replace(REST, access_log=True),
        replace(REST, tracing=True),
        replace(REST, waf_acl_arn="arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/a/b"),
    ],
)
def test_a_change_of_any_of_its_settings_is_a_change_of_the_ground(stand, other):
    assert ground.digest(with_api(stand, REST), stand.place) != ground.digest(with_api(stand, other), stand.place)


def test_the_plan_counts_only_where_keys_are_asked_for(stand):
    plan = Plan(quota=10)
    wanted = [endpoint.wanted(with_api(stand, replace(api, plan=plan)), stand.place) for api in (KEYS, REST)]
    assert [asdict(each)["plan"] and each.plan.quota for each in wanted] == [10, None]
