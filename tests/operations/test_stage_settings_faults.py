"""Settings of a REST API's stage, switched on, changed and off by a push that fails at any call: see `faults`.

All of them at once: limits of routes, the cache, the access log, tracing, the web ACL.
"""

import json
from dataclasses import dataclass, replace

import pytest
from moto.wafv2.models import wafv2_backends

from tests.operations.faults import Case, story
from tests.operations.stand import REGION, Stand
from thampi.aws.rest import stage_settings, web_acl
from thampi.config import Api, Limit
from thampi.errors import CloudError
from thampi.operations import destroy

LOG = "/aws/apigateway/thampi-scale-staging"
ACCOUNT = "123456789012"
ACLS = [f"arn:aws:wafv2:{REGION}:{ACCOUNT}:regional/webacl/{name}/{name}-1" for name in ("first", "second")]
PLAIN = Api(type="rest")
ON = replace(
    PLAIN,
    routes={"predict": Limit(rate_per_s=5.0, burst=10)},
    cache_ttl_s=60,
    access_log=True,
    tracing=True,
    waf_acl_arn=ACLS[0],
)
CHANGED = replace(
    ON,
    rate_per_s=50.0,
    routes={"predict": Limit(rate_per_s=2.0, burst=3), "ping": Limit(rate_per_s=20.0, burst=30)},
    cache_ttl_s=600,
    waf_acl_arn=ACLS[1],
)


@dataclass(frozen=True)
class Prepared(Case):
    """A push to an account where API Gateway may write logs and the owner has two web ACLs."""

    def prepare(self, stand):
        operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": f"arn:aws:iam::{ACCOUNT}:role/logs"}
        stand.clients["apigateway"].update_account(patchOperations=[operation])
        shown = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "all"}
        known = wafv2_backends[ACCOUNT][REGION].wacls
        for arn in ACLS:
            _, name, acl_id = arn.rsplit("/", 2)
            made = stand.clients["wafv2"].create_web_acl(
                Name=name, Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=shown
            )
            known[arn] = known.pop(made["Summary"]["ARN"])  # with an id that is the same in every account
            known[arn].arn, known[arn].id = arn, acl_id
        super().prepare(stand)


def case(new, old):
    return Prepared("lambda.UpdateAlias", "model-2", "model-3", {"api": new}, {"api": old}, flips=3)


CASES = {
    "first push": Prepared("lambda.AddPermission", None, "model-2", {"api": ON}),
    "on": case(ON, PLAIN),
    "changed": case(CHANGED, ON),
    "off": case(PLAIN, CHANGED),
}
_STORIES = [
    *((name, "died after", service) for name in CASES for service in ("apigateway", "wafv2") if name != "first push"),
    ("first push", "died after", "wafv2"),
    ("on", "died before", "wafv2"),
    ("on", "denied", "wafv2"),
    ("on", "throttled", "wafv2"),
    *((name, "died after", "logs") for name in ("on", "off")),
    *((name, "died after", "iam") for name in ("on", "off")),
]


@pytest.mark.parametrize(("name", "kind", "service"), _STORIES)
def test_a_push_that_fails_changes_nothing_for_callers_and_the_next_one_ends_like_an_undisturbed_one(
    accounts, name, kind, service
):
    problems = story(accounts, CASES[name], kind, service, sampled=True)
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("name", CASES)
def test_it_ends_with_all_settings_as_wanted_and_in_nothing_to_do(accounts, name):
    case = CASES[name]
    api = case.settings["api"]
    with accounts.account() as stand:
        case.prepare(stand)
        case.push(stand)
        seen = look(stand)
        assert (seen.acl, seen.settings.tracing) == (api.waf_acl_arn, api.tracing)
        predict = seen.settings.routes.get("~1scale~1predict/POST")
        assert (predict and predict.rate_per_s) == (api.routes["predict"].rate_per_s if api.routes else None)
        kept = {route.cache_ttl_s for route in seen.settings.routes.values()} - {None}
        assert kept == ({api.cache_ttl_s} - {None})
        assert (seen.settings.access_log_arn is not None) == api.access_log
        assert stand.live()["TracingConfig"]["Mode"] == ("Active" if api.tracing else "PassThrough")
        assert ("xray" in json.dumps(stand.snapshot()["roles"])) == api.tracing
        stand.calls.clear()
        again = case.push(stand)
        assert not again.changed, again.rows
        assert not [call for call in stand.calls if "Waf" in call or call.startswith("wafv2.")]
        assert stand.calls.count("logs.DescribeLogGroups") == 1 + api.access_log


