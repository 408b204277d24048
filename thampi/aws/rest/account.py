"""The role by which API Gateway writes logs: one for all REST APIs of an account and region, so never set by thampi."""

from thampi.aws.session import Aws, doing
from thampi.errors import CloudError

_ROLE = "api-gateway-logs"  # what the hint calls it
_TRUST = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
    '"Principal": {"Service": "apigateway.amazonaws.com"}, "Action": "sts:AssumeRole"}]}'
)


def check_logs(aws: Aws) -> None:
    """Raise CloudError, with the commands that set it, where API Gateway has no role to write logs with.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
    """
    with doing("reading the settings of API Gateway"):
        role = aws.client("apigateway").get_account().get("cloudwatchRoleArn")
    if role:
        return
    policy = f"arn:{aws.partition}:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
    arn = aws.arn("iam", f"role/{_ROLE}", region=False)
    raise CloudError(
        f"access_log: API Gateway may not write logs in this account (CloudWatch role of {aws.region})",
        hint="it is set once, for all REST APIs of the account and region:\n"
        f"  aws iam create-role --role-name {_ROLE} --assume-role-policy-document '{_TRUST}'\n"
        f"  aws iam attach-role-policy --role-name {_ROLE} --policy-arn {policy}\n"
        f"  aws apigateway update-account --region {aws.region} "
        f"--patch-operations op=replace,path=/cloudwatchRoleArn,value={arn}",
    )
