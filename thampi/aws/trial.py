"""A version is asked once, before anybody gets it; what comes of that is said in plain words."""

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from thampi.aws.patience import cure, writing
from thampi.aws.session import Aws, code_of

# How long what is written of a role takes to be known everywhere, at most, and how the handler says that it may not
# read its model: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
_SETTLES_S = 60.0
_MAY_NOT_READ = "the role needs s3:GetObject"
_STARTING_S = 120  # until Lambda takes an invocation of what was just published, or was idle for weeks

# Lambda has not begun with the invocation (or has no room for it), so asking again is no second one (boto3#3788).
_NOT_YET = {
    "CodeArtifactUserPendingException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "SnapStartNotReadyException",
    "TooManyRequestsException",
    # Lambda's own trouble: it may have begun, but a trial does no harm twice.
    "EC2ThrottledException",
    "ServiceException",
    *("500", "502", "503", "504"),
}
# It never will: the version is to blame, not the call.
_NEVER = {
    "CodeArtifactUserDeletedException",
    "CodeArtifactUserFailedException",
    "InvalidRuntimeException",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSNotFoundException",
}


@dataclass(frozen=True)
class Trial:
    """What came of invoking one version."""

    ok: bool
    payload: bytes  # the answer, or Lambda's own account of the failure
    error: str = ""  # unless ok: what happened and what to do, for people
    log_tail: str = ""  # the last 4 kB of the log
    duration_ms: int = 0  # as waited for here, cold start and all


def try_out(
    aws: Aws, name: str, version: str, payload: Mapping[str, Any], timeout_s: int, *, role_is_new: bool = False
) -> Trial:
    """Invoke one version, once; again for a while when its role is new, or was changed, and S3 doesn't know yet.

    Raises CloudError when it was never asked: no permission, no network, no such version.
    """
    waited, pause = 0.0, 5.0
    while True:
        tried = _try_once(aws, name, version, payload, timeout_s)
        if not role_is_new or _MAY_NOT_READ not in tried.error or waited >= _SETTLES_S:
            return tried
        aws.sleep(pause)
        waited += pause


def _try_once(aws: Aws, name: str, version: str, payload: Mapping[str, Any], timeout_s: int) -> Trial:
    started = time.monotonic()
    body, log, error = b"", b"", ""
    with writing(f"trying version {version} of {name}"):
        try:
            answer = _invoke(aws, name, version, payload, timeout_s)
            body, log = answer["Payload"].read(), base64.b64decode(answer.get("LogResult", ""))
            error = _failure(body, log.decode(errors="replace"), timeout_s) if "FunctionError" in answer else _no(body)
        except ReadTimeoutError:
            error = _too_slow(timeout_s)
        except ClientError as refusal:
            if code_of(refusal) not in _NEVER:
                raise
            said = str(refusal.response["Error"].get("Message", "")) or code_of(refusal)
            hint = cure(f"{code_of(refusal)}: {said}")
            error = f"Lambda can't start it: {said}" + (f" ({hint})" if hint else "")
    duration_ms = round((time.monotonic() - started) * 1000)
    return Trial(not error, body, error, log.decode(errors="replace"), duration_ms)


def _invoke(aws: Aws, name: str, version: str, payload: Mapping[str, Any], timeout_s: int) -> Any:
    waited, pause = 0.0, 2.0
    while True:
        try:
            return aws.invoker(timeout_s).invoke(
                FunctionName=name, Qualifier=version, LogType="Tail", Payload=json.dumps(payload).encode()
            )
        except ClientError as error:
            if code_of(error) not in _NOT_YET or waited >= _STARTING_S:
                raise
        aws.sleep(pause)
        waited += pause


def _no(body: bytes) -> str:
    """Return what a refusal says, empty for an answer: to a direct call the handler returns `{"error": …}`."""
    try:
        refusal = json.loads(body)["error"]
        return f"it refuses the trial: {refusal['message']}"
    except (ValueError, TypeError, KeyError):
        return ""


def _failure(body: bytes, log: str, timeout_s: int) -> str:
    """Say what a function error means to who made the model."""
    try:
        said = json.loads(body)
        kind, message = str(said["errorType"]), str(said["errorMessage"])
    except (ValueError, TypeError, KeyError):
        return body.decode(errors="replace") or "it failed without saying why"
    message = re.sub(r"^RequestId: \S+ (?:Error: )?|^\S+Z \S+ (?=Task timed out)", "", message)
    if kind == "Sandbox.Timedout" or "Task timed out" in message:
        return _too_slow(timeout_s)
    if kind == "Runtime.OutOfMemory" or "signal: killed" in message:
        size = re.search(r"Memory Size: (\d+) MB", log)
        had = f" (it had {size[1]} MB)" if size else ""
        return f"the model's process was killed, most likely for want of memory{had}: raise memory_mb in thampi.toml"
    if "exec format error" in message:
        return "the image is of another architecture than the function: set build.platform in thampi.toml"
    if kind == "Runtime.ExitError":
        return f"the model's process ended without an answer ({message}); the log says more"
    return message if kind == "ModelFailed" else f"{kind}: {message}"  # that one is the handler's, for people already


def _too_slow(timeout_s: int) -> str:
    return f"no answer within timeout_s = {timeout_s}; raise it in thampi.toml, or memory_mb, which brings more CPU"
