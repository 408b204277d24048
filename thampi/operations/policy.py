"""thampi doctor --policy: the smallest IAM policy with which all commands of a project work for one stage.

What a call needs is named after the operation, but for S3 and API Gateway, which have names of their own; what AWS lets
nobody restrict to one thing is asked for on all of them.
"""

from typing import Any

from thampi import names
from thampi.aws import policies
from thampi.aws.session import Aws
from thampi.config import Stage
from thampi.operations.place import Place

_LAMBDA = (
    "AddPermission CreateAlias CreateFunction DeleteFunction DeleteFunctionConcurrency "
    "DeleteFunctionUrlConfig DeleteProvisionedConcurrencyConfig GetAlias GetFunction GetFunctionUrlConfig GetPolicy "
    "GetProvisionedConcurrencyConfig InvokeFunction ListAliases ListProvisionedConcurrencyConfigs ListTags "
    "ListVersionsByFunction PublishVersion PutFunctionConcurrency PutProvisionedConcurrencyConfig RemovePermission "
    "TagResource UpdateAlias UpdateFunctionCode UpdateFunctionConfiguration UpdateFunctionUrlConfig"
)
_BUCKET = (
    "CreateBucket DeleteBucket GetBucketPublicAccessBlock GetBucketTagging GetBucketVersioning "
    "GetEncryptionConfiguration ListBucket ListBucketMultipartUploads ListBucketVersions PutBucketPublicAccessBlock "
    "PutBucketTagging PutEncryptionConfiguration"
)
_OBJECTS = "AbortMultipartUpload DeleteObject DeleteObjectVersion GetObject PutObject"
_ECR = (
    "BatchCheckLayerAvailability BatchDeleteImage BatchGetImage CompleteLayerUpload CreateRepository DeleteRepository "
    "DescribeImages DescribeRepositories GetDownloadUrlForLayer GetRepositoryPolicy InitiateLayerUpload "
    "ListTagsForResource PutImage PutImageScanningConfiguration PutImageTagMutability SetRepositoryPolicy TagResource "
    "UploadLayerPart"
)
_LOGS = "CreateLogGroup DeleteLogGroup FilterLogEvents ListTagsForResource PutRetentionPolicy TagResource"
_ROLE = (
    "CreateRole DeleteRole DeleteRolePolicy DetachRolePolicy GetRole GetRolePolicy ListAttachedRolePolicies "
    "ListRolePolicies PassRole PutRolePolicy TagRole UpdateAssumeRolePolicy"
)
_RULE = "DeleteRule DescribeRule ListTagsForResource ListTargetsByRule PutRule PutTargets RemoveTargets TagResource"
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html: an HTTP API's log is delivered.
_DELIVERY = (
    "logs:CreateLogDelivery logs:DeleteLogDelivery logs:DescribeResourcePolicies logs:GetLogDelivery "
    "logs:ListLogDeliveries logs:PutResourcePolicy logs:UpdateLogDelivery"
)
_ANYWHERE = (
    "cloudwatch:GetMetricData ecr:GetAuthorizationToken lambda:GetAccountSettings lambda:ListFunctions "
    "logs:DescribeLogGroups tag:GetResources"
)

_Statement = dict[str, Any]


