"""The stages of a project are told with their state; one that can't be asked doesn't hide the others."""

import json
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse

from tests.operations.stand import refusal
from thampi.errors import CloudError, ConfigError
from thampi.operations import listing


def test_each_stage_is_told_with_its_state_version_and_url(stand):
    pushed = stand.push()
    stages = [stand.stage, replace(stand.stage, stage="production")]
    found = listing.states(stages, lambda stage: stand.place)
    assert found == [
        listing.State("staging", "live", "1", pushed.url),
        listing.State("production", "absent"),
    ]
    assert found[0].as_json() == {
        "stage": "staging",
        "state": "live",
        "version": "1",
        "url": pushed.url,
        "said": "",
    }


def test_a_stage_that_can_not_be_reached_is_unknown_with_the_reason_and_the_others_are_told(stand):
    stand.push()
    stages = [replace(stand.stage, stage=name) for name in ("gone", "broken", "staging", "nowhere")]

    def find(stage):
        if stage.stage == "gone":
            raise CloudError("the SSO session has expired", hint="aws sso login")
        if stage.stage == "broken":
            raise ConfigError("stages.broken.bucket is missing", hint=None)
        return None if stage.stage == "nowhere" else stand.place

    found = {each.stage: (each.state, each.said) for each in listing.states(stages, find)}
    assert found == {
        "gone": ("unknown", "the SSO session has expired"),
        "broken": ("unknown", "stages.broken.bucket is missing"),
        "staging": ("live", ""),
        "nowhere": ("absent", ""),
    }


def test_a_call_that_is_refused_makes_a_stage_unknown(stand):
    stand.push()
    stand.before = lambda call: refusal("AccessDeniedException", 403) if call == "lambda.GetAlias" else None
    (found,) = listing.states([stand.stage], lambda stage: stand.place)
    assert found.state == "unknown"
    assert "AWS refuses" in found.said


def test_what_a_push_began_and_did_not_end_is_unfinished(stand):
    stand.push()
    (api,) = stand.clients["apigatewayv2"].get_apis()["Items"]
    stand.clients["lambda"].delete_alias(FunctionName="thampi-scale-staging", Name="live")
    (found,) = listing.states([stand.stage], lambda stage: stand.place)
    assert (found.state, found.version) == ("unfinished", "")
    assert api["ApiId"] in found.url
    stand.push()
    (api,) = stand.clients["apigatewayv2"].get_apis()["Items"]
    stand.clients["apigatewayv2"].delete_api(ApiId=api["ApiId"])
    (found,) = listing.states([stand.stage], lambda stage: stand.place)
    assert (found.state, found.url) == ("unfinished", "")


def test_every_project_that_the_tags_show_is_listed_and_each_account_is_asked_once(stand, answers_of_tags):
    asked, pages = answers_of_tags
    lambdas = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-"
    pages += [
        ([(f"{lambdas}b-staging", {"thampi:project": "b", "thampi:stage": "staging"})], True),
        (
            [
                ("arn:aws:ecr:eu-central-1:123456789012:repository/thampi-b", {"thampi:project": "b"}),
                (f"{lambdas}a-live", {"thampi:project": "a", "thampi:stage": "live", "team": "ml"}),
                (
                    "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/thampi-a-live",
                    {
                        "thampi:project": "a",
                        "thampi:stage": "live",
                    },
                ),
            ],
            False,
        ),
    ]
    found = listing.projects([stand.place, stand.place])
    assert [(each.project, each.stage, each.things) for each in found] == [
        ("a", "live", {"lambda": 1, "logs": 1}),
        ("b", "", {"ecr": 1}),
        ("b", "staging", {"lambda": 1}),
    ]
    assert {(each.account, each.region) for each in found} == {("123456789012", "eu-central-1")}
    assert [each["TagFilters"] for each in asked] == [[{"Key": "thampi:project"}]] * 2


@pytest.fixture
def answers_of_tags(stand):
    """Answer for the tagging API, which moto has for few services; what was asked."""
    asked, pages = [], []
    client = stand.place.aws.client("resourcegroupstaggingapi")

    def reply(model, params, **_):
        asked.append(json.loads(params["body"]))
        listed, more = pages.pop(0)
        mapping = [
            {"ResourceARN": arn, "Tags": [{"Key": k, "Value": v} for k, v in tags.items()]} for arn, tags in listed
        ]
        answer = {"ResourceTagMappingList": mapping, "PaginationToken": "more" if more else ""}
        return AWSResponse("", 200, {}, None), answer

    client.meta.events.register("before-call", reply)
    return asked, pages


def test_who_may_not_ask_by_tags_is_told(stand):
    stand.before = lambda call: refusal("AccessDeniedException", 403) if call.endswith(".GetResources") else None
    stand.place.aws._clients.pop("resourcegroupstaggingapi", None)
    with pytest.raises(CloudError, match="AWS refuses GetResources"):
        listing.projects([stand.place])


def test_a_stage_that_can_not_be_asked_hides_no_project(stand):
    said = []

    def find(stage):
        if stage.stage == "gone":
            raise CloudError("no AWS region is set", hint=None)
        return None if stage.stage == "asleep" else stand.place

    stages = [replace(stand.stage, stage=name) for name in ("gone", "asleep", "staging")]
    assert listing.places_of(stages, find, said.append) == [stand.place]
    assert said == ["the account of stage gone can't be asked: no AWS region is set"]
