"""The function URL of what is live: the cheapest endpoint, which waits as long as the function; read, made, removed.

It is a setting of the alias `live`, so it has no tags: it is ours because the function is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import cors, release
from thampi.aws.cors import Cors
from thampi.aws.ensured import Action, Ensured
from thampi.aws.patience import patiently, writing
from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError

PERMISSION = "thampi-url"  # how the ids of the statements begin that let everybody call it

_LOCAL = "local"  # the stage that lives on this machine
_AUTH = {"none": "NONE", "iam": "AWS_IAM"}
_BUFFERED = "BUFFERED"  # whole answers, as the gateways give them

# Since October 2025 who calls a function URL needs both of them; those who sign have them by their own policies.
# https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
_STATEMENTS: Mapping[str, Mapping[str, Any]] = {
    f"{PERMISSION}-call": {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
    f"{PERMISSION}-invoke": {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
}


# What Lambda answers in a region that has none: https://github.com/zappa/Zappa/issues/1425
_UNKNOWN_CALL = "Unable to determine service/operation name"


class NotOfferedError(CloudError):
    """There are no function URLs in the region."""


@dataclass(frozen=True)
class FunctionUrl:
    """A function URL, as wanted and as read alike."""

    project: str
    stage: str
    auth: str | None = "none"  # none, iam
    invoke_mode: str | None = _BUFFERED
    cors: Cors | None = None  # the URL answers browsers itself


@dataclass(frozen=True)
class Found:
    """A function URL as it is at AWS, and the address that AWS gave it."""

    address: str
    endpoint: FunctionUrl


def read(aws: Aws, project: str, stage: str) -> Found | None:
    """Find the URL of a stage. Raises NotOfferedError where there are none, CloudError when AWS refuses."""
    name = names.function(project, stage)
    with doing(f"reading the URL of {name}"), absent_is_fine("ResourceNotFoundException"):
        try:
            said = aws.client("lambda").get_function_url_config(FunctionName=name, Qualifier=release.LIVE)
        except ClientError as error:
            if _UNKNOWN_CALL not in str(error):
                raise
            raise NotOfferedError(
                f"Lambda has no function URLs in the region {aws.region}",
                hint='set type = "http" in the table api, or another region',
            ) from error
        return _found(said, project, stage)
    return None


def read_url(aws: Aws, project: str, stage: str) -> str | None:
    """Find where predictions are asked for with one call; None when there is no URL."""
    found = read(aws, project, stage)
    return url(aws, found) if found else None


def changes(found: FunctionUrl, wanted: FunctionUrl) -> tuple[str, ...]:
    """Say what would have to change, a line each."""
    old, new = vars(found), vars(wanted)
    lines = [f"{key}: {old[key]} -> {new[key]}" for key in new if key != "cors" and old[key] != new[key]]
    return (*lines, *cors.changes(found.cors, wanted.cors))


def differences(found: Found, wanted: FunctionUrl) -> tuple[str, ...]:
    """Say all that `ensure_allowed` would change of the URL."""
    return changes(found.endpoint, wanted)


def tighten(aws: Aws, found: Found, wanted: FunctionUrl) -> Ensured[Found]:
    """Make an existing URL as strict as wanted, and nothing else: before the release that counts on it is live."""
    has = found.endpoint
    if (has.auth, wanted.auth) != ("none", "iam"):
        return Ensured(found, "left")
    stricter = replace(has, auth="iam")
    with writing(f"tightening the URL of {names.function(has.project, has.stage)}"):
        return Ensured(_update(aws, stricter, has.cors), "changed", changes(has, stricter))


def ensure_allowed(aws: Aws, wanted: FunctionUrl) -> tuple[Ensured[Found], Ensured[str]]:
    """Make the URL so, and let those call it who may.

    Everybody is let in before the URL stops to ask who they are, and asked before they are no longer let in: whoever
    may call it before and after may do so in between. Raises CloudError when AWS refuses.
    """
    if wanted.auth == "none":
        allowed = _allow(aws, wanted)
        return _ensure(aws, wanted), allowed
    made = _ensure(aws, wanted)
    return made, _disallow(aws, wanted)


def is_allowed(aws: Aws, found: Found, wanted: FunctionUrl, callers: Sequence[str]) -> bool:
    """Say whether those may call it who should, by the ids that `release.callers` gives."""
    return sorted(sid for sid in callers if sid.startswith(PERMISSION)) == sorted(_wanted_statements(wanted))


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the URL of a stage; say whether there was one."""
    name = names.function(project, stage)
    if read(aws, project, stage) is None:
        return False
    with writing(f"deleting the URL of {name}"), absent_is_fine("ResourceNotFoundException"):
        client = aws.client("lambda")
        patiently(aws, lambda: client.delete_function_url_config(FunctionName=name, Qualifier=release.LIVE))
    return True


def name(found: Found) -> str:
    """Return what people know it by."""
    return urlsplit(found.address).hostname or found.address


