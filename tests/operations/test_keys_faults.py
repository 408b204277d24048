"""Keys and their plan, when a push or `thampi keys` fails halfway: nobody is shut out or let in, nothing made twice."""

import pytest

from tests.operations.faults import Case, Fault, story
from tests.operations.stand import Death, refusal
from tests.operations.test_keys import NAME, held, with_api
from thampi.config import Api, Plan
from thampi.errors import CloudError, ConfigError
from thampi.operations import keys

OPEN = Api(type="rest")
KEYS = Api(type="rest", auth="api_key")
BOUND = Api(type="rest", auth="api_key", plan=Plan(rate_per_s=5.0, burst=10, quota=1000, period="day"))
OTHER = Api(type="rest", auth="api_key", plan=Plan(rate_per_s=2.0, burst=20, quota=70, period="week"))
FLIP = "lambda.UpdateAlias"


class WithKey(Case):
    """A stage for which a key was made, before it was pushed or after."""

    def prepare(self, stand):
        super().prepare(stand)
        keys.create(with_api(stand), stand.place, "anna")
        stand.calls.clear()


CASES = {
    "first push": WithKey("lambda.AddPermission", None, "model-2", {"api": BOUND}),
    "keys wanted": WithKey(FLIP, "model-2", "model-3", {"api": BOUND}, {"api": OPEN}, flips=3),
    "plan changed": WithKey(FLIP, "model-2", "model-3", {"api": OTHER}, {"api": BOUND}, flips=3),
    "quota off": WithKey(FLIP, "model-2", "model-3", {"api": KEYS}, {"api": BOUND}, flips=3),
    "keys no longer wanted": WithKey(FLIP, "model-2", "model-3", {"api": OPEN}, {"api": BOUND}, flips=3),
    "to an HTTP API": WithKey(FLIP, "model-2", "model-3", {"api": Api()}, {"api": BOUND}, flips=3),
}
_STORIES = [(name, kind) for name in CASES for kind in ("died before", "died after")]
_STORIES += [("keys wanted", kind) for kind in ("throttled", "denied")]
# What is between the plan and its API; what else a REST API is made of has stories of its own.
_BETWEEN = "(Get|Create|Update)UsagePlans?$|Create(Deployment|Stage)$|UpdateStage$|DeleteRestApi$"


@pytest.mark.parametrize(("name", "kind"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind
):
    problems = story(accounts, CASES[name], kind, "apigateway", sampled=True, only=_BETWEEN)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_one_plan_that_holds_the_key_and_in_nothing_to_do(accounts, name):
    case = CASES[name]
    with accounts.account() as stand:
        case.prepare(stand)
        case.push(stand)
        stages = [] if name == "to an HTTP API" else ["staging"]
        assert held(stand) == (stages, [f"{NAME}-anna"] if isinstance(case, WithKey) else [])
        again = case.push(stand)
        assert not again.changed, again.rows


# -------------------------------------------------------------------------------------------------------- thampi keys


def _create(stand):
    """Make the key as often as a user would: until there is one, or it says that there is."""
    stage = with_api(stand)
    try:
        return keys.create(stage, stand.place, "anna").value
    except ConfigError:
        return keys.show(stage, stand.place, "anna").value


@pytest.mark.parametrize("kind", ["died before", "died after"])
@pytest.mark.parametrize("pushed", [False, True])
def test_a_key_whose_making_fails_at_any_call_is_finished_by_the_next_one_and_made_once(accounts, kind, pushed):
    with accounts.account() as stand:
        keys.create(with_api(stand), stand.place, "anna")
        calls = list(stand.calls)
    counted = [(call, calls[: place + 1].count(call)) for place, call in enumerate(calls)]
    assert len(counted) >= 6
    for call, nth in counted:
        with accounts.account() as stand:
            if pushed:
                stand.push(with_api(stand))
                if call == "apigateway.CreateUsagePlan":
                    continue
            Fault(kind, call, nth).arrange(stand)
            with pytest.raises(Death):
                keys.create(with_api(stand), stand.place, "anna")
            stand.undisturbed()
            (listed, *_) = [*keys.listed(with_api(stand), stand.place), None]
            value = _create(stand)
            assert held(stand) == (["staging"] * pushed, [f"{NAME}-anna"])
            (key,) = keys.listed(with_api(stand), stand.place)
            assert key.key.in_plan
            assert listed is None or listed.key.key_id == key.key.key_id
            assert keys.show(with_api(stand), stand.place, "anna").value == value


@pytest.mark.parametrize("kind", ["died before", "died after"])
def test_a_revocation_that_fails_is_finished_by_the_next_one(accounts, kind):
    with accounts.account() as stand:
        stage = with_api(stand)
        keys.create(stage, stand.place, "anna")
        Fault(kind, "apigateway.DeleteApiKey", 1).arrange(stand)
        with pytest.raises(Death):
            keys.revoke(stage, stand.place, "anna")
        stand.undisturbed()
        if kind == "died before":
            keys.revoke(stage, stand.place, "anna")
        assert held(stand) == ([], [])
        assert keys.listed(stage, stand.place) == []


def test_who_may_not_make_keys_is_told_what_to_have_allowed(stand):
    def denied(call):
        said = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: apigateway:POST on resource: all"
        return refusal("AccessDeniedException", 403, said) if call == "apigateway.CreateApiKey" else None

    stand.before = denied
    with pytest.raises(CloudError, match="AWS refuses apigateway:POST to these credentials") as refused:
        keys.create(with_api(stand), stand.place, "anna")
    assert "have apigateway:POST allowed" in refused.value.hint
