"""What the endpoint takes and answers, as an OpenAPI 3.1 document: made when it is asked for, and never before."""

from typing import Any, NamedTuple, cast

import orjson

from thampi.runtime.bundle import About

from . import answers, schemas
from .events import Request
from .routes import METHODS, Route
from .settings import Settings

_FILE = "openapi.json"
_JSON = "application/json"
_NO_SCHEMA: dict[str, Any] = {}  # anything

# As AWS has OpenAPI say it:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-swagger-extensions-authtype.html
_SIGNED = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "x-amazon-apigateway-authtype": "awsSigv4",
    "description": "AWS Signature Version 4. `thampi.Client` signs; so does `curl --aws-sigv4`.",
}
_KEY = {"type": "apiKey", "in": "header", "name": "x-api-key"}
_TOKEN = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
_SCHEMES: dict[str, dict[str, Any]] = {"sigv4": _SIGNED, "api_key": _KEY, "token": _TOKEN}

_SUMMARIES: dict[Route, str] = {
    "predict": "Ask the model",
    "ping": "Say whether the model is there, without asking it",
    "about": "Say what is served",
    "openapi": "This document",
}


class Place(NamedTuple):
    """Where a caller found the document: what of it depends on the request."""

    name: str  # the project's, as the caller wrote it
    servers: tuple[str, ...]  # URLs, without the project's name; a relative one begins at the document
    schemes: tuple[str, ...]  # how callers say who they are: of _SCHEMES


def place(request: Request, stage: str) -> Place:
    """Tell where the caller of `openapi.json` is.

    The host is named where it is certain to lead back: not on this machine (the stage `local`, `thampi run`), where
    what plays AWS is reached by another one than the event says, and not behind a custom domain of an HTTP API or a
    function URL, whose events don't have the domain's mapping.
    """
    segments = [segment for segment in _whole_path(request).split("/") if segment]
    *before, name, _ = segments
    host, proto = request.headers.get("host", ""), request.headers.get("x-forwarded-proto", "https")
    known = request.context.get("domainName") or ("elb" in request.context and host)
    servers = [".."]
    whole = request.shape != "v2" or request.prefix != "*"
    if whole and known and known == host and stage != "local":
        servers.insert(0, "/".join([f"{proto}://{host}", *before]))
    return Place(name, tuple(servers), _schemes(request))


def _whole_path(request: Request) -> str:
    """Return the path that the caller asked for: a REST API takes its stage off, and has the whole elsewhere."""
    whole = request.context.get("path")
    return whole if isinstance(whole, str) and whole.endswith(request.path) else request.path


