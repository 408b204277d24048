"""The tables of thampi.toml: which keys there are, and where; the only place that imports pydantic."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from thampi import names
from thampi.config import rules

_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/-]*(:[0-9]+/[A-Za-z0-9._/-]+)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]*[a-z0-9+](=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?"
_ROLE = r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+"
_CERTIFICATE = r"arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[\w-]+"
_ACL = r"arn:aws[a-z-]*:wafv2:[a-z0-9-]+:[0-9]{12}:regional/webacl/[\w-]+/[\w-]+"
_ROUTES = ("predict", "about", "ping", "openapi")
_AUTH = (
    '"none" (anyone who knows the URL may call it), "iam" (callers sign with AWS credentials), "api_key" (callers have '
    'a key of `thampi keys`) or "jwt" (callers bring a token)'
)
_MODEL = '"s3" (the function loads it from the bucket) or "image" (it is baked into the image)'
_TYPE = (
    '"http" (an HTTP API of API Gateway), "rest" (a REST API: keys, plans, a firewall, mocks) or "url" (a function '
    "URL: no gateway, and 15 minutes to answer)"
)
_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


def _rule(wrong: Callable[[Any], str | None], *, shown: bool = True) -> AfterValidator:
    def check(value: object) -> object:
        if words := wrong(value):
            raise ValueError(f"{words}, is {rules.shown(value)}" if shown else words)
        return value

    return AfterValidator(check)


def _between(low: int, high: int, why: str = "") -> AfterValidator:
    return _rule(lambda number: None if low <= number <= high else f"should be {low} to {high}{why}")


def _one_of(*choices: object, words: str = "") -> AfterValidator:
    listed = words or " or ".join(map(rules.shown, choices))
    return _rule(lambda value: None if value in choices else f"should be {listed}")


def _like(pattern: str, words: str) -> AfterValidator:
    return _rule(lambda text: None if re.fullmatch(pattern, text, re.ASCII) else f"should be {words}")


_Text = Annotated[str, _rule(rules.wrong_text)]
_Image = Annotated[str, _like(_IMAGE, 'an image like "public.ecr.aws/docker/library/python:3.12-slim"')]
_Package = Annotated[str, _like(_PACKAGE, 'a Debian package like "libgomp1" or "libgomp1=12.2.0-14"')]
_Extra = Annotated[str, _like(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", 'the name of an extra like "serving"')]
_Auth = Annotated[str, _one_of("none", "iam", "api_key", "jwt", words=_AUTH)]
_Type = Annotated[str, _one_of("http", "rest", "url", words=_TYPE)]
_Days = Annotated[int, _one_of(*_DAYS, words=f"one of CloudWatch's {', '.join(map(str, _DAYS))}")]
_Role = Annotated[str, _like(_ROLE, 'the ARN of a role like "arn:aws:iam::123456789012:role/mine"')]
_Url = Annotated[str, _like(r"https?://[\w.\[\]:-]+(/[\w./-]*)?", 'a URL like "http://localhost:4566"')]
_Host = Annotated[str, _like(r"[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?", 'a host like "localhost:5000"')]
_Rate = Annotated[float, _rule(rules.wrong_rate)]
_Burst = Annotated[int, _between(1, 10_000)]
_Issuer = Annotated[str, _like(r"https?://[\w.\[\]:-]+(/[\w./~-]*)?", 'a URL like "https://login.example.com/"')]
_Certificate = Annotated[
    str, _like(_CERTIFICATE, 'the ARN of a certificate like "arn:aws:acm:eu-central-1:123456789012:certificate/1a2b"')
]
_Acl = Annotated[
    str, _like(_ACL, 'the ARN of a regional web ACL like "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/a/b"')
]
_Subnet = Annotated[str, _like(r"subnet-[0-9a-z]+", 'a subnet like "subnet-0a1b2c3d"')]
_Group = Annotated[str, _like(r"sg-[0-9a-z]+", 'a security group like "sg-0a1b2c3d"')]
_Tags = dict[Annotated[str, _rule(rules.wrong_tag, shown=False)], Annotated[str, _rule(rules.wrong_tag_text)]]
_Environment = dict[
    Annotated[str, _rule(rules.wrong_variable, shown=False)],
    Annotated[Any, _rule(rules.wrong_variable_value, shown=False)],  # it may be a secret
]

_ABSENT: Any = None  # what isn't written has no value here; the defaults are Stage's


class Table(BaseModel):
    """A table in which an unknown key is a mistake, and a text no number."""

    # pydantic before 2.10 takes every model_… for its own, and model_dir is ours.
    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class BuildTable(Table):
    """[build]: what decides the image."""

    dependency_file: _Text = _ABSENT
    extras: list[_Extra] = _ABSENT
    package_manager: Annotated[str, _one_of("pip", "conda")] = _ABSENT
    python: Annotated[str, _rule(rules.wrong_python)] = _ABSENT
    platform: Annotated[str, _one_of("linux/amd64", "linux/arm64")] = _ABSENT
    base_image: _Image = _ABSENT
    apt: list[_Package] = _ABSENT
    include: list[Annotated[_Text, _rule(rules.wrong_include)]] = _ABSENT
    model: Annotated[str, _one_of("s3", "image", words=_MODEL)] = _ABSENT


class VpcTable(Table):
    """vpc: the network that the function joins."""

    subnet_ids: list[_Subnet] = _ABSENT
    security_group_ids: list[_Group] = _ABSENT


class LimitTable(Table):
    """api.routes.X: how many requests of one route get through."""

    rate_per_s: _Rate = _ABSENT
    burst: _Burst = _ABSENT


class PlanTable(Table):
    """api.plan: what each API key may ask for."""

    rate_per_s: _Rate = _ABSENT
    burst: _Burst = _ABSENT
    quota: Annotated[int, _between(1, 2_000_000_000)] = _ABSENT
    period: Annotated[str, _one_of("day", "week", "month")] = _ABSENT


class JwtTable(Table):
    """api.jwt: whose tokens let a caller in."""

    issuer: _Issuer
    audience: Annotated[list[_Text], _rule(rules.wrong_if_empty)]
    scopes: Annotated[list[Annotated[_Text, _rule(rules.wrong_scope)]], _rule(rules.wrong_if_many)] = _ABSENT


class CorsTable(Table):
    """api.cors: which other sites' pages may call the endpoint."""

    origins: Annotated[list[Annotated[str, _rule(rules.wrong_origin)]], _rule(rules.wrong_if_empty)]
    methods: list[Annotated[str, _one_of("GET", "POST", "HEAD")]] = _ABSENT
    headers: list[Annotated[str, _rule(rules.wrong_header)]] = _ABSENT
    credentials: bool = _ABSENT
    max_age_s: Annotated[int, _between(0, 86_400)] = _ABSENT


