"""There is one usage plan for a stage, as wanted, attached where it counts, and no key is lost with it."""

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.aws.conftest import Death
from thampi import names
from thampi.aws.rest import usage_plan
from thampi.aws.rest.limits import stricter, whole
from thampi.aws.rest.wanted import Plan
from thampi.errors import CloudError

NAME = "thampi-iris-staging"
TAGS = {**names.tags("iris", "staging"), "team": "ml"}
FREE = Plan()
FULL = Plan(rate_per_s=5.0, burst=10, quota=1000, period="day")


@pytest.fixture
def api(aws):
    """The id of an API with the stage `staging`."""
    return make_api(aws)


def make_api(aws):
    client = aws.client("apigateway")
    api_id = client.create_rest_api(name="any")["id"]
    root = client.get_resources(restApiId=api_id)["items"][0]["id"]
    of = {"restApiId": api_id, "resourceId": root, "httpMethod": "ANY"}
    client.put_method(**of, authorizationType="NONE")
    client.put_integration(**of, type="MOCK")
    deployed = client.create_deployment(restApiId=api_id)["id"]
    client.create_stage(restApiId=api_id, stageName="staging", deploymentId=deployed)
    return api_id


def ensure(aws, limits=FREE, api_id=None, tags=TAGS, **more):
    return usage_plan.ensure(aws, project="iris", stage="staging", api_id=api_id, limits=limits, tags=tags, **more)


def read(aws):
    return usage_plan.read(aws, "iris", "staging")


def plans(aws):
    """Everything that is there, without ids."""
    keys = ("name", "apiStages", "throttle", "quota", "tags")
    return [{key: plan.get(key) for key in keys} for plan in aws.client("apigateway").get_usage_plans()["items"]]


def wanted(api_id=None, **more):
    held = [{"apiId": api_id, "stage": "staging"}] if api_id else []
    return [{"name": NAME, "apiStages": held, "throttle": None, "quota": None, "tags": TAGS, **more}]


FULL_AT_AWS = {
    "throttle": {"rateLimit": 5.0, "burstLimit": 10},
    "quota": {"limit": 1000, "period": "DAY"},
}


# ------------------------------------------------------------------------------------------------------------- ensure


def test_a_plan_is_made_with_one_call_tagged_and_attached_in_it(aws, api, calls):
    calls.clear()
    made = ensure(aws, FULL, api)
    assert calls == ["GetUsagePlans", "CreateUsagePlan"]
    assert made.action == "created"
    assert plans(aws) == wanted(api, **FULL_AT_AWS)
    assert read(aws) == made.value


def test_a_plan_needs_no_api_and_is_attached_later_by_one_call(aws, api, calls):
    ensure(aws, FULL)
    assert plans(aws) == wanted(**FULL_AT_AWS)
    calls.clear()
    made = ensure(aws, FULL, api)
    assert calls == ["GetUsagePlans", "UpdateUsagePlan"]
    assert made.changes == (f"plan.api: none -> {api}",)
    assert plans(aws) == wanted(api, **FULL_AT_AWS)


def test_a_plan_that_is_as_wanted_costs_one_call(aws, api, calls):
    ensure(aws, FULL, api)
    calls.clear()
    assert ensure(aws, FULL, api).action == "left"
    assert calls == ["GetUsagePlans"]


