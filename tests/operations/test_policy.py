"""The policy allows what the commands really call, and nothing that none of them does."""

import fnmatch
import json
import re
from dataclasses import replace

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse

from tests.aws import strict_rest
from tests.operations.stand import REGION
from tests.operations.test_push import other_model
from thampi.aws import inventory, metrics
from thampi.config import Api, Build, Cors, Domain, Plan
from thampi.operations import clean, destroy, doctor, info, listing, logs, policy, promote, releases, rollback

# S3 has names of its own for what its operations need: the service authorization reference says which.
S3 = {
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "HeadObject": "GetObject",
    "DeleteObjects": "DeleteObject",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}
URL, SIGNED_URL = Api(type="url"), Api(type="url", auth="iam")
GATEWAYS = {name: botocore.session.get_session().get_service_model(name) for name in ("apigateway", "apigatewayv2")}
# Not seen in the story below, and why it is needed all the same.
UNSEEN = {
    **dict.fromkeys(
        (
            "ecr:BatchCheckLayerAvailability",
            "ecr:CompleteLayerUpload",
            "ecr:GetDownloadUrlForLayer",
            "ecr:InitiateLayerUpload",
            "ecr:PutImage",
            "ecr:UploadLayerPart",
        ),
        "docker push, and the copy of an image to another region",
    ),
    **dict.fromkeys(("iam:PassRole", "lambda:ListTags", "s3:AbortMultipartUpload"), "asked for beside other calls"),
    **dict.fromkeys(("s3:DeleteObjectVersion", "s3:ListBucketVersions"), "a bucket that keeps versions"),
    **dict.fromkeys(
        (
            "ecr:PutImageScanningConfiguration",
            "ecr:PutImageTagMutability",
            "ecr:TagResource",
            "iam:DetachRolePolicy",
            "iam:UpdateAssumeRolePolicy",
            "s3:PutBucketTagging",
            "apigateway:PUT",
            "events:TagResource",
        ),
        "what others have changed is put right, or tagged in the creating call",
    ),
}


def action(call):
    """The action that a call needs; of API Gateway a verb and a path, as an ARN has it."""
    service, operation = call.split(".")
    if service in GATEWAYS:
        http = GATEWAYS[service].operation_model(operation).http
        return f"apigateway:{http['method']} " + re.sub(r"^/v2|\?.*|[{}]", "", http["requestUri"])
    if service == "resourcegroupstaggingapi":
        return f"tag:{operation}"
    if service == "s3":
        return "s3:" + S3.get(operation, operation)
    return f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"


def allowed(stage, place):
    """What a policy allows, of API Gateway a verb and a pattern of paths."""
    return {
        f"{each} {resource.partition('::')[2]}" if each.startswith("apigateway:") else each
        for statement in policy.document(stage, place)["Statement"]
        for each in statement["Action"]
        for resource in statement["Resource"]
    }


def refused(calls, may):
    """The actions of calls that a policy doesn't allow."""
    return {each for each in map(action, calls) if not any(fnmatch.fnmatchcase(each, one) for one in may)}


def unused(calls, may):
    """What a policy allows and no call needs."""
    actions = {action(call) for call in calls}
    return {one for one in may if not any(fnmatch.fnmatchcase(each, one) for each in actions)}


@pytest.fixture
def story(stand):
    """The calls of every command, one after the other."""
    limits = {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}}
    answers = {
        "lambda.GetAccountSettings": limits,
        "cloudwatch.GetMetricData": {"MetricDataResults": []},
        "resourcegroupstaggingapi.GetResources": {"ResourceTagMappingList": []},
    }
    stand.before = lambda call: (AWSResponse("", 200, {}, None), answers[call]) if call in answers else None
    stage, place, say = stand.stage, stand.place, stand.said.append
    stand.push()
    (stage.project_dir / "six.txt").write_text("six==1.16.0\n")
    other = replace(
        other_model(stand),
        build=Build(dependency_file=stage.project_dir / "six.txt"),
        keep_warm="rate(4 minutes)",
        reserved_concurrency=5,
        provisioned_concurrency=1,
        tags={"team": "ml"},
        log_retention_days=7,
        api=Api(auth="iam"),
    )
    stand.push(other, canary=10)
    promote.promote(stage, place, say=say)
    rollback.rollback(stage, place, say=say)
    releases.releases(stage, place)
    info.info(stage, place)
    listing.states([stage], lambda _: place)
    list(logs.read(stage, place, since="10m", follow=False, errors=False))
    list(doctor.examine_place(stage, lambda: place))
    from datetime import UTC, datetime

    metrics.read(place.aws, "thampi-scale-staging", "1", "live", datetime.now(UTC), datetime.now(UTC))
    inventory.read(place.aws)
    (stage.project_dir / "older.txt").write_text("six==1.15.0\n")  # the third image: one is in use, one the newest
    stand.push(replace(stage, build=Build(dependency_file=stage.project_dir / "older.txt")))
    stand.push()
    stand.push(replace(stage, keep_releases=1, memory_mb=512))
    clean.clean_stage(replace(stage, keep_releases=1), place, say=say)
    for api in (URL, SIGNED_URL, stage.api):
        stand.push(replace(stage, api=api), replace_endpoint=True)
    destroy.destroy(stage, place, who="me", everything=True)
    return set(stand.calls)


