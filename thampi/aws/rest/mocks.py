"""What a REST API answers when there is no model yet: an example, to everybody who is let in; pure.

Each answer is a template of Velocity, in which $ and # mean something. They stand only in JSON's strings, where they
can be written as \\u0024 and \\u0023, which are the same to whoever reads the JSON, and nothing to Velocity.
https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-mock-integration.html
"""

import json
from collections.abc import Mapping
from typing import Any

from thampi.aws.rest import tree
from thampi.aws.rest.tree import ANY, OPTIONS, Answer, Integration, Method, Place, Tree
from thampi.aws.rest.wanted import Cors, Rest

ROUTES = ("predict", "about", "ping")  # that an example has
LARGEST = 300_000  # characters of a template: AWS takes 300 KB
_REQUEST_ID = "$context.requestId"


def make(wanted: Rest) -> Tree:
    """Return the tree of an API that answers by itself: `wanted.mock` to predictions."""
    name = f"/{wanted.project}"
    headers = _allowed_origin(wanted.cors)
    facts = {"name": wanted.project, "stage": wanted.stage, "mock": True}
    answers: dict[Place, Answer] = {
        (f"{name}/predict", "POST"): Answer(200, template(wanted.mock or "null"), headers),
        (f"{name}/ping", "GET"): Answer(200, '{"ping":"pong"}', headers),
        (name, "GET"): Answer(200, template(json.dumps(facts)), headers),
    }
    for path, method in list(answers):
        message = f"only {method} is for this path"
        answers[path, ANY] = _refusal(405, "method_not_allowed", message, {**headers, "Allow": f"{method}, OPTIONS"})
    there = f"POST {name}/predict, GET {name}/ping and GET {name}"
    for path in ("/", "/{proxy+}", f"{name}/{{proxy+}}"):
        answers[path, ANY] = _refusal(404, "not_found", f"nothing is there; there are {there}", headers)
    methods = {place: _method(wanted.auth, answer) for place, answer in answers.items()}
    if wanted.cors is not None:
        # A browser asks what it may do before it says who asks.
        preflight = _method("none", Answer(204, "", {**headers, **_allowed(wanted.cors)}))
        methods |= {(path, OPTIONS): preflight for path, _ in answers}
    return Tree(methods, tree.with_parents(path for path, _ in answers))


def template(text: str) -> str:
    """Return a template that comes out as this JSON, whatever is in it."""
    return json.dumps(json.loads(text), separators=(",", ":")).replace("$", "\\u0024").replace("#", "\\u0023")


def _refusal(status: int, kind: str, message: str, headers: Mapping[str, str]) -> Answer:
    error: dict[str, Any] = {"type": kind, "message": message, "request_id": "{}"}
    body = template(json.dumps({"error": error})).replace('"{}"', f'"{_REQUEST_ID}"')
    return Answer(status, body, headers)


def _method(auth: str, answer: Answer) -> Method:
    return Method(auth, Integration("MOCK", timeout_ms=None, answer=answer))


def _allowed_origin(cors: Cors | None) -> dict[str, str]:
    """Return what lets pages read an answer. The gateway can't choose from several origins: an example is for all.

    With credentials browsers want one origin, and get the first.
    """
    if cors is None:
        return {}
    if cors.credentials:
        return {"Access-Control-Allow-Origin": cors.origins[0], "Access-Control-Allow-Credentials": "true"}
    return {"Access-Control-Allow-Origin": cors.origins[0] if len(cors.origins) == 1 else "*"}


def _allowed(cors: Cors) -> dict[str, str]:
    return {
        "Access-Control-Allow-Methods": ",".join(cors.methods),
        "Access-Control-Allow-Headers": ",".join(cors.headers),
        "Access-Control-Max-Age": str(cors.max_age_s),
    }
