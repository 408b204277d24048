"""What a REST API says at which path: resources, methods and what answers them, as one value; pure.

Everything leads to the function, which knows by itself what is a path and what isn't: `/` and `/{proxy+}` are all that
it takes. Resources of their own have what may be told of them alone: a schema, a limit, a cache. Each of those has ANY,
too, so that a wrong method is the function's to refuse; and `/{name}` has a `{proxy+}` of its own, because what lies
under a resource is not looked for beside it.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from thampi.aws.rest import stage_settings
from thampi.aws.rest.wanted import Rest

TIMEOUT_MS = 29_000  # the longest that a REST API waits, unless AWS was asked for more

ANY, OPTIONS = "ANY", "OPTIONS"
_MANY = 3  # methods of which the same is said are counted when they are more, not listed
JSON = "application/json"
HEADER = "method.request.header."  # before the name of a header that a method takes
Place = tuple[str, str]  # path, method

# auth -> (authorizationType, apiKeyRequired)
AUTH: Mapping[str, tuple[str, bool]] = {
    "none": ("NONE", False),
    "iam": ("AWS_IAM", False),
    "api_key": ("NONE", True),
}


@dataclass(frozen=True)
class Answer:
    """What the gateway answers by itself, the same to everybody."""

    status: int
    body: str  # a template; empty: no body
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Integration:
    """What answers a method."""

    type: str = "AWS_PROXY"
    uri: str = ""
    timeout_ms: int | None = TIMEOUT_MS
    answer: Answer | None = None  # of a MOCK; as read: None where it isn't one that we have written
    cache_keys: tuple[str, ...] = ()  # the headers that an answer which is given again depends on


@dataclass(frozen=True)
class Method:
    """What is asked of who calls, and what answers; as wanted and as read alike."""

    auth: str  # a key of AUTH; as read also what is none of them
    integration: Integration | None  # as read: None where a run that ended in between didn't get to
    model: str | None = None  # the name of the schema that bodies must fit, see `schemas`
    validator_id: str = field(default="", compare=False)  # what only AWS knows


@dataclass(frozen=True)
class Tree:
    """All methods by path and name; paths without any are those that only lead to others."""

    methods: Mapping[Place, Method] = field(default_factory=dict)
    paths: frozenset[str] = frozenset({"/"})

    @property
    def is_whole(self) -> bool:
        """Say whether each method has what answers it: else AWS deploys nothing."""
        return all(method.integration for method in self.methods.values())

    @property
    def answers_itself(self) -> bool:
        """Say whether the gateway answers by itself, with an example."""
        return any(each.integration is not None and each.integration.answer for each in self.methods.values())


def make(wanted: Rest, integration: Integration, model: str | None = None) -> Tree:
    """Return the tree that is wanted; `integration` leads to the function, `model` names the schema of a body."""
    name = f"/{wanted.project}"
    predict = f"{name}/predict"
    places = [
        ("/", ANY),
        ("/{proxy+}", ANY),
        (name, ANY),
        (f"{name}/{{proxy+}}", ANY),
        (predict, ANY),
        (predict, "POST"),
    ]
    if wanted.routes or wanted.cache_ttl_s is not None:
        # Only what has a method of its own can have a limit or a cache of its own, and be left out of another's.
        for path, name_of_method in stage_settings.places(wanted.project):
            places += [(path, ANY), (path, name_of_method)]
    method = Method(wanted.auth, integration)
    methods = dict.fromkeys(places, method)
    if wanted.cache_ttl_s is not None:
        kept = replace(method, integration=replace(integration, cache_keys=stage_settings.CACHE_KEYS))
        methods |= dict.fromkeys(stage_settings.places(wanted.project, stage_settings.CACHED), kept)
    checked = methods[predict, "POST"]
    methods[predict, "POST"] = replace(checked, model=model)
    if wanted.cors is not None:
        # A browser asks what it may do before it says who asks.
        methods |= {(path, OPTIONS): Method("none", integration) for path, _ in places}
    return Tree(methods, with_parents(path for path, _ in places))


def read(resources: Iterable[Mapping[str, Any]]) -> Tree:
    """Read the answer of GetResources, with methods."""
    methods = {
        (each["path"], name): _method(said)
        for each in resources
        for name, said in (each.get("resourceMethods") or {}).items()
    }
    return Tree(methods, frozenset(each["path"] for each in resources) | {"/"})


def changes(found: Tree, wanted: Tree) -> tuple[str, ...]:
    """Say which methods and resources would be made, changed and removed, a line each; one for what many share."""
    said: dict[str, list[Place]] = {}
    for place in sorted({*found.methods, *wanted.methods}):
        for line in _differences(found.methods.get(place), wanted.methods.get(place)):
            said.setdefault(line, []).append(place)
    kept = {path for path, _ in {*found.methods, *wanted.methods}}
    lines = [each for line, places in said.items() for each in _lines(line, places)]
    lines += [f"{path}: none -> made" for path in sorted(wanted.paths - found.paths - kept)]
    lines += [f"{path}: removed" for path in sorted(found.paths - wanted.paths - kept)]
    return tuple(lines)


def _lines(line: str, places: Sequence[Place]) -> list[str]:
    if len(places) <= _MANY:
        return [f"{name} {path}: {line}" for path, name in places]
    kinds = {name for _, name in places}
    return [f"{kinds.pop()} of {len(places)} paths: {line}" if len(kinds) == 1 else f"{len(places)} methods: {line}"]


def hardened(found: Tree, wanted: Tree) -> Tree:
    """Return `found` with the auth of `wanted`, and nothing else of it; what a dead run has left open is completed.

    What is only in `found` gets the auth of all others, except what browsers ask before they say who they are.
    """
    auth = wanted.methods[("/", ANY)].auth
    methods = {}
    for place, method in found.methods.items():
        asked = wanted.methods.get(place)
        fallback = asked.integration if asked else wanted.methods[("/", ANY)].integration
        answers = method.integration or fallback
        open_by_right = place[1] == OPTIONS and method.auth == "none"
        methods[place] = replace(method, auth=method.auth if open_by_right else auth, integration=answers)
    return Tree(methods, found.paths)


def checked(found: Tree, project: str, name: str | None) -> Tree:
    """Return `found` with bodies of predict checked by the model of this name, or not at all."""
    place = _predict(project)
    if place not in found.methods:
        return found
    return replace(found, methods={**found.methods, place: replace(found.methods[place], model=name)})


def model(found: Tree, project: str) -> str | None:
    """Return the name of the model that bodies of predict are checked by."""
    method = found.methods.get(_predict(project))
    return method.model if method else None


def validator_id(found: Tree, project: str) -> str:
    """Return the id of the validator that does so; empty for none."""
    method = found.methods.get(_predict(project))
    return method.validator_id if method else ""


def _predict(project: str) -> Place:
    return f"/{project}/predict", "POST"


def digest(tree: Tree, responses: Mapping[str, Any]) -> str:
    """Return a digest of all that a deployment makes live: the tree, and the gateway's own answers."""
    said = {f"{name} {path}": asdict(replace(method, validator_id="")) for (path, name), method in tree.methods.items()}
    return hashlib.sha256(json.dumps([said, responses], sort_keys=True, default=dict).encode()).hexdigest()[:12]