def test_every_call_of_every_command_is_allowed_and_nothing_else(stand, story):
    may = allowed(stand.stage, stand.place) | allowed(replace(stand.stage, api=URL), stand.place)
    assert refused(story, may) == set()
    assert unused(story, may) == set(UNSEEN) | {"x"}


def test_each_type_of_endpoint_needs_what_makes_it_and_may_remove_the_other(stand):
    http, url = (allowed(replace(stand.stage, api=api), stand.place) for api in (Api(), URL))
    assert url - http == {"lambda:CreateFunctionUrlConfig"}
    assert http - url == {"apigateway:POST", "apigateway:PUT"}
    assert allowed(replace(stand.stage, api=SIGNED_URL), stand.place) - url == {"lambda:InvokeFunctionUrl"}


@pytest.mark.parametrize(("old", "new"), [(Api(), SIGNED_URL), (URL, Api(auth="iam")), (SIGNED_URL, URL)])
def test_another_endpoint_in_the_place_of_one_needs_no_more_than_the_new_one_is_given(stand, old, new):
    stand.push(replace(stand.stage, api=old))
    stand.calls.clear()
    wanted = replace(other_model(stand), api=new)
    stand.push(wanted, replace_endpoint=True)
    assert refused(stand.calls, allowed(wanted, stand.place)) == set()


CERTIFICATE = f"arn:aws:acm:{REGION}:123456789012:certificate/1a2b"
DOMAIN = Domain(name="models.example.com", certificate_arn=CERTIFICATE, path="iris")
CORS = Cors(origins=("https://app.example.com",))
REST = Api(type="rest")
# What may be told an endpoint, and what it is told when that is taken away again.
SETTINGS = {
    "rest": (REST, Api()),
    "signed rest": (Api(type="rest", auth="iam"), REST),
    "keys": (Api(type="rest", auth="api_key", plan=Plan(quota=5)), REST),
    "cors of rest": (Api(type="rest", cors=CORS), REST),
    "domain of rest": (Api(type="rest", domain=DOMAIN), REST),
    "domain": (Api(domain=DOMAIN), Api()),
    "domain on other type": (Api(domain=DOMAIN), replace(REST, domain=DOMAIN)),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_needs_no_more_than_its_policy_allows_when_it_comes_and_when_it_goes(stand, told, setting):
    assert told(setting) == {}


@pytest.fixture
def told(stand, monkeypatch):
    strict_rest.rest_apis_are_strict(monkeypatch)
    def told(setting):
        out = {}
        for number, (api, model) in enumerate(zip((SETTINGS[setting]), (stand.models), strict=True)):
            stage = replace(stand.stage, api=api, model_dir=model)
            stand.calls.clear()
            stand.push(stage, replace_endpoint=True, try_out=lambda stage, place: None)
            out[number] = refused(stand.calls, allowed(stage, stand.place))
            print(sorted({action(c) for c in stand.calls if "gateway" in c}))
        stand.calls.clear()
        destroy.destroy(stage, stand.place, who="me", everything=True)
        out["destroy"] = refused(stand.calls, allowed(stage, stand.place))
        return {k: v for k, v in out.items() if v}
    return told


def test_nothing_is_allowed_on_everything_but_what_can_not_be_restricted(stand):
    for statement in policy.document(stand.stage, stand.place)["Statement"]:
        if statement["Resource"] == "*":
            assert statement["Sid"] == "Anywhere"
            assert not [each for each in statement["Action"] if re.search(r":(Put|Create|Delete|Update|Tag)", each)]
        else:
            for resource in statement["Resource"]:
                assert "scale" in resource or BUCKETS.fullmatch(resource) or ":apigateway:" in resource


BUCKETS = re.compile(r"arn:aws:s3:::thampi-models-of-a-test(/thampi/scale/\*)?")


def test_the_policy_fits_into_a_managed_one_and_knows_a_role_of_the_users_own(stand):
    assert len(re.sub(r"\s", "", json.dumps(policy.document(stand.stage, stand.place)))) <= 6144
    own = replace(stand.stage, role_arn="arn:aws:iam::123456789012:role/mine", api=Api(auth="iam"))
    (role,) = [each for each in policy.document(own, stand.place)["Statement"] if each["Sid"] == "Role"]
    assert (role["Action"], role["Resource"]) == (["iam:PassRole"], ["arn:aws:iam::123456789012:role/mine"])
    assert "execute-api:Invoke" in allowed(own, stand.place)
