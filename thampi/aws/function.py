"""The Lambda function of a stage: read, compared, made as wanted, removed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import owned, provisioned
from thampi.aws.ensured import Ensured
from thampi.aws.patience import cure, patiently, writing
from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError

LATEST = "$LATEST"  # what is changed; callers never get it
SERVED_TIME = "THAMPI_SERVED_TIME_UTC"  # of the push that changed something: another time alone is no difference

# What a release is made of, besides the environment.
_RELEASE = (
    "image_uri architecture role_arn memory_mb timeout_s ephemeral_storage_mb snapstart tracing subnet_ids "
    "security_group_ids"
)
_SNAPSHOTS = "PublishedVersions"
_SETTLING_S = 600  # an image of some GB takes minutes until it is ready
_APPEARING_S = 20


@dataclass(frozen=True)
class Function:
    """A function or one version of it, as wanted and as read alike."""

    name: str
    image_uri: str  # by digest, so that what runs is what was pushed
    architecture: str  # x86_64, arm64
    role_arn: str
    memory_mb: int
    timeout_s: int
    ephemeral_storage_mb: int = 512
    snapstart: bool = False  # versions start from a snapshot, which Lambda takes when they are published
    tracing: bool = False  # what happens to a request in it is told to X-Ray, by those that are sampled
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)  # values may be secret
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)  # thampi's and the user's; versions have none of their own
    description: str = ""


@dataclass(frozen=True)
class Found:
    """A function or a version as it is at AWS, and what only AWS knows of it."""

    function: Function
    version: str  # a number, or $LATEST
    revision_id: str
    code_sha256: str  # the image's digest in hex; what plays AWS locally may leave it out
    package_type: str
    state: str
    update_status: str
    reason_code: str  # why it isn't well; empty when it is
    reason: str
    modified: str  # when, in AWS's own spelling
    reserved: int | None = None  # how many requests at once are kept for it; None of a version


def read(aws: Aws, name: str, qualifier: str | None = None) -> Found | None:
    """Read the function, or the version or alias `qualifier` of it; None when there is no such thing."""
    which = {} if qualifier is None else {"Qualifier": qualifier}
    with doing(f"reading the function {name}"), absent_is_fine("ResourceNotFoundException"):
        answer = aws.client("lambda").get_function(FunctionName=name, **which)
        if qualifier is None and "TagsError" in answer:
            raise CloudError(
                f"reading the function {name}: AWS refuses lambda:ListTags to these credentials",
                hint="have lambda:ListTags allowed to them: the tags say whether the function is thampi's",
            )
        return _found(answer)
    return None


def changes(found: Function, wanted: Function) -> tuple[str, ...]:
    """Say what would have to change for a release of `wanted`, a line each; values of the environment never show.

    Neither the description nor the time of serving is a difference by itself; tags are none of a release's business.
    """
    old, new = _shown(found), _shown(wanted)
    lines = [f"{key}: {old[key]} -> {new[key]}" for key in old if old[key] != new[key]]
    for key in sorted({*found.environment, *wanted.environment} - {SERVED_TIME}):
        if found.environment.get(key) != wanted.environment.get(key):
            what = "added" if key not in found.environment else "changed" if key in wanted.environment else "removed"
            lines.append(f"environment.{key}: {what}")
    return tuple(re.sub(r"(@sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1", line) for line in lines)


def ensure(aws: Aws, wanted: Function) -> Ensured[Found]:
    """Make $LATEST what is wanted, and wait until it is. What callers get does not change.

    A run that ends in between leaves a function that the next run reads and finishes. One whose creation failed, and
    which nobody can call, is made anew: Lambda takes no update of it (terraform-provider-aws#49310).
    Raises CloudError when AWS refuses, or when the function isn't ours.
    """
    found = read(aws, wanted.name)
    if found is not None:
        _check(found, wanted.tags)
        found = found if not _is_busy(found) else settled(aws, wanted.name)
    if found is not None and found.state == "Failed" and not _has_aliases(aws, wanted.name):
        _delete(aws, wanted.name)
        found = None
    if found is None:
        if _create(aws, wanted):
            return Ensured(well(settled(aws, wanted.name)), "created")
        found = settled(aws, wanted.name)  # the answer to our own call was lost, and the SDK repeated it
        _check(found, wanted.tags)
    lines = owned.changes(found.function.tags, wanted.tags)
    if lines:
        _tag(aws, found, wanted)
    release = changes(found.function, wanted)
    if _is_broken(found):
        release = (*release, f"state: {found.reason_code or found.state} -> made ready again")
    if not release and not lines:
        return Ensured(found, "left")
    found = _update(aws, found, wanted) if release else settled(aws, wanted.name)
    return Ensured(well(found), "changed", (*release, *lines))


def tag_changes(found: Found, wanted: Function) -> tuple[str, ...]:
    """Say which tags differ; raise CloudError when the function isn't ours."""
    _check(found, wanted.tags)
    return owned.changes(found.function.tags, wanted.tags)


def ensure_tags(aws: Aws, wanted: Function) -> tuple[str, ...]:
    """Make the tags so, and nothing else: they belong to no release. Return what was changed."""
    found = read(aws, wanted.name)
    lines = tag_changes(found, wanted) if found else ()
    if found and lines:
        _tag(aws, found, wanted)
    return lines


def concurrency(aws: Aws) -> tuple[int, int]:
    """Return how many requests the account may serve at once in this region, and how many of those are not reserved."""
    with doing("reading the limits of Lambda"):
        limits = aws.client("lambda").get_account_settings()["AccountLimit"]
    return limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]