def parent(path: str) -> str:
    """Return the path of the resource under which this one lies."""
    return path.rpartition("/")[0] or "/"


def _method(said: Mapping[str, Any]) -> Method:
    asked = (str(said.get("authorizationType")), bool(said.get("apiKeyRequired")))
    auth = next((auth for auth, known in AUTH.items() if known == asked), " ".join(map(str, asked)))
    validator_id = said.get("requestValidatorId") or ""
    model = (said.get("requestModels") or {}).get(JSON) if validator_id else None
    return Method(auth, _integration(said.get("methodIntegration")), model, validator_id)


def _integration(said: Mapping[str, Any] | None) -> Integration | None:
    if not said:
        return None
    if said.get("type") == "MOCK":
        return Integration("MOCK", timeout_ms=None, answer=_answer(said))
    waits, keys = said.get("timeoutInMillis"), said.get("cacheKeyParameters") or ()
    return Integration(
        type=said.get("type", ""),
        uri=said.get("uri") or "",
        timeout_ms=int(waits) if waits is not None else None,
        cache_keys=tuple(sorted(each.removeprefix(HEADER) for each in keys)),
    )


def mocked(answer: Answer) -> dict[str, Any]:
    """Return how AWS writes an answer of the gateway's own, in two calls' words: the integration's, the response's."""
    headers = {f"method.response.header.{name}": f"'{value}'" for name, value in answer.headers.items()}
    return {
        "integration": {
            "requestTemplates": {JSON: json.dumps({"statusCode": answer.status})},
            "passthroughBehavior": "NEVER",  # what is no JSON is refused, as the function would
        },
        "response": {"responseParameters": headers, "responseTemplates": {JSON: answer.body} if answer.body else {}},
    }


def _answer(said: Mapping[str, Any]) -> Answer | None:
    """Read what a MOCK answers; None where any of it is not as `mocked` would write it."""
    responses = said.get("integrationResponses") or {}
    if len(responses) != 1:
        return None
    ((status, response),) = responses.items()
    headers = response.get("responseParameters") or {}
    found = Answer(
        int(status),
        (response.get("responseTemplates") or {}).get(JSON) or "",
        {name.removeprefix("method.response.header."): value.strip("'") for name, value in headers.items()},
    )
    written = mocked(found)["integration"]
    return found if all(said.get(key) == value for key, value in written.items()) else None


def _differences(old: Method | None, new: Method | None) -> Iterable[str]:
    if old is None or new is None:
        yield f"{old.auth if old else 'none'} -> {new.auth if new else 'removed'}"
        return
    if old.auth != new.auth:
        yield f"auth: {old.auth} -> {new.auth}"
    if old.model != new.model:
        yield f"schema: {old.model or 'none'} -> {new.model or 'none'}"
    if old.integration != new.integration:
        was, will = (_said(each.integration) for each in (old, new))
        yield f"answered by {was if was != will else 'another'} -> {will}"


def _said(integration: Integration | None) -> str:
    if integration is None:
        return "nothing"
    return "an example" if integration.type == "MOCK" else "the function"


def with_parents(paths: Iterable[str]) -> frozenset[str]:
    """Return paths with all that lead to them."""
    found = {"/"}
    for path in paths:
        while path not in found:
            found.add(path)
            path = parent(path)
    return frozenset(found)
