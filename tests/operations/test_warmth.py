"""What keeps a stage warm calls what is live, is there when it is wanted and gone when not, like its concurrency."""

import json
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from moto.awslambda.models import LambdaFunction

from tests.operations.stand import Death, refusal
from tests.operations.test_push import NAME, again, other_model, writes
from thampi.config import Api
from thampi.errors import CloudError, ReleaseError
from thampi.operations import destroy, examine

RULE = f"arn:aws:events:eu-central-1:123456789012:rule/{NAME}"


def warm(stand, rate="rate(4 minutes)", **more):
    return replace(stand.stage, keep_warm=rate, **more)


def rules(stand):
    return stand.snapshot()["rules"]


def callers(stand):
    policy = stand.clients["lambda"].get_policy(FunctionName=NAME, Qualifier="live")["Policy"]
    return {
        each["Principal"]["Service"]: each["Condition"]["ArnLike"]["AWS:SourceArn"]
        for each in json.loads(policy)["Statement"]
    }


def row(pushed, thing):
    return next((each for each in pushed.rows if each.thing == thing), None)


# ------------------------------------------------------------------------------------------------------- the schedule


def test_the_schedule_pings_what_is_live_and_never_the_model(stand):
    pushed = stand.push(warm(stand))
    (found,) = rules(stand).values()
    assert (found["rule"]["ScheduleExpression"], found["rule"]["State"]) == ("rate(4 minutes)", "ENABLED")
    (target,) = found["targets"]
    assert target["Arn"] == f"arn:aws:lambda:eu-central-1:123456789012:function:{NAME}:live"
    assert json.loads(target["Input"]) == {"thampi": "ping"}
    assert {"Key": "thampi:project", "Value": "scale"} in found["tags"]
    assert callers(stand)["events.amazonaws.com"] == RULE
    assert row(pushed, "schedule").action == "created"
    assert stand.answers() == "model-2"


def test_the_permission_is_there_before_the_rule_and_gone_after_it(stand):
    stand.push(warm(stand))
    put = stand.calls.index("events.PutRule")
    assert "lambda.AddPermission" in stand.calls[:put]
    again(stand)
    assert stand.calls.index("events.DeleteRule") < stand.calls.index("lambda.RemovePermission")
    assert rules(stand) == {}
    assert list(callers(stand)) == ["apigateway.amazonaws.com"]


def test_where_no_schedule_is_wanted_nobody_asks_for_one(stand):
    stand.push()
    again(stand)
    again(stand, replace(stand.stage, api=Api(auth="iam")))
    assert not [call for call in stand.calls if call.startswith("events.")]


def test_the_second_time_nothing_is_written_and_another_rate_is_one_change(stand):
    stand.push(warm(stand))
    assert not again(stand, warm(stand)).changed
    assert writes(stand) == []
    faster = again(stand, warm(stand, "rate(2 minutes)"))
    assert row(faster, "schedule").changes == ("expression: rate(4 minutes) -> rate(2 minutes)",)
    assert faster.version == "1"
    assert [call for call in writes(stand) if call.startswith("events.")] == ["events.PutRule", "events.PutTargets"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda events: events.disable_rule(Name=NAME),
        lambda events: events.remove_targets(Rule=NAME, Ids=["live"]),
        lambda events: (events.remove_targets(Rule=NAME, Ids=["live"]), events.delete_rule(Name=NAME)),
        lambda events: events.put_targets(Rule=NAME, Targets=[{"Id": "live", "Arn": RULE.replace("rule", "other")}]),
    ],
    ids=["disabled", "no target", "gone", "another target"],
)
def test_what_somebody_has_spoilt_is_put_right(stand, spoil):
    stand.push(warm(stand))
    golden = rules(stand)
    spoil(stand.clients["events"])
    assert rules(stand) != golden
    assert again(stand, warm(stand)).changed
    assert rules(stand) == golden


def test_a_rule_of_that_name_that_is_somebody_elses_is_left_alone(stand):
    stand.clients["events"].put_rule(Name=NAME, ScheduleExpression="rate(1 day)")
    with pytest.raises(CloudError, match=f"the rule {NAME} exists and is not this project's"):
        stand.push(warm(stand))
    assert rules(stand)[NAME]["rule"]["ScheduleExpression"] == "rate(1 day)"
    assert stand.calls.count("lambda.CreateFunction") == 0


def test_a_dry_run_says_what_would_become_of_it(stand):
    stage = warm(stand)
    for wanted, action in ((stage, "created"), (stand.stage, None)):
        would = examine.examine(wanted, stand.plan(wanted), stand.place)
        assert (row(would, "schedule") and row(would, "schedule").action) == action
    stand.push(stage)
    assert row(examine.examine(stand.stage, stand.plan(stand.stage), stand.place), "schedule").action == "changed"


def test_destroying_the_stage_takes_the_schedule_before_the_function(stand):
    stand.push(warm(stand))
    stand.calls.clear()
    gone = destroy.destroy(stand.stage, stand.place, who="ann@laptop")
    assert [each.thing for each in gone if each.was_there][:3] == ["endpoint", "schedule", "function"]
    assert rules(stand) == {}
    assert stand.calls.index("events.DeleteRule") < stand.calls.index("lambda.DeleteFunction")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("warmer", [True, False], ids=["made", "removed"])
