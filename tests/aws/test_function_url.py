"""A function URL is what was wanted, those may call it who should, and at no moment anybody else."""

import json
from dataclasses import replace

import pytest

from tests.aws import strict
from tests.aws.conftest import Death
from thampi import names
from thampi.aws import cors, function, function_url, release
from thampi.aws.function import Function
from thampi.aws.function_url import FunctionUrl
from thampi.errors import CloudError

NAME = "thampi-iris-staging"
OPEN = FunctionUrl("iris", "staging")
SIGNED = replace(OPEN, auth="iam")
READS = {"GetFunctionUrlConfig", "GetPolicy"}
ALIAS = f"arn:aws:lambda:eu-central-1:123456789012:function:{NAME}:live"


@pytest.fixture
def aws(aws, calls, monkeypatch):
    """An account with a function, of which a version is live."""
    strict.lambda_takes_its_time(monkeypatch)
    strict.lambda_guards_aliases(monkeypatch)
    strict.lambda_refuses_equal_statements(monkeypatch)
    strict.lambda_urls_belong_to_aliases(monkeypatch)
    aws.client("iam").create_role(RoleName="lambda", AssumeRolePolicyDocument="{}")
    wanted = Function(
        name=NAME,
        image_uri="123456789012.dkr.ecr.eu-central-1.amazonaws.com/thampi-iris@sha256:" + "1" * 64,
        architecture="x86_64",
        role_arn="arn:aws:iam::123456789012:role/lambda",
        memory_mb=1024,
        timeout_s=29,
        environment={},
        tags=names.tags("iris", "staging"),
    )
    function.ensure(aws, wanted)
    release.point_live(aws, NAME, release.publish(aws, wanted, "").number, None)
    calls.clear()
    return replace(aws, _clients={})  # its clients are made when a test has registered what comes between


def writes(calls):
    return [call for call in calls if call not in READS]


def state(aws):
    """Whom the URL asks who they are, and what the policy of the alias lets everybody do, and under which condition."""
    found = function_url.read(aws, "iris", "staging")
    statements = []
    if release.callers(aws, NAME):
        policy = json.loads(aws.client("lambda").get_policy(FunctionName=NAME, Qualifier="live")["Policy"])
        statements = policy["Statement"]
    conditions = {
        each["Action"]: {key: each[key] for key in ("FunctionUrlAuthType", "InvokedViaFunctionUrl") if key in each}
        for each in statements
    }
    assert all(each["Resource"] == ALIAS for each in statements)
    return found.endpoint.auth if found else None, conditions


BOTH = {
    "lambda:InvokeFunctionUrl": {"FunctionUrlAuthType": "NONE"},
    "lambda:InvokeFunction": {"InvokedViaFunctionUrl": True},
}


def test_an_open_url_has_both_permissions_that_lambda_asks_for(aws, calls):
    made, allowed = function_url.ensure_allowed(aws, OPEN)
    assert (made.action, allowed.action) == ("created", "created")
    assert made.value.endpoint == OPEN
    assert writes(calls) == ["AddPermission", "AddPermission", "CreateFunctionUrlConfig"]
    assert state(aws) == ("none", BOTH)
    assert aws.client("lambda").get_function_url_config(FunctionName=NAME, Qualifier="live")["InvokeMode"] == "BUFFERED"


def test_a_signed_url_lets_nobody_in_by_the_functions_own_policy(aws, calls):
    made, allowed = function_url.ensure_allowed(aws, SIGNED)
    assert (made.action, allowed.action) == ("created", "left")
    assert writes(calls) == ["CreateFunctionUrlConfig"]
    assert state(aws) == ("iam", {})


@pytest.mark.parametrize("wanted", [OPEN, SIGNED])
def test_the_second_time_nothing_is_written(aws, calls, wanted):
    first, _ = function_url.ensure_allowed(aws, wanted)
    calls.clear()
    made, allowed = function_url.ensure_allowed(aws, wanted)
    assert (made.action, allowed.action, made.value) == ("left", "left", first.value)
    assert writes(calls) == []
    assert function_url.is_allowed(aws, made.value, wanted, release.callers(aws, NAME))


def test_what_is_loosened_lets_everybody_in_before_it_stops_asking(aws, calls):
    first, _ = function_url.ensure_allowed(aws, SIGNED)
    calls.clear()
    assert not function_url.is_allowed(aws, first.value, OPEN, release.callers(aws, NAME))
    made, allowed = function_url.ensure_allowed(aws, OPEN)
    assert (made.changes, allowed.changes) == (("auth: iam -> none",), ("caller: everybody",))
    assert writes(calls) == ["AddPermission", "AddPermission", "UpdateFunctionUrlConfig"]
    assert (state(aws), made.value.address) == (("none", BOTH), first.value.address)


