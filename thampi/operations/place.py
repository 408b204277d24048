"""Where a stage lives: its account and region, its bucket, its registry; on AWS, or on this machine for `local`."""

import getpass
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from thampi.aws import session
from thampi.aws.session import Aws
from thampi.config import LOCAL, Stage
from thampi.errors import ConfigError
from thampi.local import cloud

_LOCAL_BUCKET = "thampi-local"


@dataclass(frozen=True)
class Place:
    """What a stage's commands talk to."""

    aws: Aws
    bucket: str
    registry: str | None  # a host that stands in for ECR's own

    def __str__(self) -> str:
        where = f" at {self.aws.endpoint_url}" if self.aws.endpoint_url else ""
        return f"account {self.aws.account}, region {self.aws.region}{where}"


def find(stage: Stage, *, environ: Mapping[str, str], say: Callable[[str], None]) -> Place:
    """Prove the credentials of a stage, or start the local AWS for the stage `local`.

    Raises ConfigError when a stage on AWS names no bucket, CloudError when its credentials don't work.
    """
    if stage.stage == LOCAL and stage.endpoint_url is None:
        here = cloud.ensure_running(environ, say=say)
        aws = session.connect(region=here.region, endpoint_url=here.endpoint_url, credentials=here.credentials)
        return Place(aws, stage.bucket or _LOCAL_BUCKET, stage.registry or here.registry)
    if stage.bucket is None:
        raise ConfigError(
            f"stages.{stage.stage}.bucket is missing: the model is kept in a bucket of S3",
            hint=f"name one in thampi.toml, under [stages.{stage.stage}]; it is made when it isn't there",
        )
    aws = session.connect(profile=stage.profile, region=stage.region, endpoint_url=stage.endpoint_url)
    return Place(aws, stage.bucket, stage.registry)


def find_awake(stage: Stage, *, environ: Mapping[str, str], say: Callable[[str], None]) -> Place | None:
    """Return where a stage lives as `find` does, but start nothing; None when it can't be anywhere yet.

    That is the stage `local` while the local AWS is not running, and a stage without a bucket.
    """
    on_this_machine = stage.stage == LOCAL and stage.endpoint_url is None
    if (on_this_machine and not cloud.status(environ).running) or (not on_this_machine and stage.bucket is None):
        return None
    return find(stage, environ=environ, say=say)


def who() -> str:
    """Return who acts, for those whom it keeps waiting and for the description of a release."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "somebody"
    return f"{user}@{platform.node()}"