def test_wherever_a_push_dies_the_next_one_ends_it(accounts, moment, warmer):
    def prepare(stand):
        stand.push(stand.stage if warmer else warm(stand))
        return warm(stand) if warmer else stand.stage

    with accounts.account() as stand:
        wanted = prepare(stand)
        again(stand, wanted)
        calls, golden = list(stand.calls), rules(stand)
    first = next(n for n, call in enumerate(calls) if call in ("lambda.AddPermission", "events.DescribeRule"))
    assert len(calls) - first > 4
    for number in range(first, len(calls)):
        with accounts.account() as stand:
            wanted = prepare(stand)
            left = [number]

            def die(call, left=left):
                left[0] -= 1
                if left[0] < 0:
                    raise Death(call)

            setattr(stand, moment, die)
            with pytest.raises(Death):
                stand.push(wanted)
            stand.undisturbed()
            stand.push(wanted, force=True)
            assert rules(stand) == golden, f"{moment} {calls[number]}"
            assert ("events.amazonaws.com" in callers(stand)) is warmer
            assert not stand.push(wanted).changed


# ------------------------------------------------------------------------------------------------------ concurrency


def limits(stand, limit=1000, free=1000):
    """Let the account have so much, which moto doesn't know."""
    said = {"AccountLimit": {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": free}}

    def answer(call):
        return (AWSResponse("", 200, {}, None), said) if call == "lambda.GetAccountSettings" else None

    stand.before = answer


def reserved(stand):
    return (
        stand.clients["lambda"]
        .get_function(FunctionName=NAME)
        .get("Concurrency", {})
        .get("ReservedConcurrentExecutions")
    )


def test_concurrency_is_reserved_changed_and_given_back_and_makes_no_release(stand):
    limits(stand)
    stand.push(replace(stand.stage, reserved_concurrency=20))
    assert reserved(stand) == 20
    assert not again(stand, replace(stand.stage, reserved_concurrency=20)).changed
    changed = again(stand, replace(stand.stage, reserved_concurrency=30))
    assert row(changed, "concurrency").changes == ("reserved_concurrency: 20 -> 30",)
    assert (reserved(stand), changed.version) == (30, "1")
    assert row(again(stand), "concurrency").changes == ("reserved_concurrency: 30 -> none",)
    assert reserved(stand) is None


@pytest.mark.parametrize(
    ("limit", "free", "wanted", "hint"),
    [
        (10, 10, 1, "take it out of thampi.toml"),  # a new account: all of it has to stay free
        (1000, 1000, 901, "set it to 900 or less"),
        (1000, 150, 51, "set it to 50 or less"),
    ],
)
def test_more_than_the_account_can_reserve_is_refused_before_anything_is_made(stand, limit, free, wanted, hint):
    limits(stand, limit, free)
    with pytest.raises(
        CloudError, match=f"reserved_concurrency = {wanted} is more than this account can reserve"
    ) as no:
        stand.push(replace(stand.stage, reserved_concurrency=wanted))
    assert hint in no.value.hint
    assert writes(stand) == []


def test_as_much_as_the_account_can_reserve_is_fine_and_less_is_never_asked_about(stand):
    limits(stand, 1000, 150)
    stand.push(replace(stand.stage, reserved_concurrency=50))
    stand.undisturbed()
    stand.before = lambda call: refusal("ValidationException") if call == "lambda.GetAccountSettings" else None
    stand.push(replace(stand.stage, reserved_concurrency=40))
    assert reserved(stand) == 40


def test_lambdas_own_refusal_is_said_with_the_cure(stand):
    stand.push()
    limits(stand)
    told, said = (
        stand.before,
        "It decreases account's UnreservedConcurrentExecution below its minimum value of [100].",
    )
    stand.before = lambda call: (
        refusal("InvalidParameterValueException", message=said)
        if call == "lambda.PutFunctionConcurrency"
        else told(call)
    )
    with pytest.raises(CloudError, match="below its minimum value") as no:
        stand.push(replace(stand.stage, reserved_concurrency=20))
    assert "set reserved_concurrency to less" in no.value.hint


def test_a_new_model_alone_asks_nothing_about_either(stand):
    limits(stand)
    stage = warm(stand, reserved_concurrency=20)
    stand.push(stage)
    again(stand, other_model(stand, keep_warm="rate(4 minutes)", reserved_concurrency=20))
    assert len(stand.calls) + 1 <= 25
    assert not [call for call in stand.calls if call.startswith("events.") or "Concurrency" in call]


# -------------------------------------------------------------------------------------------------------- snapshots


def test_snapshots_belong_to_the_release_and_are_taken_of_published_versions(stand):
    stand.push(replace(stand.stage, snapstart=True))
    assert stand.live()["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    assert not again(stand, replace(stand.stage, snapstart=True)).changed
    changed = again(stand)
    assert row(changed, "release").changes == ("snapstart: True -> False",)
    assert (changed.version, stand.live()["SnapStart"]["ApplyOn"]) == ("2", "None")


def test_what_no_snapshot_can_be_taken_of_does_not_become_live(stand, monkeypatch):
    stand.push(replace(stand.stage, snapstart=True))
    configuration = LambdaFunction.get_configuration
    failed = {"State": "Failed", "StateReasonCode": "FunctionError.RuntimeInitError", "StateReason": "it ended"}

    def failing(self, on_create=False):
        return {**configuration(self, on_create), **(failed if str(self.version) == "2" else {})}

    monkeypatch.setattr(LambdaFunction, "get_configuration", failing)
    with pytest.raises(ReleaseError, match=r"version 2 .* no snapshot can .* of it: FunctionError.Runtime.*ended"):
        stand.push(other_model(stand, snapstart=True))
    assert stand.answers() == "model-2"
