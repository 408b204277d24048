"""Each event shape that can carry a request becomes one Request, and an answer goes back in the same shape.

Every field is read as if it could be missing, null or of another type: gateways, emulators, consoles and people who
write test events differ in what they leave out.
"""

import base64
import binascii
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeGuard

import orjson

Shape = Literal["v2", "v1", "alb"]


class Request(NamedTuple):
    """One HTTP request, whichever of AWS's fronts it came through. Header names are lower-case."""

    shape: Shape
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None  # None: it is no text, or marked as base64 and isn't
    prefix: str = ""  # what a gateway may have put before our path: its stage; "*": a custom domain's mapping
    multi_value: bool = False
    context: Mapping[str, Any] = MappingProxyType({})  # the event's requestContext: who asks, and by which front


def read(event: Any) -> Request | None:
    """Return the request in an event of API Gateway (HTTP or REST), a function URL or an ALB; None for another."""
    if not isinstance(event, dict):
        return None
    context = event.get("requestContext")
    context = context if isinstance(context, dict) else {}
    if isinstance(context.get("http"), dict):
        return _version_2(event, context)
    if isinstance(event.get("httpMethod"), str):
        return _version_1(event, context)
    return None


def write(request: Request, status: int, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    """Return an answer, whose body is text or nothing, as the proxy response that the front of `request` expects."""
    response: dict[str, Any] = {
        "statusCode": status,
        "headers": headers,
        "body": "" if request.method == "HEAD" else body.decode(),
        "isBase64Encoded": False,
    }
    if request.shape == "alb":
        response["statusDescription"] = f"{status} {HTTPStatus(status).phrase}"
        if request.multi_value:  # an ALB that sends lists ignores plain headers
            response["multiValueHeaders"] = {name: [value] for name, value in response.pop("headers").items()}
    return response


def size_of(response: Mapping[str, Any], body: bytes) -> int:
    """Return the bytes of a response as Lambda counts them: in JSON, where each quote and backslash of the body is two.

    `body` is the response's, and JSON itself, so that nothing else in it needs a backslash; it is not written again.
    """
    return len(orjson.dumps({**response, "body": ""})) + len(body) + body.count(b'"') + body.count(b"\\")


def _version_2(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    """HTTP APIs and function URLs: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    http = context["http"]
    return Request(
        "v2",
        str(http.get("method") or "GET").upper(),
        str(event.get("rawPath") or http.get("path") or "/"),
        _headers(event),
        _body(event),
        _prefix(context),
        context=context,
    )


def _version_1(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    """REST APIs, HTTP APIs with payload 1.0, and ALBs, which differ by `requestContext.elb`."""
    shape: Shape = "alb" if "elb" in context else "v1"
    return Request(
        shape,
        event["httpMethod"].upper(),
        str(event.get("path") or context.get("path") or "/"),
        _headers(event),
        _body(event),
        _prefix(context),
        multi_value=not event.get("headers") and isinstance(event.get("multiValueHeaders"), dict),
        context=context,
    )


def _prefix(context: Mapping[str, Any]) -> str:
    """Return what may stand before our path.

    The path of an HTTP API begins with its stage, unless that is $default; that of a REST API doesn't. Behind a custom
    domain that of a REST API, and of payload 1.0, begins with the domain's mapping, which may have several segments
    and which no field of the event names; that of payload 2.0 has the stage there and not the mapping:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html.
    """
    domain = str(context.get("domainName") or "")
    if domain and ".execute-api." not in domain and ".lambda-url." not in domain:
        return "*"
    stage = str(context.get("stage") or "")
    return "" if stage == "$default" else stage


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers; of a name that came twice, both values in one, as HTTP allows and HTTP APIs do."""
    plain, many, cookies = event.get("headers"), event.get("multiValueHeaders"), event.get("cookies")
    headers = {}
    if isinstance(plain, dict):
        headers = {name.lower(): str(value) for name, value in plain.items() if value is not None}
    if isinstance(many, dict):
        headers |= {name.lower(): ", ".join(map(str, values)) for name, values in many.items() if _is_list(values)}
    if _is_list(cookies):  # payload 2.0 takes them out of the headers
        headers.setdefault("cookie", "; ".join(map(str, cookies)))
    return headers


def _body(event: Mapping[str, Any]) -> bytes | None:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        return None
    encoded = event.get("isBase64Encoded")
    if encoded and str(encoded).lower() == "true":
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            return None
    return body.encode("utf-8", "surrogatepass")


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list) and bool(value)
