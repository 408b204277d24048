"""What is set of a stage is what callers meet, from one call on; and goes again when it isn't wanted."""

import json
from dataclasses import replace

import pytest

from tests.aws import strict_rest
from tests.aws.conftest import Death
from tests.aws.rest.test_api import OPEN, READS, STRICT
from thampi import names
from thampi.aws import access_log, logs
from thampi.aws.rest import account, stage_settings
from thampi.aws.rest import api as rest
from thampi.aws.rest.wanted import Limit
from thampi.errors import CloudError

PREDICT, ABOUT, OPENAPI = "~1iris~1predict/POST", "~1iris/GET", "~1iris~1openapi.json/GET"
THROTTLED = replace(OPEN, routes={"predict": Limit(5.0, 10), "ping": Limit(500.0, 900)})
CACHED = replace(OPEN, cache_ttl_s=60)
TRACED = replace(OPEN, tracing=True)
LOGGED = replace(
    OPEN, access_log_arn="arn:aws:logs:eu-central-1:123456789012:log-group:/aws/apigateway/thampi-iris-staging"
)
ALL = replace(THROTTLED, cache_ttl_s=300, tracing=True, access_log_arn=LOGGED.access_log_arn)
SETTINGS = {"throttled": THROTTLED, "cached": CACHED, "traced": TRACED, "logged": LOGGED, "all": ALL}


@pytest.fixture
def aws(aws):
    """An account in which API Gateway may write logs."""
    operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
    aws.client("apigateway").update_account(patchOperations=[operation])
    return aws


def staged(aws):
    client = aws.client("apigateway")
    return client.get_stages(restApiId=client.get_rest_apis()["items"][0]["id"])["item"][0]


def served(aws):
    api_id = aws.client("apigateway").get_rest_apis()["items"][0]["id"]
    return strict_rest.served(aws.account, aws.region, api_id, "staging")["methods"]


def as_wanted(aws, wanted):
    return stage_settings.read(staged(aws)) == stage_settings.make(wanted)


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (None, ALL),
        *((OPEN, wanted) for wanted in SETTINGS.values()),
        *((before, OPEN) for before in SETTINGS.values()),
        *((ALL, wanted) for wanted in SETTINGS.values()),
    ],
    ids=["made", *(f"{name} on" for name in SETTINGS), *(f"{name} off" for name in SETTINGS), *SETTINGS],
)
def test_settings_come_change_and_go(aws, calls, before, wanted):
    if before is not None:
        rest.ensure(aws, before)
    found = rest.read(aws, "iris", "staging")
    said = rest.differences(found, wanted) if found else ()
    assert rest.ensure(aws, wanted).changes == said
    assert as_wanted(aws, wanted)
    assert rest.differences(rest.read(aws, "iris", "staging"), wanted) == ()
    calls.clear()
    assert rest.ensure(aws, wanted).action == "left"
    assert sorted(calls) == sorted(READS)


def test_settings_change_together_with_what_is_served_in_one_call(aws, calls):
    rest.ensure(aws, OPEN)
    calls.clear()
    rest.ensure(aws, ALL)
    assert calls.count("UpdateStage") == 1


def test_where_only_a_setting_changes_nothing_is_deployed(aws, calls):
    rest.ensure(aws, OPEN)
    calls.clear()
    rest.ensure(aws, replace(TRACED, access_log_arn=LOGGED.access_log_arn))
    assert [call for call in calls if call not in READS] == ["UpdateStage"]