def test_what_is_tightened_asks_before_it_lets_nobody_in(aws, calls):
    first, _ = function_url.ensure_allowed(aws, OPEN)
    calls.clear()
    assert not function_url.is_allowed(aws, first.value, SIGNED, release.callers(aws, NAME))
    made, allowed = function_url.ensure_allowed(aws, SIGNED)
    assert (made.changes, allowed.action) == (("auth: none -> iam",), "changed")
    assert writes(calls) == ["UpdateFunctionUrlConfig", "RemovePermission", "RemovePermission"]
    assert (state(aws), made.value.address) == (("iam", {}), first.value.address)


def test_tightening_changes_nothing_but_who_is_asked(aws, calls):
    first, _ = function_url.ensure_allowed(aws, OPEN)
    calls.clear()
    tightened = function_url.tighten(aws, first.value, SIGNED)
    assert (tightened.changes, writes(calls)) == (("auth: none -> iam",), ["UpdateFunctionUrlConfig"])
    assert state(aws) == ("iam", BOTH)
    assert function_url.tighten(aws, tightened.value, SIGNED).action == "left"
    assert function_url.tighten(aws, tightened.value, OPEN).action == "left"
    assert state(aws)[0] == "iam"


def test_what_somebody_changed_is_made_right(aws):
    function_url.ensure_allowed(aws, OPEN)
    client = aws.client("lambda")
    client.update_function_url_config(FunctionName=NAME, Qualifier="live", InvokeMode="RESPONSE_STREAM")
    client.remove_permission(FunctionName=NAME, Qualifier="live", StatementId="thampi-url-invoke")
    made, allowed = function_url.ensure_allowed(aws, OPEN)
    assert (made.changes, allowed.action) == (("invoke_mode: RESPONSE_STREAM -> BUFFERED",), "changed")
    assert state(aws) == ("none", BOTH)


def test_cors_that_somebody_has_set_stays(aws):
    function_url.ensure_allowed(aws, OPEN)
    client, cors = aws.client("lambda"), {"AllowOrigins": ["https://example.com"]}
    client.update_function_url_config(FunctionName=NAME, Qualifier="live", Cors=cors)
    function_url.ensure_allowed(aws, SIGNED)
    assert client.get_function_url_config(FunctionName=NAME, Qualifier="live")["Cors"] == cors


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("old", "new"), [(None, OPEN), (None, SIGNED), (OPEN, SIGNED), (SIGNED, OPEN)])
def test_a_run_that_ends_at_any_call_lets_in_whom_the_old_or_the_new_one_would_and_the_next_one_finishes(
    aws, meddler, moment, old, new
):
    function_url.remove(aws, "iris", "staging")
    function_url.ensure_allowed(aws, new)
    golden = state(aws)
    for number in range(20):
        function_url.remove(aws, "iris", "staging")
        release.disallow(aws, NAME, function_url.PERMISSION)
        if old is not None:
            function_url.ensure_allowed(aws, old)
        meddler.kill(moment, number)
        try:
            function_url.ensure_allowed(aws, new)
        except Death:
            meddler.stop()
            # Nobody who may call it before and after is shut out in between: an open URL has both permissions.
            auth, conditions = state(aws)
            assert auth != "none" or conditions == BOTH
            function_url.ensure_allowed(aws, new)
            assert state(aws) == golden
        else:
            meddler.stop()
            assert number > 2
            return
    pytest.fail("it never got through")


@pytest.mark.parametrize("wanted", [OPEN, SIGNED])
def test_an_answer_that_was_lost_makes_nothing_twice(lossy, aws, wanted):
    made, _ = function_url.ensure_allowed(aws, wanted)
    assert made.value == function_url.read(aws, "iris", "staging")
    assert state(aws) == (wanted.auth, BOTH if wanted is OPEN else {})
    assert lossy


def test_it_is_removed_once(aws, calls):
    assert not function_url.remove(aws, "iris", "staging")
    assert writes(calls) == []
    function_url.ensure_allowed(aws, OPEN)
    assert function_url.remove(aws, "iris", "staging")
    assert function_url.read(aws, "iris", "staging") is None
    assert function_url.read_url(aws, "iris", "staging") is None


def test_where_there_is_no_function_there_is_no_url(aws):
    assert function_url.read(aws, "tulip", "staging") is None
    assert not function_url.remove(aws, "tulip", "staging")


def test_a_region_without_function_urls_is_named(aws, meddler):
    said = "Unable to determine service/operation name to be authorized"
    meddler.refuse("GetFunctionUrlConfig", "AccessDeniedException", 403, said)
    with pytest.raises(function_url.NotOfferedError, match="no function URLs in the region eu-central-1") as refused:
        function_url.read(aws, "iris", "staging")
    assert 'type = "http"' in refused.value.hint


