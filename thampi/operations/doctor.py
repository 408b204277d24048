"""thampi doctor: what a push will need, tried one by one, each with the cure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from thampi import names, recipe
from thampi.aws import buckets, function, logs, registry, role
from thampi.builder import build as docker_build
from thampi.builder import client as docker_client
from thampi.builder import platforms
from thampi.config import Stage
from thampi.errors import ThampiError
from thampi.operations import build, endpoint
from thampi.operations.place import Place


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: what was found, and, when it is not well, what to do about it."""

    what: str
    well: bool
    said: str
    cure: str | None = None


def examine_machine(stage: Stage | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Try what a build needs: a client with BuildKit, an engine, the base image, the platform's programs."""
    client = None
    try:
        client = docker_client.find(environ)
        yield Finding("docker client", True, f"{client.path} has BuildKit")
    except ThampiError as error:
        yield Finding("docker client", False, error.message, error.hint)
    if client is None or stage is None:
        return
    try:
        plan = build.plan(stage, environ=environ, write=False)
        yield Finding("saved model", True, f"{stage.model_dir}, Python {plan.about.python}")
        has_image = docker_build.has(client, plan.reference)
        has_base = docker_build.has(client, recipe.reference(recipe.BASE, plan.base))
        said = "the image is built" if has_image else "the base image is there" if has_base else "nothing is built yet"
        yield Finding("engine", True, said)
        emulated: list[str] = []
        platforms.check(client, plan.model.platform, emulated.append)
        yield from (Finding("platform", True, sentence) for sentence in emulated)
    except ThampiError as error:
        yield Finding("build", False, error.message, error.hint)


def examine_place(stage: Stage, find: Callable[[], Place]) -> Iterator[Finding]:
    """Try what a push needs of AWS: credentials, region, and each service that it will ask, with a call that reads."""
    try:
        place = find()
    except ThampiError as error:
        yield Finding("credentials", False, error.message, error.hint)
        return
    aws, name, at = place.aws, stage.name, stage.stage
    yield Finding("credentials", True, f"{aws.caller}, {place}")
    tries: tuple[tuple[str, Callable[[], object]], ...] = (
        ("S3", lambda: buckets.read(aws, place.bucket)),
        ("ECR", lambda: registry.read(aws, name)),
        ("IAM", lambda: stage.role_arn or role.read(aws, name, at)),
        ("CloudWatch Logs", lambda: logs.read(aws, name, at)),
        ("Lambda", lambda: function.read(aws, names.function(name, at))),
        ("endpoint", lambda: endpoint.read(stage, place).in_use),
    )
    for service, read in tries:
        try:
            found = read()
            yield Finding(service, True, "there" if found else "nothing there yet: push makes it")
        except ThampiError as error:
            yield Finding(service, False, error.message, error.hint)
    yield _quota(place)


def _quota(place: Place) -> Finding:
    try:
        limit, free = function.concurrency(place.aws)
    except ThampiError as error:
        return Finding("concurrency", False, error.message, error.hint)
    if free < 1:
        return Finding("concurrency", False, f"all of the account's {limit} are reserved", "free some, or ask for more")
    said = f"{free} of {limit} requests at once, for all functions of the region"
    return Finding("concurrency", True, said if limit > 10 else f"{said}: ask AWS for more (Service Quotas)")