class CacheTable(Table):
    """api.cache: answers that the handler gives again."""

    ttl_s: Annotated[int, _between(1, 86_400)]
    size_mb: Annotated[int, _between(1, 10_240)] = _ABSENT


class DomainTable(Table):
    """api.domain: a domain of one's own."""

    name: Annotated[str, _rule(rules.wrong_domain)]
    certificate_arn: _Certificate
    path: Annotated[str, _rule(rules.wrong_base_path)] = _ABSENT


class ApiTable(Table):
    """api: the endpoint in front of what is live."""

    type: _Type = _ABSENT
    auth: _Auth = _ABSENT
    page: bool = _ABSENT
    rate_per_s: _Rate = _ABSENT
    burst: _Burst = _ABSENT
    routes: dict[Annotated[str, _one_of(*_ROUTES)], LimitTable] = _ABSENT
    plan: PlanTable = _ABSENT
    jwt: JwtTable = _ABSENT
    cors: CorsTable = _ABSENT
    validate_: bool = Field(_ABSENT, alias="validate")  # BaseModel has a `validate` of its own
    cache: CacheTable = _ABSENT
    cache_ttl_s: Annotated[int, _between(1, 3600)] = _ABSENT
    mock: bool = _ABSENT
    mock_result: Annotated[Any, _rule(rules.wrong_json)] = _ABSENT
    waf_acl_arn: _Acl = _ABSENT
    domain: DomainTable = _ABSENT
    access_log: bool = _ABSENT
    tracing: bool = _ABSENT


class StageTable(Table):
    """[stages.X]: what decides where and how the model is served."""

    profile: _Text = _ABSENT
    region: Annotated[str, _rule(names.wrong_region)] = _ABSENT
    bucket: Annotated[str, _rule(names.wrong_bucket)] = _ABSENT
    memory_mb: Annotated[int, _between(128, 10240)] = _ABSENT
    timeout_s: Annotated[int, _between(1, 900)] = _ABSENT
    ephemeral_storage_mb: Annotated[int, _between(512, 10240)] = _ABSENT
    auth: _Auth = _ABSENT  # the same as api.auth
    api: ApiTable = _ABSENT
    max_body_mb: Annotated[int, _between(1, 6, " (Lambda itself takes no more than 6 MB)")] = _ABSENT
    log_retention_days: _Days = _ABSENT
    keep_releases: Annotated[int, _between(1, 30)] = _ABSENT
    keep_warm: Annotated[str, _rule(rules.wrong_schedule)] = _ABSENT
    reserved_concurrency: Annotated[int, _between(1, 100_000)] = _ABSENT
    provisioned_concurrency: Annotated[int, _between(1, 100_000)] = _ABSENT
    snapstart: bool = _ABSENT
    environment: _Environment = _ABSENT
    tags: _Tags = _ABSENT
    vpc: VpcTable = _ABSENT
    role_arn: _Role = _ABSENT
    endpoint_url: _Url = _ABSENT
    registry: _Host = _ABSENT


class Override(StageTable, BuildTable):
    """What a flag or a variable may set."""

    model_dir: _Text = _ABSENT


class Project(StageTable):
    """The file; a key of a stage at its top is the default of all stages."""

    name: Annotated[str, _rule(names.wrong_project)]
    model_dir: _Text = _ABSENT
    build: BuildTable = _ABSENT
    stages: dict[Annotated[str, _rule(names.wrong_stage, shown=False)], StageTable] = _ABSENT


def keys(table: type[Table]) -> dict[str, Any]:
    """Return the keys of a table as they are written, each with the type of its value."""
    return {field.alias or name: field.annotation for name, field in table.model_fields.items()}


def at(table: type[Table], where: Iterable[int | str]) -> type[Table]:
    """Return the table that stands at a place in another one."""
    found: Any = table
    for part in where:
        found = keys(found)[str(part)] if isinstance(found, type) else get_args(found)[1]  # of dict[name, table]
    home: type[Table] = found
    return home


# Where each key belongs, in the order in which that is told: the nearest table that has it.
HOMES: Mapping[str, type[Table]] = {
    "under [build]": BuildTable,
    "in a stage": StageTable,
    "in a stage's table api": ApiTable,
    "at the top of the file": Project,
    **{f"in the table api.{key}": at(ApiTable, (key,)) for key in ("plan", "jwt", "cors", "cache", "domain")},
}
