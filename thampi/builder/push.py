"""Pushes an image of the engine to a registry; a failure, which the engine only mentions, is raised."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from docker.errors import APIError, DockerException, ImageNotFound, StreamParseError
from urllib3.exceptions import HTTPError

from thampi import recipe
from thampi.errors import BuildError

_EXPIRED = r"token has expired|no basic auth credentials"  # ECR says the second of a login that it no longer knows
_TAKEN = r"immutable|ImageTagAlreadyExists"

# What registries and engines say, first match wins: a pattern in their words, ours, and the cure. Neither has codes.
_REASONS = (
    (_EXPIRED, "the login has expired", "run the same command again: what has arrived is not sent again"),
    (
        r"name unknown|not known to registry|repository .*does not exist in the registry",
        "the registry has no such repository",
        "run the same command again: it makes the repository first",
    ),
    (
        r"is not authorized to perform|denied:|403 forbidden",
        "the registry does not allow it",
        "have ecr:BatchCheckLayerAvailability, InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and PutImage "
        "on the repository allowed to these credentials",
    ),
    (
        r"unauthorized|authentication required|\b401\b",
        "the registry refuses the login",
        "run the same command again; if it stays so, check `registry` in thampi.toml: the login is for another one",
    ),
    (r"toomanyrequests|rate exceeded", "the registry limits requests", "run the same command again in a minute"),
    (
        r"x509|certificate",
        "the engine does not trust the registry's certificate",
        "a proxy signs the traffic: give its CA to the engine (Docker Desktop takes it from the system; on Linux it "
        "goes to /etc/docker/certs.d/HOST/ca.crt)",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry speaks plain HTTP",
        'use localhost as its host, or add it to "insecure-registries" in the engine\'s daemon.json',
    ),
    (
        r"dial tcp|connection (refused|reset)|no such host|timeout|\bEOF\b|broken pipe|TLS handshake",
        "the engine can't reach the registry",
        "check the network of the engine (its proxy is set in its own settings), then run the same command again: "
        "what has arrived is not sent again",
    ),
)


class TagTakenError(BuildError):
    """The tag names another image already, and the repository lets no tag move."""


class _ExpiredError(BuildError):
    """The login no longer opens the registry."""


class Login(Protocol):
    """What opens a registry."""

    @property
    def username(self) -> str:
        """The user that the registry knows."""

    @property
    def password(self) -> str:
        """The password, a token say."""


@dataclass(frozen=True)
class Layer:
    """How far a layer of a push has got."""

    id: str
    status: str  # in the engine's words: Preparing, Waiting, Pushing, Pushed, Layer already exists
    sent_bytes: int
    total_bytes: int  # 0 while it isn't known


def check(engine: Any, reference: str, platform: str) -> None:
    """Raise BuildError for an image of the engine that Lambda will not run: another platform's, or over 10 GB.

    Only here is its size known: the registry knows the compressed one.
    """
    with _asking(reference):
        found = engine.api.inspect_image(reference)
        size = _unpacked_bytes(engine, reference, found)
    built_for = f"{found['Os']}/{found['Architecture']}"
    if built_for != platform:
        raise BuildError(
            f"the image {reference} is for {built_for}, and the function is for {platform}",
            hint=f"remove it (docker image rm {reference}) and build it again, or set build.platform to {built_for}",
        )
    if size > recipe.LARGEST_BYTES:
        raise BuildError(
            f"the image {reference} is {size / 1024**3:.1f} GB, and Lambda takes "
            f"{recipe.LARGEST_BYTES // 1024**3} GB at most",
            hint="leave out libraries that predictions don't need; of torch, the build for CPUs is the small one",
        )


def push(
    engine: Any,
    reference: str,
    repository_uri: str,
    tag: str,
    *,
    platform: str,
    login: Callable[[], Login],
    progress: Callable[[Layer], None],
) -> str:
    """Push the image `reference` of the engine as `repository_uri:tag`; return its digest there.

    `login` is called for a fresh login, and a second time if that expires on the way. It is for this push alone: no
    credential store sees it. The engine keeps no trace of the name that the image was pushed under.
    Raises BuildError for an image that Lambda will not run, before anything is sent, and for a push that fails: what
    has arrived by then is not sent again. TagTakenError when somebody else was faster.
    """
    check(engine, reference, platform)
    target = f"{repository_uri}:{tag}"
    with _asking(reference):
        engine.api.tag(reference, repository_uri, tag)
    try:
        try:
            return _send(engine, repository_uri, tag, login(), progress)
        except _ExpiredError:
            return _send(engine, repository_uri, tag, login(), progress)
    finally:
        with contextlib.suppress(DockerException, OSError):
            engine.api.remove_image(target)  # the name: the image keeps its own


def _send(engine: Any, repository_uri: str, tag: str, login: Login, progress: Callable[[Layer], None]) -> str:
    target, digest = f"{repository_uri}:{tag}", ""
    try:
        for event in _events(engine, repository_uri, tag, login):
            if "error" in event or "errorDetail" in event:
                raise _explain(target, event.get("errorDetail", {}).get("message") or event.get("error", ""))
            digest = (event.get("aux") or {}).get("Digest", digest)
            if "id" in event:
                progress(_layer(event))
    except APIError as error:
        raise _explain(target, str(error.explanation or error)) from error
    except (DockerException, StreamParseError, HTTPError, OSError) as error:
        raise BuildError(
            f"{target} can't be pushed: the engine no longer answers ({error})",
            hint="`docker info` shows whether it runs; then run the same command again: what has arrived is not sent "
            "again",
        ) from error
    if not digest:
        raise _explain(target, "the engine did not say which digest the image has got")
    return digest


def _events(engine: Any, repository_uri: str, tag: str, login: Login) -> Iterator[Mapping[str, Any]]:
    secret = {"username": login.username, "password": login.password}
    yield from engine.api.push(repository_uri, tag=tag, auth_config=secret, stream=True, decode=True)


def _layer(event: Mapping[str, Any]) -> Layer:
    detail = event.get("progressDetail") or {}
    total = int(detail.get("total") or 0)
    # The total is the engine's guess from before it packed the layer.
    sent = int(detail.get("current") or 0)
    return Layer(event["id"], event.get("status", ""), min(sent, total) if total else sent, total)


def _unpacked_bytes(engine: Any, reference: str, found: Mapping[str, Any]) -> int:
    """Add up the layers as they lie unpacked.

    Engines that keep images in containerd's store say another size of an image: what its layers are packed, and from
    2026 on that and the unpacked ones together (https://github.com/moby/moby/pull/53426).
    """
    try:
        return sum(step["Size"] for step in engine.api.history(reference))
    except APIError:  # not unpacked here
        return int(found["Size"])


@contextlib.contextmanager
def _asking(reference: str) -> Iterator[None]:
    """Turn what the engine answers to a question about an image into a BuildError."""
    try:
        yield
    except ImageNotFound as error:
        raise BuildError(f"the engine has no image {reference}", hint="thampi build") from error
    except (DockerException, OSError) as error:
        said = getattr(error, "explanation", None) or error
        raise BuildError(f"the engine can't say what {reference} is: {said}", hint="docker info") from error


def _explain(target: str, words: str) -> BuildError:
    """Say why a push failed, and what to do."""
    if re.search(_TAKEN, words, re.IGNORECASE):
        return TagTakenError(
            f"{target} can't be pushed: the tag names another image already, and tags don't move there ({words})",
            hint="somebody pushed the same recipe meanwhile: run the same command again",
        )
    kind = _ExpiredError if re.search(_EXPIRED, words, re.IGNORECASE) else BuildError
    for pattern, reason, hint in _REASONS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind(f"{target} can't be pushed: {reason} ({words})", hint=hint)
    return BuildError(f"{target} can't be pushed: {words}", hint="run the same command again")
