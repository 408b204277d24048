"""What an HTTP API is made of, as wanted and as read; how the two differ. Touches nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from thampi.aws import cors, owned
from thampi.aws.cors import Cors

RATE_PER_S = 100.0  # requests of all callers together, so that a leaked URL has a bound
BURST = 200

EVERYTHING = "$default"  # the route that is always there: what is a path and what isn't is decided by the handler
# With authorization on the route that takes everything, browsers' preflights, which bring none, need one of their own:
# https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
PREFLIGHT = "OPTIONS /{proxy+}"
AUTH = {"none": "NONE", "iam": "AWS_IAM", "jwt": "JWT"}
IDENTITY_SOURCE = "$request.header.Authorization"

# A tag of the API: it may have an authorizer. Else nobody would ask for one that a run which ended in between has left.
MARK, MARKED = "thampi:auth", "jwt"

PAYLOAD = "2.0"
TIMEOUT_MS = 30_000  # the longest that an HTTP API waits


@dataclass(frozen=True)
class Limit:
    """How many requests get through: a second, and at once; as read: None where there is no bound."""

    rate_per_s: float | None
    burst: int | None

    @staticmethod
    def of(endpoint: "Endpoint") -> "Limit":
        """Return the limit of all routes that have none of their own."""
        return Limit(endpoint.rate_per_s, endpoint.burst)

    def __str__(self) -> str:
        return f"{self.rate_per_s or 0:g}/s, burst {self.burst or 0}"


@dataclass(frozen=True)
class Jwt:
    """Whose tokens let a caller in; of the scopes one is enough, and without any none is asked for."""

    issuer: str
    audience: tuple[str, ...]
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class AccessLog:
    """Where a line is written for each request, and of which form."""

    destination: str  # the ARN of a log group
    format: str


@dataclass(frozen=True)
class Endpoint:
    """An HTTP API with one integration and one stage, as wanted and as read alike."""

    project: str
    stage: str
    target: str | None  # the ARN of what is live; as read: None where a run that ended in between didn't get to
    auth: str | None = "none"  # none, iam, jwt; as read: of the route that takes everything
    rate_per_s: float | None = RATE_PER_S
    burst: int | None = BURST
    tags: Mapping[str, str] = field(default_factory=dict)  # thampi's and the user's
    payload_format: str | None = PAYLOAD
    timeout_ms: int | None = TIMEOUT_MS
    routed: bool | None = True  # that route leads to the integration
    auto_deploy: bool | None = True  # of the stage
    jwt: Jwt | None = None  # with auth = "jwt"
    limits: Mapping[str, Limit] = field(default_factory=dict)  # of routes that have one of their own, by their keys
    cors: Cors | None = None
    access_log: AccessLog | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its routes, in the order in which they get stricter: the one of predictions first.

        HTTP APIs limit by route, so each with a limit of its own is a route of its own.
        """
        before = (PREFLIGHT,) if self.cors and self.auth not in (None, "none") else ()
        return (*before, *sorted(self.limits, key=lambda key: (not key.startswith("POST "), key)), EVERYTHING)


@dataclass(frozen=True)
class Route:
    """A route: whom it lets in, and the id of the integration that it leads to."""

    auth: str | None
    target: str | None
    scopes: tuple[str, ...] = ()
    authorizer_id: str | None = None
    route_id: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.auth} ({', '.join(self.scopes)})" if self.scopes else str(self.auth)


@dataclass(frozen=True)
class Authorizer:
    """What looks at the tokens."""

    authorizer_id: str
    issuer: str
    audience: tuple[str, ...]
    source: str = IDENTITY_SOURCE


@dataclass(frozen=True)
class Found:
    """An endpoint as it is at AWS, and what only AWS knows of it."""

    api_id: str
    endpoint: Endpoint
    integration_id: str | None = None
    routes: Mapping[str, Route] = field(default_factory=dict)  # those of our keys
    authorizer: Authorizer | None = None  # the one of our name
    marked: bool = False  # it may have an authorizer
    has_stage: bool = False
    doubles: tuple[str, ...] = ()  # other APIs of the same name and tags, from creations whose answer was lost
    spare_integrations: tuple[str, ...] = ()  # likewise
    spare_authorizers: tuple[str, ...] = ()  # likewise

    @property
    def route_id(self) -> str | None:
        """The id of the route that takes everything."""
        return self.routes[EVERYTHING].route_id if EVERYTHING in self.routes else None


