"""There is one REST API for a stage, and what callers see of it changes in one call, whole or not at all."""

from dataclasses import replace

import pytest
from botocore.exceptions import ConnectionClosedError
from moto.apigateway.models import apigateway_backends

from tests.aws import strict_rest
from tests.aws.conftest import Death
from thampi import names
from thampi.aws.rest import api as rest
from thampi.aws.rest.wanted import Cors, Limit, Plan, Rest
from thampi.errors import CloudError

NAME = "thampi-iris-staging"
TARGET = "arn:aws:lambda:eu-central-1:123456789012:function:thampi-iris-staging:live"
URI = f"arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/{TARGET}/invocations"
OPEN = Rest("iris", "staging", TARGET, tags={**names.tags("iris", "staging"), "team": "ml"})
STRICT = replace(OPEN, auth="iam", limit=Limit(10.0, 20))
KEYS = replace(OPEN, auth="api_key", plan=Plan())
ONE_SITE, MORE_SITES = Cors(("https://a.example",)), Cors(("https://a.example", "https://b.example"))
READS = {"GetRestApis", "GetResources", "GetStages", "GetDeployments", "GetGatewayResponses"}
PATHS = {"/", "/{proxy+}", "/iris", "/iris/{proxy+}", "/iris/predict"}
AUTH = {("NONE", False): "none", ("AWS_IAM", False): "iam", ("NONE", True): "api_key"}
HEADER = "gatewayresponse.header"


def writes(calls):
    return [call for call in calls if not call.startswith("Get")]


def served(aws, api_id=None):
    """What callers get: whom each method lets in, what answers, how many get through, the gateway's own answers."""
    client = aws.client("apigateway")
    api_id = api_id or client.get_rest_apis()["items"][0]["id"]
    found = strict_rest.served(aws.account, aws.region, api_id, "staging")
    (stage,) = client.get_stages(restApiId=api_id)["item"]
    throttle = stage["methodSettings"]["*/*"]
    return {
        "auth": {
            key: AUTH[each["authorizationType"], each["apiKeyRequired"]] for key, each in found["methods"].items()
        },
        "answered by": {
            tuple(each["methodIntegration"][key] for key in ("type", "httpMethod", "uri", "timeoutInMillis"))
            for each in found["methods"].values()
        },
        "limit": (throttle["throttlingRateLimit"], throttle["throttlingBurstLimit"]),
        "answers": {key: each["responseParameters"] for key, each in found["answers"].items()},
    }


def expected(wanted):
    auth = {f"ANY {path}": wanted.auth for path in PATHS} | {"POST /iris/predict": wanted.auth}
    said = {}
    if wanted.cors:
        auth |= {f"OPTIONS {path}": "none" for path in PATHS}
        said = {f"{HEADER}.Access-Control-Allow-Origin": f"'{wanted.cors.origins[0]}'"}
        if len(wanted.cors.origins) > 1:
            origin = "method.request.header.origin"
            said = {f"{HEADER}.Access-Control-Allow-Origin": origin, f"{HEADER}.Vary": "'Origin'"}
    return {
        "auth": auth,
        "answered by": {("AWS_PROXY", "POST", URI, 29_000)},
        "limit": (wanted.limit.rate_per_s, wanted.limit.burst),
        "answers": dict.fromkeys(("DEFAULT_4XX", "DEFAULT_5XX"), said) if said else {},
    }


def deployments(aws):
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    return [each["id"] for each in aws.client("apigateway").get_deployments(restApiId=api["id"])["items"]]


def read(aws):
    return rest.read(aws, "iris", "staging")


# ------------------------------------------------------------------------------------------------------------- ensure


@pytest.mark.parametrize("wanted", [OPEN, STRICT, KEYS, replace(STRICT, cors=ONE_SITE), replace(KEYS, cors=MORE_SITES)])
def test_a_new_api_is_what_was_wanted(aws, wanted):
    made = rest.ensure(aws, wanted)
    assert (made.action, made.changes) == ("created", ())
    assert served(aws) == expected(wanted)
    assert rest.differences(read(aws), wanted) == ()
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    assert (api["name"], api["tags"], api["endpointConfiguration"]["types"]) == (NAME, wanted.tags, ["REGIONAL"])
    assert api["binaryMediaTypes"] == []
    (stage,) = aws.client("apigateway").get_stages(restApiId=api["id"])["item"]
    assert stage["tags"] == wanted.tags
    assert len(deployments(aws)) == 1


