"""Each event shape that can carry a request becomes one Request, and an Answer goes back in the same shape."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

Shape = Literal["v2", "v1", "alb", "direct"]


@dataclass(frozen=True)
class Answer:
    """Status, JSON body and headers, in no shape yet."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One HTTP request, whichever of AWS's fronts it came through. Header names are lower-case."""

    shape: Shape
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes | None  # None: it was marked as base64 and isn't
    prefix: str = ""  # what a gateway may have put before our path: its stage; "*": a custom domain's mapping
    multi_value: bool = False


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


def write(request: Request, answer: Answer) -> dict[str, Any]:
    """Return the proxy response in the shape that the front of `request` expects."""
    response: dict[str, Any] = {
        "statusCode": answer.status,
        "headers": dict(answer.headers),
        "body": answer.body.decode(),
        "isBase64Encoded": False,
    }
    if request.shape == "alb":
        response["statusDescription"] = f"{answer.status} {HTTPStatus(answer.status).phrase}"
        if request.multi_value:  # an ALB that sends lists ignores plain headers
            response["multiValueHeaders"] = {name: [value] for name, value in response.pop("headers").items()}
    return response


def _version_2(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    """HTTP APIs and function URLs: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html."""
    path = event.get("rawPath") or context["http"].get("path") or "/"
    return Request(
        "v2",
        str(context["http"].get("method", "GET")).upper(),
        str(path),
        _headers(event),
        _body(event),
        _prefix(context),
    )


def _version_1(event: Mapping[str, Any], context: Mapping[str, Any]) -> Request:
    """REST APIs, HTTP APIs with payload 1.0, and ALBs, which differ by `requestContext.elb`."""
    shape: Shape = "alb" if "elb" in context else "v1"
    return Request(
        shape,
        event["httpMethod"].upper(),
        str(event.get("path") or "/"),
        _headers(event),
        _body(event),
        "" if shape == "alb" else _prefix(context),
        multi_value=event.get("headers") is None and isinstance(event.get("multiValueHeaders"), dict),
    )


def _prefix(context: Mapping[str, Any]) -> str:
    """A custom domain's mapping is in the path and nowhere else in the event; a named stage says its name."""
    domain = str(context.get("domainName") or "")
    if domain and ".execute-api." not in domain and ".lambda-url." not in domain:
        return "*"
    stage = str(context.get("stage") or "")
    return "" if stage == "$default" else stage


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    many = event.get("multiValueHeaders") or {}
    headers = {str(name).lower(): str(values[-1]) for name, values in many.items() if values}
    return headers | {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}


def _body(event: Mapping[str, Any]) -> bytes | None:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        return None
    if event.get("isBase64Encoded"):
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            return None
    return body.encode("utf-8", "surrogatepass")
