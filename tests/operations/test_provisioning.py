"""What stands ready does so before it gets calls, and costs nothing after it gets none; whatever a run dies of."""

from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse

from tests.aws import strict
from tests.operations.stand import Death, refusal
from tests.operations.test_push import NAME, READ, again, broken, other_model, writes
from thampi.errors import CloudError, ReleaseError
from thampi.operations import clean, destroy, examine, promote, rollback

QUIET = {"say": lambda text: None}
# With these begins what leaves something behind, or makes it needless.
FLIPS = ("lambda.Invoke", "lambda.UpdateAlias", "lambda.PutProvisionedConcurrencyConfig")


@pytest.fixture
def stand(stand):
    """The same, in an account that has what moto doesn't know of."""
    limits(stand)
    return stand


def limits(stand, limit=1000, free=1000, also=lambda call: None):
    said = {"AccountLimit": {"ConcurrentExecutions": limit, "UnreservedConcurrentExecutions": free}}
    stand.before = lambda call: (
        also(call) or ((AWSResponse("", 200, {}, None), said) if call == "lambda.GetAccountSettings" else None)
    )


def ready(stand, number=2, **more):
    return replace(stand.stage, provisioned_concurrency=number, **more)


def other(stand, number=2, **more):
    return other_model(stand, provisioned_concurrency=number, **more)


def has(stand):
    """What each version has ready."""
    client = stand.clients["lambda"]
    listed = client.list_provisioned_concurrency_configs(FunctionName=NAME)["ProvisionedConcurrencyConfigs"]
    return {
        each["FunctionArn"].rpartition(":")[2]: each["RequestedProvisionedConcurrentExecutions"]
        for each in listed
        if each["Status"] == "READY"
    }


def live(stand):
    """What is live, and the shares beside it."""
    alias = stand.clients["lambda"].get_alias(FunctionName=NAME, Name="live")
    return alias["FunctionVersion"], (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}


def row(pushed):
    return next((each for each in pushed.rows if each.thing == "provisioned"), None)


# ------------------------------------------------------------------------------------------------------------ a push


def test_environments_are_ready_before_the_version_gets_calls_and_freed_after_it(stand):
    stand.push(ready(stand))
    assert (has(stand), live(stand)) == ({"1": 2}, ("1", {}))
    seen = []
    stand.before = lambda call: seen.append(has(stand)) if call == "lambda.UpdateAlias" else None
    stand.after = lambda call: seen.append(has(stand)) if call == "lambda.UpdateAlias" else None
    pushed = again(stand, other(stand))
    assert seen == [{"1": 2, "2": 2}, {"1": 2, "2": 2}]
    assert (has(stand), live(stand)) == ({"2": 2}, ("2", {}))
    assert row(pushed).changes == ("provisioned of 1: 2 -> none",)
    order = ["lambda.Invoke", "lambda.PutProvisionedConcurrencyConfig", "lambda.UpdateAlias"]
    order += ["lambda.DeleteProvisionedConcurrencyConfig"]
    assert [call for call in stand.calls if call in order] == order
    assert "starting 2 environments of version 2, beside those of version 1: both are paid for until it is done" in (
        stand.said
    )


def test_a_second_push_of_the_same_writes_nothing(stand):
    stand.push(ready(stand))
    assert not again(stand, ready(stand)).changed
    assert writes(stand) == []


def test_another_number_makes_no_release(stand):
    stand.push(ready(stand))
    would = examine.examine(ready(stand, 4), stand.plan(stand.stage), stand.place)
    assert row(would).changes == ("provisioned of 1: 2 -> 4",)
    pushed = again(stand, ready(stand, 4))
    assert (pushed.version, has(stand), row(pushed).changes) == ("1", {"1": 4}, ("provisioned of 1: 2 -> 4",))
    assert {"lambda.PublishVersion", "lambda.UpdateFunctionConfiguration"}.isdisjoint(stand.calls)
    assert row(again(stand)).changes == ("provisioned of 1: 4 -> none",)
    assert has(stand) == {}
    assert not again(stand).changed


def test_a_stage_that_wants_none_is_not_asked_about_any(stand):
    stand.push()
    for stage in (stand.stage, other_model(stand)):
        again(stand, stage)
        assert not [call for call in stand.calls if "Provisioned" in call]


def test_a_model_alone_takes_few_calls_here_too(stand):
    stand.push(ready(stand))
    again(stand, other(stand))
    assert [call for call in stand.calls if call.startswith(("events.", "iam.", "logs.", "apigatewayv2.Create"))] == []
    # Those of a stage without, and: what there is before, asking for it, twice whether it is ready, what to free.
    assert len([call for call in stand.calls if "Provisioned" in call]) == 6


