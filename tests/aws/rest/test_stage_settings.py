"""The patches of a stage: whatever it was like, they make it as wanted, and then there are none."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aws.strict_stages import DEFAULTS, patched
from thampi.aws import access_log
from thampi.aws.rest import stage_settings
from thampi.aws.rest.stage_settings import Route, StageSettings
from thampi.aws.rest.wanted import Limit, Rest

OPEN = Rest("iris", "staging", "arn:aws:lambda:eu-central-1:1:function:f:live")
LOG = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/apigateway/thampi-iris-staging"
PREDICT, ABOUT, OPENAPI, PING = (
    "~1iris~1predict/POST",
    "~1iris/GET",
    "~1iris~1openapi.json/GET",
    "~1iris~1ping/GET",
)
ELSEWHERE = "~1iris~1{proxy+}/ANY", "~1{proxy+}/ANY"

LIMITS = st.builds(
    Limit,
    st.one_of(st.integers(1, 10_000).map(float), st.floats(0.001, 10_000)).map(lambda rate: float(f"{rate:.15g}")),
    st.integers(1, 10_000),
)
WANTED = st.builds(
    Rest,
    st.just("iris"),
    st.just("staging"),
    st.just("arn:aws:lambda:eu-central-1:1:function:f:live"),
    limit=LIMITS,
    routes=st.dictionaries(st.sampled_from(["predict", "about", "ping", "openapi"]), LIMITS),
    cache_ttl_s=st.none() | st.integers(1, 3600),
    access_log_arn=st.none() | st.just(LOG) | st.just(LOG + "-of-another"),
    tracing=st.booleans(),
)
# What anybody may have made of the stage by hand.
ENTRIES = st.fixed_dictionaries(
    {
        "throttlingRateLimit": st.sampled_from([-1.0, 0.0, 5.0, 10_000.0]),
        "throttlingBurstLimit": st.sampled_from([-1, 0, 7, 5000]),
        "cachingEnabled": st.booleans(),
        "cacheTtlInSeconds": st.integers(0, 3600),
        "cacheDataEncrypted": st.booleans(),
        "requireAuthorizationForCacheControl": st.booleans(),
        "unauthorizedCacheControlHeaderStrategy": st.sampled_from(["FAIL_WITH_403", "SUCCEED_WITH_RESPONSE_HEADER"]),
    }
)
NAMES = ["*/*", PREDICT, ABOUT, OPENAPI, PING, *ELSEWHERE, "~1/GET", "iris/GET", "~1iris~1predict/ANY"]
FOUND = st.fixed_dictionaries(
    {"cacheClusterEnabled": st.booleans(), "tracingEnabled": st.booleans()},
    optional={
        "methodSettings": st.dictionaries(st.sampled_from(NAMES), ENTRIES),
        "cacheClusterSize": st.sampled_from(["0.5", "1.6"]),
        "accessLogSettings": st.just({"destinationArn": LOG, "format": "$context.requestId"}),
    },
)
ACCOUNTS = st.sampled_from([DEFAULTS, {**DEFAULTS, "throttlingRateLimit": -1.0, "throttlingBurstLimit": -1}])


def applied(stage, wanted, defaults=DEFAULTS):
    return patched(stage, stage_settings.patches(stage_settings.read(stage), wanted), defaults)


# ------------------------------------------------------------------------------------------------- whatever it was like


@settings(deadline=None, max_examples=60)
@given(FOUND, WANTED, ACCOUNTS)
def test_the_patches_make_the_stage_as_wanted_and_then_there_is_nothing_to_change(found, wanted, account):
    aim = stage_settings.make(wanted)
    after = stage_settings.read(applied(found, aim, account))
    assert after == aim
    assert stage_settings.patches(after, aim) == []
    assert stage_settings.changes(after, aim) == ()


@settings(deadline=None, max_examples=60)
@given(FOUND, WANTED)
def test_there_is_a_line_for_what_is_patched_and_none_where_nothing_is(found, wanted):
    has, aim = stage_settings.read(found), stage_settings.make(wanted)
    assert bool(stage_settings.changes(has, aim)) == bool(stage_settings.patches(has, aim))


@settings(deadline=None, max_examples=60)
@given(FOUND, WANTED, WANTED)
def test_settings_may_change_from_any_to_any_others(found, first, second):
    stage = applied(applied(found, stage_settings.make(first)), stage_settings.make(second))
    assert stage_settings.read(stage) == stage_settings.make(second)


@settings(deadline=None, max_examples=60)
@given(FOUND, WANTED)
def test_of_every_entry_both_limits_are_written_and_ping_and_predict_are_never_cached(found, wanted):
    for name, entry in applied(found, stage_settings.make(wanted))["methodSettings"].items():
        assert (entry["throttlingRateLimit"], entry["throttlingBurstLimit"]) > (0, 0)
        assert entry["throttlingRateLimit"] <= max(each.rate_per_s for each in (wanted.limit, *wanted.routes.values()))
        assert not entry["cachingEnabled"] or name in (ABOUT, OPENAPI)


@settings(deadline=None, max_examples=60)
@given(FOUND, WANTED)
def test_tightened_nothing_gets_looser_than_it_was_or_is_wanted_and_nothing_else_changes(found, wanted):
    has, aim = stage_settings.read(found), stage_settings.make(wanted)
    stricter = stage_settings.tightened(has, aim)
    after = stage_settings.read(applied(found, stricter))
    assert after == stricter
    for name in {*has.routes, *aim.routes, "whatever/GET"}:
        limits = [each.routes.get(name, Route(each.rate_per_s, each.burst)) for each in (has, aim)]
        got = after.routes.get(name, Route(after.rate_per_s, after.burst))
        assert got.rate_per_s == min(each.rate_per_s for each in limits if each.rate_per_s is not None)
        assert got.burst == min(each.burst for each in limits if each.burst is not None)
    assert {name: each.cache_ttl_s for name, each in after.routes.items() if name in has.routes} == {
        name: each.cache_ttl_s for name, each in has.routes.items()
    }
    rest = {"rate_per_s": None, "burst": None, "routes": {}}
    assert replace(after, **rest) == replace(has, **rest)
    assert stage_settings.tightened(after, aim) == after


def test_tightening_lowers_the_limit_of_all_without_an_entry_for_each():
    wanted = stage_settings.make(replace(OPEN, limit=Limit(10.0, 20), cache_ttl_s=60, tracing=True))
    stricter = stage_settings.tightened(stage_settings.make(OPEN), wanted)
    assert stricter == stage_settings.make(replace(OPEN, limit=Limit(10.0, 20)))


def test_a_limit_of_minus_one_is_none_and_gets_lower():
    entry = {**DEFAULTS, "throttlingRateLimit": -1.0, "throttlingBurstLimit": -1}
    found = stage_settings.read({"methodSettings": {"*/*": entry, PREDICT: entry}})
    assert (found.rate_per_s, found.burst, found.routes) == (None, None, {PREDICT: Route(None, None)})
    stricter = stage_settings.tightened(found, stage_settings.make(OPEN))
    assert (stricter.rate_per_s, stricter.burst, stricter.routes) == (100.0, 200, {PREDICT: Route(100.0, 200)})


# ------------------------------------------------------------------------------------------------------ what is patched


def test_a_stage_of_its_own_gets_its_limits_and_nothing_else():
    assert stage_settings.patches(StageSettings(), stage_settings.make(OPEN)) == [
        {"op": "replace", "path": "/*/*/throttling/rateLimit", "value": "100"},
        {"op": "replace", "path": "/*/*/throttling/burstLimit", "value": "200"},
    ]


def test_a_limit_of_one_route_is_an_entry_and_holds_wherever_that_route_may_be_called():
    wanted = stage_settings.make(replace(OPEN, routes={"predict": Limit(0.5, 3)}))
    assert wanted.routes == dict.fromkeys((PREDICT, *ELSEWHERE), Route(0.5, 3))
    patches = stage_settings.patches(stage_settings.make(OPEN), wanted)
    assert [(each["path"], each["value"]) for each in patches if PREDICT in each["path"]] == [
        (f"/{PREDICT}/throttling/rateLimit", "0.5"),
        (f"/{PREDICT}/throttling/burstLimit", "3"),
        (f"/{PREDICT}/caching/enabled", "false"),
    ]


def test_a_route_may_get_more_than_all_others_without_them_getting_less():
    wanted = stage_settings.make(replace(OPEN, routes={"predict": Limit(500.0, 900)}))
    assert wanted.routes == {PREDICT: Route(500.0, 900)}


def test_a_limit_that_is_no_longer_wanted_goes_as_a_whole():
    found = stage_settings.make(replace(OPEN, routes={"predict": Limit(500.0, 900)}))
    assert stage_settings.patches(found, stage_settings.make(OPEN)) == [{"op": "remove", "path": f"/{PREDICT}"}]


def test_a_cache_is_there_before_anything_is_kept_in_it_and_callers_can_not_clear_it():
    wanted = stage_settings.make(replace(OPEN, cache_ttl_s=60))
    patches = stage_settings.patches(stage_settings.make(OPEN), wanted)
    assert [each["path"] for each in patches[:2]] == ["/cacheClusterEnabled", "/cacheClusterSize"]
    assert [each["value"] for each in patches[:2]] == ["true", "0.5"]
    assert {name: each.cache_ttl_s for name, each in wanted.routes.items()} == {ABOUT: 60, OPENAPI: 60}
    entry = patched({}, patches)["methodSettings"][ABOUT]
    assert entry == {
        **DEFAULTS,
        "throttlingRateLimit": 100.0,
        "throttlingBurstLimit": 200,
        "cachingEnabled": True,
        "cacheTtlInSeconds": 60,
        "cacheDataEncrypted": True,
    }


@pytest.mark.parametrize(
    "loosened",
    [
        {"cacheDataEncrypted": False},
        {"requireAuthorizationForCacheControl": False},
        {"unauthorizedCacheControlHeaderStrategy": "FAIL_WITH_403"},
    ],
)
def test_what_somebody_has_loosened_of_the_cache_is_made_right(loosened):
    wanted = stage_settings.make(replace(OPEN, cache_ttl_s=60))
    stage = applied({}, wanted)
    stage["methodSettings"][ABOUT] |= loosened
    lines = stage_settings.changes(stage_settings.read(stage), wanted)
    said = "100 a second, bursts of 200, answers kept for 60 s"
    assert lines == (f"GET /iris: {said}, open to all -> {said}",)
    assert stage_settings.read(applied(stage, wanted)) == wanted


def test_a_cache_goes_when_nothing_is_kept_any_more():
    found = stage_settings.make(replace(OPEN, cache_ttl_s=60))
    patches = stage_settings.patches(found, stage_settings.make(OPEN))
    assert [(each["op"], each["path"], each.get("value")) for each in patches] == [
        ("remove", f"/{ABOUT}", None),
        ("remove", f"/{OPENAPI}", None),
        ("replace", "/cacheClusterEnabled", "false"),
    ]


def test_an_access_log_has_a_place_and_a_format_or_is_gone_as_a_whole():
    logged = stage_settings.make(replace(OPEN, access_log_arn=LOG))
    plain = stage_settings.make(OPEN)
    assert stage_settings.patches(plain, logged) == [
        {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": LOG},
        {"op": "replace", "path": "/accessLogSettings/format", "value": access_log.format_rest()},
    ]
    assert stage_settings.patches(logged, plain) == [{"op": "remove", "path": "/accessLogSettings"}]
    assert stage_settings.changes(plain, logged) == (f"access_log: none -> {LOG}",)
    (line,) = stage_settings.changes(replace(logged, access_log_format="$context.requestId"), logged)
    assert line.startswith("access_log.format: $context.requestId -> {")


def test_tracing_is_switched():
    traced, plain = stage_settings.make(replace(OPEN, tracing=True)), stage_settings.make(OPEN)
    assert stage_settings.patches(plain, traced) == [{"op": "replace", "path": "/tracingEnabled", "value": "true"}]
    assert stage_settings.patches(traced, plain) == [{"op": "replace", "path": "/tracingEnabled", "value": "false"}]
    assert stage_settings.changes(plain, traced) == ("tracing: off -> on",)


def test_what_changes_is_said_in_words():
    wanted = stage_settings.make(
        replace(OPEN, limit=Limit(50.0, 100), routes={"predict": Limit(5.0, 10)}, cache_ttl_s=300)
    )
    assert stage_settings.changes(stage_settings.make(OPEN), wanted) == (
        "rate_per_s: 100 -> 50",
        "burst: 200 -> 100",
        "GET /iris: as all others -> 50 a second, bursts of 100, answers kept for 300 s",
        "GET /iris/openapi.json: as all others -> 50 a second, bursts of 100, answers kept for 300 s",
        "POST /iris/predict: as all others -> 5 a second, bursts of 10",
        "ANY /iris/{proxy+}: as all others -> 5 a second, bursts of 10",
        "ANY /{proxy+}: as all others -> 5 a second, bursts of 10",
        "cache_gb: none -> 0.5",
    )


# --------------------------------------------------------------------------------------------------------- what is read


def test_an_entry_is_known_by_aws_spelling_and_by_that_of_what_plays_aws_locally():
    entry = {**DEFAULTS, "throttlingRateLimit": 5.0, "throttlingBurstLimit": 10}
    for name in (PREDICT, "/iris/predict/POST"):
        assert stage_settings.read({"methodSettings": {name: entry}}).routes == {PREDICT: Route(5.0, 10)}


def test_a_stage_says_where_its_log_goes_with_or_without_a_star():
    for arn in (LOG, f"{LOG}:*"):
        said = {"accessLogSettings": {"destinationArn": arn, "format": "x"}}
        assert stage_settings.read(said).access_log_arn == LOG
    assert stage_settings.read({"accessLogSettings": {}}) == stage_settings.read({"accessLogSettings": None})


def test_a_cache_that_was_switched_off_is_none_whatever_its_size_was():
    assert stage_settings.read({"cacheClusterEnabled": False, "cacheClusterSize": "0.5"}).cache_gb is None


# ------------------------------------------------------------------------------------------- methods that are not there


def test_what_has_no_method_yet_gets_no_entry_and_neither_has_what_it_is_called_by():
    wanted = replace(OPEN, routes={"predict": Limit(5.0, 10), "ping": Limit(1.0, 1)})
    before = {("/iris/predict", "POST"), ("/iris/{proxy+}", "ANY"), ("/{proxy+}", "ANY")}
    assert {*stage_settings.of_methods(wanted, before).routes} == {PREDICT}
    gets = {("/iris", "GET"), ("/iris/ping", "GET"), ("/iris/openapi.json", "GET")}
    assert stage_settings.of_methods(wanted, before | gets) == stage_settings.make(wanted)
