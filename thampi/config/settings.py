"""What comes out of thampi.toml: plain frozen values, with nothing of the checking in them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html (REST)
WAITS_S = {"http": 30, "rest": 29, "url": 900}


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
class Limit:
    """How many requests get through: a second, in the long run, and at once."""

    rate_per_s: float = 100.0
    burst: int = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The usage plan of the API keys of a stage: what each key may ask for; None is no bound of its own."""

    rate_per_s: float | None = None
    burst: int | None = None
    quota: int | None = None  # requests in each period
    period: Literal["day", "week", "month"] = "month"


@dataclass(frozen=True, kw_only=True)
class Jwt:
    """Whose tokens let a caller in."""

    issuer: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...] = ()  # one of them is enough


@dataclass(frozen=True, kw_only=True)
class Cors:
    """The pages of which other sites may call the endpoint from a browser."""

    origins: tuple[str, ...]  # "*", or each like https://app.example.com
    methods: tuple[str, ...] = ("GET", "POST")
    headers: tuple[str, ...] = ("authorization", "content-type", "x-api-key")  # that requests may bring
    credentials: bool = False  # cookies and the like
    max_age_s: int = 600  # how long a browser keeps the answer to its preflight


@dataclass(frozen=True, kw_only=True)
class AnswerCache:
    """Answers that the handler gives again to a request with the same body."""

    ttl_s: int
    size_mb: int = 64  # in each environment


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain of one's own in front of the endpoint; several stages and projects may share one by their paths."""

    name: str
    certificate_arn: str  # of ACM, in the region of the stage
    path: str = ""  # before the endpoint's own paths; empty: none


@dataclass(frozen=True, kw_only=True)
class Api:
    """The endpoint in front of what is live: which kind, whom it lets in and how many of them, what it shows."""

    type: Literal["http", "rest", "url"] = "http"
    auth: Literal["none", "iam", "api_key", "jwt"] = "none"
    page: bool = True  # browsers get a page to try the model on
    rate_per_s: float = Limit.rate_per_s  # of all callers together, so that a leaked URL has a bound
    burst: int = Limit.burst
    routes: Mapping[str, Limit] = field(default_factory=dict)  # by route: predict, about, ping, openapi
    plan: Plan = field(default_factory=Plan)  # with auth = "api_key"
    jwt: Jwt | None = None  # with auth = "jwt"
    cors: Cors | None = None
    validate: bool = True  # REST: the gateway itself refuses bodies that can't be right, where it can tell
    cache: AnswerCache | None = None
    cache_ttl_s: int | None = None  # REST: how long the gateway gives answers to GET again
    mock: bool = False  # REST: the gateway answers with an example, and no model is released
    mock_result: Any = None  # what is answered then, as `result`
    waf_acl_arn: str | None = None
    domain: Domain | None = None
    access_log: bool = False
    tracing: bool = False

    @property
    def limit(self) -> Limit:
        """Return how much the stage as a whole lets through."""
        return Limit(rate_per_s=self.rate_per_s, burst=self.burst)


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
