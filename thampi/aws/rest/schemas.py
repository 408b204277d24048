"""The schema that the gateway itself checks bodies by: a model, named by what it says, and a validator that checks it.

A model is never changed: one that says something else has another name, so that what callers see changes by a
deployment and not before. The names of models have letters and digits only.
"""

import hashlib

from botocore.exceptions import ClientError

from thampi.aws.rest import resources
from thampi.aws.rest.tree import Tree
from thampi.aws.session import Aws, absent_is_fine, code_of

_MODEL, _VALIDATOR = "ThampiBody", "thampi-body"  # how the names of ours begin


def name(schema: str | None) -> str | None:
    """Return the name of the model that says this; None for none."""
    return None if schema is None else _MODEL + hashlib.sha256(schema.encode()).hexdigest()[:12]


def ensure(aws: Aws, api_id: str, schema: str) -> str:
    """Have the model, and a validator; return the validator's id. Callers see nothing of them yet."""
    try:
        aws.client("apigateway").create_model(
            restApiId=api_id, name=name(schema), contentType="application/json", schema=schema
        )
    except ClientError as error:
        if code_of(error) != "ConflictException":  # it is there: what has its name says the same
            raise
    ours = _validators(aws, api_id)
    if ours:
        return ours[0]
    made = aws.once("apigateway").create_request_validator(
        restApiId=api_id, name=_VALIDATOR, validateRequestBody=True, validateRequestParameters=False
    )
    return str(made["id"])


def sweep(aws: Aws, api_id: str, written: Tree, validator_id: str) -> None:
    """Delete those of ours that no method names any more, and what was made twice; deployments keep what they have.

    `validator_id` is the validator of a method that names a model.
    """
    used = {each.model for each in written.methods.values()}
    client = aws.client("apigateway")
    for model in resources.every(aws, "get_models", restApiId=api_id):
        if model["name"].startswith(_MODEL) and model["name"] not in used:
            with absent_is_fine("NotFoundException"):
                client.delete_model(restApiId=api_id, modelName=model["name"])
    for each in _validators(aws, api_id):
        if each != validator_id or used == {None}:
            with absent_is_fine("NotFoundException"):
                client.delete_request_validator(restApiId=api_id, requestValidatorId=each)


def _validators(aws: Aws, api_id: str) -> list[str]:
    found = resources.every(aws, "get_request_validators", restApiId=api_id)
    return sorted(each["id"] for each in found if each.get("name") == _VALIDATOR)
