"""What a stage should be made of: decided from its settings, its bundle and its image; asks and changes nothing."""

from collections.abc import Mapping

from thampi import names
from thampi.aws import access_log, function, logs, registry, role
from thampi.aws.function import Function
from thampi.aws.logs import LogGroup
from thampi.aws.registry import Repository
from thampi.aws.role import Role
from thampi.config import Stage
from thampi.operations import told
from thampi.operations.place import Place
from thampi.runtime.bundle import About

ARCHITECTURES = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}  # docker's word, Lambda's word


def bucket_tags(stage: Stage) -> dict[str, str]:
    """Return the tags of a bucket that a push makes; it serves all projects, so none is named."""
    return dict(stage.tags)


def repository(stage: Stage, place: Place) -> Repository:
    """Return the image repository of the project."""
    return registry.make(place.aws, stage.name, tags=stage.tags)


def log_group(stage: Stage) -> LogGroup:
    """Return the log group of the stage."""
    return logs.make(stage.name, stage.stage, retention_days=stage.log_retention_days, tags=stage.tags)


def access_log_group(stage: Stage) -> LogGroup | None:
    """Return the log group that the gateway writes in; None where it is to write nothing."""
    if not stage.api.access_log:
        return None
    days = stage.log_retention_days
    return access_log.make(stage.name, stage.stage, retention_days=days, tags=stage.tags)


def execution_role(stage: Stage, place: Place, *, reads_models: bool = True) -> Role | None:
    """Return the role that the function runs as; None when the user brings one, which is only used.

    `reads_models`: a release has its model in S3.
    """
    if stage.role_arn is not None:
        return None
    return role.make(
        place.aws,
        stage.name,
        stage.stage,
        bucket=place.bucket if reads_models else None,
        in_vpc=stage.vpc is not None,
        traced=stage.api.tracing,
        tags=stage.tags,
    )


def served_function(
    stage: Stage, place: Place, *, about: About, manifest_sha256: str, image_digest: str, served_time_utc: str
) -> Function:
    """Return the function that serves this model in this image."""
    own_role = execution_role(stage, place)
    return Function(
        name=names.function(stage.name, stage.stage),
        image_uri=registry.image_uri(repository(stage, place), image_digest, place.registry),
        architecture=ARCHITECTURES[stage.build.platform],
        role_arn=own_role.arn if own_role else str(stage.role_arn),
        memory_mb=stage.memory_mb,
        timeout_s=stage.timeout_s,
        ephemeral_storage_mb=stage.ephemeral_storage_mb,
        snapstart=stage.snapstart,
        # The gateway decides which requests are traced, and shows how long the function took. What it took that long
        # for (loading the model, predicting) only the function's own part of a trace shows; without it Lambda says
        # nothing of its own: https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
        tracing=stage.api.tracing,
        environment=_environment(stage, place, about, manifest_sha256, served_time_utc),
        subnet_ids=stage.vpc.subnet_ids if stage.vpc else (),
        security_group_ids=stage.vpc.security_group_ids if stage.vpc else (),
        tags={**stage.tags, **names.tags(stage.name, stage.stage)},
    )


def _environment(
    stage: Stage, place: Place, about: About, manifest_sha256: str, served_time_utc: str
) -> Mapping[str, str]:
    prefix = names.model_prefix(stage.name, about.instance_id).rstrip("/")
    where = {
        "THAMPI_MODEL": f"s3://{place.bucket}/{prefix}",
        "THAMPI_FILES": ",".join(f"{file.name}={file.size}" for file in about.files.values()),
    }
    return {
        **told.of(stage, cors=stage.api.type == "rest"),  # elsewhere what stands in front sees to it, and no release
        **(where if stage.build.model == "s3" else {}),  # the handler looks into its image by itself
        "THAMPI_MANIFEST_SHA256": manifest_sha256,
        function.SERVED_TIME: served_time_utc,
    }
