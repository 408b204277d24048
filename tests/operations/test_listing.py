"""The stages of a project are told with their state; one that can't be asked doesn't hide the others."""

from dataclasses import replace

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