def url(aws: Aws, found: Found) -> str:
    """Return where predictions are asked for."""
    project, stage = found.endpoint.project, found.endpoint.stage
    if aws.endpoint_url is not None and stage == _LOCAL:
        url_id = name(found).partition(".")[0]
        return f"{aws.endpoint_url.rstrip('/')}/_aws/lambda-url/{url_id}/{project}/predict"
    return f"{found.address.rstrip('/')}/{project}/predict"


def target(aws: Aws, found: Found) -> None:
    """Return what a domain of one's own may lead to: a function URL has no place for one."""


def _found(said: Mapping[str, Any], project: str, stage: str) -> Found:
    kind = said["AuthType"]
    auth = next((auth for auth, known in _AUTH.items() if known == kind), kind)
    mode, rules = said.get("InvokeMode", _BUFFERED), cors.read(said.get("Cors"))
    return Found(said["FunctionUrl"], FunctionUrl(project, stage, auth, mode, rules))


def _ensure(aws: Aws, wanted: FunctionUrl) -> Ensured[Found]:
    found = read(aws, wanted.project, wanted.stage)
    if found is None:
        with writing(f"making the URL of {names.function(wanted.project, wanted.stage)}"):
            return Ensured(_create(aws, wanted), "created")
    lines = differences(found, wanted)
    if not lines:
        return Ensured(found, "left")
    with writing(f"changing the URL of {names.function(wanted.project, wanted.stage)}"):
        return Ensured(_update(aws, wanted, found.endpoint.cors), "changed", lines)


def _create(aws: Aws, wanted: FunctionUrl) -> Found:
    def create() -> Found:
        try:
            said = aws.client("lambda").create_function_url_config(**_values(wanted, None))
        except ClientError as error:
            # The answer to our own call may have been lost, and the SDK have repeated it.
            found = read(aws, wanted.project, wanted.stage) if code_of(error) == "ResourceConflictException" else None
            if found is None or found.endpoint != wanted:
                raise
            return found
        return _found(said, wanted.project, wanted.stage)

    return patiently(aws, create)


def _update(aws: Aws, wanted: FunctionUrl, rules: Cors | None) -> Found:
    def update() -> Mapping[str, Any]:
        answer: Mapping[str, Any] = aws.client("lambda").update_function_url_config(**_values(wanted, rules))
        return answer

    return _found(patiently(aws, update), wanted.project, wanted.stage)


def _values(wanted: FunctionUrl, rules: Cors | None) -> dict[str, Any]:
    """Return the URL as AWS takes it, where it has these rules for other sites.

    What isn't said stays, and what is empty takes the rules away: https://github.com/go-to-k/cdkd/pull/1261
    """
    said = {"Cors": cors.written(wanted.cors) if wanted.cors else {}}
    return {
        "FunctionName": names.function(wanted.project, wanted.stage),
        "Qualifier": release.LIVE,
        "AuthType": _AUTH[str(wanted.auth)],
        "InvokeMode": wanted.invoke_mode,
        **(said if cors.changes(rules, wanted.cors) else {}),
    }


def _wanted_statements(wanted: FunctionUrl) -> tuple[str, ...]:
    return tuple(_STATEMENTS) if wanted.auth == "none" else ()


def _allow(aws: Aws, wanted: FunctionUrl) -> Ensured[str]:
    """Let everybody call the URL."""
    function = names.function(wanted.project, wanted.stage)
    present = release.callers(aws, function)
    missing = [sid for sid in _STATEMENTS if sid not in present]
    with writing(f"allowing everybody to call the URL of {function}"):
        for sid in missing:
            patiently(aws, _adding(aws, function, sid))
    action: Action = "created" if len(missing) == len(_STATEMENTS) else "changed" if missing else "left"
    return Ensured(PERMISSION, action, ("caller: everybody",) if missing else ())


def _adding(aws: Aws, function: str, sid: str) -> Callable[[], None]:
    def add() -> None:
        try:
            aws.client("lambda").add_permission(
                FunctionName=function, Qualifier=release.LIVE, StatementId=sid, Principal="*", **_STATEMENTS[sid]
            )
        except ClientError as error:
            if code_of(error) == "PublicPolicyException":
                raise CloudError(
                    f"AWS does not let everybody call the URL of {function}: public access is blocked",
                    hint='set auth = "iam", or allow public policies for this function (Lambda, Block public access)',
                ) from error
            # The answer to our own call may have been lost, and the SDK have repeated it.
            if code_of(error) != "ResourceConflictException" or sid not in release.callers(aws, function):
                raise

    return add


def _disallow(aws: Aws, wanted: FunctionUrl) -> Ensured[str]:
    """Let nobody in but those whose own policies say so."""
    function = names.function(wanted.project, wanted.stage)
    present = [sid for sid in release.callers(aws, function) if sid.startswith(PERMISSION)]
    if not present:
        return Ensured(PERMISSION, "left")
    release.disallow(aws, function, PERMISSION)
    return Ensured(PERMISSION, "changed", ("caller: everybody -> those who sign",))