def test_the_second_time_nothing_is_written_and_little_read(aws, calls):
    rest.ensure(aws, replace(STRICT, cors=ONE_SITE))
    calls.clear()
    assert rest.ensure(aws, replace(STRICT, cors=ONE_SITE)).action == "left"
    assert sorted(calls) == sorted(READS)


def test_with_credentials_the_gateways_own_errors_say_so(aws):
    rest.ensure(aws, replace(OPEN, cors=replace(ONE_SITE, credentials=True)))
    assert served(aws)["answers"]["DEFAULT_4XX"][f"{HEADER}.Access-Control-Allow-Credentials"] == "'true'"


MANY = ["UpdateMethod"] * 6
DEPLOY = ["CreateDeployment", "UpdateStage", "DeleteDeployment"]
OTHER_TARGET = TARGET.replace("eu-central-1", "eu-west-1")


@pytest.mark.parametrize(
    ("first", "wanted", "says", "written"),
    [
        (OPEN, replace(OPEN, auth="iam"), ("auth: none -> iam",), MANY + DEPLOY),
        (STRICT, replace(STRICT, auth="none"), ("auth: iam -> none",), MANY + DEPLOY),
        (KEYS, replace(OPEN, auth="iam"), ("auth: api_key -> iam",), MANY + DEPLOY),
        (OPEN, replace(OPEN, limit=Limit(5.0, 200)), ("rate_per_s: 100 -> 5",), ["UpdateStage"]),
        (OPEN, replace(OPEN, limit=Limit(100.0, 500)), ("burst: 200 -> 500",), ["UpdateStage"]),
        (OPEN, replace(OPEN, tags={**OPEN.tags, "cost": "7"}), ("tags.cost: none -> 7",), ["TagResource"]),
        (
            replace(OPEN, cors=ONE_SITE),
            replace(OPEN, cors=MORE_SITES),
            tuple(
                f"{kind}: https://a.example -> method.request.header.origin" for kind in ("DEFAULT_4XX", "DEFAULT_5XX")
            ),
            ["PutGatewayResponse"] * 2 + DEPLOY,
        ),
        (
            OPEN,
            replace(OPEN, cors=ONE_SITE),
            (
                "OPTIONS of 5 paths: none -> none",
                "DEFAULT_4XX: AWS's own -> https://a.example",
                "DEFAULT_5XX: AWS's own -> https://a.example",
            ),
            ["PutMethod", "PutIntegration"] * 5 + ["PutGatewayResponse"] * 2 + DEPLOY,
        ),
        (
            replace(OPEN, cors=ONE_SITE),
            OPEN,
            (
                "OPTIONS of 5 paths: none -> removed",
                "DEFAULT_4XX: https://a.example -> AWS's own",
                "DEFAULT_5XX: https://a.example -> AWS's own",
            ),
            ["DeleteMethod"] * 5 + ["DeleteGatewayResponse"] * 2 + DEPLOY,
        ),
        (
            OPEN,
            replace(OPEN, target=OTHER_TARGET),
            ("6 methods: answered by another -> the function",),
            ["PutIntegration"] * 6 + DEPLOY,
        ),
    ],
)
def test_only_the_difference_is_written_and_said(aws, calls, first, wanted, says, written):
    rest.ensure(aws, first)
    calls.clear()
    changed = rest.ensure(aws, wanted)
    assert changed.action == "changed"
    assert sorted(changed.changes) == sorted(says)
    assert writes(calls) == written
    assert rest.differences(read(aws), wanted) == ()
    assert len(deployments(aws)) == 1
    if wanted.target == TARGET:
        assert served(aws) == expected(wanted)


