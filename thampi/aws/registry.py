"""The ECR repository of a project's images, which its stages share, and the images in it."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from botocore.loaders import Loader

from thampi import names
from thampi.aws import owned, policies, session
from thampi.aws.ensured import Ensured
from thampi.aws.policies import Document
from thampi.aws.session import Aws
from thampi.errors import BuildError, CloudError

_INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
_SINGLE = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
# What Lambda unpacks; it refuses others, zstd too: https://github.com/bazel-contrib/rules_oci/issues/777
_GZIP = {
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
_REFERENCED = "ImageReferencedByManifestList"
_APPEARS_S = 20  # how long a pushed image may take until the API knows it
_AT_ONCE = 100  # https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchDeleteImage.html


@dataclass(frozen=True)
class Repository:
    """The repository of a project."""

    name: str
    arn: str
    uri: str  # ECR's own host, then the name
    policy: Document
    scan_on_push: bool = True
    mutability: str = "IMMUTABLE"
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """An image in the registry, as its manifest describes it; what it takes up unpacked is not known there."""

    repository: str
    tag: str
    digest: str
    media_type: str
    layer_types: tuple[str, ...]
    size_bytes: int  # compressed: what is stored, and what a push sends


@dataclass(frozen=True)
class Listed:
    """An image as a list of them shows it."""

    digest: str
    tags: tuple[str, ...]
    pushed: datetime


@dataclass(frozen=True)
class Login:
    """What opens the registry to docker, for twelve hours."""

    host: str
    username: str
    password: str = field(repr=False)


def make(aws: Aws, project: str, *, tags: Mapping[str, str] | None = None) -> Repository:
    """Make the repository that a project should have.

    `tags` are the user's. They are given to a new repository (a company may demand them) and are no difference later:
    the stages, each with tags of its own, would take turns at changing them.
    """
    name = names.repository(project)
    # Lambda writes this statement itself when it may; to rely on that would ask more rights of who pushes:
    # https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#gettingstarted-images-permissions
    pull = {
        "Sid": "ThampiLambdaPull",
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "Condition": {"StringLike": {"aws:sourceArn": aws.arn("lambda", "function:*")}},
    }
    return Repository(
        name=name,
        arn=aws.arn("ecr", f"repository/{name}"),
        uri=f"{_host(aws)}/{name}",
        policy=policies.make(pull),
        tags={**(tags or {}), **names.tags(project, None)},
    )


def uri(repository: Repository, registry: str | None = None) -> str:
    """Return what docker calls the repository; `registry` is a host that stands in for ECR's own."""
    return repository.uri if registry is None else f"{registry}/{repository.name}"


def image_uri(repository: Repository, digest: str, registry: str | None = None) -> str:
    """Return what Lambda calls an image; by digest, since a tag that moves changes nothing in a function."""
    return f"{uri(repository, registry)}@{digest}"


def read(aws: Aws, project: str) -> Repository | None:
    """Read the repository of a project, whoever made it; None when there is none."""
    return _read(aws, names.repository(project))


def changes(found: Repository, wanted: Repository) -> tuple[str, ...]:
    """Say what `ensure` would write; raise CloudError when `found` isn't ours."""
    owned.check(f"the ECR repository {found.name}", found.tags, wanted.tags)
    plain = [
        f"{key}: {getattr(found, key)} -> {getattr(wanted, key)}"
        for key in ("scan_on_push", "mutability")
        if getattr(found, key) != getattr(wanted, key)
    ]
    return (*plain, *policies.changes("policy", found.policy, policies.merged(found.policy, wanted.policy)))


def ensure(aws: Aws, wanted: Repository) -> Ensured[Repository]:
    """Make the repository so; what others have written in its policy stays.

    Killed halfway it leaves a repository with our tags, from which Lambda may not pull yet: the next run finishes it.
    Raises CloudError when a repository of that name isn't ours, and leaves it alone.
    """
    found = _read(aws, wanted.name)
    created = found is None
    if found is None:
        found = _create(aws, wanted)
    lines = changes(found, wanted)
    policy = policies.merged(found.policy, wanted.policy)
    ecr = aws.client("ecr")
    with session.doing(f"writing the settings of the ECR repository {wanted.name}"):
        if found.scan_on_push != wanted.scan_on_push:
            ecr.put_image_scanning_configuration(
                repositoryName=wanted.name, imageScanningConfiguration={"scanOnPush": wanted.scan_on_push}
            )
        if found.mutability != wanted.mutability:
            ecr.put_image_tag_mutability(repositoryName=wanted.name, imageTagMutability=wanted.mutability)
        if policies.changes("policy", found.policy, policy):
            ecr.set_repository_policy(repositoryName=wanted.name, policyText=json.dumps(policy))
    value = replace(
        found, policy=policy if lines else found.policy, scan_on_push=wanted.scan_on_push, mutability=wanted.mutability
    )
    return Ensured(value, "created") if created else Ensured(value, "changed" if lines else "left", lines)


