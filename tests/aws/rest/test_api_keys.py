"""A key of a label is made once, in the plan, ours; its value is told to who asks for it and nobody else."""

import dataclasses
from datetime import UTC, date, datetime
from types import SimpleNamespace

import botocore.endpoint
import pytest
from moto.apigateway.models import apigateway_backends

from tests.aws.conftest import Death
from tests.aws.rest.test_usage_plan import in_plan, lose_answers_to
from thampi import names
from thampi.aws.rest import api_keys, usage_plan
from thampi.aws.rest.api_keys import Usage
from thampi.aws.rest.wanted import Plan
from thampi.errors import CloudError

TAGS = {**names.tags("iris", "staging"), "team": "ml"}


@pytest.fixture
def plan(aws):
    return make_plan(aws)


def make_plan(aws, limits=Plan()):  # noqa: B008 - it is frozen
    made = usage_plan.ensure(aws, project="iris", stage="staging", api_id=None, limits=limits, tags=TAGS)
    return made.value


def ensure(aws, plan, label="anna"):
    return api_keys.ensure(aws, project="iris", stage="staging", label=label, plan=plan, tags=TAGS)


def read(aws, plan):
    return api_keys.read(aws, "iris", "staging", plan)


def at_aws(aws):
    """Everything that is there, without ids and values."""
    keys = ("name", "enabled", "tags")
    return [{key: each.get(key) for key in keys} for each in aws.client("apigateway").get_api_keys()["items"]]


def wanted(label="anna"):
    return {"name": f"thampi-iris-staging-{label}", "enabled": True, "tags": {**TAGS, "thampi:key": label}}


def test_a_key_is_made_by_aws_tagged_in_that_call_and_put_into_the_plan(aws, plan, calls):
    calls.clear()
    made = ensure(aws, plan)
    assert calls == ["GetApiKeys", "GetUsagePlanKeys", "CreateApiKey", "CreateUsagePlanKey"] or calls == [
        "GetUsagePlanKeys",
        "GetApiKeys",
        "CreateApiKey",
        "CreateUsagePlanKey",
    ]
    assert made.action == "created"
    assert at_aws(aws) == [wanted()]
    assert in_plan(aws, plan.plan_id) == {made.value.key_id}
    assert read(aws, plan) == (made.value,)
    assert (made.value.label, made.value.enabled, made.value.in_plan) == ("anna", True, True)
    assert abs((datetime.now(UTC) - made.value.created).total_seconds()) < 60


def test_a_key_that_is_there_is_left(aws, plan):
    first = ensure(aws, plan).value
    again = ensure(aws, plan)
    assert (again.action, again.value) == ("left", first)
    assert at_aws(aws) == [wanted()]


def test_the_value_is_in_no_answer_but_that_to_who_asks_for_it(aws, plan):
    made = ensure(aws, plan).value
    told = api_keys.value(aws, made)
    assert len(told) >= 20
    assert told not in repr((made, read(aws, plan), plan))
    assert "value" not in {each.name for each in dataclasses.fields(made)}


def test_a_value_is_what_the_plan_knows_the_key_by(aws, plan):
    made = ensure(aws, plan).value
    (held,) = aws.client("apigateway").get_usage_plan_keys(usagePlanId=plan.plan_id)["items"]
    assert api_keys.value(aws, made) == held["value"]


def test_keys_are_read_by_label_and_those_in_no_plan_say_so(aws, plan):
    client = aws.client("apigateway")
    ensure(aws, plan, "b")
    ensure(aws, plan, "a")
    client.create_api_key(**{**wanted("c"), "enabled": False})
    assert [(key.label, key.enabled, key.in_plan) for key in read(aws, plan)] == [
        ("a", True, True),
        ("b", True, True),
        ("c", False, False),
    ]
    assert [key.in_plan for key in read(aws, None)] == [False, False, False]


def test_keys_of_others_are_not_seen_whatever_they_are_called(aws, plan):
    client = aws.client("apigateway")
    client.create_api_key(name="thampi-iris-staging-anna", enabled=True)
    # Project `iris-staging`, stage `x`, label `anna` makes the same name as label `x-anna` here.
    theirs = {**names.tags("iris-staging", "x"), "thampi:key": "anna"}
    client.create_api_key(name="thampi-iris-staging-x-anna", enabled=True, tags=theirs)
    client.create_api_key(name="another", enabled=True, tags=TAGS)
    assert read(aws, plan) == ()
    made = ensure(aws, plan, "x-anna").value
    assert read(aws, plan) == (made,)
    api_keys.revoke(aws, made)
    assert len(at_aws(aws)) == 3