def test_auth_and_limits_change_in_one_call(aws, meddler):
    rest.ensure(aws, OPEN)
    seen = []

    def look(operation):
        meddler.after = lambda _: None  # looking asks AWS, too
        seen.append(served(aws))
        meddler.after = look

    meddler.after = look
    rest.ensure(aws, STRICT)
    meddler.stop()
    assert [each for number, each in enumerate(seen) if each not in seen[:number]] == [expected(OPEN), expected(STRICT)]


def test_a_method_has_a_path_of_its_own_where_a_limit_needs_one(aws):
    rest.ensure(aws, replace(OPEN, routes={"ping": Limit(1.0, 1)}))
    assert {"GET /iris/ping", "ANY /iris/ping"} <= {*served(aws)["auth"]}
    rest.ensure(aws, OPEN)
    assert served(aws) == expected(OPEN)
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    assert {each["path"] for each in aws.client("apigateway").get_resources(restApiId=api["id"])["items"]} == PATHS


def test_what_somebody_changed_is_made_right(aws):
    api_id = rest.ensure(aws, STRICT).value.api_id
    client, found = aws.client("apigateway"), read(aws)
    at = {"restApiId": api_id, "resourceId": found.resource_ids["/iris/predict"]}
    client.delete_method(**at, httpMethod="POST")
    client.put_method(**at, httpMethod="GET", authorizationType="NONE")
    client.put_integration(**at, httpMethod="GET", type="MOCK")
    client.delete_resource(restApiId=api_id, resourceId=found.resource_ids["/iris/{proxy+}"])
    client.create_resource(restApiId=api_id, parentId=found.resource_ids["/iris"], pathPart="else")
    client.put_gateway_response(restApiId=api_id, responseType="DEFAULT_5XX", statusCode="200")
    theirs = client.create_deployment(restApiId=api_id)["id"]
    patch = {"op": "replace", "path": "/deploymentId", "value": theirs}
    client.update_stage(restApiId=api_id, stageName="staging", patchOperations=[patch])
    assert rest.ensure(aws, STRICT).changes == (
        "auth: unknown -> iam",
        "GET /iris/predict: none -> removed",
        "POST /iris/predict: none -> iam",
        "ANY /iris/{proxy+}: none -> iam",
        "/iris/else: removed",
        "DEFAULT_5XX: without CORS -> AWS's own",
        *(f"old deployment: {each} -> removed" for each in [found.serves.deployment_id]),
    )
    assert served(aws) == expected(STRICT)
    assert rest.ensure(aws, STRICT).action == "left"


def test_what_was_written_and_never_served_is_seen_and_served(aws, meddler):
    rest.ensure(aws, OPEN)
    meddler.before = lambda call: (_ for _ in ()).throw(Death(call)) if call == "CreateDeployment" else None
    with pytest.raises(Death):
        rest.ensure(aws, STRICT)
    meddler.stop()
    assert served(aws) == expected(OPEN)
    # Back to what is served: nothing is to be done for callers, and all for the next deployment.
    assert rest.differences(read(aws), OPEN) == ()
    assert [line.partition(":")[0] for line in rest.ensure(aws, STRICT).changes] == ["auth", "rate_per_s", "burst"]
    assert served(aws) == expected(STRICT)
    browsed = replace(STRICT, cors=ONE_SITE)
    meddler.before = lambda call: (_ for _ in ()).throw(Death(call)) if call == "CreateDeployment" else None
    with pytest.raises(Death):
        rest.ensure(aws, browsed)
    meddler.stop()
    (line,) = rest.ensure(aws, browsed).changes
    assert line.startswith("deployed: ")
    assert served(aws) == expected(browsed)


# ------------------------------------------------------------------------------------------ faults, doubles, others


def test_a_creation_that_dies_anywhere_is_finished_by_the_next(aws, meddler, calls):
    rest.ensure(aws, replace(STRICT, cors=ONE_SITE))
    total = len(calls)
    for number in range(total):
        for api in aws.client("apigateway").get_rest_apis()["items"]:
            aws.client("apigateway").delete_rest_api(restApiId=api["id"])
        meddler.kill("after", number)
        with pytest.raises(Death):
            rest.ensure(aws, replace(STRICT, cors=ONE_SITE))
        meddler.stop()
        rest.ensure(aws, replace(STRICT, cors=ONE_SITE))
        assert served(aws) == expected(replace(STRICT, cors=ONE_SITE)), number
        assert len(aws.client("apigateway").get_rest_apis()["items"]) == len(deployments(aws)) == 1