def reserve(aws: Aws, name: str, concurrency: int | None) -> None:
    """Keep so much of the account's concurrency for the function, which then gets no more of it; None: nothing."""
    client = aws.client("lambda")
    with writing(f"reserving concurrency for {name}"):
        if concurrency is None:
            client.delete_function_concurrency(FunctionName=name)
        else:
            patiently(
                aws,
                lambda: client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=concurrency),
            )


def stages(aws: Aws, project: str) -> tuple[str, ...]:
    """Name the stages of a project that have a function here, whoever's thampi.toml they stand in."""
    ours = re.compile(re.escape(names.function(project, "")) + "([a-z][a-z0-9]*)")
    found: list[str] = []
    with doing(f"listing the functions of {project}"):
        for page in aws.client("lambda").get_paginator("list_functions").paginate():
            matches = (ours.fullmatch(each["FunctionName"]) for each in page["Functions"])
            found += [match[1] for match in matches if match]
    return tuple(sorted(found))


def settled(aws: Aws, name: str, qualifier: str | None = None) -> Found:
    """Wait until AWS is no longer at work on the function, or on the version; well or not.

    Its revision id is only now one to rely on: Lambda gives it another one when it has finished (aws-sdk#377).
    """
    waited = 0.0
    while True:
        found = read(aws, name, qualifier)
        if found is not None and not _is_busy(found):
            return found
        if found is None and waited >= _APPEARING_S:
            raise CloudError(f"the function {name} is gone", hint="run the same command again: it makes it anew")
        if waited >= _SETTLING_S:
            state = f"{found.state}, last update {found.update_status}" if found else "absent"
            raise CloudError(
                f"AWS has been at work on the function {name} for {_SETTLING_S // 60} minutes ({state})",
                hint="run the same command again: it goes on where it stopped",
            )
        pause = min(1 + waited / 10, 5.0)
        aws.sleep(pause)
        waited += pause


def remove(aws: Aws, project: str, stage: str) -> bool:
    """Delete the function of a stage with its versions and aliases, and wait until it is gone; say if there was one.

    Raises CloudError when AWS refuses, or when the function isn't ours; then nothing is deleted.
    """
    name = names.function(project, stage)
    found = read(aws, name)
    if found is None:
        return False
    owned.check(f"the function {name}", found.function.tags, names.tags(project, stage))
    provisioned.remove_every(aws, name)
    _delete(aws, name)
    return True


def well(found: Found) -> Found:
    """Return what is found, unless AWS could not make it ready: CloudError, with AWS's own reason."""
    if found.state != "Failed" and found.update_status != "Failed":
        return found
    said = ": ".join(each for each in (found.reason_code, found.reason) if each) or "AWS gives no reason"
    raise CloudError(
        f"the function {found.function.name} (version {found.version}) can't be made ready: {said}",
        hint=cure(said) or "run the same command again; if it stays so, `thampi destroy` and push anew",
    )


def _shown(function: Function) -> dict[str, str]:
    values = {key: getattr(function, key) for key in _RELEASE.split()}
    return {k: (", ".join(sorted(v)) or "none") if isinstance(v, tuple) else str(v) for k, v in values.items()}


def _found(answer: Mapping[str, Any]) -> Found:
    one = answer["Configuration"]
    network = one.get("VpcConfig") or {}
    update_failed = one.get("LastUpdateStatus") == "Failed"
    prefix = "LastUpdateStatus" if update_failed else "State"
    return Found(
        function=Function(
            name=one["FunctionName"],
            image_uri=answer.get("Code", {}).get("ImageUri", ""),
            architecture=(one.get("Architectures") or ["x86_64"])[0],
            role_arn=one["Role"],
            memory_mb=one["MemorySize"],
            timeout_s=one["Timeout"],
            ephemeral_storage_mb=one.get("EphemeralStorage", {}).get("Size", 512),
            snapstart=one.get("SnapStart", {}).get("ApplyOn") == _SNAPSHOTS,
            tracing=one.get("TracingConfig", {}).get("Mode") == "Active",
            environment=dict(one.get("Environment", {}).get("Variables", {})),
            subnet_ids=tuple(network.get("SubnetIds", ())),
            security_group_ids=tuple(network.get("SecurityGroupIds", ())),
            tags=dict(answer.get("Tags") or {}),
            description=one.get("Description", ""),
        ),
        version=one["Version"],
        revision_id=one.get("RevisionId", ""),
        code_sha256=one.get("CodeSha256", ""),
        package_type=one.get("PackageType", "Zip"),
        state=one.get("State", "Active"),
        update_status=one.get("LastUpdateStatus", "Successful"),
        reason_code=one.get(f"{prefix}ReasonCode", ""),
        reason=one.get(f"{prefix}Reason", ""),
        modified=one.get("LastModified", ""),
        reserved=answer.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
    )


