"""The policy allows what the commands really call, and nothing that none of them does."""

import fnmatch
import json
import re
from dataclasses import replace

import botocore.session
import pytest
from botocore.awsrequest import AWSResponse

from tests.operations.stand import REGION
from tests.operations.test_push import other_model
from thampi.aws import inventory, metrics
from thampi.config import Api, Build, Cors, Domain, Jwt, Limit, Plan
from thampi.operations import (
    clean,
    destroy,
    doctor,
    info,
    keys,
    listing,
    logs,
    mock,
    policy,
    promote,
    releases,
    rollback,
)

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
    assert {each for each in unused(story, may) if not each.startswith("apigateway:")} == set(UNSEEN)


def test_each_type_of_endpoint_needs_what_makes_it_and_may_remove_the_other(stand):
    http, url = (allowed(replace(stand.stage, api=api), stand.place) for api in (Api(), URL))
    assert url - http == {"lambda:CreateFunctionUrlConfig"}
    assert http - url == {"apigateway:POST /apis"}
    rest = allowed(replace(stand.stage, api=REST), stand.place)
    assert rest - url == {"apigateway:POST /restapis", *FIREWALL}
    assert allowed(replace(stand.stage, api=SIGNED_URL), stand.place) - url == {"lambda:InvokeFunctionUrl"}


@pytest.mark.parametrize(("old", "new"), [(Api(), SIGNED_URL), (URL, Api(auth="iam")), (SIGNED_URL, URL)])
def test_another_endpoint_in_the_place_of_one_needs_no_more_than_the_new_one_is_given(stand, old, new):
    stand.push(replace(stand.stage, api=old))
    stand.calls.clear()
    wanted = replace(other_model(stand), api=new)
    stand.push(wanted, replace_endpoint=True)
    assert refused(stand.calls, allowed(wanted, stand.place)) == set()


CERTIFICATE = f"arn:aws:acm:{REGION}:123456789012:certificate/1a2b"
ACL = f"arn:aws:wafv2:{REGION}:123456789012:regional/webacl/mine/1a2b"
REST, KEYS = Api(type="rest"), Api(type="rest", auth="api_key", plan=Plan(quota=5))
JWT = Api(auth="jwt", jwt=Jwt(issuer="https://login.example.com", audience=("models",)))
DOMAIN = Domain(name="models.example.com", certificate_arn=CERTIFICATE, path="iris")
CORS, ROUTES = Cors(origins=("https://app.example.com",)), {"predict": Limit(rate_per_s=5.0)}
FIREWALL = {"apigateway:SetWebACL /restapis/*/stages/staging", "wafv2:DisassociateWebACL"}
NEW_KEYS = {f"apigateway:POST {each}" for each in ("/apikeys", "/usageplans", "/usageplans/*")}
NEW_DOMAIN = {
    f"apigateway:{action} {path}"
    for action in ("POST", "AddCertificateToDomain", "RemoveCertificateFromDomain")
    for path in ("/domainnames", "/domainnames/*")
} | {"acm:DescribeCertificate"}
# Asked for beside other calls.
NO_CALLS = {each for each in NEW_DOMAIN if "CertificateToDomain" in each or "CertificateFromDomain" in each} | {
    *policy._DELIVERY.split(),
    "execute-api:Invoke",
}
UNKNOWN_TO_MOTO = ("apigatewayv2.DeleteRouteSettings", "apigatewayv2.DeleteAccessLogSettings")
# What may be told an endpoint, what that adds to the policy of an endpoint without, and what follows on it.
SETTINGS = {
    "jwt": (JWT, set(), Api()),
    "cors and limits": (Api(cors=CORS, routes=ROUTES), set(), Api()),
    "an access log": (Api(access_log=True), {*policy._DELIVERY.split()}, Api()),
    "signatures of REST": (Api(type="rest", auth="iam"), {"execute-api:Invoke"}, REST),
    "keys": (KEYS, NEW_KEYS, REST),
    "cors and limits of REST": (Api(type="rest", cors=CORS, routes=ROUTES), set(), REST),
    "tokens after keys": (KEYS, NEW_KEYS, JWT),
    "an example before the model": (Api(type="rest", mock=True, mock_result=1), set(), REST),
    "a domain of REST": (Api(type="rest", domain=DOMAIN), NEW_DOMAIN, REST),
    "a domain": (Api(domain=DOMAIN), NEW_DOMAIN, Api()),
    "a domain that moves": (Api(domain=DOMAIN), NEW_DOMAIN, Api(type="rest", domain=DOMAIN)),
    "a cache, a log, traces, a firewall": (
        Api(type="rest", cache_ttl_s=60, access_log=True, tracing=True, waf_acl_arn=ACL),
        {"apigateway:GET /account", "wafv2:AssociateWebACL", "wafv2:GetWebACL"},
        REST,
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_adds_to_the_policy_what_it_needs_and_nothing_else(stand, name):
    api, added, _ = SETTINGS[name]
    with_it, without = (allowed(replace(stand.stage, api=each), stand.place) for each in (api, Api(type=api.type)))
    assert with_it - without == added
    assert without <= with_it


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_needs_no_more_than_is_allowed_when_it_comes_when_it_goes_and_when_all_goes(stand, name):
    stand.before = lambda call: (AWSResponse("", 204, {}, None), {}) if call in UNKNOWN_TO_MOTO else None
    api, added, after = SETTINGS[name]
    calls = set()
    if api.access_log:
        role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
        stand.clients["apigateway"].update_account(patchOperations=[role])
    if api.waf_acl_arn:
        api = replace(api, waf_acl_arn=_acl(stand))
    stages = [
        replace(stand.stage, api=each, model_dir=saved) for each, saved in zip((api, after), stand.models, strict=True)
    ]
    for stage in stages:
        stand.calls.clear()
        if stage.api.mock:
            mock.push(stage, stand.place, say=stand.said.append)
        else:
            stand.push(stage, replace_endpoint=True, try_out=lambda stage, place: None)
        if stage.api.auth == "api_key":
            keys.create(stage, stand.place, "me")
            keys.find_value(stage, stand.place, {})
            keys.listed(stage, stand.place)
            keys.revoke(stage, stand.place, "me")
            keys.create(stage, stand.place, "other")
        assert refused(stand.calls, allowed(stage, stand.place)) == set()
        calls |= set(stand.calls)
    assert unused(calls, added) - NO_CALLS == set()
    stand.calls.clear()
    destroy.destroy(stages[-1], stand.place, who="me", everything=True)
    assert refused(stand.calls, allowed(stages[-1], stand.place)) == set()


def _acl(stand):
    """Make a web ACL, and let REST APIs write logs."""
    role = {"op": "replace", "path": "/cloudwatchRoleArn", "value": "arn:aws:iam::123456789012:role/logs"}
    stand.clients["apigateway"].update_account(patchOperations=[role])
    shown = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "mine"}
    made = stand.clients["wafv2"].create_web_acl(
        Name="mine", Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=shown
    )
    return made["Summary"]["ARN"]


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