@pytest.mark.parametrize("fails", [{"2": "FUNCTION_ERROR_INIT_FAILURE"}, {"2": "out of addresses"}])
def test_what_can_not_be_kept_ready_does_not_become_live_and_is_taken_back(stand, monkeypatch, fails):
    stand.push(ready(stand))
    strict.lambda_provisions(monkeypatch, fails=fails)
    with pytest.raises(ReleaseError, match=f"version 2 did not become live: 2 environments .*: {fails['2']}") as no:
        stand.push(other(stand))
    assert ("thampi logs staging" in no.value.hint) is ("INIT" in fails["2"])
    assert (has(stand), live(stand)) == ({"1": 2}, ("1", {}))
    listed = stand.clients["lambda"].list_provisioned_concurrency_configs(FunctionName=NAME)
    assert len(listed["ProvisionedConcurrencyConfigs"]) == 1
    strict.lambda_provisions(monkeypatch)
    stand.push(other(stand))
    assert (has(stand), live(stand)) == ({"2": 2}, ("2", {}))


def test_a_number_that_can_not_be_had_leaves_what_is_live_with_what_it_had(stand, monkeypatch):
    stand.push(ready(stand))
    refuse = "lambda.PutProvisionedConcurrencyConfig"
    limits(stand, also=lambda call: refusal("InvalidParameterValueException", message="no") if call == refuse else None)
    with pytest.raises(ReleaseError, match=r"version 1 gets calls as before: 4 environments of it .*: no"):
        stand.push(ready(stand, 4))
    stand.undisturbed()
    assert (has(stand), live(stand)) == ({"1": 2}, ("1", {}))


def test_one_that_fails_its_trial_is_given_none(stand):
    stand.push(ready(stand))
    broken(stand)
    with pytest.raises(ReleaseError):
        again(stand, other(stand))
    assert not [call for call in stand.calls if call.startswith("lambda.PutProvisioned")]


# ----------------------------------------------------------------------------------------------------------- its room


@pytest.mark.parametrize(
    ("limit", "free", "number", "hint"),
    [
        (10, 10, 1, "take it out of thampi.toml"),  # a new account
        (1000, 1000, 451, "set it to 450 or less"),
        (1000, 104, 3, "set it to 2 or less"),
    ],
)
def test_more_than_the_account_has_twice_is_refused_before_anything_is_made(stand, limit, free, number, hint):
    limits(stand, limit, free)
    with pytest.raises(CloudError, match=f"provisioned_concurrency = {number} is more than this account") as no:
        stand.push(ready(stand, number))
    assert hint in no.value.hint
    assert writes(stand) == []


def test_as_much_as_the_account_has_is_fine_and_what_is_there_is_not_asked_about(stand):
    limits(stand, 1000, 104)
    stand.push(ready(stand))
    limits(stand, 10, 10)
    stand.push(other(stand))
    assert has(stand) == {"2": 2}


def test_what_is_reserved_is_raised_before_more_is_asked_for_and_lowered_after(stand):
    stand.push(ready(stand, 2, reserved_concurrency=4))
    again(stand, other(stand, 5, reserved_concurrency=10))
    put, reserve = "lambda.PutProvisionedConcurrencyConfig", "lambda.PutFunctionConcurrency"
    assert stand.calls.index(reserve) < stand.calls.index(put)
    assert has(stand) == {"2": 5}
    again(stand, ready(stand, 1, reserved_concurrency=2))
    assert stand.calls.index(reserve) > stand.calls.index("lambda.DeleteProvisionedConcurrencyConfig")
    assert has(stand) == {"3": 1}
    assert not again(stand, ready(stand, 1, reserved_concurrency=2)).changed


# -------------------------------------------------------------------------------------------------------- the canary


def test_a_candidate_has_what_its_share_needs_and_all_of_it_before_it_is_promoted(stand):
    stand.push(ready(stand, 10))
    stand.push(other(stand, 10), canary=15)
    assert (has(stand), live(stand)) == ({"1": 10, "2": 2}, ("1", {"2": 0.15}))
    seen = []
    stand.before = lambda call: seen.append(has(stand)) if call == "lambda.UpdateAlias" else None
    half = promote.promote(ready(stand, 10), stand.place, to=50, **QUIET)
    assert (has(stand), live(stand)) == ({"1": 10, "2": 5}, ("1", {"2": 0.5}))
    assert "provisioned of 2: 2 -> 5" in half.changes
    moved = promote.promote(ready(stand, 10), stand.place, **QUIET)
    assert seen == [{"1": 10, "2": 5}, {"1": 10, "2": 10}]
    assert (has(stand), live(stand)) == ({"2": 10}, ("2", {}))
    assert "provisioned of 1: 10 -> none" in moved.changes


def test_ending_a_canary_frees_what_the_candidate_had(stand):
    for end in (
        lambda: rollback.rollback(ready(stand), stand.place, **QUIET),
        lambda: rollback.end_canary(ready(stand), stand.place, live(stand)[1].popitem()[0]),
        lambda: stand.push(ready(stand)),
    ):
        stand.push(ready(stand))
        stand.push(other(stand), canary=10)
        candidate = next(iter(live(stand)[1]))
        assert has(stand) == {"1": 2, candidate: 1}
        end()
        assert (has(stand), live(stand)) == ({"1": 2}, ("1", {}))


