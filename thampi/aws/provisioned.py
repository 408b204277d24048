"""Provisioned concurrency: environments of a version that stand ready, with the model in memory, before anybody asks.

It is given to numbered versions, and never to an alias: Lambda takes none for an alias with weights, as a canary has
them ("Alias with weights can not be used with Provisioned Concurrency", hashicorp/terraform#24957). And a version has
it before an alias names it.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from thampi.aws.ensured import Ensured
from thampi.aws.patience import patiently, writing
from thampi.aws.session import Aws, absent_is_fine, code_of, doing

READY = "READY"
FAILED = "FAILED"
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"
# Lambda starts all environments anew, images of some GB among them, and lets a start take 15 minutes.
_ALLOCATING_S = 1200
_REFUSED = ("InvalidParameterValueException", "ResourceConflictException")


@dataclass(frozen=True)
class Provisioned:
    """What a version has of its own, or has asked for."""

    wanted: int  # environments
    ready: int
    status: str  # IN_PROGRESS, READY, FAILED
    reason: str = ""  # of a failure

    @property
    def is_ready(self) -> bool:
        """Say whether all of them answer at once."""
        return self.status == READY


def read(aws: Aws, name: str, version: str) -> Provisioned | None:
    """Read what a version has; None when it has nothing, or isn't there."""
    absent = ("ProvisionedConcurrencyConfigNotFoundException", "ResourceNotFoundException")
    with doing(f"reading the provisioned concurrency of {name}"), absent_is_fine(*absent):
        return _read(aws.client("lambda").get_provisioned_concurrency_config(FunctionName=name, Qualifier=version))
    return None


def every(aws: Aws, name: str) -> Mapping[str, Provisioned]:
    """Read what each version has; nothing when there is no function. What somebody gave an alias is left out."""
    found = {}
    with doing(f"reading the provisioned concurrency of {name}"), absent_is_fine("ResourceNotFoundException"):
        pages = aws.client("lambda").get_paginator("list_provisioned_concurrency_configs")
        for page in pages.paginate(FunctionName=name):
            for each in page["ProvisionedConcurrencyConfigs"]:
                version = each["FunctionArn"].rpartition(":")[2]
                if version.isdecimal():
                    found[version] = _read(each)
    return found


def ensure(aws: Aws, name: str, version: str, wanted: int) -> Ensured[Provisioned]:
    """Have so many environments of a version started, and wait for Lambda to come to an end with it, good or bad.

    What Lambda refuses outright comes back as a failure with its reason, too. Raises CloudError for the rest.
    """
    found = read(aws, name, version)
    if found is not None and found.wanted == wanted and found.is_ready:
        return Ensured(found, "left")
    lines = (f"provisioned of {version}: {found.wanted if found else 'none'} -> {wanted}",)
    client = aws.client("lambda")
    with writing(f"provisioning concurrency for version {version} of {name}"):
        if found is None or found.wanted != wanted or found.status == FAILED:
            try:
                patiently(
                    aws,
                    lambda: client.put_provisioned_concurrency_config(
                        FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=wanted
                    ),
                )
            except ClientError as error:
                if code_of(error) not in _REFUSED:
                    raise
                reason = str(error.response["Error"].get("Message", "")) or code_of(error)
                return Ensured(Provisioned(wanted, 0, FAILED, reason), "left")
    return Ensured(_settled(aws, name, version, wanted), "changed", lines)


def remove(aws: Aws, name: str, version: str) -> bool:
    """Free what a version has; say whether there was anything."""
    absent = ("ProvisionedConcurrencyConfigNotFoundException", "ResourceNotFoundException")
    client = aws.client("lambda")
    with writing(f"freeing the provisioned concurrency of version {version} of {name}"), absent_is_fine(*absent):
        patiently(aws, lambda: client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version))
        return True
    return False


def remove_every(aws: Aws, name: str, versions: Container[str] | None = None) -> None:
    """Free what these versions have, or all of them when None: before they are deleted."""
    for version in every(aws, name):
        if versions is None or version in versions:
            remove(aws, name, version)


def _settled(aws: Aws, name: str, version: str, wanted: int) -> Provisioned:
    waited = 0.0
    while True:
        found = read(aws, name, version)
        if found is None:
            return Provisioned(wanted, 0, FAILED, "it was taken away again meanwhile")
        if found.status in (READY, FAILED):
            return found
        if waited >= _ALLOCATING_S:
            reason = f"{found.ready} of {found.wanted} were ready after {_ALLOCATING_S // 60} minutes"
            return Provisioned(wanted, found.ready, FAILED, reason)
        pause = min(1 + waited / 10, 5.0)
        aws.sleep(pause)
        waited += pause


def _read(answer: Mapping[str, Any]) -> Provisioned:
    return Provisioned(
        wanted=answer["RequestedProvisionedConcurrentExecutions"],
        ready=answer.get("AvailableProvisionedConcurrentExecutions", 0),
        status=answer["Status"],
        reason=answer.get("StatusReason", ""),
    )