def test_who_may_not_read_it_is_told_so(aws, meddler):
    said = "User: arn:x is not authorized to perform: lambda:GetFunctionUrlConfig on resource: y"
    meddler.refuse("GetFunctionUrlConfig", "AccessDeniedException", 403, said)
    with pytest.raises(CloudError, match="refuses lambda:GetFunctionUrlConfig") as refused:
        function_url.read(aws, "iris", "staging")
    assert not isinstance(refused.value, function_url.NotOfferedError)


def test_an_account_that_blocks_public_access_is_named_before_there_is_a_url(aws, meddler):
    meddler.refuse("AddPermission", "PublicPolicyException", 400, "public policies are prevented")
    with pytest.raises(CloudError, match="public access is blocked") as refused:
        function_url.ensure_allowed(aws, OPEN)
    assert 'auth = "iam"' in refused.value.hint
    assert function_url.read(aws, "iris", "staging") is None


def test_the_url_leads_to_the_model(aws):
    made, _ = function_url.ensure_allowed(aws, OPEN)
    host = made.value.address.removeprefix("https://").rstrip("/")
    assert function_url.name(made.value) == host
    assert host.endswith(".lambda-url.eu-central-1.on.aws")
    assert function_url.url(aws, made.value) == f"https://{host}/iris/predict"
    assert function_url.read_url(aws, "iris", "staging") == f"https://{host}/iris/predict"


def test_the_local_stage_is_called_through_what_plays_aws(aws):
    here = replace(aws, endpoint_url="http://127.0.0.1:4566/")
    found = function_url.Found("https://abc.lambda-url.eu-central-1.on.aws/", replace(OPEN, stage="local"))
    assert function_url.url(here, found) == "http://127.0.0.1:4566/_aws/lambda-url/abc/iris/predict"
    elsewhere = replace(found, endpoint=OPEN)
    assert function_url.url(here, elsewhere) == "https://abc.lambda-url.eu-central-1.on.aws/iris/predict"


# ---------------------------------------------------------------------------------------------------------- other sites

SITES = cors.make(
    origins=["https://b.example", "https://a.example"],
    methods=["POST", "GET"],
    headers=["Content-Type", "authorization"],
    credentials=False,
    max_age_s=600,
)
SITED = replace(OPEN, cors=SITES)


def rules(aws):
    return aws.client("lambda").get_function_url_config(FunctionName=NAME, Qualifier="live").get("Cors")


def test_a_new_url_has_its_rules_for_other_sites_from_the_first(aws, calls):
    made, _ = function_url.ensure_allowed(aws, SITED)
    assert writes(calls) == ["AddPermission", "AddPermission", "CreateFunctionUrlConfig"]
    assert rules(aws) == {
        "AllowOrigins": ["https://a.example", "https://b.example"],
        "AllowMethods": ["GET", "POST"],
        "AllowHeaders": ["authorization", "content-type"],
        "AllowCredentials": False,
        "MaxAge": 600,
        "ExposeHeaders": ["retry-after", "x-request-id"],
    }
    assert function_url.read(aws, "iris", "staging") == made.value
    assert made.value.endpoint == SITED


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (OPEN, SITED, "cors: none -> https://a.example, https://b.example"),
        (SITED, replace(OPEN, cors=replace(SITES, max_age_s=5)), "cors.max_age_s: 600 -> 5"),
        (SITED, OPEN, "cors: https://a.example, https://b.example -> none"),
    ],
)
def test_rules_for_other_sites_are_switched_on_changed_and_off_by_one_call(aws, calls, old, new, said):
    function_url.ensure_allowed(aws, old)
    calls.clear()
    made, _ = function_url.ensure_allowed(aws, new)
    assert (made.changes, writes(calls)) == ((said,), ["UpdateFunctionUrlConfig"])
    assert function_url.read(aws, "iris", "staging").endpoint == new
    assert rules(aws) == (cors.written(new.cors) if new.cors else None)
    calls.clear()
    assert function_url.ensure_allowed(aws, new)[0].action == "left"
    assert writes(calls) == []


def test_rules_for_other_sites_stay_when_only_those_who_are_asked_change(aws, calls):
    found = function_url.ensure_allowed(aws, SITED)[0].value
    tight = function_url.tighten(aws, found, replace(SIGNED, cors=None))
    assert tight.changes == ("auth: none -> iam",)
    assert rules(aws) == cors.written(SITES)
    assert function_url.read(aws, "iris", "staging") == tight.value


def test_rules_of_somebody_elses_give_way_to_ours(aws):
    function_url.ensure_allowed(aws, OPEN)
    theirs = {"AllowOrigins": ["https://example.com"], "ExposeHeaders": ["date"]}
    aws.client("lambda").update_function_url_config(FunctionName=NAME, Qualifier="live", Cors=theirs)
    function_url.ensure_allowed(aws, SITED)
    assert rules(aws) == cors.written(SITES)