def remove_repository(aws: Aws, project: str) -> bool:
    """Delete the repository with all its images; say whether there was one.

    A function whose image is gone stops answering: delete the functions of all stages first.
    Raises CloudError when it isn't ours, and leaves it alone.
    """
    found = _ours(aws, project)
    if found is None:
        return False
    with (
        session.doing(f"deleting the ECR repository {found.name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        aws.client("ecr").delete_repository(repositoryName=found.name, force=True)
    return True


def remove_images(aws: Aws, project: str, digests: Sequence[str]) -> tuple[str, ...]:
    """Delete images, with all their tags, and return the digests of those that were there.

    A function whose image is gone stops answering, and takes no update either: name none that a version uses.
    Raises CloudError when the repository isn't ours; or when ECR keeps an image, after deleting the others.
    """
    found = _ours(aws, project)
    if found is None:
        return ()
    removed: list[str] = []
    left = list(digests)
    while left:
        gone, left = _remove_once(aws, found.name, left)
        removed += gone
    return tuple(removed)


def login(aws: Aws, registry: str | None = None) -> Login:
    """Get a fresh login for docker; `registry` is a host that stands in for ECR's own."""
    with session.doing("getting a login for ECR"):
        answer = aws.client("ecr").get_authorization_token()["authorizationData"][0]
    username, password = base64.b64decode(answer["authorizationToken"]).decode().split(":", 1)
    return Login(registry or answer["proxyEndpoint"].removeprefix("https://"), username, password)


def read_image(aws: Aws, project: str, tag: str) -> Image | None:
    """Read what the tag names; None when it names nothing, or there is no repository."""
    name = names.repository(project)
    with (
        session.doing(f"reading the image {tag} of the ECR repository {name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        answer = aws.client("ecr").batch_get_image(
            repositoryName=name, imageIds=[{"imageTag": tag}], acceptedMediaTypes=sorted(_SINGLE | _INDEXES)
        )
        _check_failures(name, [each for each in answer["failures"] if each["failureCode"] != "ImageNotFound"])
        return next((_image(each, tag) for each in answer["images"]), None)
    return None


def has_image(aws: Aws, project: str, digest: str) -> bool:
    """Say whether the image of this digest is there."""
    name = names.repository(project)
    with (
        session.doing(f"looking for the image {digest} in the ECR repository {name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        answer = aws.client("ecr").batch_get_image(
            repositoryName=name, imageIds=[{"imageDigest": digest}], acceptedMediaTypes=sorted(_SINGLE | _INDEXES)
        )
        return bool(answer["images"])
    return False


def images(aws: Aws, project: str) -> tuple[Listed, ...]:
    """List the images of the project, the newest first; nothing when there is no repository."""
    name, found = names.repository(project), []
    with (
        session.doing(f"listing the images of the ECR repository {name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        for page in aws.client("ecr").get_paginator("describe_images").paginate(repositoryName=name):
            found += [
                Listed(each["imageDigest"], tuple(each.get("imageTags", ())), each["imagePushedAt"])
                for each in page["imageDetails"]
            ]
    return tuple(sorted(found, key=lambda each: each.pushed, reverse=True))


def check_image(image: Image) -> None:
    """Raise BuildError when Lambda will refuse the image: it takes a single image, with gzip layers.

    Its limit of 10 GB is for the image unpacked, which the registry doesn't know: builder.push checks it before.
    """
    foreign = sorted(set(image.layer_types) - _GZIP)
    if image.media_type in _INDEXES:
        wrong = f"is an index of images ({image.media_type}): built for several platforms, or with attestations"
    elif image.media_type not in _SINGLE:
        wrong = f"is of a kind that Lambda does not run ({image.media_type})"
    elif foreign:
        wrong = f"has layers that Lambda can't unpack ({', '.join(foreign)}): they have to be gzip"
    else:
        return
    raise BuildError(
        f"the image {image.repository}:{image.tag} in ECR {wrong}",
        hint=f"aws ecr batch-delete-image --repository-name {image.repository} --image-ids "
        f"imageDigest={image.digest}; then push again, from an engine that makes plain images",
    )


def check_pushed(aws: Aws, project: str, tag: str, digest: str) -> Image:
    """Return what has been pushed a moment ago, when ECR shows it.

    Raises BuildError when the tag names something else, or something that Lambda will refuse.
    """
    name, waited = names.repository(project), 0
    image = read_image(aws, project, tag)
    while image is None and waited < _APPEARS_S:
        aws.sleep(2)
        waited += 2
        image = read_image(aws, project, tag)
    if image is None:
        raise CloudError(
            f"the image {name}:{tag} was pushed, and ECR does not show it", hint="run the same command again"
        )
    if image.digest != digest:
        raise BuildError(
            f"the image {name}:{tag} in ECR is {image.digest}, and what was pushed is {digest}",
            hint="somebody else pushed at the same time: run the same command again",
        )
    check_image(image)
    return image


def _host(aws: Aws) -> str:
    """Return ECR's own host; China and others have another domain, which botocore knows of each partition."""
    partitions = Loader().load_data("partitions")["partitions"]
    domain = next(each["outputs"]["dnsSuffix"] for each in partitions if each["id"] == aws.partition)
    return f"{aws.account}.dkr.ecr.{aws.region}.{domain}"


def _read(aws: Aws, name: str) -> Repository | None:
    ecr = aws.client("ecr")
    with (
        session.doing(f"reading the ECR repository {name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        one = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
        tags = ecr.list_tags_for_resource(resourceArn=one["repositoryArn"])["tags"]
        policy: Document = {}
        with session.absent_is_fine("RepositoryPolicyNotFoundException"):
            policy = json.loads(ecr.get_repository_policy(repositoryName=name)["policyText"])
        return replace(_repository(one), policy=policy, tags={tag["Key"]: tag["Value"] for tag in tags})
    return None


def _repository(one: Mapping[str, Any]) -> Repository:
    return Repository(
        name=one["repositoryName"],
        arn=one["repositoryArn"],
        uri=one["repositoryUri"],
        policy={},
        scan_on_push=one.get("imageScanningConfiguration", {}).get("scanOnPush", False),
        mutability=one.get("imageTagMutability", "MUTABLE"),
    )


def _create(aws: Aws, wanted: Repository) -> Repository:
    """Create the repository without its policy; one that is there by now (a lost answer) is read."""
    what = f"creating the ECR repository {wanted.name}"
    with session.doing(what), session.absent_is_fine("RepositoryAlreadyExistsException"):
        made = aws.client("ecr").create_repository(
            repositoryName=wanted.name,
            imageTagMutability=wanted.mutability,
            imageScanningConfiguration={"scanOnPush": wanted.scan_on_push},
            tags=[{"Key": key, "Value": value} for key, value in wanted.tags.items()],
        )
        return replace(_repository(made["repository"]), tags=wanted.tags)
    found = _read(aws, wanted.name)
    if found is None:
        raise CloudError(f"{what}: ECR says that it exists, and does not show it", hint="run the same command again")
    return found


def _ours(aws: Aws, project: str) -> Repository | None:
    found = read(aws, project)
    if found is not None:
        owned.check(f"the ECR repository {found.name}", found.tags, names.tags(project, None))
    return found


def _remove_once(aws: Aws, name: str, digests: list[str]) -> tuple[list[str], list[str]]:
    """Delete what can be deleted; return it, and what to try again: an image goes after the index that names it."""
    removed: list[str] = []
    failures: list[dict[str, Any]] = []
    with (
        session.doing(f"deleting images of the ECR repository {name}"),
        session.absent_is_fine("RepositoryNotFoundException"),
    ):
        for start in range(0, len(digests), _AT_ONCE):
            answer = aws.client("ecr").batch_delete_image(
                repositoryName=name, imageIds=[{"imageDigest": each} for each in digests[start : start + _AT_ONCE]]
            )
            removed += [each["imageDigest"] for each in answer["imageIds"]]
            failures += [each for each in answer["failures"] if each["failureCode"] != "ImageNotFound"]
    named = [each["imageId"]["imageDigest"] for each in failures if each["failureCode"] == _REFERENCED]
    if len(named) < len(failures) or (named and not removed):
        _check_failures(name, failures)
    return list(dict.fromkeys(removed)), named


def _check_failures(name: str, failures: list[dict[str, Any]]) -> None:
    """Raise CloudError for what ECR says in an answer that is no error."""
    if failures:
        said = "; ".join(
            f"{each['imageId'].get('imageDigest') or each['imageId'].get('imageTag')}: {each['failureCode']}"
            + (f" ({each['failureReason']})" if each.get("failureReason") else "")
            for each in failures
        )
        raise CloudError(f"the ECR repository {name} refuses: {said}", hint=None)


def _image(one: Mapping[str, Any], tag: str) -> Image:
    manifest = json.loads(one["imageManifest"])
    layers = manifest.get("layers", [])
    return Image(
        repository=one["repositoryName"],
        tag=tag,
        digest=one["imageId"]["imageDigest"],
        # An OCI manifest need not say what it is.
        media_type=one.get("imageManifestMediaType") or manifest.get("mediaType", ""),
        layer_types=tuple(dict.fromkeys(layer["mediaType"] for layer in layers)),
        size_bytes=sum(part.get("size", 0) for part in [manifest.get("config", {}), *layers]),
    )
