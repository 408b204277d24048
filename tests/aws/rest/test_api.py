"""There is one REST API for a stage, and what callers see of it changes in one call, whole or not at all."""

from dataclasses import replace

import pytest

from tests.aws import strict_rest
from thampi import names
from thampi.aws.rest import api as rest
from thampi.aws.rest.wanted import Cors, Limit, Rest

NAME = "thampi-iris-staging"
TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
URI = f"arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/{TARGET}/invocations"
OPEN = Rest("iris", "staging", TARGET, tags={**names.tags("iris", "staging"), "team": "ml"})
STRICT = replace(OPEN, auth="iam", limit=Limit(10.0, 20))
KEYS = replace(OPEN, auth="api_key")
BROWSED = replace(STRICT, cors=Cors(("https://app.example.com",)))
READS = {"GetRestApis", "GetResources", "GetStages", "GetDeployments", "GetGatewayResponses"}
PLACES = {"ANY /", "ANY /{proxy+}", "ANY /iris", "ANY /iris/{proxy+}", "ANY /iris/predict", "POST /iris/predict"}
AUTH = {("NONE", False): "none", ("AWS_IAM", False): "iam", ("NONE", True): "api_key"}


def writes(calls):
    return [call for call in calls if call not in READS]


def served(aws, api_id=None):
    """What callers get: whom each method lets in, what answers, how many get through, the gateway's own answers."""
    client = aws.client("apigateway")
    api_id = api_id or client.get_rest_apis()["items"][0]["id"]
    found = strict_rest.served(aws.account, aws.region, api_id, "staging")
    (stage,) = client.get_stages(restApiId=api_id)["item"]
    throttle = stage["methodSettings"]["*/*"]
    methods = found["methods"]
    return {
        "auth": {key: AUTH[each["authorizationType"], each["apiKeyRequired"]] for key, each in methods.items()},
        "answered by": {
            tuple(each["methodIntegration"][key] for key in ("type", "httpMethod", "uri", "timeoutInMillis"))
            for each in methods.values()
        },
        "limit": (throttle["throttlingRateLimit"], throttle["throttlingBurstLimit"]),
        "answers": {key: each["responseParameters"] for key, each in found["answers"].items()},
    }


def expected(wanted, **more):
    places = dict.fromkeys(PLACES, wanted.auth)
    return {
        "auth": places,
        "answered by": {("AWS_PROXY", "POST", URI, 29_000)},
        "limit": (wanted.limit.rate_per_s, wanted.limit.burst),
        "answers": {},
        **more,
    }


# ------------------------------------------------------------------------------------------------------------- ensure


@pytest.mark.parametrize("wanted", [OPEN, STRICT, KEYS])
def test_a_new_api_is_what_was_wanted(aws, calls, wanted):
    made = rest.ensure(aws, wanted)
    assert (made.action, made.changes) == ("created", ())
    assert served(aws) == expected(wanted)
    assert rest.read(aws, "iris", "staging") is not None
    assert rest.differences(rest.read(aws, "iris", "staging"), wanted) == ()
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    assert (api["name"], api["tags"], api["endpointConfiguration"]["types"]) == (NAME, wanted.tags, ["REGIONAL"])
    assert api["binaryMediaTypes"] == []
    (stage,) = aws.client("apigateway").get_stages(restApiId=api["id"])["item"]
    assert stage["tags"] == wanted.tags


def test_the_second_time_nothing_is_written_and_little_read(aws, calls):
    rest.ensure(aws, BROWSED)
    calls.clear()
    assert rest.ensure(aws, BROWSED).action == "left"
    assert sorted(calls) == sorted(READS)
