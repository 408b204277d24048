"""The policy allows what the commands really call, and nothing that none of them does."""

import json
import re
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse

from tests.operations.test_push import other_model
from thampi.aws import inventory, metrics
from thampi.config import Api, Build
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
VERBS = {"Create": "POST", "Get": "GET", "Update": "PATCH", "Delete": "DELETE", "Tag": "POST"}
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
    """The action that a call needs."""
    service, operation = call.split(".")
    if service == "apigatewayv2":
        return "apigateway:" + VERBS[re.match("[A-Z][a-z]+", operation)[0]]
    if service == "resourcegroupstaggingapi":
        return f"tag:{operation}"
    if service == "s3":
        return "s3:" + S3.get(operation, operation)
    return f"{service}:{'InvokeFunction' if operation == 'Invoke' else operation}"


def allowed(stage, place):
    return {each for statement in policy.document(stage, place)["Statement"] for each in statement["Action"]}


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
    return {action(call) for call in stand.calls}


def test_every_call_of_every_command_is_allowed_and_nothing_else(stand, story):
    may = allowed(stand.stage, stand.place) | allowed(replace(stand.stage, api=URL), stand.place)
    assert story - may == set()
    assert may - story == set(UNSEEN)


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
    assert {action(call) for call in stand.calls} - allowed(wanted, stand.place) == set()


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