@pytest.mark.parametrize("wanted", [THROTTLED, ALL], ids=["throttled", "all"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_between_the_stage_and_its_settings_is_finished_by_the_next(aws, meddler, moment, wanted):
    def die(operation):
        if operation == "CreateStage":
            meddler.stop()
            setattr(meddler, moment, lambda operation: (_ for _ in ()).throw(Death(operation)))

    meddler.after = die
    with pytest.raises(Death):
        rest.ensure(aws, wanted)
    meddler.stop()
    assert not as_wanted(aws, wanted) or moment == "after"
    rest.ensure(aws, wanted)
    assert as_wanted(aws, wanted)


def test_what_has_a_limit_of_its_own_has_a_method_of_its_own_and_so_have_all_that_are_called_like_it(aws):
    rest.ensure(aws, THROTTLED)
    assert {"GET /iris", "GET /iris/ping", "GET /iris/openapi.json", "POST /iris/predict"} <= {*served(aws)}
    rest.ensure(aws, OPEN)
    assert not [each for each in served(aws) if each.startswith("GET ")]


def test_an_answer_that_is_given_again_depends_on_what_the_function_makes_it_of_and_others_on_nothing(aws):
    depends = ["method.request.header.Accept", "method.request.header.Host", "method.request.header.Origin"]
    for before in (OPEN, THROTTLED, CACHED):
        rest.ensure(aws, before)
        rest.ensure(aws, CACHED)
        keys = {name: each["methodIntegration"]["cacheKeyParameters"] for name, each in served(aws).items()}
        assert {name: each for name, each in keys.items() if each} == {
            "GET /iris": depends,
            "GET /iris/openapi.json": depends,
        }
        takes = {name: each["requestParameters"] for name, each in served(aws).items() if each["requestParameters"]}
        assert takes == dict.fromkeys(("GET /iris", "GET /iris/openapi.json"), dict.fromkeys(depends, False))
    rest.ensure(aws, THROTTLED)
    assert not any(each["requestParameters"] for each in served(aws).values())


@pytest.mark.parametrize("auth", ["iam", "api_key"])
def test_an_answer_that_is_given_again_is_given_to_those_who_are_let_in(aws, auth):
    rest.ensure(aws, replace(CACHED, auth=auth))
    asked = {"iam": ("AWS_IAM", False), "api_key": ("NONE", True)}[auth]
    for name in ("GET /iris", "GET /iris/openapi.json"):
        assert (served(aws)[name]["authorizationType"], served(aws)[name]["apiKeyRequired"]) == asked


# -------------------------------------------------------------------------------------------------------------- tighten


def test_tightening_lowers_limits_and_switches_nothing(aws, calls):
    rest.ensure(aws, replace(OPEN, cache_ttl_s=60))
    before = staged(aws)
    strict = replace(STRICT, auth="none", routes={"predict": Limit(1.0, 2)}, tracing=True)
    calls.clear()
    made = rest.tighten(aws, rest.read(aws, "iris", "staging"), strict)
    assert [call for call in calls if call not in READS] == ["UpdateStage"]
    after = stage_settings.read(staged(aws))
    assert (after.rate_per_s, after.burst, after.routes[PREDICT].rate_per_s) == (10.0, 20, 1.0)
    assert {after.routes[each].cache_ttl_s for each in (ABOUT, OPENAPI)} == {60}
    assert (after.tracing, after.cache_gb) == (False, "0.5")
    assert staged(aws)["deploymentId"] == before["deploymentId"]
    assert "rate_per_s: 100 -> 10" in made.changes
    assert "POST /iris/predict: as all others -> 1 a second, bursts of 2" in made.changes


def test_tightening_gives_no_limit_to_a_method_that_is_not_served_yet(aws):
    rest.ensure(aws, OPEN)
    wanted = replace(OPEN, routes={"predict": Limit(5.0, 10), "ping": Limit(1.0, 1)})
    rest.tighten(aws, rest.read(aws, "iris", "staging"), wanted)
    assert {*stage_settings.read(staged(aws)).routes} == {PREDICT}
    rest.ensure(aws, wanted)
    assert as_wanted(aws, wanted)


def test_nothing_is_tightened_that_gets_looser(aws, calls):
    rest.ensure(aws, replace(STRICT, auth="none", routes={"predict": Limit(1.0, 2)}))
    calls.clear()
    made = rest.tighten(aws, rest.read(aws, "iris", "staging"), OPEN)
    assert (made.action, [call for call in calls if call not in READS]) == ("left", [])


# ------------------------------------------------------------------------------------------------------- the access log


def test_the_account_s_role_is_asked_for_before_anything_is_made_and_said_how_to_set(aws, calls):
    client = aws.client("apigateway")
    client.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])
    calls.clear()
    with pytest.raises(CloudError) as refused:
        rest.check(aws, None, LOGGED)
    assert calls == ["GetAccount"]
    assert "may not write logs in this account" in str(refused.value)
    commands = [line.strip() for line in refused.value.hint.splitlines()[1:]]
    assert [command.split()[1:3] for command in commands] == [
        ["iam", "create-role"],
        ["iam", "attach-role-policy"],
        ["apigateway", "update-account"],
    ]
    trust = json.loads(commands[0].partition("'")[2].rpartition("'")[0])
    assert trust["Statement"][0]["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert "value=arn:aws:iam::123456789012:role/api-gateway-logs" in commands[2]


def test_the_role_is_not_asked_for_where_a_log_is_written_already_or_none_is_wanted(aws, calls):
    rest.ensure(aws, LOGGED)
    found = rest.read(aws, "iris", "staging")
    calls.clear()
    rest.check(aws, found, LOGGED)
    rest.check(aws, None, OPEN)
    assert calls == []
    rest.check(aws, None, LOGGED)
    account.check_logs(aws)
    assert calls == ["GetAccount"] * 2


def test_the_group_of_the_access_log_is_one_of_its_own_and_goes_only_when_it_is_ours(aws):
    wanted = access_log.make("iris", "staging", retention_days=7, tags={"team": "ml"})
    assert wanted.name == "/aws/apigateway/thampi-iris-staging"
    assert access_log.destination(aws, "iris", "staging") == LOGGED.access_log_arn
    logs.ensure(aws, wanted)
    assert access_log.read(aws, "iris", "staging") == wanted
    assert wanted.tags == {"team": "ml", **names.tags("iris", "staging")}
    logs.ensure(aws, logs.make("iris", "staging", retention_days=7))
    assert access_log.remove(aws, "iris", "staging") is True
    assert access_log.remove(aws, "iris", "staging") is False
    assert logs.read(aws, "iris", "staging") is not None
    aws.client("logs").create_log_group(logGroupName="/aws/apigateway/thampi-iris-production")
    with pytest.raises(CloudError, match="is not this project's"):
        access_log.remove(aws, "iris", "production")
