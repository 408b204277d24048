"""What each route may answer, in the words of OpenAPI: our own answers, and those that what stands in front gives."""

from typing import Any

from .routes import Route

# Ours: status -> (what `error.type` says, when).
_OURS: dict[int, tuple[tuple[str, ...], str]] = {
    400: (
        ("not_json", "no_data", "bad_request"),
        "The body is not JSON, has no `data`, or the model refuses the data.",
    ),
    404: (("not_found",), "Nothing is at this path."),
    405: (("method_not_allowed",), "The path is not for this method; the header `allow` names those that it is for."),
    413: (("too_large",), "The request, or the answer to it, is larger than the endpoint takes."),
    415: (("unsupported_media_type",), "The body is not sent as JSON, or is sent compressed."),
    422: (
        ("invalid_data",),
        "The data doesn't have the form that the model takes; each mistake is named with its path.",
    ),
    500: (
        ("model_failed", "internal"),
        "The model failed on this request. Its log has the reason under the request's id.",
    ),
    503: (("model_loading", "model_unavailable"), "The model is still being loaded, or can't be. Try again later."),
}
_OF_DATA = (400, 415, 422)  # only where a body is sent

# Of what stands in front: https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-responses-types.html
# and https://repost.aws/knowledge-center/api-gateway-5xx-error.
_FRONT = {
    400: "The body is not what the gateway was told that the model takes.",
    403: "The caller may not: the request is not signed, has no key, or is turned away by a rule.",
    404: "There is no such API or stage.",
    413: "The request is larger than the gateway takes.",
    415: "The gateway takes no body of this type.",
    429: "Too many requests: over the rate limit of the endpoint or of the caller's key, over the key's quota, or over "
    "Lambda's concurrency. Try again later.",
    500: "The gateway could not call the function.",
    502: "The function ended without an answer, or ran into its own timeout.",
    503: "The gateway got no answer in the time that it waits, or is overloaded itself.",
    504: "The gateway got no answer in the time that it waits.",
}
_UNKNOWN_CALLER = "The caller is not known: the token is missing, expired, or for another audience."

_JSON = "application/json"

SCHEMAS: dict[str, Any] = {
    "Error": {
        "type": "object",
        "description": "An answer of the endpoint itself that is not the one asked for.",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "message", "request_id"],
                "properties": {
                    "type": {"type": "string", "enum": [kind for kinds, _ in _OURS.values() for kind in kinds]},
                    "message": {"type": "string"},
                    "request_id": {"type": "string", "description": "Leads to the log."},
                    "mistakes": {
                        "type": "array",
                        "maxItems": 100,
                        "items": {
                            "type": "object",
                            "required": ["path", "message"],
                            "properties": {
                                "path": {"type": "string", "description": "A JSON Pointer into the request's body."},
                                "message": {"type": "string"},
                            },
                        },
                    },
                },
            }
        },
        "additionalProperties": False,
    },
    "GatewayError": {
        "type": "object",
        "description": "What stands in front of the endpoint answers in its own words.",
        "anyOf": [{"required": ["message"]}, {"required": ["Message"]}],
        "properties": {"message": {"type": ["string", "null"]}, "Message": {"type": ["string", "null"]}},
    },
}
HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request's id, which leads to the log. The gateway's own answers don't have it.",
        "schema": {"type": "string"},
    },
    "Allow": {"description": "The methods that the path is for.", "schema": {"type": "string"}},
    "RetryAfter": {"description": "Seconds to wait before the next try.", "schema": {"type": "string"}},
}
# Of a prediction, where answers are given again: the header, and what it is here.
OF_CACHE: dict[str, Any] = {
    "x-thampi-cache": {
        "description": "Whether the answer was given before to the same body (`hit`), or is the model's own now.",
        "schema": {"enum": ["hit", "miss"]},
    },
    "age": {"description": "Seconds since the model said it, with a `hit`.", "schema": {"type": "string"}},
}
# Of an answer to OPTIONS, where the endpoint itself tells browsers which other sites' pages may call it.
OF_CORS: dict[str, Any] = {
    name: {"description": f"For preflights of pages that may call: {what}.", "schema": {"type": "string"}}
    for name, what in {
        "access-control-allow-origin": "the origin of the page, or *",
        "access-control-allow-methods": "the methods that it may use",
        "access-control-allow-headers": "the headers that it may send",
        "access-control-max-age": "seconds that the browser keeps this answer",
    }.items()
}


def components(token: bool) -> dict[str, Any]:
    """Return the responses that all routes refer to, by the name `Status404`; `token`: callers bring one (401)."""
    statuses = sorted({*_OURS, *_FRONT, *((401,) if token else ())})
    return {_name(status): _response(status) for status in statuses}


def of(route: Route, token: bool) -> dict[str, Any]:
    """Return the references to all that a route may answer beside a success."""
    statuses = {405, *_FRONT, *((401,) if token else ())}
    statuses = statuses | {*_OF_DATA} if route == "predict" else statuses - {*_OF_DATA}
    return {str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in sorted(statuses)}


def _name(status: int) -> str:
    return f"Status{status}"


def _response(status: int) -> dict[str, Any]:
    ours, front = _OURS.get(status), _UNKNOWN_CALLER if status == 401 else _FRONT.get(status)
    schemas = [{"$ref": "#/components/schemas/Error"}] if ours else []
    schemas += [{"$ref": "#/components/schemas/GatewayError"}] if front else []
    said = [ours[1]] if ours else []
    said += (
        [f"From the gateway: {front[0].lower()}{front[1:]}" if ours else f"{front} (From the gateway.)"]
        if front
        else []
    )
    made: dict[str, Any] = {
        "description": " ".join(said),
        "content": {_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"oneOf": schemas}}},
    }
    headers = {"x-request-id": "RequestId"} if ours else {}
    headers |= {"allow": "Allow"} if status == 405 else {"retry-after": "RetryAfter"} if status == 503 else {}
    if headers:
        made["headers"] = {name: {"$ref": f"#/components/headers/{kind}"} for name, kind in headers.items()}
    return made
