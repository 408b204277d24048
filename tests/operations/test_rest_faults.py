"""A push with a REST API that fails halfway: whom it lets in changes whole or not at all; see `faults`."""

import pytest

from tests.operations.faults import Case, story, undisturbed
from thampi.config import Api, Cors

REST = {"api": Api(type="rest")}
SIGNED = {"api": Api(type="rest", auth="iam")}
BROWSED = {"api": Api(type="rest", auth="iam", cors=Cors(origins=("https://a.example",)))}
BROWSED_BY_MORE = {"api": Api(type="rest", auth="iam", cors=Cors(origins=("https://a.example", "https://b.example")))}
HTTP = {"api": Api()}
URL = {"api": Api(type="url")}

CASES = {
    "first push": Case("lambda.AddPermission", None, "model-2", REST),
    "signatures wanted": Case("lambda.UpdateAlias", "model-2", "model-3", SIGNED, REST, flips=3),
    "signatures no longer wanted": Case("lambda.UpdateAlias", "model-2", "model-3", REST, SIGNED, flips=3),
    "browsers let in": Case("lambda.UpdateAlias", "model-2", "model-3", BROWSED, SIGNED, flips=3),
    "browsers of more sites let in": Case(
        "lambda.UpdateAlias", "model-2", "model-3", BROWSED_BY_MORE, BROWSED, flips=3
    ),
    "browsers no longer let in": Case("lambda.UpdateAlias", "model-2", "model-3", SIGNED, BROWSED, flips=3),
    "from an HTTP API": Case("lambda.UpdateAlias", "model-2", "model-3", REST, HTTP, flips=3),
    "to an HTTP API": Case("lambda.UpdateAlias", "model-2", "model-3", HTTP, REST, flips=3),
    "from a function URL": Case("lambda.UpdateAlias", "model-2", "model-3", SIGNED, URL, flips=3),
}
# What died before a call has left what died after the one before it; the rest of a push is the same for all types.
_STORIES = [(name, "died after", "apigateway") for name in CASES]
_STORIES += [("first push", kind, "apigateway") for kind in ("died before", "throttled", "answered 500", "denied")]
_STORIES += [(name, "died after", "apigatewayv2") for name in ("from an HTTP API", "to an HTTP API")]
_STORIES += [("from a function URL", "died after", "lambda")]


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    problems = story(accounts, CASES[name], kind, service, sampled=True)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_one_api_with_one_deployment_and_in_nothing_to_do(accounts, name):
    case = CASES[name]
    with accounts.account() as stand:
        case.prepare(stand)
        case.push(stand)
        rest = stand.snapshot()["REST APIs"]
        assert [len(api["deployments"]) for api in rest] == ([] if name == "to an HTTP API" else [1])
        again = case.push(stand)
        assert not again.changed, again.rows
    assert undisturbed(accounts, case).state["REST APIs"] == rest


_SIGNED, _ANYBODY = ("AWS_IAM", False), ("NONE", False)


def _since_the_trial(stand):
    """Return the calls after a release was tried: from then on `live` is written for it, and not for a note."""
    return stand.calls[stand.calls.index("lambda.Invoke") :] if "lambda.Invoke" in stand.calls else []


@pytest.mark.parametrize(
    ("name", "who", "before_the_release"),
    [
        ("signatures wanted", [{_ANYBODY}, {_SIGNED}], True),
        ("signatures no longer wanted", [{_SIGNED}, {_ANYBODY}], False),
        ("browsers let in", [{_SIGNED}], None),
        ("from an HTTP API", [set(), {_ANYBODY}], False),
        ("from a function URL", [set(), {_SIGNED}], False),
    ],
)
def test_whom_it_lets_in_changes_in_one_call_on_the_safe_side_of_the_release(accounts, name, who, before_the_release):
    case = CASES[name]
    with accounts.account() as stand:
        case.prepare(stand)
        seen = []

        def after(call):
            found = stand.whom_rest_lets_in()
            if not seen or seen[-1][0] != found:
                seen.append((found, call, "lambda.UpdateAlias" in _since_the_trial(stand)))

        stand.after = after
        case.push(stand)
        assert [found for found, *_ in seen] == who
        if before_the_release is not None:
            assert seen[-1][1:] in [
                ("apigateway.UpdateStage", not before_the_release),
                ("apigateway.CreateStage", not before_the_release),
            ]
