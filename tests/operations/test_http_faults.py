"""A push that dies while it switches a setting of an HTTP API or a function URL on, changes it, or switches it off."""

from dataclasses import replace

import pytest

from tests.operations.faults import Case, story, undisturbed
from thampi.config import Api, Cors, Jwt, Limit

TOKENS = Jwt(issuer="https://login.example.com/", audience=("one", "two"), scopes=("ask",))
SITES = Cors(origins=("https://a.example", "https://b.example"))
PLAIN = Api()
ASKED = Api(auth="jwt", jwt=TOKENS, cors=SITES)
LIMITED = Api(routes={"predict": Limit(rate_per_s=5.0, burst=10), "ping": Limit(rate_per_s=1.0, burst=2)})
SITED = Api(type="url", cors=SITES)


def case(old, new):
    """A push of a new model with other settings; `live` is written once for the release, and once for the note."""
    return Case("lambda.UpdateAlias", "model-2", "model-3", {"api": new}, {"api": old}, flips=2)


CASES = {
    "tokens on, with a preflight's route": case(replace(PLAIN, cors=SITES), ASKED),
    "another issuer, fewer scopes": case(
        ASKED, replace(ASKED, jwt=replace(TOKENS, issuer="https://o.example/", scopes=("see",)))
    ),
    "tokens off": case(ASKED, PLAIN),
    "tokens instead of signatures, limits of routes off": case(replace(LIMITED, auth="iam"), replace(ASKED, cors=None)),
    "rules for other sites on": case(PLAIN, replace(PLAIN, cors=SITES)),
    "other rules for other sites": case(replace(PLAIN, cors=SITES), replace(PLAIN, cors=replace(SITES, max_age_s=5))),
    "limits of routes on, with tokens": case(PLAIN, replace(LIMITED, auth="jwt", jwt=TOKENS)),
    "other limits of routes": case(LIMITED, replace(LIMITED, routes={"predict": Limit(rate_per_s=9.0, burst=5)})),
    "limits of routes off": case(LIMITED, PLAIN),
    "access log on": case(PLAIN, replace(PLAIN, access_log=True)),
    "access log off": case(replace(PLAIN, access_log=True), PLAIN),
    "a URL's rules on": case(Api(type="url"), SITED),
    "a URL's other rules": case(SITED, replace(SITED, cors=replace(SITES, origins=("*",)))),
    "a URL's rules off": case(SITED, Api(type="url")),
}
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
    problems = story(accounts, CASES[name], kind, service)
    assert not problems, "\n".join(problems)
