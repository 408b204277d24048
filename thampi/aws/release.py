"""Releases of a function: published as versions, and made live by the alias that callers use."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from thampi.aws import function
from thampi.aws.ensured import Ensured
from thampi.aws.function import Found, Function
from thampi.aws.patience import patiently, writing
from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError, ReleaseError

LIVE = "live"  # the alias: what callers get
_GATEWAY = "apigateway.amazonaws.com"

_DESCRIPTION = 256  # characters, of a version
_SOMEBODY = "find out who else releases this stage, then run the same command again"


@dataclass(frozen=True)
class Version:
    """A published version, as a list of them shows it."""

    number: str
    description: str  # what `describe` wrote when it was published
    published: str  # when, in AWS's own spelling
    code_sha256: str  # the image's digest in hex; what plays AWS locally may leave it out
    model: str = ""  # the prefix in S3 that it loads from
    configuration: Mapping[str, int] = field(default_factory=dict)  # memory_mb, timeout_s, …: what has no secrets


@dataclass(frozen=True)
class Live:
    """What callers get."""

    version: str
    function: Function  # as published
    description: str  # of the version
    revision_id: str  # of the alias: who moves it says which one they saw
    published: str
    state: str  # Active; Inactive when it was idle for weeks, or its image is gone
    reason_code: str  # of a state that isn't well
    weights: Mapping[str, float]  # of versions that get a share beside it
    before: tuple[str, ...] = ()  # what was live before it, the newest first
    ground: str = ""  # a digest of the settings around the function that were made so last

    @property
    def candidate(self) -> tuple[str, float] | None:
        """Return the version that gets a share beside this one, and its share."""
        return next(iter(self.weights.items()), None)


def arn(aws: Aws, name: str) -> str:
    """Return the ARN of what callers get."""
    return aws.arn("lambda", f"function:{name}:{LIVE}")


def describe(*, model: str, recipe: str, when: str, who: str) -> str:
    """Write the description of a version; the last part gives way when all of it is too long for Lambda."""
    text = f"model={model} recipe={recipe} when={when} who="
    room = max(_DESCRIPTION - len(text), 0)
    # The end of an ARN is what tells people apart.
    return (text + (who if len(who) <= room else f"..{who[len(who) - room + 2 :]}"))[:_DESCRIPTION]


def said(description: str) -> dict[str, str]:
    """Read what `describe` wrote: model, recipe, when, who; nothing of what others wrote."""
    found = re.fullmatch(r"model=(?P<model>\S*) recipe=(?P<recipe>\S*) when=(?P<when>\S*) who=(?P<who>.*)", description)
    return found.groupdict() if found else {}


def publish(aws: Aws, wanted: Function, description: str) -> Version:
    """Freeze $LATEST as a version, and prove that it is what was wanted; callers don't get it yet.

    Lambda gives back the newest version when nothing was changed since: a run that ended here publishes no second one,
    and the description is that of the first.
    Where versions start from snapshots, Lambda starts it and takes one, which lasts as long as it loads.
    Raises ReleaseError when somebody changed the function meanwhile, or no snapshot can be taken; CloudError when AWS
    refuses.
    """
    name = wanted.name
    for _ in range(3):  # Lambda counts the revision on for reasons of its own, too
        found = function.settled(aws, name)
        _check_unmixed(f"the function {name} was changed by somebody else meanwhile", found.function, wanted)
        number = _publish(aws, found, description)
        if number is not None:
            published = _well(function.settled(aws, name, number))
            _check_unmixed(f"version {number} of {name} is not what was to be released", published.function, wanted)
            return Version(number, published.function.description, published.modified, published.code_sha256)
    raise ReleaseError(f"the function {name} is being changed by somebody else", hint=_SOMEBODY)


def read_live(aws: Aws, name: str) -> Live | None:
    """Read what callers get; None when there is no function yet, or nothing of it is live."""
    with doing(f"reading what is live of {name}"), absent_is_fine("ResourceNotFoundException"):
        alias = aws.client("lambda").get_alias(FunctionName=name, Name=LIVE)
        found = function.read(aws, name, alias["FunctionVersion"])
        if found is None:  # Lambda deletes no version that an alias names
            raise CloudError(f"what is live of {name} was replaced this very moment", hint="run the same command again")
        return Live(
            version=alias["FunctionVersion"],
            function=found.function,
            description=found.function.description,
            revision_id=alias.get("RevisionId", ""),
            published=found.modified,
            state=found.state,
            reason_code=found.reason_code,
            weights=_weights(alias),
            before=_noted(alias, "before"),
            ground="".join(_noted(alias, "ground")),
        )
    return None


def point_live(
    aws: Aws,
    name: str,
    version: str,
    live: Live | None,
    *,
    share: tuple[str, float] | None = None,
    ground: str | None = None,
) -> Ensured[str]:
    """Let callers get this version, all of them or all but the `share` of another: one call, whole or not at all.

    `live` is what was live when the release was decided on; when that is no longer so nothing is changed, and
    ReleaseError raised. What was live before is noted in the same call; so is `ground`, unless it is None.
    Raises CloudError when AWS refuses.
    """
    weights = dict([share]) if share else {}
    if live is not None and (version, weights, live.ground if ground is None else ground) == (
        live.version,
        live.weights,
        live.ground,
    ):
        return Ensured(version, "left")
    # An update without weights would keep those of a canary that was under way.
    values = {"Name": LIVE, "FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}}
    values["Description"] = _note(version, live, ground)
    client = aws.client("lambda")
    with doing(f"making version {version} of {name} live"):
        try:
            if live is None:
                client.create_alias(FunctionName=name, **values)
            else:
                seen = live.revision_id
                patiently(aws, lambda: client.update_alias(FunctionName=name, RevisionId=seen, **values))
        except ClientError as error:
            if code_of(error) != ("ResourceConflictException" if live is None else "PreconditionFailedException"):
                raise
            # Somebody was faster; or the answer to our own call was lost, and the SDK repeated it.
            now = client.get_alias(FunctionName=name, Name=LIVE)
            if (now["FunctionVersion"], _weights(now)) != (version, weights):
                raise ReleaseError(
                    f"version {version} of {name} is not live: meanwhile {now['FunctionVersion']} was made live",
                    hint=_SOMEBODY,
                ) from error
    return Ensured(version, "created" if live is None else "changed", _moves(version, weights, live))


def allow(aws: Aws, name: str, source_arn: str, statement_id: str, principal: str = _GATEWAY) -> Ensured[str]:
    """Let what has this ARN call what is live; return the statement's id.

    The id ends with a digest of the ARN, so that the permission of another source is added before the old one goes:
    there is no moment without any (SAM-translator#704).
    """
    ours = re.compile(rf"{re.escape(statement_id)}(-[0-9a-f]{{8}})?")
    wanted = _statement(statement_id, principal, source_arn)
    present = [sid for sid in callers(aws, name) if ours.fullmatch(sid)]
    others = [sid for sid in present if sid != wanted]
    if wanted in present and not others:
        return Ensured(wanted, "left")
    client = aws.client("lambda")
    who = {"StatementId": wanted, "Action": "lambda:InvokeFunction", "Principal": principal, "SourceArn": source_arn}

    def add() -> None:
        try:
            client.add_permission(FunctionName=name, Qualifier=LIVE, **who)
        except ClientError as error:
            # The answer to our own call may have been lost, and the SDK have repeated it.
            if code_of(error) != "ResourceConflictException" or wanted not in callers(aws, name):
                raise

    with writing(f"allowing {source_arn} to call {name}"):
        if wanted not in present:
            patiently(aws, add)
        for sid in others:
            with absent_is_fine("ResourceNotFoundException"):
                client.remove_permission(FunctionName=name, Qualifier=LIVE, StatementId=sid)
    return Ensured(wanted, "changed" if others else "created", (f"caller: {source_arn}",))


def callers(aws: Aws, name: str) -> list[str]:
    """List the ids of the permissions for what is live."""
    with doing(f"reading who may call {name}"), absent_is_fine("ResourceNotFoundException"):
        policy = json.loads(aws.client("lambda").get_policy(FunctionName=name, Qualifier=LIVE)["Policy"])
        return [statement["Sid"] for statement in policy["Statement"]]
    return []


def disallow(aws: Aws, name: str, statement_id: str) -> None:
    """Take back what `allow` has given under this id; absent is fine."""
    with writing(f"taking back who may call {name}"):
        for sid in callers(aws, name):
            if sid.startswith(statement_id):
                with absent_is_fine("ResourceNotFoundException"):
                    aws.client("lambda").remove_permission(FunctionName=name, Qualifier=LIVE, StatementId=sid)


def is_allowed(present: Sequence[str], source_arn: str, statement_id: str, principal: str = _GATEWAY) -> bool:
    """Say whether `allow` would have nothing to do, by the ids that `callers` gives."""
    present = [sid for sid in present if sid.startswith(statement_id)]
    return present == [_statement(statement_id, principal, source_arn)]


def versions(aws: Aws, name: str) -> tuple[Version, ...]:
    """List what was published, newest first; nothing when there is no function."""
    found: list[Version] = []
    with doing(f"reading the versions of {name}"), absent_is_fine("ResourceNotFoundException"):
        for page in aws.client("lambda").get_paginator("list_versions_by_function").paginate(FunctionName=name):
            found += [_version(each) for each in page["Versions"] if each["Version"] != function.LATEST]
    return tuple(sorted(found, key=lambda version: int(version.number), reverse=True))


def named(aws: Aws, name: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the versions that aliases name, whoever made them, with those that get a share; and what was live before.

    What is live now is the first of the latter.
    """
    found: set[str] = set()
    before: tuple[str, ...] = ()
    with doing(f"reading the aliases of {name}"), absent_is_fine("ResourceNotFoundException"):
        for page in aws.client("lambda").get_paginator("list_aliases").paginate(FunctionName=name):
            for alias in page["Aliases"]:
                found |= {alias["FunctionVersion"], *_weights(alias)}
                if alias["Name"] == LIVE:
                    before = (alias["FunctionVersion"], *_noted(alias, "before"))
    return frozenset(found), before


def remove_version(aws: Aws, name: str, number: str) -> None:
    """Delete a version that no alias names; absent is fine. AWS itself refuses one that is named."""
    if not number.isdecimal():  # Lambda takes no version for all of them, and $LATEST for the function
        raise ValueError(f"{number} is no version")
    with writing(f"deleting version {number} of {name}"), absent_is_fine("ResourceNotFoundException"):
        patiently(aws, lambda: aws.client("lambda").delete_function(FunctionName=name, Qualifier=number))


def _version(each: Mapping[str, Any]) -> Version:
    network = each.get("VpcConfig") or {}
    configuration = {
        "memory_mb": each.get("MemorySize", 0),
        "timeout_s": each.get("Timeout", 0),
        "ephemeral_storage_mb": (each.get("EphemeralStorage") or {}).get("Size", 512),
        "subnets": len(network.get("SubnetIds") or ()),
    }
    variables = (each.get("Environment") or {}).get("Variables") or {}
    return Version(
        each["Version"],
        each.get("Description", ""),
        each["LastModified"],
        each.get("CodeSha256", ""),
        variables.get("THAMPI_MODEL", ""),
        {key: value for key, value in configuration.items() if value},
    )


def _moves(version: str, weights: Mapping[str, float], live: Live | None) -> tuple[str, ...]:
    """Say what a write of the alias changes."""
    old = live.weights if live else {}
    lines = [] if live and live.version == version else [f"live: {live.version if live else 'none'} -> {version}"]
    for each in sorted({*old, *weights}, key=int):
        if old.get(each) != weights.get(each):
            lines.append(f"share of {each}: {_percent(old.get(each))} -> {_percent(weights.get(each))}")
    return tuple(lines)


def _percent(weight: float | None) -> str:
    return "none" if weight is None else f"{100 * weight:g} %"


def _note(version: str, live: Live | None, ground: str | None) -> str:
    """Write the description of the alias: the settings around it, and what was live before, as far back as fits."""
    ground = ground if ground is not None else live.ground if live else ""
    before = list(live.before) if live else []
    if live is not None and live.version != version:
        before = [live.version, *(each for each in before if each not in (live.version, version))]
    text = f"ground={ground} " if ground else ""
    while before and len(f"{text}before={','.join(before)}") > _DESCRIPTION:
        before.pop()
    return f"{text}before={','.join(before)}" if before else text.strip()


def _noted(alias: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = re.search(rf"\b{key}=(\S+)", alias.get("Description") or "")
    return tuple(found[1].split(",")) if found else ()


def _statement(statement_id: str, principal: str, source_arn: str) -> str:
    return f"{statement_id}-{sha256(f'{principal} {source_arn}'.encode()).hexdigest()[:8]}"


def _well(published: Found) -> Found:
    """Return a version that is ready; what Lambda started to take a snapshot of may have failed by itself."""
    if published.function.snapstart and published.state == "Failed":
        said = ": ".join(each for each in (published.reason_code, published.reason) if each) or "AWS gives no reason"
        raise ReleaseError(
            f"version {published.version} did not become live: no snapshot can be taken of it: {said}",
            hint="`thampi logs` shows how it started; mend it and push again",
        )
    return function.well(published)


def _check_unmixed(problem: str, found: Function, wanted: Function) -> None:
    if differences := function.changes(found, wanted):
        raise ReleaseError(f"{problem}: {'; '.join(differences)}", hint=_SOMEBODY)


def _publish(aws: Aws, found: Found, description: str) -> str | None:
    """Publish the very revision that was found, and return the version's number; None when there is a newer one."""
    name, client = found.function.name, aws.client("lambda")
    guards = {"RevisionId": found.revision_id, "CodeSha256": found.code_sha256}
    values = {key: value for key, value in guards.items() if value}

    def publish() -> str | None:
        try:
            answer = client.publish_version(FunctionName=name, Description=description[:_DESCRIPTION], **values)
        except ClientError as error:
            if code_of(error) == "PreconditionFailedException":
                return None
            raise
        return str(answer["Version"])

    with writing(f"publishing a version of {name}"):
        return patiently(aws, publish)


def _weights(alias: Mapping[str, Any]) -> dict[str, float]:
    return dict((alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {})
