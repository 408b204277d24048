"""Where an API is called, and by which ARN Lambda knows its calls: the same for HTTP and REST APIs."""

from thampi.aws.session import Aws

_LOCAL = "local"  # the stage that lives on this machine

# From botocore's partitions.json; all others end in amazonaws.com.
_SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.eu"}


def url(aws: Aws, api_id: str, project: str, stage: str) -> str:
    """Return where predictions are asked for."""
    path = f"{stage}/{project}/predict"
    if aws.endpoint_url is not None and stage == _LOCAL:
        return f"{aws.endpoint_url.rstrip('/')}/_aws/execute-api/{api_id}/{path}"
    return f"https://{api_id}.execute-api.{aws.region}.{_SUFFIXES.get(aws.partition, 'amazonaws.com')}/{path}"


def source_arn(aws: Aws, api_id: str) -> str:
    """Return the ARN by which Lambda knows all calls of this API: one permission for every stage, method and path."""
    return aws.arn("execute-api", f"{api_id}/*/*")