def route_keys(project: str) -> dict[str, str]:
    """Return the key of each route that may have a limit of its own, by the word for it in thampi.toml."""
    about = f"GET /{project}"
    return {
        "predict": f"POST /{project}/predict",
        "about": about,
        "ping": f"{about}/ping",
        "openapi": f"{about}/openapi.json",
    }


def route(found: Found, key: str, wanted: Endpoint) -> Route:
    """Return a route as it should be."""
    if key == PREFLIGHT or wanted.auth != "jwt":
        return Route("none" if key == PREFLIGHT else wanted.auth, found.integration_id)
    scopes = wanted.jwt.scopes if wanted.jwt else ()
    return Route("jwt", found.integration_id, scopes, found.authorizer.authorizer_id if found.authorizer else None)


def unwanted(found: Found, wanted: Endpoint) -> tuple[str, ...]:
    """Name the routes that are ours and not wanted any more; one that leads elsewhere is somebody's own."""
    own = (None, found.integration_id)
    return tuple(key for key, each in found.routes.items() if key not in wanted.keys and each.target in own)


def changes(found: Endpoint, wanted: Endpoint) -> tuple[str, ...]:
    """Say what would have to change, a line each."""
    old, new = dict(_settings(found)), dict(_settings(wanted))
    keys = [key for key in {**new, **old} if old.get(key) != new.get(key)]
    return (
        *(f"{key}: {_shown(old.get(key))} -> {_shown(new.get(key))}" for key in keys),
        *cors.changes(found.cors, wanted.cors),
        *owned.changes(found.tags, wanted.tags),
    )


def differences(found: Found, wanted: Endpoint) -> tuple[str, ...]:
    """Say all that `ensure` would do: what would change, what is half done, and what was made twice and goes."""
    return (*changes(found.endpoint, wanted), *_half_done(found, wanted), *_surplus(found))


def _settings(endpoint: Endpoint) -> Iterator[tuple[str, object]]:
    for key in ("target", "auth", "rate_per_s", "burst", "payload_format", "timeout_ms", "routed", "auto_deploy"):
        yield key, getattr(endpoint, key)
    if endpoint.jwt:
        yield from {f"jwt.{key}": value for key, value in vars(endpoint.jwt).items()}.items()
    yield from {f"limit of {key}": limit for key, limit in endpoint.limits.items()}.items()
    if endpoint.access_log:
        yield from {"access_log": endpoint.access_log.destination, "its form": endpoint.access_log.format}.items()


def _half_done(found: Found, wanted: Endpoint) -> Iterator[str]:
    """Say what isn't so yet of that which the settings don't show."""
    for key in wanted.keys:
        has, aim = found.routes.get(key), route(found, key, wanted)
        if key != EVERYTHING and has != aim:
            yield f"route {key}: {has or 'absent'} -> {aim}"
        elif has and has.auth == aim.auth == "jwt" and has.authorizer_id != aim.authorizer_id:
            yield f"route {key}: another authorizer -> ours"
    yield from (f"route {key} -> removed" for key in unwanted(found, wanted))
    if found.authorizer and wanted.auth == "jwt" and found.authorizer.source != IDENTITY_SOURCE:
        yield f"identity source: {found.authorizer.source} -> {IDENTITY_SOURCE}"
    if found.authorizer and wanted.auth != "jwt":
        yield "authorizer -> removed"
    if found.marked != (wanted.auth == "jwt"):
        yield f"tags.{MARK}: " + ("jwt -> none" if found.marked else "none -> jwt")


def _surplus(found: Found) -> Iterator[str]:
    yield from (f"double: {api_id} -> removed" for api_id in found.doubles)
    yield from (f"double integration: {each} -> removed" for each in found.spare_integrations)
    yield from (f"double authorizer: {each} -> removed" for each in found.spare_authorizers)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "absent" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
