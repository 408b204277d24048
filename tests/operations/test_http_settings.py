"""What thampi.toml says of an HTTP API and a function URL is what they are told, and where nothing is said nothing is
asked."""

from dataclasses import replace

import pytest

from thampi.aws import access_log
from thampi.config import Api, Cors, Jwt, Limit
from thampi.operations import endpoint

WHOSE = Jwt(issuer="https://login.example.com/", audience=("b", "a", "b"), scopes=("see", "ask"))
SITES = Cors(origins=("https://b.example", "https://a.example"), headers=("X-One", "content-type"), credentials=True)
ROUTES = {
    word: Limit(rate_per_s=number, burst=10 * number)
    for number, word in enumerate(("predict", "about", "ping", "openapi"), 1)
}
ALL = Api(auth="jwt", jwt=WHOSE, cors=SITES, routes=ROUTES, rate_per_s=7.0, burst=70, access_log=True)


def again(stand, stage):
    stand.push(stage)
    stand.calls.clear()
    assert not stand.push(stage).changed
    return list(stand.calls)


def test_every_setting_of_an_http_api_reaches_it(stand):
    wanted = endpoint.wanted(replace(stand.stage, api=ALL), stand.place)
    assert (wanted.auth, wanted.rate_per_s, wanted.burst) == ("jwt", 7.0, 70)
    assert vars(wanted.jwt) == {"issuer": WHOSE.issuer, "audience": ("a", "b"), "scopes": ("ask", "see")}
    assert {key: (each.rate_per_s, each.burst) for key, each in wanted.limits.items()} == {
        "POST /scale/predict": (1, 10),
        "GET /scale": (2, 20),
        "GET /scale/ping": (3, 30),
        "GET /scale/openapi.json": (4, 40),
    }
    assert vars(wanted.cors) == {
        "origins": ("https://a.example", "https://b.example"),
        "methods": ("GET", "POST"),
        "headers": ("content-type", "x-one"),
        "credentials": True,
        "max_age_s": 600,
        "exposed": ("retry-after", "x-request-id"),
    }
    assert wanted.access_log.destination.endswith(":log-group:/aws/apigateway/thampi-scale-staging")
    assert wanted.access_log.format == access_log.format_http()


def test_where_nothing_is_set_nothing_is_wanted(stand):
    wanted = endpoint.wanted(stand.stage, stand.place)
    assert (wanted.jwt, wanted.limits, wanted.cors, wanted.access_log) == (None, {}, None, None)
    unused = replace(stand.stage, api=Api(jwt=WHOSE))
    assert endpoint.wanted(unused, stand.place).jwt is None
    assert endpoint.wanted(replace(stand.stage, api=Api(type="url", cors=SITES)), stand.place).cors.credentials


def test_a_type_that_knows_no_tokens_and_stands_till_the_new_one_does_is_closed(stand):
    assert endpoint.wanted(replace(stand.stage, api=ALL), stand.place, "url").auth == "iam"


@pytest.mark.parametrize(
    ("api", "more"),
    [
        (Api(), 0),
        (Api(cors=SITES, routes=ROUTES, auth="iam"), 0),
        (Api(auth="jwt", jwt=WHOSE), 1),  # whose tokens they are, only the authorizer knows
    ],
)
def test_a_push_that_changes_nothing_asks_no_more_than_it_must(stand, api, more):
    """20 with the one that proves the credentials, before `push`."""
    calls = again(stand, replace(stand.stage, api=api))
    assert len(calls) + 1 <= 20 + more
    assert calls.count("apigatewayv2.GetAuthorizers") == more


def test_limits_of_routes_and_rules_for_other_sites_take_nothing_from_who_calls(stand):
    stand.push(replace(stand.stage, api=ALL))
    assert stand.answers("http") == "model-2"
    stand.push()
    assert stand.answers("http") == "model-2"
