"""What a REST API answers by itself, and that it comes out as it was told to whoever reads JSON."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.aws import strict_rest
from tests.runtime.signature.json_values import anything
from thampi import names
from thampi.aws.rest import api as rest
from thampi.aws.rest import mocks, tree
from thampi.aws.rest.tree import Answer
from thampi.aws.rest.wanted import Cors, Rest

TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
TAGS = names.tags("iris", "staging")
MOCK = Rest("iris", "staging", None, mock='{"result":{"label":"$1 #2"}}', tags=TAGS)
REAL = Rest("iris", "staging", TARGET, tags=TAGS)
SITE = Cors(("https://a.example",), headers=("content-type", "x-api-key"), max_age_s=60)


def answers(wanted):
    """Return what is answered by place."""
    return {place: method.integration.answer for place, method in mocks.make(wanted).methods.items()}


@settings(deadline=None)
@given(anything | st.sampled_from(["$input.body", "#set($x = 1)", "\\$", "\\\\#*", "$$", "##", "ü😀\u2028", 10**30]))
def test_an_example_comes_out_as_it_is_and_means_nothing_to_velocity(value):
    text = json.dumps(value, ensure_ascii=False)
    written = mocks.template(text)
    assert json.loads(written) == json.loads(text)
    assert repr(json.loads(written)) == repr(json.loads(text))  # 1.0 is no 1
    assert not {"$", "#"} & {*written}
    assert written.isascii()


def test_there_are_the_paths_of_a_model_and_refusals_in_the_shape_of_the_handlers():
    found = answers(MOCK)
    assert json.loads(found["/iris/predict", "POST"].body) == {"result": {"label": "$1 #2"}}
    assert found["/iris/ping", "GET"] == Answer(200, '{"ping":"pong"}', {})
    assert json.loads(found["/iris", "GET"].body) == {"name": "iris", "stage": "staging", "mock": True}
    for path in ("/", "/{proxy+}", "/iris/{proxy+}"):
        assert found[path, "ANY"].status == 404
        error = json.loads(found[path, "ANY"].body)["error"]
        assert (error["type"], error["request_id"]) == ("not_found", "$context.requestId")
        assert "POST /iris/predict" in error["message"]
    for path, method in (("/iris/predict", "POST"), ("/iris", "GET"), ("/iris/ping", "GET")):
        refused = found[path, "ANY"]
        assert (refused.status, refused.headers["Allow"]) == (405, f"{method}, OPTIONS")
    assert ("/iris/predict", "OPTIONS") not in found


@pytest.mark.parametrize(
    ("cors", "origin", "credentials"),
    [
        (SITE, "https://a.example", None),
        (replace(SITE, origins=("*",)), "*", None),
        (replace(SITE, origins=("https://a.example", "https://b.example")), "*", None),
        (replace(SITE, credentials=True), "https://a.example", "true"),
    ],
)
def test_pages_of_other_sites_may_read_each_answer_and_ask_before_without_a_proof(cors, origin, credentials):
    wanted = replace(MOCK, auth="api_key", cors=cors)
    found = answers(wanted)
    for answer in found.values():
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers.get("Access-Control-Allow-Credentials") == credentials
    preflight = found["/iris/predict", "OPTIONS"]
    assert (preflight.status, preflight.body) == (204, "")
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET,POST"
    assert preflight.headers["Access-Control-Allow-Headers"] == "content-type,x-api-key"
    assert preflight.headers["Access-Control-Max-Age"] == "60"
    asked = {method.auth for (_, name), method in mocks.make(wanted).methods.items() if name == "OPTIONS"}
    assert asked == {"none"}
    assert {each.auth for (_, name), each in mocks.make(wanted).methods.items() if name != "OPTIONS"} == {"api_key"}


@pytest.mark.parametrize("wanted", [MOCK, replace(MOCK, auth="iam", cors=SITE)])
def test_what_was_made_is_read_as_it_was_wanted(aws, wanted):
    rest.ensure(aws, wanted)
    found = rest.read(aws, "iris", "staging")
    assert found.tree == mocks.make(wanted)
    assert found.tree.answers_itself
    assert rest.differences(found, wanted) == ()
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    served = strict_rest.served(aws.account, aws.region, api["id"], "staging")["methods"]
    integration = served["POST /iris/predict"]["methodIntegration"]
    assert (integration["type"], integration["passthroughBehavior"]) == ("MOCK", "NEVER")
    assert integration["requestTemplates"] == {"application/json": '{"statusCode": 200}'}


def spoiled_by(aws, spoil):
    rest.ensure(aws, MOCK)
    found = rest.read(aws, "iris", "staging")
    at = {"restApiId": found.api_id, "resourceId": found.resource_ids["/iris/predict"], "httpMethod": "POST"}
    spoil(aws.client("apigateway"), at)
    return rest.differences(rest.read(aws, "iris", "staging"), MOCK)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client, at: client.delete_integration_response(**at, statusCode="200"),
        lambda client, at: client.put_integration_response(**at, statusCode="200", responseTemplates={}),
        lambda client, at: client.put_integration_response(**at, statusCode="500"),
        lambda client, at: client.put_integration(**at, type="MOCK", requestTemplates={}),
        lambda client, at: client.delete_integration(**at),
    ],
)
def test_an_example_that_somebody_has_changed_is_seen_and_mended(aws, spoil):
    assert any(line.startswith("POST /iris/predict: answered by") for line in spoiled_by(aws, spoil))
    rest.ensure(aws, MOCK)
    assert rest.differences(rest.read(aws, "iris", "staging"), MOCK) == ()


def test_the_example_and_the_model_take_turns_at_one_api_and_nothing_of_either_is_left(aws):
    (first, second) = (rest.ensure(aws, each).value for each in (MOCK, REAL))
    assert first.api_id == second.api_id
    for wanted in (REAL, replace(MOCK, mock='"another"'), replace(REAL, cors=SITE), replace(MOCK, cors=SITE)):
        rest.ensure(aws, wanted)
        assert rest.differences(rest.read(aws, "iris", "staging"), wanted) == ()
        found = rest.read(aws, "iris", "staging")
        assert found.tree.answers_itself == (wanted.target is None)
    assert tree.changes(found.tree, mocks.make(wanted)) == ()


def test_an_example_needs_no_permission(aws):
    _, permission = rest.ensure_allowed(aws, MOCK)  # there is no function to permit anything
    assert permission.action == "left"
    assert rest.is_allowed(aws, rest.read(aws, "iris", "staging"), MOCK, [])
    assert not rest.is_allowed(aws, rest.read(aws, "iris", "staging"), REAL, [])