def test_another_share_of_the_same_candidate_has_what_that_needs_first(stand):
    stand.push(ready(stand, 10))
    stand.push(other(stand, 10), canary=10)
    seen = []
    stand.before = lambda call: seen.append(has(stand)) if call == "lambda.UpdateAlias" else None
    stand.push(other(stand, 10), canary=40)
    assert seen == [{"1": 10, "2": 4}]
    assert (has(stand), live(stand)) == ({"1": 10, "2": 4}, ("1", {"2": 0.4}))


def test_a_promotion_that_can_not_be_kept_ready_changes_nothing(stand, monkeypatch):
    stand.push(ready(stand, 10))
    stand.push(other(stand, 10), canary=10)
    refuse = "lambda.PutProvisionedConcurrencyConfig"
    limits(stand, also=lambda call: refusal("InvalidParameterValueException", message="no") if call == refuse else None)
    with pytest.raises(ReleaseError, match="version 2 did not become live: 10 environments"):
        promote.promote(ready(stand, 10), stand.place, **QUIET)
    assert (has(stand), live(stand)) == ({"1": 10, "2": 1}, ("1", {"2": 0.1}))


def test_rolling_back_is_warm_too(stand):
    stand.push(ready(stand))
    stand.push(other(stand))
    seen = []
    stand.before = lambda call: seen.append(has(stand)) if call == "lambda.UpdateAlias" else None
    moved = rollback.rollback(ready(stand), stand.place, **QUIET)
    assert seen == [{"1": 2, "2": 2}]
    assert (has(stand), live(stand)) == ({"1": 2}, ("1", {}))
    assert moved.changes[1:] == ("provisioned of 1: none -> 2", "provisioned of 2: 2 -> none")


# ------------------------------------------------------------------------------------------------------- and its end


def test_a_stage_is_destroyed_with_all_of_it(stand):
    stand.push(ready(stand))
    stand.push(other(stand), canary=10)
    destroy.destroy(ready(stand), stand.place, who="ann@laptop")
    assert stand.snapshot()["functions"] == {}


def test_nothing_is_freed_of_a_function_that_is_somebody_elses(stand):
    stand.push(ready(stand))
    arn = stand.place.aws.arn("lambda", f"function:{NAME}")
    stand.clients["lambda"].untag_resource(Resource=arn, TagKeys=["thampi:stage"])
    with pytest.raises(CloudError, match="is not this project's"):
        destroy.destroy(ready(stand), stand.place, who="ann@laptop")
    assert has(stand) == {"1": 2}


def test_an_old_release_is_freed_before_it_is_deleted(stand):
    for stage in (stand.stage, other_model(stand), replace(stand.stage, memory_mb=512)):
        stand.push(stage)
    client = stand.clients["lambda"]
    client.put_provisioned_concurrency_config(FunctionName=NAME, Qualifier="1", ProvisionedConcurrentExecutions=1)
    found = clean.clean_stage(replace(stand.stage, keep_releases=1), stand.place, **QUIET)
    assert found.versions == ("1", "2")
    assert list(stand.snapshot()["functions"][NAME]["versions"]) == ["$LATEST", "3"]


@pytest.mark.parametrize("story", ["first", "none at all any more", "another model", "canary", "promote", "rollback"])
def test_whatever_write_a_run_dies_after_the_next_push_leaves_what_is_wanted_and_nothing_else(accounts, story):
    def begin(stand):
        limits(stand)
        stand.push(stand.stage if story == "first" else ready(stand))
        if story in ("promote", "rollback"):
            stand.push(other(stand), canary=10 if story == "promote" else None)

    def act(stand):
        stage, place = ready(stand), stand.place
        return {
            "first": lambda: stand.push(other(stand)),
            "none at all any more": lambda: stand.push(other_model(stand)),
            "another model": lambda: stand.push(other(stand)),
            "canary": lambda: stand.push(other(stand), canary=10),
            "promote": lambda: promote.promote(stage, place, force=True, **QUIET),
            "rollback": lambda: rollback.rollback(stage, place, force=True, **QUIET),
        }[story]()

    with accounts.account() as stand:
        begin(stand)
        stand.calls.clear()
        act(stand)
        calls = list(stand.calls)
    first = next(n for n, call in enumerate(calls) if call in FLIPS)
    deaths = [n for n, call in enumerate(calls) if n >= first and not READ.match(call)]
    assert len(deaths) >= 3
    for number in deaths:
        # As the dead run wanted it, or as if its settings had been taken back.
        for wants in (2, None) if story in ("first", "another model") else (2,):
            with accounts.account() as stand:
                begin(stand)
                left = [number]

                def die(call, left=left):
                    left[0] -= 1
                    if left[0] < 0:
                        raise Death(call)

                stand.after = die
                with pytest.raises(Death):
                    act(stand)
                stand.undisturbed()
                limits(stand)
                stand.push(replace(stand.stage, provisioned_concurrency=wants), force=True)
                version, shares = live(stand)
                told = f"after {calls[number]} #{number}, then {wants}"
                assert (has(stand), shares) == ({version: 2} if wants else {}, {}), told
