"""What a REST API answers by itself, when a request doesn't get to the function: with what browsers want to see."""

from collections.abc import Mapping
from typing import Any

from thampi.aws.rest import resources
from thampi.aws.rest.wanted import Cors
from thampi.aws.session import Aws, absent_is_fine

REFUSED_BODY = "BAD_REQUEST_BODY"
# All other answers of the gateway's own that aren't told otherwise are as one of these:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
OURS = ("DEFAULT_4XX", "DEFAULT_5XX", REFUSED_BODY)

Responses = Mapping[str, Mapping[str, str]]  # type -> its headers, as AWS writes them; status and body by these words:
_STATUS, _BODY = "statusCode", "body"

# The shape of the handler's own refusal. There is no Velocity here: variables are put in, and API Gateway writes this
# one with its quotes escaped, as was seen by many. What plays AWS locally leaves its name there.
_REFUSAL = (
    '{"error":{"type":"invalid_data","message":"$context.error.validationErrorString",'
    '"request_id":"$context.requestId"}}'
)


def make(cors: Cors | None, *, checks: bool = False) -> Responses:
    """Return the answers that are wanted; none without CORS: AWS's own do then. `checks`: the gateway checks bodies."""
    said = _with_cors(cors) if cors else {}
    return with_refusal(said) if checks else said


def with_refusal(responses: Responses) -> Responses:
    """Return answers of which one refuses a body as the handler does, with what browsers see of the others."""
    headers = responses.get("DEFAULT_4XX", {})
    return {**responses, REFUSED_BODY: {**headers, _STATUS: "422", _BODY: _REFUSAL}}


def _with_cors(cors: Cors) -> Responses:
    headers = {"Access-Control-Allow-Origin": f"'{cors.origins[0]}'"}
    if len(cors.origins) > 1:
        # The gateway can't choose from a list, so it says whichever origin asks. It gives nothing away: these answers
        # are the same for everybody, and say no more than that a request was refused. Those with something in them
        # come from the function, which names only origins that may read them. (aws-cdk#23105 has it working.)
        headers = {"Access-Control-Allow-Origin": "method.request.header.origin", "Vary": "'Origin'"}
    if cors.credentials:
        headers["Access-Control-Allow-Credentials"] = "'true'"
    said = {f"gatewayresponse.header.{name}": value for name, value in headers.items()}
    return dict.fromkeys(("DEFAULT_4XX", "DEFAULT_5XX"), said)


def read(aws: Aws, api_id: str) -> Responses:
    """Read those of ours that are not as AWS makes them."""
    return {
        each["responseType"]: _read(each)
        for each in resources.every(aws, "get_gateway_responses", restApiId=api_id)
        if each["responseType"] in OURS and not each.get("defaultResponse")
    }


def changes(found: Responses, wanted: Responses) -> tuple[str, ...]:
    """Say what would have to change, a line each."""
    return tuple(
        f"{kind}: {_shown(found.get(kind))} -> {_shown(wanted.get(kind))}"
        for kind in OURS
        if found.get(kind) != wanted.get(kind)
    )


def write(aws: Aws, api_id: str, found: Responses, wanted: Responses) -> None:
    """Make them so; callers see it with the next deployment."""
    client = aws.client("apigateway")
    for kind in OURS:
        if kind in wanted and found.get(kind) != wanted[kind]:
            client.put_gateway_response(restApiId=api_id, responseType=kind, **_written(wanted[kind]))
        elif kind in found and kind not in wanted:
            with absent_is_fine("NotFoundException"):
                client.delete_gateway_response(restApiId=api_id, responseType=kind)


def _read(said: Mapping[str, Any]) -> dict[str, str]:
    found = dict(said.get("responseParameters") or {})
    if said["responseType"] == REFUSED_BODY:  # of the others we say no more than headers
        found[_STATUS] = str(said.get(_STATUS) or "")
        found[_BODY] = (said.get("responseTemplates") or {}).get("application/json") or ""
    return found


def _written(response: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"responseParameters": {k: v for k, v in response.items() if k not in (_STATUS, _BODY)}}
    if _BODY in response:
        said |= {_STATUS: response[_STATUS], "responseTemplates": {"application/json": response[_BODY]}}
    return said


def _shown(headers: Mapping[str, str] | None) -> str:
    if headers is None:
        return "AWS's own"
    return headers.get("gatewayresponse.header.Access-Control-Allow-Origin", "without CORS").strip("'")
