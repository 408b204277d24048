"""thampi doctor --policy: the smallest IAM policy with which all commands of a project work for one stage.

What a call needs is named after the operation, but for S3 and API Gateway, which have names of their own; what AWS lets
nobody restrict to one thing is asked for on all of them.
"""

from typing import Any

from thampi import names
from thampi.aws import policies
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
_ANYWHERE = (
    "cloudwatch:GetMetricData ecr:GetAuthorizationToken lambda:GetAccountSettings lambda:ListFunctions "
    "logs:DescribeLogGroups tag:GetResources"
)


def document(stage: Stage, place: Place) -> policies.Document:
    """Make the policy."""
    aws, name, at = place.aws, stage.name, stage.stage
    function = aws.arn("lambda", f"function:{names.function(name, at)}")
    others = aws.arn("lambda", f"function:{names.function(name, '*')}")
    bucket = aws.arn("s3", place.bucket, region=False, account=False)
    group = aws.arn("logs", f"log-group:{names.log_group(name, at)}")
    apis, tags = (aws.arn("apigateway", path, account=False) for path in ("/apis", "/tags/*"))
    is_url = stage.api.type == "url"
    # An endpoint of another type, from before a change of the type, is looked for, closed and removed. API Gateway
    # names its APIs itself, so none can be named here before it is made.
    verbs = "DELETE GET PATCH" if is_url else "DELETE GET PATCH POST PUT"
    statements = [
        _allow("Function", "lambda", _LAMBDA, function, f"{function}:*"),
        # What other stages use is never deleted, so it is looked at.
        _allow("OtherStages", "lambda", "GetFunction ListVersionsByFunction", others, f"{others}:*"),
        _allow("Bucket", "s3", _BUCKET, bucket),
        _allow("Models", "s3", _OBJECTS, f"{bucket}/thampi/{name}/*"),
        _allow("Images", "ecr", _ECR, aws.arn("ecr", f"repository/{names.repository(name)}")),
        _allow("Log", "logs", _LOGS, group, f"{group}:*"),
        _allow("Endpoint", "apigateway", verbs, apis, f"{apis}/*", tags),
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


def _allow(sid: str, service: str, operations: str, *resources: str) -> dict[str, Any]:
    actions = [f"{service}:{each}" for each in operations.split()]
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": list(resources)}