def document(stage: Stage, place: Place) -> policies.Document:
    """Make the policy."""
    aws, name, at = place.aws, stage.name, stage.stage
    function = aws.arn("lambda", f"function:{names.function(name, at)}")
    others = aws.arn("lambda", f"function:{names.function(name, '*')}")
    bucket = aws.arn("s3", place.bucket, region=False, account=False)
    # That of the gateway may be left of a time when it was written.
    logs = (names.log_group(name, at), names.access_log_group(name, at))
    groups = [aws.arn("logs", f"log-group:{group}") for group in logs]
    is_url = stage.api.type == "url"
    statements = [
        _allow("Function", "lambda", _LAMBDA, function, f"{function}:*"),
        # What other stages use is never deleted, so it is looked at.
        _allow("OtherStages", "lambda", "GetFunction ListVersionsByFunction", others, f"{others}:*"),
        _allow("Bucket", "s3", _BUCKET, bucket),
        _allow("Models", "s3", _OBJECTS, f"{bucket}/thampi/{name}/*"),
        _allow("Images", "ecr", _ECR, aws.arn("ecr", f"repository/{names.repository(name)}")),
        _allow("Log", "logs", _LOGS, *groups, *(f"{group}:*" for group in groups)),
        *_gateway(stage, aws),
        _allow("Schedule", "events", _RULE, aws.arn("events", f"rule/{names.rule(name, at)}")),
        {"Sid": "Anywhere", "Effect": "Allow", "Action": _ANYWHERE.split(), "Resource": "*"},
    ]
    if is_url:
        statements.append(_allow("Url", "lambda", "CreateFunctionUrlConfig", function, f"{function}:*"))
    if stage.api.auth == "iam" and is_url:
        statements.append(_allow("Predict", "lambda", "InvokeFunctionUrl", function, f"{function}:*"))
    elif stage.api.auth == "iam":
        invoke = aws.arn("execute-api", f"*/{at}/*")
        statements.append(_allow("Predict", "execute-api", "Invoke", invoke))
    if stage.role_arn is None:
        role = aws.arn("iam", f"role/{names.role(name, at, aws.region)}", region=False)
        statements.append(_allow("Role", "iam", _ROLE, role))
    else:
        statements.append(_allow("Role", "iam", "PassRole", stage.role_arn))
    return policies.make(*statements)


def _gateway(stage: Stage, aws: Aws) -> list[_Statement]:
    """Return what is asked of API Gateway, and of what it works with.

    Its actions are verbs on paths, and it names by itself all that is made there, so nothing can be named here before
    that is made. An endpoint of another type, keys, mappings of domains and a firewall, from before they were set
    otherwise, are looked for, closed and removed; to make some is for those who want them.
    """
    api = stage.api

    def allow(sid: str, verbs: str, *paths: str) -> _Statement:
        return _allow(sid, "apigateway", verbs, *(aws.arn("apigateway", path, account=False) for path in paths))

    new = {"http": ["/apis"], "rest": ["/restapis"], "url": []}[api.type]
    new += ["/apikeys", "/usageplans", "/usageplans/*"] if api.auth == "api_key" else []
    new += ["/domainnames", "/domainnames/*"] if api.domain else []
    lists = ["/apis", "/restapis", "/apikeys", "/usageplans"]
    lists += ["/account"] if api.type == "rest" and api.access_log else []  # whether REST APIs may write logs at all
    statements = [
        allow("Endpoint", "DELETE GET PATCH POST PUT", "/apis/*", "/restapis/*", "/tags/*"),
        allow("Leftovers", "DELETE GET PATCH", "/apikeys/*", "/usageplans/*", "/domainnames/*"),
        allow("Lists", "GET", *lists),
    ]
    if new:
        statements.append(allow("New", "POST", *new))
    if api.domain:
        certificates = "AddCertificateToDomain RemoveCertificateFromDomain"
        statements.append(allow("Certificates", certificates, "/domainnames", "/domainnames/*"))
        statements.append(_allow("Certificate", "acm", "DescribeCertificate", api.domain.certificate_arn))
    if api.type == "http" and api.access_log:
        statements.append({"Sid": "LogDelivery", "Effect": "Allow", "Action": _DELIVERY.split(), "Resource": "*"})
    if api.type == "rest":
        at = aws.arn("apigateway", f"/restapis/*/stages/{stage.stage}", account=False)
        statements.append(_allow("Firewall", "wafv2", "DisassociateWebACL", at))
        statements[-1]["Action"].append("apigateway:SetWebACL")
        if api.waf_acl_arn:
            statements.append(_allow("WebAcl", "wafv2", "AssociateWebACL GetWebACL", api.waf_acl_arn, at))
    return statements


def _allow(sid: str, service: str, operations: str, *resources: str) -> _Statement:
    actions = [f"{service}:{each}" for each in operations.split()]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}
