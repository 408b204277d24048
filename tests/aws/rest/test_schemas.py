"""The schema that bodies are checked by: callers see another one when it is deployed, and nothing of it is left."""

import json
from dataclasses import replace

import pytest

from tests.aws import strict_rest
from thampi import names
from thampi.aws.rest import api as rest
from thampi.aws.rest import schemas
from thampi.aws.rest.wanted import Cors, Rest

TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
OPEN = Rest("iris", "staging", TARGET, tags=names.tags("iris", "staging"))
NUMBER, TEXT = (json.dumps({"properties": {"data": {"type": kind}}}) for kind in ("number", "string"))
BY_NUMBER, BY_TEXT = replace(OPEN, validation=NUMBER), replace(OPEN, validation=TEXT)
SITE = Cors(("https://a.example",))


def found(aws):
    return rest.read(aws, "iris", "staging")


def served(aws):
    """Return the schema that callers' bodies are checked by, at POST predict; None for none."""
    answer = strict_rest.served(aws.account, aws.region, found(aws).api_id, "staging")
    checked = {key: each for key, each in answer["methods"].items() if each["requestModels"]}
    assert checked.keys() <= {"POST /iris/predict"}
    for method in checked.values():
        assert method["requestValidatorId"] in answer["validators"]
        return answer["models"][method["requestModels"]["application/json"]]
    return None


def kept(aws):
    """Return how many models and validators there are."""
    client, of = aws.client("apigateway"), {"restApiId": found(aws).api_id}
    return len(client.get_models(**of)["items"]), len(client.get_request_validators(**of)["items"])


def test_bodies_are_checked_by_what_is_wanted_and_refused_in_the_handlers_shape(aws):
    rest.ensure(aws, replace(BY_NUMBER, cors=SITE))
    assert (served(aws), kept(aws)) == (NUMBER, (1, 1))
    answer = strict_rest.served(aws.account, aws.region, found(aws).api_id, "staging")["answers"]["BAD_REQUEST_BODY"]
    error = {"type": "invalid_data", "message": "$context.error.validationErrorString"}
    said = json.loads(answer["responseTemplates"]["application/json"])
    assert (answer["statusCode"], said) == ("422", {"error": error | {"request_id": "$context.requestId"}})
    assert answer["responseParameters"]["gatewayresponse.header.Access-Control-Allow-Origin"] == "'https://a.example'"
    (validator,) = aws.client("apigateway").get_request_validators(restApiId=found(aws).api_id)["items"]
    assert (validator["validateRequestBody"], validator["validateRequestParameters"]) == (True, False)


def test_the_second_time_nothing_is_written(aws, calls):
    rest.ensure(aws, BY_NUMBER)
    calls.clear()
    assert rest.ensure(aws, BY_NUMBER).action == "left"
    assert not [each for each in calls if not each.startswith("Get")]
    assert "GetModels" not in calls


@pytest.mark.parametrize("first", [OPEN, BY_NUMBER, BY_TEXT])
@pytest.mark.parametrize("second", [OPEN, BY_NUMBER, BY_TEXT])
def test_a_schema_becomes_another_one_and_nothing_is_left_over(aws, first, second):
    rest.ensure(aws, first)
    made = rest.ensure(aws, second)
    assert made.action == ("left" if first is second else "changed")
    assert (served(aws), kept(aws)) == (second.validation, (1, 1) if second.validation else (0, 0))
    lines = {line for line in made.changes if line.startswith("POST")}
    said = f"schema: {schemas.name(first.validation) or 'none'} -> {schemas.name(second.validation) or 'none'}"
    assert lines == (set() if first is second else {f"POST /iris/predict: {said}"})


def test_before_a_release_a_schema_of_another_one_goes_and_an_equal_one_stays(aws, calls):
    rest.ensure(aws, BY_NUMBER)
    calls.clear()
    assert rest.tighten(aws, found(aws), BY_NUMBER).action == "left"
    assert not [each for each in calls if not each.startswith("Get")]
    made = rest.tighten(aws, found(aws), BY_TEXT)
    assert made.changes == (f"schema: {schemas.name(NUMBER)} -> none",)
    assert served(aws) is None
    assert rest.tighten(aws, found(aws), BY_TEXT).action == "left"


@pytest.mark.parametrize("auth", ["none", "iam", "api_key"])
def test_what_makes_the_check_go_lets_nobody_in_who_was_not(aws, auth):
    rest.ensure(aws, replace(BY_NUMBER, auth="iam"))
    rest.tighten(aws, found(aws), replace(BY_TEXT, auth=auth))
    methods = strict_rest.served(aws.account, aws.region, found(aws).api_id, "staging")["methods"].values()
    assert {each["authorizationType"] for each in methods} == {"NONE" if auth == "api_key" else "AWS_IAM"}
    assert {each["apiKeyRequired"] for each in methods} == {auth == "api_key"}
    assert served(aws) is None


def test_the_check_can_be_taken_off_and_put_on_with_nothing_else_changed(aws):
    strict = replace(BY_NUMBER, auth="iam", cors=SITE)
    rest.ensure(aws, strict)
    rest.uncheck(aws, found(aws), replace(BY_NUMBER, auth="none"))
    assert served(aws) == NUMBER  # it is by what is wanted
    rest.uncheck(aws, found(aws), replace(BY_TEXT, auth="none", cors=SITE))
    assert (served(aws), found(aws).endpoint.auth) == (None, "iam")
    assert rest.check_bodies(aws, found(aws), TEXT)
    assert (served(aws), kept(aws)) == (TEXT, (1, 1))
    assert rest.differences(found(aws), replace(strict, validation=TEXT)) == ()


def test_the_check_is_not_put_on_where_more_was_written_than_is_served(aws):
    rest.ensure(aws, OPEN)
    of = found(aws)
    aws.client("apigateway").update_method(
        restApiId=of.api_id,
        resourceId=of.resource_ids["/"],
        httpMethod="ANY",
        patchOperations=[{"op": "replace", "path": "/authorizationType", "value": "AWS_IAM"}],
    )
    assert not rest.check_bodies(aws, found(aws), TEXT)
    assert served(aws) is None


def test_a_validator_that_was_made_twice_is_removed(aws):
    rest.ensure(aws, BY_NUMBER)
    of = {"restApiId": found(aws).api_id}
    for name in ("thampi-body", "somebody-else"):
        aws.client("apigateway").create_request_validator(**of, name=name, validateRequestBody=True)
    aws.client("apigateway").create_model(**of, name="Theirs", contentType="application/json", schema="{}")
    rest.ensure(aws, BY_TEXT)
    client = aws.client("apigateway")
    left = [each["name"] for each in client.get_request_validators(**of)["items"]]
    assert sorted(left) == ["somebody-else", "thampi-body"]
    assert {each["name"] for each in client.get_models(**of)["items"]} == {"Theirs", schemas.name(TEXT)}
    assert served(aws) == TEXT


def test_equal_schemas_have_one_name_of_letters_and_digits():
    assert schemas.name(None) is None
    assert schemas.name(NUMBER) == schemas.name(NUMBER) != schemas.name(TEXT)
    assert schemas.name(NUMBER).isalnum()