def test_asking_for_no_api_detaches_none(aws, api):
    ensure(aws, FULL, api)
    assert ensure(aws, FULL).action == "left"
    assert plans(aws) == wanted(api, **FULL_AT_AWS)


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (
            FREE,
            FULL,
            ("rate_per_s: absent -> 5.0", "burst: absent -> 10", "quota: absent -> 1000", "period: month -> day"),
        ),
        (
            FULL,
            FREE,
            ("rate_per_s: 5.0 -> absent", "burst: 10 -> absent", "quota: 1000 -> absent", "period: day -> month"),
        ),
        (FULL, Plan(5.0, 10, 2000, "day"), ("quota: 1000 -> 2000",)),
        (FULL, Plan(5.0, 10, 1000, "week"), ("period: day -> week",)),
        (FULL, Plan(0.5, 10, 1000, "day"), ("rate_per_s: 5.0 -> 0.5",)),
        (FULL, Plan(quota=1000, period="day"), ("rate_per_s: 5.0 -> absent", "burst: 10 -> absent")),
        (FULL, Plan(5.0, 10), ("quota: 1000 -> absent", "period: day -> month")),
    ],
)
def test_limits_are_switched_on_changed_and_switched_off_by_one_call(aws, api, calls, before, after, lines):
    ensure(aws, before, api)
    calls.clear()
    made = ensure(aws, after, api)
    assert made.changes == tuple(f"plan.{line}" for line in lines)
    assert calls == ["GetUsagePlans", "UpdateUsagePlan"]
    assert read(aws).limits == after
    assert ensure(aws, after, api).action == "left"


def test_half_of_a_throttle_is_never_left_to_be_nothing():
    assert whole(Plan(rate_per_s=0.5)) == Plan(0.5, 1)
    assert whole(Plan(rate_per_s=2.5)) == Plan(2.5, 3)
    assert whole(Plan(burst=7)) == Plan(7.0, 7)
    assert whole(FULL) == FULL


def test_half_of_a_throttle_is_as_wanted_when_it_is_read_again(aws, api):
    ensure(aws, Plan(rate_per_s=2.5), api)
    assert plans(aws) == wanted(api, throttle={"rateLimit": 2.5, "burstLimit": 3})
    assert ensure(aws, Plan(rate_per_s=2.5), api).action == "left"


def test_a_plan_that_is_there_may_keep_its_limits(aws, api):
    ensure(aws, FULL, api)
    assert ensure(aws, FREE, keep=True).action == "left"
    assert read(aws).limits == FULL


def test_a_plan_keeps_its_limits_also_where_something_else_of_it_is_changed(aws, api):
    ensure(aws, FULL)
    made = ensure(aws, FREE, api, tags={**TAGS, "team": "ops"}, keep=True)
    assert made.changes == (f"plan.api: none -> {api}", "plan.tags.team: ml -> ops")
    assert read(aws).limits == made.value.limits == FULL


def test_a_tag_that_is_new_is_given_and_those_of_others_stay(aws):
    ensure(aws, tags={**TAGS, "theirs": "1"})
    made = ensure(aws, tags={**TAGS, "team": "ops"})
    assert made.changes == ("plan.tags.team: ml -> ops",)
    assert plans(aws)[0]["tags"] == {**TAGS, "theirs": "1", "team": "ops"}


def test_a_plan_without_our_tags_or_of_another_name_is_somebody_elses(aws, api):
    client = aws.client("apigateway")
    client.create_usage_plan(name=NAME, tags={**TAGS, "thampi:stage": "production"})
    client.create_usage_plan(name=NAME)
    client.create_usage_plan(name=f"{NAME}-gold", tags=TAGS)
    assert read(aws) is None
    assert usage_plan.remove(aws, "iris", "staging") is False
    ensure(aws, FULL, api)
    assert len(plans(aws)) == 4
    assert usage_plan.remove(aws, "iris", "staging") is True
    assert len(plans(aws)) == 3


def test_what_aws_refuses_is_said(aws, api, meddler):
    meddler.refuse("CreateUsagePlan", "LimitExceededException", message="too many plans")
    with pytest.raises(CloudError, match=f"making the usage plan {NAME}: LimitExceededException: too many plans"):
        ensure(aws, FULL, api)


# ------------------------------------------------------------------------------------------- answers that were lost


def lose_answers_to(aws, operation, times=1):
    left = [times]

    def lose(request, **_):
        if left[0] > 0:
            left[0] -= 1
            raise ConnectionClosedError(endpoint_url=request.url)

    aws.session.events.register_last(f"before-send.api-gateway.{operation}", lose)