def _schemes(request: Request) -> tuple[str, ...]:
    """Tell from the event how its caller proved who it is.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    authorizer, identity = request.context.get("authorizer"), request.context.get("identity")
    authorizer = authorizer if isinstance(authorizer, dict) else {}
    identity = identity if isinstance(identity, dict) else {}
    found = []
    if authorizer.get("iam") or identity.get("userArn"):
        found.append("sigv4")
    if authorizer.get("jwt") or authorizer.get("claims"):
        found.append("token")
    if identity.get("apiKey"):
        found.append("api_key")
    return tuple(found)


def document(about: About, settings: Settings, at: Place) -> bytes:
    """Render the document for one place."""
    return orjson.dumps(_document(about, settings, at), option=orjson.OPT_NON_STR_KEYS)


def _document(about: About, settings: Settings, at: Place) -> dict[str, Any]:
    properties = about.properties(settings.served_time_utc)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": at.name,
            "version": about.instance_id,
            "description": f"The model {at.name}, stage {settings.stage}, trained {about.trained_time_utc}.",
            "x-thampi": {
                "stage": settings.stage,
                "properties": properties,
                "python": about.python,
                "distributions": about.distributions,
            },
        },
        "servers": [{"url": url} for url in at.servers],
        "paths": {
            f"/{at.name}/predict": _path("predict", at, settings, _predict(about, settings)),
            f"/{at.name}/ping": _path("ping", at, settings, _success("Ping")),
            f"/{at.name}": _path("about", at, settings, _about(settings)),
            f"/{at.name}/{_FILE}": _path("openapi", at, settings, _success({"type": "object"})),
        },
        "components": {
            "schemas": _schemas(about),
            "responses": answers.components("token" in at.schemes),
            "headers": answers.HEADERS,
        },
    }
    if at.schemes:
        found["components"]["securitySchemes"] = {name: _SCHEMES[name] for name in at.schemes}
        # One object: all of them together, as the caller of this document showed them.
        found["security"] = [{name: [] for name in at.schemes}]
    return found


def _path(route: Route, at: Place, settings: Settings, said: dict[str, Any]) -> dict[str, Any]:
    """Return what one path takes, a method each; `said` is the one that the path is for."""
    token = "token" in at.schemes
    first, *others = METHODS[route]
    made: dict[str, Any] = {}
    for method in (first, *others):
        operation: dict[str, Any] = {"operationId": route if method == first else f"{route}_{method.lower()}"}
        if method == first:
            operation |= {"summary": _SUMMARIES[route], **said}
        elif method == "HEAD":
            operation |= {
                "summary": f"{_SUMMARIES[route]}: the status alone",
                "responses": {"200": _bodiless("There.")},
            }
        else:
            allowed = _bodiless("The header `allow` names the methods that the path is for.")
            allowed["headers"] |= {"allow": {"$ref": "#/components/headers/Allow"}}
            allowed["headers"] |= answers.OF_CORS if settings.cors else {}
            operation |= {"summary": "Say which methods the path is for", "responses": {"204": allowed}}
        operation["responses"] = operation["responses"] | _refusals(route, method, token)
        made[method.lower()] = operation
    return made


def _refusals(route: Route, method: str, token: bool) -> dict[str, Any]:
    found = answers.of(route, token)
    if method != "HEAD":
        return found
    return {status: _bodiless(f"As GET's {status}.") for status in found}


def _bodiless(description: str) -> dict[str, Any]:
    return {"description": description, "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}}}


def _success(schema: str | dict[str, Any]) -> dict[str, Any]:
    """Return the responses of a route whose answer is a component's, or of a schema."""
    schema = {"$ref": f"#/components/schemas/{schema}"} if isinstance(schema, str) else schema
    made = _bodiless("The answer.")
    return {"responses": {"200": made | {"content": {_JSON: {"schema": schema}}}}}


def _about(settings: Settings) -> dict[str, Any]:
    made = _success("About")
    if settings.page:
        page = {"text/html": {"schema": {"type": "string"}}}
        made["responses"]["200"]["content"] |= page
        made["description"] = "As a page to try the model for browsers, which ask for `text/html` first; else as JSON."
    return made


def _predict(about: About, settings: Settings) -> dict[str, Any]:
    made = _success("Answer")
    made["responses"]["200"]["headers"] |= answers.OF_CACHE if settings.cache_ttl_s else {}
    body: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Request"}}
    if about.example is not None:
        body["examples"] = {"saved": {"summary": "Saved with the model", "value": {"data": about.example}}}
    return {"requestBody": {"required": True, "content": {_JSON: body}}, **made}


def _schemas(about: About) -> dict[str, Any]:
    """Return the components: what callers send and get, by what the model says of itself, and our own."""
    signature = cast(dict[str, Any], about.signature) if isinstance(about.signature, dict) else {}
    data, result = signature.get("request"), signature.get("answer")
    found = schemas.components("Data", _NO_SCHEMA if data is None else data)
    found |= schemas.components("Result", _NO_SCHEMA if result is None else result)
    answer = _object(
        properties={"$ref": "#/components/schemas/Properties"}, result={"$ref": "#/components/schemas/Result"}
    )
    return {
        "Request": _object(data={"$ref": "#/components/schemas/Data"}),
        "Answer": answer,
        **found,
        "Properties": _object(
            instance_id=_STRING,
            served_time_utc=_STRING,
            tags={"type": "object"},
            thampi_data_version=_STRING,
            trained_time_utc=_STRING,
        ),
        "Ping": _object(ping={"const": "pong"}),
        "About": _object(
            name=_STRING,
            stage=_STRING,
            properties={"$ref": "#/components/schemas/Properties"},
            python=_STRING,
            distributions={"type": "object", "additionalProperties": _STRING},
            example={},
            signature={},
        ),
        **answers.SCHEMAS,
    }


_STRING = {"type": "string"}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}
