"""A web ACL stands before the API before the release that counts on it is live; only what thampi put there goes."""

import itertools
from dataclasses import replace

import pytest

from tests.aws.conftest import Death
from tests.aws.rest.test_api import OPEN, READS
from thampi.aws.rest import api as rest
from thampi.aws.rest import found as finding
from thampi.aws.rest import web_acl
from thampi.errors import CloudError, ConfigError


@pytest.fixture
def acls(aws):
    """Two web ACLs of the owner."""
    return [make(aws, name) for name in ("first", "second")]


def make(aws, name):
    shown = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
    made = aws.client("wafv2").create_web_acl(
        Name=name, Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=shown
    )
    return made["Summary"]["ARN"]


def arn(aws):
    api_id = aws.client("apigateway").get_rest_apis()["items"][0]["id"]
    return finding.stage_arn(aws, api_id, "staging")


def seen(aws):
    """What stands there, and what is noted of it."""
    client = aws.client("apigateway")
    api_id = client.get_rest_apis()["items"][0]["id"]
    stage = client.get_stages(restApiId=api_id)["item"][0]
    found = aws.client("wafv2").get_web_acl_for_resource(ResourceArn=arn(aws)).get("WebACL")
    return (found or {}).get("ARN"), stage["tags"].get(web_acl.TAG)


def guarded(acl):
    return replace(OPEN, waf_acl_arn=acl)


def as_noted(acl):
    return (acl, acl.rpartition("/")[2] if acl else None)


@pytest.mark.parametrize(("old", "new"), [*itertools.product([None, 0, 1], repeat=2)])
def test_an_acl_is_put_on_changed_and_taken_off(aws, acls, calls, old, new):
    before, wanted = (acls[each] if each is not None else None for each in (old, new))
    rest.ensure(aws, guarded(before))
    found = rest.read(aws, "iris", "staging")
    lines = [f"waf: {before or 'none'} -> {wanted or 'none'}"] if before != wanted else []
    assert [*rest.differences(found, guarded(wanted))] == lines
    assert [*rest.ensure(aws, guarded(wanted)).changes] == lines
    assert seen(aws) == as_noted(wanted)
    calls.clear()
    assert rest.ensure(aws, guarded(wanted)).action == "left"
    assert sorted(calls) == sorted(READS)


def test_where_none_was_ever_wanted_waf_is_not_asked(aws, calls):
    rest.ensure(aws, OPEN)
    assert not [call for call in calls if "WebACL" in call or "Tag" in call]


def test_a_new_api_has_its_acl_before_anybody_gets_through(aws, acls, calls):
    calls.clear()
    made = rest.ensure(aws, guarded(acls[0]))  # the permission to call the function comes after it
    assert calls[-1] == "AssociateWebACL"
    assert made.value.acl.arn == acls[0]


def test_tightening_puts_it_on_and_takes_none_off(aws, acls, calls):
    rest.ensure(aws, OPEN)
    calls.clear()
    made = rest.tighten(aws, rest.read(aws, "iris", "staging"), guarded(acls[0]))
    assert (made.action, made.changes) == ("changed", (f"waf: none -> {acls[0]}",))
    assert [call for call in calls if call not in READS] == ["TagResource", "AssociateWebACL"]
    assert seen(aws) == as_noted(acls[0])
    assert rest.tighten(aws, rest.read(aws, "iris", "staging"), OPEN).action == "left"
    assert seen(aws) == as_noted(acls[0])
    assert rest.ensure(aws, OPEN).changes == (f"waf: {acls[0]} -> none",)
    assert seen(aws) == (None, None)


# ------------------------------------------------------------------------------------------------------ somebody else's


def test_one_that_somebody_else_has_put_there_stays_where_none_is_wanted(aws, acls, calls):
    rest.ensure(aws, OPEN)
    aws.client("wafv2").associate_web_acl(WebACLArn=acls[0], ResourceArn=arn(aws))
    calls.clear()
    assert rest.ensure(aws, OPEN).action == "left"
    assert rest.tighten(aws, rest.read(aws, "iris", "staging"), OPEN).action == "left"
    assert seen(aws) == (acls[0], None)


def test_one_that_somebody_else_has_put_there_is_not_replaced(aws, acls, calls):
    rest.ensure(aws, OPEN)
    aws.client("wafv2").associate_web_acl(WebACLArn=acls[0], ResourceArn=arn(aws))
    calls.clear()
    found, wanted = rest.read(aws, "iris", "staging"), guarded(acls[1])
    tries = (
        lambda: rest.differences(found, wanted),
        lambda: rest.tighten(aws, found, wanted),
        lambda: rest.ensure(aws, wanted),
    )
    for attempt in tries:
        with pytest.raises(CloudError, match="thampi has not put it there") as refused:
            attempt()
        assert acls[0] in str(refused.value)
        assert "waf_acl_arn" in refused.value.hint
    assert [call for call in calls if call not in READS] == []
    assert seen(aws) == (acls[0], None)


