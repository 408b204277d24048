"""Settings of a REST API's stage on the local AWS: a limit of one route that answers 429 while the others go on.

What plays AWS here keeps the cache, the access log, tracing and the web ACL as they were set, and does nothing with
them: no answer is given again, no line written, no trace made, nobody blocked. That they are set, changed and taken off
as AWS wants it is shown here and in tests/aws/rest.
"""

import json

import pytest

from tests.e2e.test_push_local import ask, new_project, shared_aws  # noqa: F401 - fixtures
from thampi.aws.rest import stage_settings

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

PLAIN = 'api = { type = "rest" }'
LIMITED = 'api = { type = "rest", routes = { predict = { rate_per_s = 0.01, burst = 2 } } }'
LOGGED = 'api = { type = "rest", access_log = true }'
ALL = """
[stages.local.api]
type = "rest"
cache_ttl_s = 60
tracing = true
access_log = true
waf_acl_arn = "%s"
"""
ROLE = "arn:aws:iam::000000000000:role/api-gateway-logs"


def set_role(aws, arn):
    operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": arn}
    aws.client("apigateway").update_account(patchOperations=[operation])


def staged(project):
    """Return the stage as the local AWS shows it, and its ARN."""
    client = project.aws.client("apigateway")
    (api,) = [each for each in client.get_rest_apis(limit=500)["items"] if each["name"] == project.function]
    arn = f"arn:aws:apigateway:us-east-1::/restapis/{api['id']}/stages/local"
    return client.get_stage(restApiId=api["id"], stageName="local"), arn


def new_acl(project, name):
    made = project.aws.client("wafv2").create_web_acl(
        Name=f"{project.name}-{name}",
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig={"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name},
    )
    return made["Summary"]["ARN"]


def acl_of(project, arn):
    client = project.aws.client("wafv2")
    try:
        return client.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]["ARN"]
    except client.exceptions.WAFNonexistentItemException:
        return None


def asked(url, times, method="POST"):
    """Ask a number of times; the statuses."""
    return [ask(url, {"data": "x"} if method == "POST" else None, method)[0] for _ in range(times)]


def test_a_limit_of_predict_answers_429_while_ping_goes_on_until_it_is_lifted(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, LIMITED)
    url, _ = project.push()
    assert asked(url, 4) == [200, 200, 429, 429]
    status, said, _ = ask(url, {"data": "x"})
    assert (status, said) == (429, {"message": "Too Many Requests"})
    ping = url.removesuffix("predict") + "ping"
    assert asked(ping, 20, "GET") == [200] * 20

    project.configure(PLAIN)
    again, said = project.push()
    assert again == url
    assert "POST" in said
    assert asked(url, 20) == [200] * 20
    assert "nothing has changed" in project.push()[1]


def test_cache_tracing_log_and_web_acl_come_change_and_go(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, LOGGED)
    assert project.thampi("local", "start").returncode == 0
    set_role(shared_aws, "")
    refused = project.thampi("push", "local")
    assert refused.returncode == 5
    assert "API Gateway may not write logs in this account" in refused.stderr
    assert "aws apigateway update-account" in refused.stderr
    apis = shared_aws.client("apigateway").get_rest_apis(limit=500)["items"]
    assert project.function not in [each["name"] for each in apis]

    set_role(shared_aws, ROLE)
    first, second = new_acl(project, "first"), new_acl(project, "second")
    url, _ = project.configure(ALL % first).push()
    stage, arn = staged(project)
    log = f"/aws/apigateway/{project.function}"
    assert stage["accessLogSettings"]["destinationArn"].endswith(f":log-group:{log}")
    assert json.loads(stage["accessLogSettings"]["format"])["request_id"] == "$context.requestId"
    assert (stage["tracingEnabled"], stage["cacheClusterEnabled"], stage["cacheClusterSize"]) == (True, True, "0.5")
    kept = {name: each["cacheTtlInSeconds"] for name, each in stage["methodSettings"].items() if each["cachingEnabled"]}
    assert kept == {f"/{project.name}/GET": 60, f"/{project.name}/openapi.json/GET": 60}
    assert acl_of(project, arn) == first
    groups = shared_aws.client("logs").describe_log_groups(logGroupNamePrefix=log)["logGroups"]
    assert [each["retentionInDays"] for each in groups] == [30]
    live = shared_aws.client("lambda").get_function_configuration(FunctionName=project.function, Qualifier="live")
    assert live["TracingConfig"]["Mode"] == "Active"
    assert asked(url, 3) == [200] * 3
    assert "nothing has changed" in project.push()[1]

    project.configure(ALL % second).push()
    assert acl_of(project, arn) == second
    assert "nothing has changed" in project.push()[1]

    project.configure(PLAIN).push()
    stage, _ = staged(project)
    assert stage_settings.read(stage) == stage_settings.StageSettings(rate_per_s=100.0, burst=200)
    assert acl_of(project, arn) is None
    assert "nothing has changed" in project.push()[1]
    assert asked(url, 3) == [200] * 3
    assert shared_aws.client("logs").describe_log_groups(logGroupNamePrefix=log)["logGroups"] == groups

    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert "access log" in gone.stderr
    assert shared_aws.client("logs").describe_log_groups(logGroupNamePrefix=log)["logGroups"] == []