def _is_busy(found: Found) -> bool:
    # Inactive is not busy: it was idle for weeks, and takes updates (botocore#2584).
    return found.state in ("Pending", "Deleting") or found.update_status == "InProgress"


def _is_broken(found: Found) -> bool:
    return "Failed" in (found.state, found.update_status) or "Image" in found.reason_code


def _check(found: Found, tags: Mapping[str, str]) -> None:
    name = found.function.name
    owned.check(f"the function {name}", found.function.tags, tags)
    if found.package_type != "Image":
        raise CloudError(
            f"the function {name} is a {found.package_type} function, and Lambda can't make it one of an image",
            hint=f"`aws lambda delete-function --function-name {name}`, or choose another name in thampi.toml",
        )


def _parameters(wanted: Function) -> dict[str, Any]:
    """Return what UpdateFunctionConfiguration and CreateFunction take alike."""
    return {
        "Role": wanted.role_arn,
        "MemorySize": wanted.memory_mb,
        "Timeout": wanted.timeout_s,
        "EphemeralStorage": {"Size": wanted.ephemeral_storage_mb},
        "SnapStart": {"ApplyOn": _SNAPSHOTS if wanted.snapstart else "None"},
        "TracingConfig": {"Mode": "Active" if wanted.tracing else "PassThrough"},
        "Environment": {"Variables": dict(wanted.environment)},
        # Two empty lists leave the network.
        "VpcConfig": {"SubnetIds": sorted(wanted.subnet_ids), "SecurityGroupIds": sorted(wanted.security_group_ids)},
        "Description": wanted.description,
    }


def _create(aws: Aws, wanted: Function) -> bool:
    """Create the function; say False when there is one already."""

    def create() -> bool:
        try:
            aws.client("lambda").create_function(
                FunctionName=wanted.name,
                PackageType="Image",
                Code={"ImageUri": wanted.image_uri},
                Architectures=[wanted.architecture],
                Tags=dict(wanted.tags),
                **_parameters(wanted),
            )
        except ClientError as error:
            if code_of(error) == "ResourceConflictException":
                return False
            raise
        return True

    with writing(f"creating the function {wanted.name}"):
        return patiently(aws, create)


def _tag(aws: Aws, found: Found, wanted: Function) -> None:
    tags = {key: value for key, value in wanted.tags.items() if found.function.tags.get(key) != value}
    with writing(f"tagging the function {wanted.name}"):
        aws.client("lambda").tag_resource(Resource=aws.arn("lambda", f"function:{wanted.name}"), Tags=tags)


def _update(aws: Aws, found: Found, wanted: Function) -> Found:
    again = _is_broken(found)  # what AWS shows may be what that update wanted, not what runs: send all of it again
    old, new = _parameters(found.function), _parameters(wanted)
    configuration = {key: value for key, value in new.items() if again or value != old[key]}
    other_image = (found.function.image_uri, found.function.architecture) != (wanted.image_uri, wanted.architecture)
    image = {"ImageUri": wanted.image_uri, "Architectures": [wanted.architecture]} if again or other_image else {}
    client = aws.client("lambda")
    steps = [("configuration", client.update_function_configuration, configuration)]
    steps.append(("image", client.update_function_code, image))
    if "Image" in found.reason_code:
        steps.reverse()  # a function whose image is gone takes no other update before it has one again (METR/hawk#950)
    for what, update, values in steps:
        if values:
            with writing(f"changing the {what} of the function {wanted.name}"):
                patiently(aws, partial(update, FunctionName=wanted.name, **values))
            found = well(settled(aws, wanted.name))
    return found


def _has_aliases(aws: Aws, name: str) -> bool:
    with doing(f"reading the aliases of the function {name}"):
        return bool(aws.client("lambda").list_aliases(FunctionName=name, MaxItems=1)["Aliases"])


def _delete(aws: Aws, name: str) -> None:
    with writing(f"deleting the function {name}"):
        client = aws.client("lambda")
        with absent_is_fine("ResourceNotFoundException"):
            patiently(aws, lambda: client.delete_function(FunctionName=name))
    for _ in range(60):
        if read(aws, name) is None:
            return
        aws.sleep(1.0)
    raise CloudError(f"the function {name} was deleted, and is still there", hint="run the same command in a minute")
