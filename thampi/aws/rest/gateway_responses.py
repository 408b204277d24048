"""What a REST API answers by itself, when a request doesn't get to the function: with what browsers want to see."""

from collections.abc import Mapping

from thampi.aws.rest import resources
from thampi.aws.rest.wanted import Cors
from thampi.aws.session import Aws, absent_is_fine

# All answers of the gateway's own that aren't told otherwise are as one of these:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
OURS = ("DEFAULT_4XX", "DEFAULT_5XX")

Responses = Mapping[str, Mapping[str, str]]  # type -> its headers, as AWS writes them


def make(cors: Cors | None) -> Responses:
    """Return the answers that are wanted; none without CORS: AWS's own do then."""
    if cors is None:
        return {}
    headers = {"Access-Control-Allow-Origin": f"'{cors.origins[0]}'"}
    if len(cors.origins) > 1:
        # The gateway can't choose from a list, so it says whichever origin asks. It gives nothing away: these answers
        # are the same for everybody, and say no more than that a request was refused. Those with something in them
        # come from the function, which names only origins that may read them.
        headers = {"Access-Control-Allow-Origin": "method.request.header.origin", "Vary": "'Origin'"}
    if cors.credentials:
        headers["Access-Control-Allow-Credentials"] = "'true'"
    said = {f"gatewayresponse.header.{name}": value for name, value in headers.items()}
    return dict.fromkeys(OURS, said)


def read(aws: Aws, api_id: str) -> Responses:
    """Read those of ours that are not as AWS makes them."""
    return {
        each["responseType"]: dict(each.get("responseParameters") or {})
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
            client.put_gateway_response(restApiId=api_id, responseType=kind, responseParameters=dict(wanted[kind]))
        elif kind in found and kind not in wanted:
            with absent_is_fine("NotFoundException"):
                client.delete_gateway_response(restApiId=api_id, responseType=kind)


def _shown(headers: Mapping[str, str] | None) -> str:
    if headers is None:
        return "AWS's own"
    return headers.get("gatewayresponse.header.Access-Control-Allow-Origin", "without CORS").strip("'")
