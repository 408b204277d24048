"""The access log of a gateway: which line is written for each request, and where. The handler's own log is another one.

A line is an object in JSON. Every value in it is a text, because API Gateway puts `-` where it has nothing to say, and
that is no number. No value of it lets anybody in: neither the value of an API key nor a token is among them.

Its log group is made where `access_log` is set. It stays when the setting goes, with all that it says, for as long as
it was to keep it; `thampi destroy` deletes it.

What `$context` knows of a request differs by the type of the API:
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-variables-for-access-logging.html
"""

import json
from collections.abc import Mapping

from thampi import names
from thampi.aws import logs
from thampi.aws.logs import LogGroup
from thampi.aws.session import Aws

# Of both types alike. What a caller may write freely comes last: AWS does not say whether it escapes what it puts in. A
# quote in it spoils, at worst, the end of that one line, and a request has no line break in it.
_BOTH = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "time_ms": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "status": "$context.status",
    "response_bytes": "$context.responseLength",
    "latency_ms": "$context.responseLatency",
    "integration_latency_ms": "$context.integration.latency",
    "integration_status": "$context.integration.status",  # what the handler answered
    "lambda_status": "$context.integration.integrationStatus",  # what Lambda answered: 200 also when the handler failed
    "integration_error": "$context.integration.error",
    "error": "$context.error.responseType",
    "caller": "$context.identity.userArn",  # of a request that was signed
}
_FREE = {"path": "$context.path", "user_agent": "$context.identity.userAgent"}


def format_http() -> str:
    """Return what an HTTP API writes for each request: one line, an object in JSON."""
    return _line(
        _BOTH
        | {
            "route": "$context.routeKey",
            "subject": "$context.authorizer.claims.sub",  # whose token it was; the token itself is nowhere
            "authorizer_error": "$context.authorizer.error",
        }
    )


def format_rest() -> str:
    """Return what a REST API writes for each request: one line, an object in JSON."""
    return _line(
        _BOTH
        | {
            "route": "$context.resourcePath",
            "key_id": "$context.identity.apiKeyId",  # never $context.identity.apiKey, which is the key's value
            "waf": "$context.waf.status",
            "trace_id": "$context.xrayTraceId",
        }
    )


def destination(aws: Aws, project: str, stage: str) -> str:
    """Return the ARN of the log group as a stage of an API wants it: API Gateway takes no `:*` at its end.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html
    """
    return aws.arn("logs", f"log-group:{names.access_log_group(project, stage)}")


def make(project: str, stage: str, *, retention_days: int, tags: Mapping[str, str] | None = None) -> LogGroup:
    """Make the log group that the gateway of a stage writes in; `tags` are the user's."""
    name = names.access_log_group(project, stage)
    return LogGroup(name, retention_days, {**(tags or {}), **names.tags(project, stage)})


def read(aws: Aws, project: str, stage: str) -> LogGroup | None:
    """Read the log group, whoever made it; None when there is none."""
    return logs.find(aws, names.access_log_group(project, stage))


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the log group with all that it says; say whether there was one.

    Raises CloudError when it isn't ours, and leaves it alone.
    """
    return logs.delete(aws, names.access_log_group(project, stage), names.tags(project, stage))


def _line(values: dict[str, str]) -> str:
    return json.dumps(values | _FREE, separators=(",", ":"))
