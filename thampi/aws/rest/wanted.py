"""A REST API as it is wanted: plain frozen values, with nothing of how AWS keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limit:
    """How many requests get through: a second, in the long run, and at once."""

    rate_per_s: float
    burst: int


@dataclass(frozen=True)
class Plan:
    """What each API key may ask for; None is no bound of its own."""

    rate_per_s: float | None = None
    burst: int | None = None
    quota: int | None = None  # requests in each period
    period: str = "month"  # day, week, month


@dataclass(frozen=True)
class Cors:
    """The pages of which other sites may call the API from a browser."""

    origins: tuple[str, ...]  # "*", or each like https://app.example.com
    methods: tuple[str, ...] = ("GET", "POST")
    headers: tuple[str, ...] = ()  # that requests may bring
    credentials: bool = False  # cookies and the like
    max_age_s: int = 600  # how long a browser keeps the answer to its preflight


@dataclass(frozen=True)
class Rest:
    """A REST API with one stage, as wanted."""

    project: str
    stage: str
    target: str | None  # the ARN of what is live; None: the API answers by itself (`mock`)
    auth: str = "none"  # none, iam, api_key
    limit: Limit = Limit(100.0, 200)  # of all callers together
    routes: Mapping[str, Limit] = field(default_factory=dict)  # by route: predict, about, ping, openapi
    plan: Plan | None = None  # with auth = "api_key"
    cors: Cors | None = None
    validation: str | None = None  # the JSON text of a schema (draft 4) that bodies of predict must fit
    mock: str | None = None  # the JSON text that predict answers, whatever it is asked
    cache_ttl_s: int | None = None  # how long answers to GET are given again
    waf_acl_arn: str | None = None
    access_log_arn: str | None = None  # of the log group that gets a line for each request
    tracing: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)  # thampi's and the user's