def test_a_plan_whose_creation_was_lost_on_the_way_is_made_once(aws, api, sleeps):
    lose_answers_to(aws, "CreateUsagePlan")
    assert ensure(aws, FULL, api).action == "created"
    assert plans(aws) == wanted(api, **FULL_AT_AWS)
    assert len(sleeps) == 1


def test_a_throttled_call_is_made_again_after_a_pause(aws, api, meddler, sleeps):
    meddler.refuse("CreateUsagePlan", "TooManyRequestsException", status=429, times=2)
    ensure(aws, FULL, api)
    assert plans(aws) == wanted(api, **FULL_AT_AWS)
    assert sleeps == sorted(sleeps)
    assert len(sleeps) == 2


def test_doubles_give_what_they_hold_to_the_plan_in_use_and_go(aws, api):
    client = aws.client("apigateway")
    keys = [client.create_api_key(name=f"{NAME}-{each}", enabled=True)["id"] for each in "abc"]
    for held, api_ids in ((keys[:1], []), (keys[1:2], [api]), (keys[2:], []), ([], [])):
        stages = [{"apiId": each, "stage": "staging"} for each in api_ids]
        plan = client.create_usage_plan(name=NAME, tags=TAGS, apiStages=stages)["id"]
        for key in held:
            client.create_usage_plan_key(usagePlanId=plan, keyId=key, keyType="API_KEY")
    found = read(aws)
    assert found.api_ids == (api,)
    assert len(found.doubles) == 3
    made = ensure(aws, FULL, api)
    assert [line for line in made.changes if "double" in line] == [
        f"double plan: {each} -> removed" for each in found.doubles
    ]
    assert plans(aws) == wanted(api, **FULL_AT_AWS)
    assert in_plan(aws, found.plan_id) == set(keys)


def in_plan(aws, plan_id):
    return {key["id"] for key in aws.client("apigateway").get_usage_plan_keys(usagePlanId=plan_id)["items"]}


def test_of_two_plans_of_one_stage_the_one_with_keys_is_in_use(aws, api):
    client = aws.client("apigateway")
    key = client.create_api_key(name=f"{NAME}-a", enabled=True)["id"]
    held = [{"apiId": api, "stage": "staging"}]
    ids = [client.create_usage_plan(name=NAME, tags=TAGS, apiStages=held)["id"] for _ in range(2)]
    for plan_id in ids:
        client.create_usage_plan_key(usagePlanId=plan_id, keyId=key, keyType="API_KEY")
        assert read(aws).plan_id == plan_id
        client.delete_usage_plan_key(usagePlanId=plan_id, keyId=key)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_while_it_removes_a_double_loses_no_key(aws, api, meddler, moment):
    client = aws.client("apigateway")
    held, first = [{"apiId": api, "stage": "staging"}], None
    for number in range(30):
        usage_plan.remove(aws, "iris", "staging")
        keys = [client.create_api_key(name=f"{NAME}-{each}", enabled=True)["id"] for each in "abc"]
        plans_made = [client.create_usage_plan(name=NAME, tags=TAGS, apiStages=held)["id"] for _ in range(2)]
        for plan, each in zip((plans_made[0], plans_made[0], plans_made[1]), keys, strict=True):
            client.create_usage_plan_key(usagePlanId=plan, keyId=each, keyType="API_KEY")
        meddler.kill(moment, number)
        try:
            ensure(aws, FULL, api)
        except Death:
            meddler.stop()
            ensure(aws, FULL, api)
        else:
            first = number
        meddler.stop()
        assert in_plan(aws, plans_made[0]) == set(keys)
        assert plans(aws) == wanted(api, **FULL_AT_AWS)
        if first is not None:
            break
    assert first is not None
    assert first > 5


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("before", [None, FREE, FULL])
def test_a_run_that_dies_at_any_call_is_finished_by_the_next_one(aws, api, meddler, moment, before):
    after = Plan(0.5, 3, 7, "week")
    for number in range(10):
        usage_plan.remove(aws, "iris", "staging")
        if before is not None:
            ensure(aws, before)
        meddler.kill(moment, number)
        try:
            ensure(aws, after, api, tags={**TAGS, "new": "1"})
            assert number >= 2
            return
        except Death:
            meddler.stop()
        ensure(aws, after, api, tags={**TAGS, "new": "1"})
        throttle, quota = {"rateLimit": 0.5, "burstLimit": 3}, {"limit": 7, "period": "WEEK"}
        assert plans(aws) == wanted(api, throttle=throttle, quota=quota, tags={**TAGS, "new": "1"})
    raise AssertionError("it never ends")