def test_lost_answers_make_nothing_twice(aws, lossy):
    made = rest.ensure(aws, replace(KEYS, cors=ONE_SITE))
    assert served(aws) == expected(replace(KEYS, cors=ONE_SITE))
    (api,) = aws.client("apigateway").get_rest_apis()["items"]
    assert (api["id"], len(deployments(aws))) == (made.value.api_id, 1)
    assert rest.differences(read(aws), replace(KEYS, cors=ONE_SITE)) == ()
    rest.ensure(aws, STRICT)
    assert (served(aws), len(deployments(aws))) == (expected(STRICT), 1)


def test_an_api_whose_creation_was_not_heard_of_is_found_again(aws, calls):
    lost = []

    def lose(request, **_):
        if request.method == "POST" and request.url.endswith("/restapis") and not lost:
            lost.append(request)
            raise ConnectionClosedError(endpoint_url=request.url)

    # After moto's own handler: what was asked for is done.
    aws.session.events.register_last("before-send", lose)
    rest.ensure(aws, OPEN)
    assert (len(lost), calls.count("CreateRestApi"), served(aws)) == (1, 1, expected(OPEN))
    assert len(aws.client("apigateway").get_rest_apis()["items"]) == 1


def test_of_doubles_the_one_that_works_stays(aws):
    client = aws.client("apigateway")
    empty = client.create_rest_api(name=NAME, tags=names.tags("iris", "staging"))["id"]
    backend = apigateway_backends[aws.account][aws.region]
    hidden = backend.apis.pop(empty)
    used = rest.ensure(aws, OPEN).value.api_id
    hidden.create_date -= 100
    backend.apis[empty] = hidden
    assert rest.read_url(aws, "iris", "staging") is None
    assert rest.ensure(aws, OPEN).changes == (f"double: {empty} -> removed",)
    assert [each["id"] for each in client.get_rest_apis()["items"]] == [used]


def test_another_api_of_that_name_is_not_seen(aws):
    client = aws.client("apigateway")
    theirs = client.create_rest_api(name=NAME, tags={"thampi:project": "iris"})["id"]
    assert (read(aws), rest.read_url(aws, "iris", "staging"), rest.remove(aws, "iris", "staging")) == (
        None,
        None,
        False,
    )
    ours = rest.ensure(aws, OPEN).value.api_id
    assert rest.remove(aws, "iris", "staging")
    assert ours != theirs
    assert [each["id"] for each in client.get_rest_apis()["items"]] == [theirs]


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ServiceUnavailableException"])
def test_what_may_be_made_but_seldom_is_waited_for(aws, meddler, sleeps, code):
    meddler.refuse("CreateDeployment", code, 429 if code.startswith("Too") else 503, times=3)
    rest.ensure(aws, OPEN)
    assert (served(aws), sleeps) == (expected(OPEN), [1.0, 3.0, 6.0])
    sleeps.clear()
    meddler.refuse("CreateDeployment", code, 429 if code.startswith("Too") else 503, times=2)
    assert rest.tighten(aws, read(aws), STRICT).action == "changed"
    assert (served(aws), sleeps) == (expected(STRICT), [1.0, 3.0])


def test_what_goes_on_refusing_is_said(aws, meddler, sleeps):
    meddler.refuse("CreateDeployment", "TooManyRequestsException", 429)
    with pytest.raises(CloudError, match=r"making the REST API thampi-iris-staging: .* again and again"):
        rest.ensure(aws, OPEN)
    assert sum(sleeps) > 40


def test_an_api_that_may_not_be_deleted_yet_is_deleted_later(aws, meddler, sleeps):
    rest.ensure(aws, OPEN)
    meddler.refuse("DeleteRestApi", "TooManyRequestsException", 429, times=2)
    assert rest.remove(aws, "iris", "staging")
    assert sleeps == [10.0, 20.0]
    assert aws.client("apigateway").get_rest_apis()["items"] == []
    assert not rest.remove(aws, "iris", "staging")


