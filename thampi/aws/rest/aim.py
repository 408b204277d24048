"""What is wanted of a REST API, in the words in which AWS keeps it: what is answered where; pure."""

from thampi.aws.rest import gateway_responses, mocks, schemas, tree
from thampi.aws.rest.gateway_responses import Responses
from thampi.aws.rest.tree import Integration, Tree
from thampi.aws.rest.wanted import Rest


def make(wanted: Rest) -> tuple[Tree, Responses]:
    """Return the tree and the gateway's own answers: those of an example, or what leads to the function."""
    if wanted.mock is not None:
        return mocks.make(wanted), gateway_responses.make(wanted.cors)
    model = schemas.name(wanted.validation)
    responses = gateway_responses.make(wanted.cors, checks=model is not None)
    return tree.make(wanted, _integration(wanted), model), responses


def _integration(wanted: Rest) -> Integration:
    """Return what leads to the function, in the words of API Gateway."""
    partition, _, region = str(wanted.target).split(":")[1:4]
    path = f"arn:{partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{wanted.target}/invocations"
    return Integration(uri=path)