def test_a_revoked_key_is_gone_from_the_plan_too_and_revoking_it_again_is_fine(aws, plan):
    made, other = ensure(aws, plan).value, ensure(aws, plan, "other").value
    api_keys.revoke(aws, made)
    api_keys.revoke(aws, made)
    assert read(aws, plan) == (other,)
    assert in_plan(aws, plan.plan_id) == {other.key_id}


# ------------------------------------------------------------------------------------------------ what ended in between


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_that_dies_at_any_call_is_finished_by_the_next_one_with_one_key(aws, plan, meddler, moment):
    for number in range(10):
        for key in read(aws, plan):
            api_keys.revoke(aws, key)
        meddler.kill(moment, number)
        try:
            ensure(aws, plan)
            assert number == 4
            return
        except Death:
            meddler.stop()
        made = ensure(aws, plan)
        assert at_aws(aws) == [wanted()]
        assert in_plan(aws, plan.plan_id) == {made.value.key_id}
    raise AssertionError("it never ends")


@pytest.mark.parametrize("operation", ["CreateApiKey", "CreateUsagePlanKey"])
def test_a_key_whose_creation_was_lost_on_the_way_is_made_once(aws, plan, operation, monkeypatch):
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None))
    lost = lose_answers_to(aws, operation)
    made = ensure(aws, plan)
    assert lost == [operation]
    assert at_aws(aws) == [wanted()]
    assert in_plan(aws, plan.plan_id) == {made.value.key_id}


def test_keys_of_one_label_that_nobody_was_told_of_become_one(aws, plan):
    client = aws.client("apigateway")
    ids = [client.create_api_key(**wanted())["id"] for _ in range(3)]
    made = ensure(aws, plan)
    assert made.action == "changed"
    assert at_aws(aws) == [wanted()]
    assert in_plan(aws, plan.plan_id) == {made.value.key_id} <= set(ids)


def test_a_key_that_is_in_use_is_not_replaced_by_one_that_nobody_was_told_of(aws, plan):
    client = aws.client("apigateway")
    used = ensure(aws, plan).value
    for _ in range(3):
        client.create_api_key(**wanted())
    assert ensure(aws, plan).value == used
    assert at_aws(aws) == [wanted()]


def test_two_keys_of_one_label_that_are_both_in_use_both_stay(aws, plan):
    client = aws.client("apigateway")
    ids = {ensure(aws, plan).value.key_id, client.create_api_key(**wanted())["id"]}
    for key_id in ids - in_plan(aws, plan.plan_id):
        usage_plan.add_key(aws, plan.plan_id, key_id)
    assert ensure(aws, plan).action == "left"
    assert in_plan(aws, plan.plan_id) == ids


def test_what_aws_refuses_is_said_without_a_value(aws, plan, meddler):
    meddler.refuse("CreateApiKey", "LimitExceededException", message="too many keys")
    with pytest.raises(CloudError, match="making the API key thampi-iris-staging-anna: LimitExceeded"):
        ensure(aws, plan)


# --------------------------------------------------------------------------------------------------------------- usage


def test_the_usage_of_each_key_is_what_is_gone_of_its_quota(aws):
    plan = make_plan(aws, Plan(quota=100, period="day"))
    anna, ben = ensure(aws, plan).value, ensure(aws, plan, "ben").value
    at = apigateway_backends[aws.account][aws.region].usage_plans[plan.plan_id]
    at.used = {anna.key_id: 90, ben.key_id: 101}
    today = date(2026, 5, 4)
    assert api_keys.usage(aws, plan, today) == {anna.key_id: Usage(90, 10), ben.key_id: Usage(101, -1)}


def test_a_plan_without_a_quota_is_not_asked_about_usage(aws, plan, calls):
    calls.clear()
    assert api_keys.usage(aws, plan, date(2026, 5, 4)) == {}
    assert calls == []
