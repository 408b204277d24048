"""What comes out of thampi.toml: plain frozen values, with nothing of the checking in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FILE = "thampi.toml"
LOCAL = "local"  # AWS on this machine: the one stage that needs no entry

# The closed list of variables that override a key.
VARIABLES = {
    "THAMPI_PROFILE": "profile",
    "THAMPI_REGION": "region",
    "THAMPI_BUCKET": "bucket",
    "THAMPI_MODEL_DIR": "model_dir",
    "THAMPI_DEPENDENCY_FILE": "dependency_file",
}

# How long each type of endpoint waits for an answer:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (a function URL: as long as the function)
WAITS_S = {"http": 30, "url": 900}


class Masked(Mapping[str, str]):
    """Names with values that nobody should see: printing it shows the names only."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict.fromkeys(self._values, "***"))


@dataclass(frozen=True, kw_only=True)
class Build:
    """What decides the image's content; None leaves it to the bundle or to the content of the file."""

    dependency_file: Path | None = None
    extras: tuple[str, ...] = ()  # of a pyproject.toml or uv.lock
    package_manager: Literal["pip", "conda"] | None = None
    python: str | None = None
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    base_image: str | None = None
    apt: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    model: Literal["s3", "image"] = "s3"  # where a release has its model


@dataclass(frozen=True, kw_only=True)
class Vpc:
    """The network that the function joins."""

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Api:
    """The endpoint in front of what is live: which kind, whom it lets in, what it shows."""

    type: Literal["http", "url"] = "http"
    auth: Literal["none", "iam"] = "none"
    page: bool = True  # browsers get a page to try the model on


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Everything that a command has to know of a project and one of its stages."""

    project_dir: Path
    name: str
    stage: str
    model_dir: Path
    build: Build = field(default_factory=Build)
    profile: str | None = None
    region: str | None = None
    bucket: str | None = None
    memory_mb: int = 1024
    timeout_s: int = 29
    ephemeral_storage_mb: int = 512
    api: Api = field(default_factory=Api)
    max_body_mb: int = 5
    log_retention_days: int = 30
    keep_releases: int = 10
    keep_warm: str | None = None
    reserved_concurrency: int | None = None
    provisioned_concurrency: int | None = None
    snapstart: bool = False
    environment: Mapping[str, str] = field(default_factory=Masked)
    tags: Mapping[str, str] = field(default_factory=dict)
    vpc: Vpc | None = None
    role_arn: str | None = None
    endpoint_url: str | None = None
    registry: str | None = None
