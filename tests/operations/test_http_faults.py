"""A push that dies while it switches a setting of an HTTP API or a function URL on, changes it, or switches it off."""

from dataclasses import replace

import pytest

from tests.operations.faults import Case, story, undisturbed
from thampi.config import Api, Cors, Jwt, Limit

TOKENS = Jwt(issuer="https://login.example.com/", audience=("one", "two"), scopes=("ask",))
SITES = Cors(origins=("https://a.example", "https://b.example"))
OTHERS = Cors(origins=("https://b.example",), credentials=True, max_age_s=5)
LIMITS = {"predict": Limit(rate_per_s=5.0, burst=10), "ping": Limit(rate_per_s=1.0, burst=2)}

PLAIN, PLAIN_URL = Api(), Api(type="url")
ALL = Api(auth="jwt", jwt=TOKENS, cors=SITES, routes=LIMITS, access_log=True)
CHANGED = replace(
    ALL,
    jwt=Jwt(issuer="https://o.example/", audience=("two",), scopes=("see",)),
    cors=OTHERS,
    routes={"predict": Limit(rate_per_s=9.0, burst=5), "about": Limit(rate_per_s=3.0, burst=3)},
)


def case(old, new):
    """A push of a new model with other settings; `live` is written once for the release, and once for the note."""
    return Case("lambda.UpdateAlias", "model-2", "model-3", {"api": new}, {"api": old}, flips=3)


CASES = {
    "tokens, other sites, limits of routes and a log on": case(PLAIN, ALL),
    "another issuer, other scopes, sites and limits": case(ALL, CHANGED),
    "all of it off": case(CHANGED, PLAIN),
    "tokens instead of signatures": case(Api(auth="iam", routes=LIMITS), replace(ALL, access_log=False)),
    "signatures instead of tokens": case(ALL, Api(auth="iam", cors=SITES)),
    "a URL's other sites on": case(PLAIN_URL, replace(PLAIN_URL, cors=SITES)),
    "a URL's other sites changed": case(replace(PLAIN_URL, cors=SITES), replace(PLAIN_URL, cors=OTHERS)),
    "a URL's other sites off": case(replace(PLAIN_URL, cors=SITES), PLAIN_URL),
}
# What is written of the settings: before and after a read a death leaves what the last write has left.
_MEDDLED = {"apigatewayv2": "(?!Get)", "lambda": "UpdateFunctionUrlConfig|UpdateAlias"}
_STORIES = [
    (name, kind, service)
    for name, each in CASES.items()
    for kind in ("died before", "died after")
    for service in (("lambda",) if each.settings["api"].type == "url" else ("apigatewayv2",))
]


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_dies_on_a_setting_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    assert any(call.startswith(f"{service}.") for call in undisturbed(accounts, CASES[name]).calls)
    problems = story(accounts, CASES[name], kind, service, only=_MEDDLED[service])
    assert not problems, "\n".join(problems)
