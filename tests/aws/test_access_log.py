import json
import re

import pytest

from thampi.aws import access_log

FORMATS = {"http": access_log.format_http(), "rest": access_log.format_rest()}

# The tables of AWS's pages, as far as they are used: https://docs.aws.amazon.com/apigateway/latest/developerguide/
BOTH = {
    *("requestId", "requestTime", "requestTimeEpoch", "httpMethod", "path", "status", "responseLatency"),
    *("responseLength", "error.responseType", "identity.sourceIp", "identity.userAgent", "identity.userArn"),
    *("integration.error", "integration.integrationStatus", "integration.latency", "integration.status"),
}
KNOWN = {
    "http": {*BOTH, "authorizer.claims.sub", "authorizer.error", "routeKey"},  # http-api-logging-variables.html
    "rest": {*BOTH, "identity.apiKeyId", "resourcePath", "waf.status", "xrayTraceId"},  # …-for-access-logging.html
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_line_is_one_object_in_json_also_where_there_is_nothing_to_say(kind):
    assert "\n" not in FORMATS[kind]
    said = {"$context.responseLatency": "12", "$context.identity.userAgent": "Mozilla/5.0 (X11; a/b)"}
    line = json.loads(re.sub(r"\$context[\w.]+", lambda found: said.get(found[0], "-"), FORMATS[kind]))
    assert (line["latency_ms"], line["integration_latency_ms"]) == ("12", "-")
    assert line["user_agent"] == "Mozilla/5.0 (X11; a/b)"


@pytest.mark.parametrize("kind", FORMATS)
def test_only_variables_that_the_type_of_the_api_knows_are_asked_for(kind):
    assert {found.removeprefix("$context.") for found in json.loads(FORMATS[kind]).values()} <= KNOWN[kind]
    assert "$context.requestId" in FORMATS[kind]  # AWS refuses a format without it


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_that_lets_anybody_in_is_written_down(kind):
    asked = json.loads(FORMATS[kind]).values()
    assert not [each for each in asked if re.search(r"apiKey$|token|authorization|header|body|querystring", each, re.I)]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_a_caller_may_write_freely_comes_last(kind):
    assert list(json.loads(FORMATS[kind]))[-2:] == ["path", "user_agent"]