# ------------------------------------------------------------------------------------------------------------ tighten


@pytest.mark.parametrize(
    ("first", "wanted", "then"),
    [
        (OPEN, STRICT, STRICT),
        (OPEN, replace(KEYS, limit=Limit(500.0, 20)), replace(KEYS, limit=Limit(100.0, 20))),
        (STRICT, KEYS, replace(KEYS, limit=STRICT.limit)),
        (KEYS, replace(STRICT, limit=KEYS.limit), replace(STRICT, limit=KEYS.limit)),
        (STRICT, OPEN, STRICT),
        (KEYS, OPEN, KEYS),
        (OPEN, replace(OPEN, auth="iam", cors=ONE_SITE), replace(OPEN, auth="iam")),
        (replace(OPEN, cors=ONE_SITE), STRICT, replace(STRICT, cors=ONE_SITE)),
        (OPEN, OPEN, OPEN),
    ],
)
def test_before_a_release_it_becomes_as_strict_as_wanted_and_nothing_else(aws, calls, first, wanted, then):
    rest.ensure(aws, first)
    calls.clear()
    done = rest.tighten(aws, read(aws), wanted)
    assert served(aws) == expected(then)
    assert (done.action, bool(writes(calls))) == (("left", False) if then == first else ("changed", True))
    assert done.value.endpoint.auth == then.auth
    assert rest.tighten(aws, read(aws), wanted).action == "left"
    rest.ensure(aws, wanted)
    assert served(aws) == expected(wanted)


def test_an_api_that_a_run_has_left_half_done_is_tightened_without_what_is_missing(aws, meddler):
    rest.ensure(aws, OPEN)
    meddler.kill("after", 7)  # a method without anything that answers it
    with pytest.raises(Death):
        rest.ensure(aws, replace(OPEN, cors=ONE_SITE))
    meddler.stop()
    assert not read(aws).tree.is_whole
    rest.tighten(aws, read(aws), STRICT)
    found = served(aws)
    assert {key: auth for key, auth in found["auth"].items() if not key.startswith("OPTIONS")} == expected(STRICT)[
        "auth"
    ]
    rest.ensure(aws, STRICT)
    assert served(aws) == expected(STRICT)


def test_where_nothing_is_served_there_is_nothing_to_tighten(aws, meddler, calls):
    meddler.kill("after", 5)
    with pytest.raises(Death):
        rest.ensure(aws, OPEN)
    meddler.stop()
    calls.clear()
    assert rest.tighten(aws, read(aws), STRICT).action == "left"
    assert writes(calls) == []


def test_those_who_have_a_key_are_let_in_from_the_moment_on_that_keys_are_asked_for(aws, calls):
    rest.ensure(aws, OPEN)
    calls.clear()
    rest.tighten(aws, read(aws), KEYS)
    assert calls.index("CreateUsagePlan") < calls.index("UpdateStage")


# --------------------------------------------------------------------------------------------- what callers need of it


def test_its_url_is_that_of_its_stage(aws):
    api_id = rest.ensure(aws, OPEN).value.api_id
    url = f"https://{api_id}.execute-api.eu-central-1.amazonaws.com/staging/iris/predict"
    assert (rest.url(aws, read(aws)), rest.read_url(aws, "iris", "staging")) == (url, url)
    assert rest.name(read(aws)) == api_id
    local = replace(aws, endpoint_url="http://127.0.0.1:4566")
    found = replace(read(aws), endpoint=replace(read(aws).endpoint, stage="local"))
    assert rest.url(local, found) == f"http://127.0.0.1:4566/_aws/execute-api/{api_id}/local/iris/predict"
    china = replace(aws, partition="aws-cn", region="cn-north-1")
    assert rest.url(china, read(aws)).startswith(f"https://{api_id}.execute-api.cn-north-1.amazonaws.com.cn/staging/")


def test_lambda_knows_it_by_its_id(aws):
    assert rest.source_arn(aws, "abc") == "arn:aws:execute-api:eu-central-1:123456789012:abc/*/*"