# ------------------------------------------------------------------------------------------------- tighten, remove


def test_tightening_takes_the_lower_of_each_and_loosens_nothing(aws, api):
    ensure(aws, Plan(5.0, 10, 700, "week"), api)
    made = usage_plan.tighten(aws, read(aws), Plan(50.0, 3, 200, "day"))
    assert made.changes == ("plan.burst: 10 -> 3",)
    assert read(aws).limits == Plan(5.0, 3, 700, "week") == made.value.limits


def test_tightening_what_is_stricter_already_costs_no_call(aws, api, calls):
    ensure(aws, FULL, api)
    found = read(aws)
    calls.clear()
    assert usage_plan.tighten(aws, found, FREE).action == "left"
    assert calls == []


def test_of_two_quotas_the_stricter_lets_less_through_in_a_day():
    assert stricter(Plan(quota=70, period="week"), Plan(quota=20, period="day")).period == "week"
    assert stricter(Plan(quota=70, period="week"), Plan(quota=9, period="day")).period == "day"
    assert stricter(Plan(), Plan(quota=9, period="day")) == Plan(quota=9, period="day")
    assert stricter(Plan(quota=9, period="day"), Plan()) == Plan(quota=9, period="day")


def test_detaching_keeps_the_plan_and_its_keys_and_other_apis(aws, api, calls):
    other = make_api(aws)
    client = aws.client("apigateway")
    ensure(aws, FULL, api)
    found = ensure(aws, FULL, other).value
    key = client.create_api_key(name=f"{NAME}-a", enabled=True)["id"]
    usage_plan.add_key(aws, found.plan_id, key)
    assert usage_plan.detach(aws, "iris", "staging", api) is True
    assert plans(aws) == wanted(other, **FULL_AT_AWS)
    assert in_plan(aws, found.plan_id) == {key}
    calls.clear()
    assert usage_plan.detach(aws, "iris", "staging", api) is False
    assert calls == ["GetUsagePlans"]


def test_removing_takes_the_plan_its_doubles_and_what_they_hold(aws, api):
    ensure(aws, FULL, api)
    aws.client("apigateway").create_usage_plan(name=NAME, tags=TAGS)
    assert usage_plan.remove(aws, "iris", "staging") is True
    assert plans(aws) == []
    assert usage_plan.remove(aws, "iris", "staging") is False


def test_a_key_that_is_in_the_plan_is_put_into_it_again_without_complaint(aws):
    found = ensure(aws).value
    key = aws.client("apigateway").create_api_key(name=f"{NAME}-a", enabled=True)["id"]
    usage_plan.add_key(aws, found.plan_id, key)
    usage_plan.add_key(aws, found.plan_id, key)
    assert in_plan(aws, found.plan_id) == {key}


def test_a_key_that_another_plan_of_the_stage_holds_is_not_taken_from_it(aws, api):
    client = aws.client("apigateway")
    found = ensure(aws, FULL, api).value
    key = client.create_api_key(name=f"{NAME}-a", enabled=True)["id"]
    theirs = client.create_usage_plan(name="theirs", apiStages=[{"apiId": api, "stage": "staging"}])["id"]
    client.create_usage_plan_key(usagePlanId=theirs, keyId=key, keyType="API_KEY")
    with pytest.raises(client.exceptions.ConflictException):
        usage_plan.add_key(aws, found.plan_id, key)
    assert in_plan(aws, theirs) == {key}
