"""The tree of a REST API at AWS: written so by plain calls. Nobody sees any of it before it is deployed."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from thampi.aws.rest import tree
from thampi.aws.rest.tree import Answer, Integration, Method, Tree
from thampi.aws.session import Aws, absent_is_fine, code_of

_MOST = 500  # resources in one answer


def every(aws: Aws, operation: str, **of: Any) -> list[dict[str, Any]]:
    """Return all of what an operation lists, over its pages."""
    pages = aws.client("apigateway").get_paginator(operation).paginate(**of)
    return [each for page in pages for each in page.get("items", [])]


def read(aws: Aws, api_id: str) -> tuple[Tree, dict[str, str]]:
    """Read the tree as it is written, and the id of the resource of each path."""
    found = every(aws, "get_resources", restApiId=api_id, embed=["methods"], limit=_MOST)
    return tree.read(found), {each["path"]: each["id"] for each in found}


def write(aws: Aws, api_id: str, found: Tree, ids: Mapping[str, str], wanted: Tree, validator_id: str = "") -> None:
    """Make the tree so, by what differs from `found`; parents before what lies under them, and after it to go.

    Methods with a schema get the validator.
    """
    known = dict(ids)
    if "/" not in known:  # of an API that was made a moment ago
        known = read(aws, api_id)[1]
    for path in sorted(wanted.paths - found.paths, key=_depth):
        known[path] = _create(aws, api_id, known[tree.parent(path)], path)
    for place, method in wanted.methods.items():
        if found.methods.get(place) != method:
            at = {"restApiId": api_id, "resourceId": known[place[0]], "httpMethod": place[1]}
            _write(aws, at, found, place, method, validator_id)
    client = aws.client("apigateway")
    for path, name in found.methods:
        if (path, name) not in wanted.methods and path in wanted.paths:
            with absent_is_fine("NotFoundException"):
                client.delete_method(restApiId=api_id, resourceId=known[path], httpMethod=name)
    for path in sorted(found.paths - wanted.paths, key=_depth, reverse=True):
        with absent_is_fine("NotFoundException"):
            client.delete_resource(restApiId=api_id, resourceId=known[path])


def _depth(path: str) -> tuple[int, str]:
    return path.count("/"), path


def _create(aws: Aws, api_id: str, parent_id: str, path: str) -> str:
    part = path.rpartition("/")[2]
    try:
        made = aws.client("apigateway").create_resource(restApiId=api_id, parentId=parent_id, pathPart=part)
    except ClientError as error:
        # The answer to our own call may have been lost, and the SDK have repeated it.
        ids = read(aws, api_id)[1] if code_of(error) == "ConflictException" else {}
        if path not in ids:
            raise
        return ids[path]
    return str(made["id"])


def _write(aws: Aws, at: Mapping[str, str], found: Tree, place: tree.Place, wanted: Method, validator_id: str) -> None:
    has = found.methods.get(place)
    if has is not None and _parts(has) != _parts(wanted):
        # Made anew, so that nothing of it is left over: nobody sees that it is gone before all of it is there.
        with absent_is_fine("NotFoundException"):
            aws.client("apigateway").delete_method(**at)
        has = None
    if has is None or has.auth != wanted.auth:
        _write_method(aws, at, has, wanted, validator_id)
    if wanted.integration is not None and (has is None or has.integration != wanted.integration):
        _write_integration(aws, at, wanted.integration)


def _parts(method: Method) -> tuple[object, ...]:
    """Return what of a method is in several parts of it at AWS."""
    return method.model, _answers(method), _cache_keys(method)


def _answers(method: Method) -> Answer | str | None:
    """Return what a method answers by itself, if that is what it does."""
    mock = method.integration is not None and method.integration.type == "MOCK"
    return (method.integration.answer or "unknown") if mock and method.integration else None


def _write_method(aws: Aws, at: Mapping[str, str], has: Method | None, wanted: Method, validator_id: str) -> None:
    client = aws.client("apigateway")
    kind, needs_key = tree.AUTH[wanted.auth]
    if has is None:
        checked = {"requestModels": {tree.JSON: wanted.model}, "requestValidatorId": validator_id}
        takes = {f"{tree.HEADER}{each}": False for each in _cache_keys(wanted)}  # a request may do without it
        with _once_is_fine():
            client.put_method(
                **at,
                authorizationType=kind,
                apiKeyRequired=needs_key,
                requestParameters=takes,
                **(checked if wanted.model else {}),
            )
        return
    said = {"authorizationType": kind, "apiKeyRequired": str(needs_key).lower()}
    operations = [{"op": "replace", "path": f"/{key}", "value": value} for key, value in said.items()]
    client.update_method(**at, patchOperations=operations)


def _write_integration(aws: Aws, at: Mapping[str, str], wanted: Integration) -> None:
    client = aws.client("apigateway")
    if wanted.answer is None:
        # What is there is replaced.
        client.put_integration(
            **at,
            type=wanted.type,
            integrationHttpMethod="POST",
            uri=wanted.uri,
            timeoutInMillis=wanted.timeout_ms,
            cacheKeyParameters=[f"{tree.HEADER}{each}" for each in wanted.cache_keys],
        )
        return
    said, status = tree.mocked(wanted.answer), str(wanted.answer.status)
    client.put_integration(**at, type=wanted.type, **said["integration"])
    with _once_is_fine():
        # A header has to be announced before it can be given a value.
        headers = dict.fromkeys(said["response"]["responseParameters"], False)
        client.put_method_response(**at, statusCode=status, responseParameters=headers)
    client.put_integration_response(**at, statusCode=status, **said["response"])


@contextlib.contextmanager
def _once_is_fine() -> Iterator[None]:
    """Take that it is there: there was none, but the answer to our own call may have been lost, and it was repeated."""
    try:
        yield
    except ClientError as error:
        if code_of(error) != "ConflictException":
            raise


def _cache_keys(method: Method) -> tuple[str, ...]:
    return method.integration.cache_keys if method.integration else ()
