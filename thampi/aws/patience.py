"""What Lambda refuses for a while is asked again; what it refuses for good is said with the cure."""

import contextlib
import re
import secrets
from collections.abc import Callable, Iterator
from typing import TypeVar

from botocore.exceptions import ClientError

from thampi.aws.session import Aws, code_of, doing
from thampi.errors import CloudError

T = TypeVar("T")

# Another change is under way, or the image is still being made ready: not an answer to this call. Both last minutes;
# 4 tries 5 s apart are proven too few (lambda-action#46).
_BUSY = {"ResourceConflictException", "CodeArtifactUserPendingException"}

# These have no code of their own, only InvalidParameterValueException or AccessDeniedException. What was made a moment
# ago isn't seen everywhere yet: a role takes up to a minute (salt#32597), an image and its repository's policy seconds.
_NEW_ROLE = re.compile(r"role defined for the function cannot be assumed|execution role does not have permissions")
_NEW_IMAGE = re.compile(r"Source image \S+ (?:does not exist|is not valid)|permission to access the ECR image")

# limit in seconds, pause between two tries
_PATIENCE = {"busy": (300.0, 5.0), "role": (60.0, 3.0), "image": (30.0, 5.0)}

# What Lambda says of a call, or of the state that a function has got into, and what to do about it.
_CURES = (
    (
        r"update is in progress|following state: Pending|initializing your function",
        "AWS is still at work on the function: run the same command again in some minutes",
    ),
    (
        r"role defined for the function cannot be assumed",
        "the role must be one that lambda.amazonaws.com may assume; leave role_arn out to have thampi make it",
    ),
    (
        r"permissions to call PutTraceSegments",
        "with tracing, the role must be allowed xray:PutTraceSegments and xray:PutTelemetryRecords; leave role_arn out "
        "to have thampi make it",
    ),
    (
        r"execution role does not have permissions",
        "a function in a vpc needs AWSLambdaVPCAccessExecutionRole attached to its role",
    ),
    (
        r"Source image \S+ (?:does not exist|is not valid)",
        "the image must be in ECR, in the function's own account and region: run the same command again",
    ),
    (
        r"permission to access the (?:ECR|specified) image",
        "the ECR repository's policy must let lambda.amazonaws.com pull from it: run the same command again",
    ),
    (
        r"media type for the source image",
        "Lambda takes single images only: no index, no attestations (BUILDX_NO_DEFAULT_ATTESTATIONS=1), layers as gzip",
    ),
    (r"deleted image|ImageDeleted", "the image is no longer in ECR: `thampi push` builds and pushes it again"),
    (
        r"ImageLayerFailure|UnsupportedImageLayer",
        "a layer of the image isn't gzip: build it with docker and push again",
    ),
    (
        r"UnreservedConcurrentExecution below its minimum",
        "set reserved_concurrency to less, or have AWS raise the account's concurrency (Service Quotas, Lambda)",
    ),
    (r"[Ss]ubnet", "check vpc.subnet_ids, and that they have free addresses"),
    (r"[Ss]ecurity ?[Gg]roup", "check vpc.security_group_ids"),
    (
        r"final policy size",
        "other permissions for `live` take all the room: `aws lambda get-policy --qualifier live` lists them, "
        "`aws lambda remove-permission` takes one away",
    ),
    (
        r"entrypoint requires the handler name",
        "the image starts with AWS's own entrypoint: leave build.base_image out, or name one that sets none",
    ),
    (r"KMS", "the role was deleted and made again, or the key is disabled: `thampi destroy`, then push again"),
)
_MEMORY = re.compile(r"memory_?size.*less than or equal to (\d+)", re.IGNORECASE | re.DOTALL)


def patiently(aws: Aws, call: Callable[[], T]) -> T:
    """Make the call, again and again while Lambda refuses it for a reason that passes.

    Raises the refusal itself when it is of another kind, or has lasted as long as it ever does.
    """
    waited = dict.fromkeys(_PATIENCE, 0.0)
    while True:
        try:
            return call()
        except ClientError as error:
            reason = _passing(error)
            if reason is None or waited[reason] >= _PATIENCE[reason][0]:
                raise
            # The jitter keeps several pushes that wait for the same thing from asking all at once.
            pause = _PATIENCE[reason][1] * (1 + secrets.randbelow(500) / 1000)
        aws.sleep(pause)
        waited[reason] += pause


@contextlib.contextmanager
def writing(what: str) -> Iterator[None]:
    """Be `doing` something that changes a function, and say what to do about what Lambda refuses."""
    with doing(what):
        try:
            yield
        except ClientError as error:
            message = str(error.response.get("Error", {}).get("Message", ""))
            if limit := _MEMORY.search(message):
                raise CloudError(
                    f"{what}: this account's functions may have {limit[1]} MB of memory, not more",
                    hint=f"set memory_mb to {limit[1]} or less; AWS support raises the limit of a new account",
                ) from error
            if hint := cure(message):
                raise CloudError(f"{what}: {code_of(error)}: {message}", hint=hint) from error
            raise


def cure(message: str) -> str | None:
    """Find what to do about what Lambda says of a function."""
    return next((hint for pattern, hint in _CURES if re.search(pattern, message)), None)


def _passing(error: ClientError) -> str | None:
    if code_of(error) in _BUSY:
        return "busy"
    message = str(error.response.get("Error", {}).get("Message", ""))
    if _NEW_ROLE.search(message):
        return "role"
    return "image" if _NEW_IMAGE.search(message) else None