def test_the_same_one_that_somebody_else_has_put_there_is_theirs_for_good(aws, acls):
    rest.ensure(aws, OPEN)
    aws.client("wafv2").associate_web_acl(WebACLArn=acls[0], ResourceArn=arn(aws))
    assert rest.ensure(aws, guarded(acls[0])).action == "left"
    assert rest.ensure(aws, OPEN).action == "left"
    assert seen(aws) == (acls[0], None)


def test_one_that_somebody_has_put_in_the_place_of_ours_stays_and_ours_is_forgotten(aws, acls):
    rest.ensure(aws, guarded(acls[0]))
    aws.client("wafv2").associate_web_acl(WebACLArn=acls[1], ResourceArn=arn(aws))
    with pytest.raises(CloudError, match="thampi has not put it there"):
        rest.ensure(aws, guarded(acls[0]))
    ours = acls[0].rpartition("/")[2]
    assert rest.ensure(aws, OPEN).changes == (f"tags.thampi:waf: {ours} -> none",)
    assert seen(aws) == (acls[1], None)


def test_one_that_somebody_has_taken_off_is_put_on_again(aws, acls):
    rest.ensure(aws, guarded(acls[0]))
    aws.client("wafv2").disassociate_web_acl(ResourceArn=arn(aws))
    assert rest.ensure(aws, guarded(acls[0])).changes == (f"waf: none -> {acls[0]}",)
    assert seen(aws) == as_noted(acls[0])


# ------------------------------------------------------------------------------------------------ runs that end halfway


@pytest.mark.parametrize(
    ("old", "new", "then"),
    [(None, 0, 0), (None, 0, None), (0, 1, 1), (0, 1, 0), (0, 1, None), (0, None, None), (0, None, 0)],
)
def test_a_run_that_dies_at_any_call_is_finished_or_undone_and_nothing_of_ours_is_left(
    aws, acls, meddler, old, new, then
):
    before, wanted, after = (guarded(acls[each] if each is not None else None) for each in (old, new, then))
    rest.ensure(aws, before)
    for number in itertools.count(len(READS) - 1):  # to die while reading changes nothing
        meddler.kill("after", number)
        try:
            rest.ensure(aws, wanted)
            break
        except Death:
            meddler.stop()
            assert seen(aws)[0] in (before.waf_acl_arn, wanted.waf_acl_arn)
            rest.tighten(aws, rest.read(aws, "iris", "staging"), after)
            assert after.waf_acl_arn in (seen(aws)[0], None)
            rest.ensure(aws, after)
            assert seen(aws) == as_noted(after.waf_acl_arn)
        rest.ensure(aws, before)
    meddler.stop()
    assert number >= len(READS) + 1
    assert seen(aws) == as_noted(wanted.waf_acl_arn)


# ----------------------------------------------------------------------------------------------------- what WAF refuses


def test_a_new_acl_that_is_not_known_everywhere_yet_is_waited_for(aws, acls, meddler, sleeps):
    rest.ensure(aws, OPEN)
    meddler.refuse("AssociateWebACL", "WAFUnavailableEntityException", times=3)
    rest.ensure(aws, guarded(acls[0]))
    assert seen(aws) == as_noted(acls[0])
    assert sleeps == [2.0, 5.0, 10.0]


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("WAFUnavailableEntityException", "some minutes"),
        ("WAFNonexistentItemException", "aws wafv2 list-web-acls --scope REGIONAL --region eu-central-1"),
        ("WAFInvalidParameterException", "aws wafv2 list-web-acls --scope REGIONAL --region eu-central-1"),
    ],
)
def test_a_refusal_says_what_to_do(aws, acls, meddler, sleeps, code, hint):
    rest.ensure(aws, OPEN)
    meddler.refuse("AssociateWebACL", code, message="AWS WAF says no")
    with pytest.raises(CloudError, match="AWS WAF says no") as refused:
        rest.ensure(aws, guarded(acls[0]))
    assert hint in refused.value.hint
    assert sum(sleeps) == (157.0 if "Unavailable" in code else 0)


def test_one_of_another_region_or_one_that_is_not_there_is_refused_before_anything_is_made(aws, acls, calls):
    calls.clear()
    with pytest.raises(ConfigError, match="of eu-west-1, and the stage is in eu-central-1"):
        rest.check(aws, None, guarded(acls[0].replace("eu-central-1", "eu-west-1")))
    assert calls == []
    with pytest.raises(CloudError, match="reading the web ACL second") as refused:
        rest.check(aws, None, guarded(acls[1][:-1] + "x"))
    assert "check waf_acl_arn" in refused.value.hint
    rest.check(aws, None, guarded(acls[1]))
    assert calls == ["GetWebACL", "GetWebACL"]
    rest.ensure(aws, guarded(acls[1]))
    found = rest.read(aws, "iris", "staging")
    calls.clear()
    rest.check(aws, found, guarded(acls[1]))
    rest.check(aws, found, OPEN)
    assert calls == []
