"""Deployments of a REST API: what is written becomes what callers see, by one call that names one of them.

AWS doesn't say what a deployment contains, so its description does: a digest of all that was written when it was made,
whom it lets in, and the schema that it checks bodies by. A run that ended after it had written, and before the stage
was told, is seen by that.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from thampi.aws.session import Aws, absent_is_fine


@dataclass(frozen=True)
class Deployment:
    """A deployment, by what its description says; nothing where it is somebody else's."""

    deployment_id: str
    digest: str | None = None
    auth: str | None = None
    model: str | None = None  # the name of the schema


def read(said: Mapping[str, Any]) -> Deployment:
    """Read what AWS says of one."""
    found = re.fullmatch(r"thampi digest=(\w+) auth=(\w+)(?: schema=(\w+))?", said.get("description") or "")
    return Deployment(said["id"], *(found.groups() if found else (None, None)))


def create(aws: Aws, api_id: str, digest: str, auth: str, model: str | None = None) -> Deployment:
    """Freeze what is written; no stage serves it yet. Asking twice would make two, so it is asked once."""
    said = f"thampi digest={digest} auth={auth}" + (f" schema={model}" if model else "")
    made = aws.once("apigateway").create_deployment(restApiId=api_id, description=said)
    return Deployment(made["id"], digest, auth, model)


def remove(aws: Aws, api_id: str, deployment_ids: Iterable[str]) -> None:
    """Delete those that no stage serves any more."""
    for each in deployment_ids:
        with absent_is_fine("NotFoundException"):
            aws.client("apigateway").delete_deployment(restApiId=api_id, deploymentId=each)