@dataclass(frozen=True)
class Seen:
    """What stands in front of the function."""

    settings: stage_settings.StageSettings
    acl: str | None
    noted: str | None


def look(stand: Stand) -> Seen:
    client = stand.clients["apigateway"]
    api_id = client.get_rest_apis()["items"][0]["id"]
    (stage,) = client.get_stages(restApiId=api_id)["item"]
    return Seen(stage_settings.read(stage), stage.get("webAclArn"), stage["tags"].get(web_acl.TAG))


@pytest.mark.parametrize(("name", "acl"), [("on", ACLS[0]), ("changed", ACLS[1]), ("off", ACLS[1])])
def test_what_is_stricter_is_so_before_the_release_and_what_is_looser_after_it(accounts, name, acl):
    case = CASES[name]
    with accounts.account() as stand:
        case.prepare(stand)
        at_the_flip = []

        def before(call):
            if call == "lambda.UpdateAlias" and "lambda.Invoke" in stand.calls and not at_the_flip:
                at_the_flip.append(look(stand))

        stand.before = before
        case.push(stand)
        (seen,) = at_the_flip
        assert seen.acl == acl
        limits = {"on": (100.0, 5.0), "changed": (50.0, 2.0), "off": (50.0, 2.0)}[name]
        assert (seen.settings.rate_per_s, seen.settings.routes["~1scale~1predict/POST"].rate_per_s) == limits


def test_the_log_stays_when_it_is_switched_off_and_goes_with_the_stage(accounts):
    case = CASES["off"]
    with accounts.account() as stand:
        case.prepare(stand)
        assert LOG in stand.snapshot()["log groups"]
        pushed = case.push(stand)
        assert stand.snapshot()["log groups"][LOG]["days"] == 30
        assert "access log" not in [row.thing for row in pushed.rows]
        gone = destroy.destroy(case.stage(stand), stand.place, who="ann@laptop")
        assert [(each.thing, each.was_there) for each in gone if each.thing == "access log"] == [("access log", True)]
        assert stand.snapshot()["log groups"] == {}
        again = destroy.destroy(case.stage(stand), stand.place, who="ann@laptop")
        assert "access log" not in [each.thing for each in again]


def test_without_the_role_of_the_account_or_the_web_acl_nothing_is_made(accounts):
    for api, said in (
        (replace(PLAIN, access_log=True), "API Gateway may not write logs in this account"),
        (replace(PLAIN, waf_acl_arn=ACLS[0]), "reading the web ACL first"),
    ):
        with accounts.account() as stand:
            before = stand.snapshot()
            for mock in (False, True):
                with pytest.raises(CloudError, match=said):
                    stand.push(replace(stand.stage, api=replace(api, mock=mock, mock_result="a" if mock else None)))
                assert stand.snapshot() == before


def test_the_log_s_retention_and_tags_are_the_stage_s(accounts):
    case = CASES["on"]
    with accounts.account() as stand:
        case.prepare(stand)
        case.push(stand)
        other = replace(case.stage(stand), log_retention_days=7, tags={"team": "ml"})
        rows = {row.thing: row for row in stand.push(other).rows}
        assert rows["access log"].changes == ("retention_days: 30 -> 7", "tags.team: none -> ml")
        assert stand.snapshot()["log groups"][LOG]["days"] == 7
