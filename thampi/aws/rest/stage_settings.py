"""The settings of a REST API's stage: what AWS says of it and what is wanted -> the patches between them; pure.

Limits, the cache for answers to GET, the access log, tracing. A stage is changed by one call that takes a list of
patches, all of them or none, and the deployment that it serves is one of them: what is returned here goes with it.
Which paths there are AWS says in its refusal of another one (localstack#9334 quotes it); that only an entry as a whole
can be removed, and only one that is there: terraform-provider-aws, `resourceMethodSettingsDelete`, and cdkd#971.

The cache stands where the function would be asked: it answers nobody whom the method's own `auth` has not let in.
https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-caching.html (looked up "instead of making a
request to your endpoint"); https://serverlesspatterns.io/gateway-cache (the policy is applied before). It holds one
answer for each path and each value of `CACHE_KEYS`, for all callers alike, so it is only for what is the same for all.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from thampi.aws import access_log
from thampi.aws.rest.wanted import Limit, Rest

Patch = Mapping[str, str]

CACHE_GB = "0.5"  # the smallest that there is: the answers are few and short

# What the answers to GET depend on besides the path: the page for browsers, whose page may read it, where it leads to.
CACHE_KEYS = ("Accept", "Host", "Origin")

# Route -> path below the project's name, method; those whose answers may be given again.
ROUTES = {
    "predict": ("/predict", "POST"),
    "about": ("", "GET"),
    "ping": ("/ping", "GET"),
    "openapi": ("/openapi.json", "GET"),
}
CACHED = ("about", "openapi")

_EVERYTHING = "*/*"

# A caller's `Cache-Control: max-age=0`, which browsers send when a page is loaded anew, clears nothing unless IAM lets
# them; they get the answer all the same, with a warning in it.
_GUARD = {
    "cacheDataEncrypted": True,
    "requireAuthorizationForCacheControl": True,
    "unauthorizedCacheControlHeaderStrategy": "SUCCEED_WITH_RESPONSE_HEADER",
}
_GUARD_PATHS = {each: each.replace("cacheD", "d") for each in _GUARD}


@dataclass(frozen=True)
class Route:
    """What is set for one method of one path, all of it: what an entry leaves out is AWS's default, not the stage's."""

    rate_per_s: float | None  # requests of all callers together; None: as many as the account may have
    burst: int | None
    cache_ttl_s: int | None = None  # None: no answer is given again
    is_guarded: bool = True  # as read: what is cached is encrypted, and callers can't clear it


@dataclass(frozen=True)
class StageSettings:
    """The settings of a stage, as wanted and as read alike."""

    rate_per_s: float | None = None  # of each method that has no entry of its own
    burst: int | None = None
    routes: Mapping[str, Route] = field(default_factory=dict)  # as `key` names them
    caches_everything: bool = False  # also what has no entry of its own
    cache_gb: str | None = None  # None: there is no cache
    access_log_arn: str | None = None  # of the log group
    access_log_format: str | None = None
    tracing: bool = False


def key(path: str, method: str) -> str:
    """Name a method as the patches do: `~1iris~1predict/POST`."""
    return f"{path.replace('~', '~0').replace('/', '~1')}/{method}"


def places(project: str, routes: Iterable[str] = tuple(ROUTES)) -> list[tuple[str, str]]:
    """Return path and method of routes: `("/iris/predict", "POST")`."""
    return [(f"/{project}{path}", method) for path, method in (ROUTES[each] for each in routes)]


def make(wanted: Rest) -> StageSettings:
    """Return the settings that a REST API's stage should have."""
    limit, routes = wanted.limit, {}
    for route, place in zip(ROUTES, places(wanted.project), strict=True):
        own, ttl_s = wanted.routes.get(route), wanted.cache_ttl_s if route in CACHED else None
        if own is not None or ttl_s is not None:
            routes[key(*place)] = _route(own or limit, ttl_s)
    # The function understands `/iris//predict`, too, which is no path of its own here: no way round a limit.
    strictest = Limit(
        min(each.rate_per_s for each in (limit, *wanted.routes.values())),
        min(each.burst for each in (limit, *wanted.routes.values())),
    )
    if strictest != limit:
        routes |= {each: _route(strictest) for each in _elsewhere(wanted)}
    return StageSettings(
        rate_per_s=limit.rate_per_s,
        burst=limit.burst,
        routes=routes,
        cache_gb=CACHE_GB if wanted.cache_ttl_s is not None else None,
        access_log_arn=wanted.access_log_arn,
        access_log_format=access_log.format_rest() if wanted.access_log_arn else None,
        tracing=wanted.tracing,
    )


def of_methods(wanted: Rest, methods: Container[tuple[str, str]]) -> StageSettings:
    """Return what `make` does, without the entries of methods (path, name) that are not there yet.

    Where a route has no method of its own yet, all others that it is called by stay as they are, too.
    """
    settings = make(wanted)
    absent = {key(*place) for place in places(wanted.project) if place not in methods}
    absent |= {*_elsewhere(wanted)} if absent else set()
    return replace(settings, routes={each: route for each, route in settings.routes.items() if each not in absent})


def read(stage: Mapping[str, Any]) -> StageSettings:
    """Read a stage as GetStage says it."""
    entries = {_key_of(each): entry for each, entry in (stage.get("methodSettings") or {}).items()}
    everything = entries.pop(_EVERYTHING, {})
    log = stage.get("accessLogSettings") or {}
    return StageSettings(
        rate_per_s=_limit(everything.get("throttlingRateLimit")),
        burst=_limit(everything.get("throttlingBurstLimit")),
        routes={each: _read(entry) for each, entry in entries.items()},
        caches_everything=bool(everything.get("cachingEnabled")),
        cache_gb=stage.get("cacheClusterSize") if stage.get("cacheClusterEnabled") else None,
        access_log_arn=log["destinationArn"].removesuffix(":*") if log.get("destinationArn") else None,
        access_log_format=log.get("format") or None,
        tracing=bool(stage.get("tracingEnabled")),
    )


def changes(found: StageSettings, wanted: StageSettings) -> tuple[str, ...]:
    """Say what `patches` would change, a line each."""
    lines = [
        _line("rate_per_s", found.rate_per_s, wanted.rate_per_s),
        _line("burst", found.burst, wanted.burst),
        _line("cache of everything", found.caches_everything, wanted.caches_everything),
        *(
            _line(_named(each), _said(found.routes.get(each)), _said(wanted.routes.get(each)))
            for each in sorted({*found.routes, *wanted.routes})
        ),
        _line("cache_gb", found.cache_gb, wanted.cache_gb),
        _line("access_log", found.access_log_arn, wanted.access_log_arn),
        _line("access_log.format", found.access_log_format, wanted.access_log_format)
        if found.access_log_arn == wanted.access_log_arn
        else "",
        _line("tracing", found.tracing, wanted.tracing),
    ]
    return tuple(line for line in lines if line)


def tightened(found: StageSettings, wanted: StageSettings) -> StageSettings:
    """Return `found` with the lower of both limits for everything, and nothing else of `wanted`."""
    everything = _lower(_default(found), _default(wanted))
    routes = {}
    for each in {*found.routes, *wanted.routes}:
        has, asked = found.routes.get(each, _default(found)), wanted.routes.get(each, _default(wanted))
        lower = _lower(has, asked)
        if each in found.routes or lower != everything:
            routes[each] = lower
    return replace(found, rate_per_s=everything.rate_per_s, burst=everything.burst, routes=routes)


def patches(found: StageSettings, wanted: StageSettings) -> list[Patch]:
    """Return what makes the stage so, in an order in which nothing is cached before there is a cache; may be empty."""
    made: list[Patch] = []
    if wanted.cache_gb is not None and found.cache_gb != wanted.cache_gb:
        made += [_replace("/cacheClusterEnabled", True), _replace("/cacheClusterSize", wanted.cache_gb)]
    if _default(found) != _default(wanted):
        made += _limits(_EVERYTHING, _default(wanted))
    if found.caches_everything != wanted.caches_everything:
        made.append(_replace(f"/{_EVERYTHING}/caching/enabled", wanted.caches_everything))
    for each, route in sorted(wanted.routes.items()):
        made += _entry(each, found.routes.get(each), route)
    made += [{"op": "remove", "path": f"/{each}"} for each in sorted({*found.routes} - {*wanted.routes})]
    if wanted.cache_gb is None and found.cache_gb is not None:
        made.append(_replace("/cacheClusterEnabled", False))
    return [*made, *_log_patches(found, wanted), *_tracing_patches(found, wanted)]


def _log_patches(found: StageSettings, wanted: StageSettings) -> list[Patch]:
    if (found.access_log_arn, found.access_log_format) == (wanted.access_log_arn, wanted.access_log_format):
        return []
    if wanted.access_log_arn is None:
        return [{"op": "remove", "path": "/accessLogSettings"}]
    return [
        _replace("/accessLogSettings/destinationArn", wanted.access_log_arn),
        _replace("/accessLogSettings/format", str(wanted.access_log_format)),
    ]


def _tracing_patches(found: StageSettings, wanted: StageSettings) -> list[Patch]:
    return [_replace("/tracingEnabled", wanted.tracing)] if found.tracing != wanted.tracing else []


def _entry(named: str, found: Route | None, wanted: Route) -> list[Patch]:
    """Write of an entry what differs, of a new one everything: what it leaves out is AWS's default."""
    made = [] if found and _same_limits(found, wanted) else _limits(named, wanted)
    if found and (found.cache_ttl_s, found.is_guarded) == (wanted.cache_ttl_s, wanted.is_guarded):
        return made
    caching: dict[str, object] = {"enabled": wanted.cache_ttl_s is not None}
    if wanted.cache_ttl_s is not None:
        caching |= {"ttlInSeconds": wanted.cache_ttl_s, **{_GUARD_PATHS[each]: value for each, value in _GUARD.items()}}
    return [*made, *(_replace(f"/{named}/caching/{each}", value) for each, value in caching.items())]


def _limits(named: str, route: Route) -> list[Patch]:
    """Write both: one without the other has a default of AWS's, too. -1 is none of its own."""
    rate = -1.0 if route.rate_per_s is None else route.rate_per_s
    burst = -1 if route.burst is None else route.burst
    return [_replace(f"/{named}/throttling/rateLimit", rate), _replace(f"/{named}/throttling/burstLimit", burst)]


def _replace(path: str, value: object) -> Patch:
    said = (
        str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if isinstance(value, float) else str(value)
    )
    return {"op": "replace", "path": path, "value": said}


def _elsewhere(wanted: Rest) -> tuple[str, ...]:
    """Name the methods that take whatever has no path of its own."""
    return key(f"/{wanted.project}/{{proxy+}}", "ANY"), key("/{proxy+}", "ANY")


def _route(limit: Limit, cache_ttl_s: int | None = None) -> Route:
    return Route(limit.rate_per_s, limit.burst, cache_ttl_s)


def _same_limits(one: Route, other: Route) -> bool:
    return (one.rate_per_s, one.burst) == (other.rate_per_s, other.burst)


def _default(settings: StageSettings) -> Route:
    """Return what holds for a method that has no entry of its own."""
    return Route(settings.rate_per_s, settings.burst)


def _lower(found: Route, wanted: Route) -> Route:
    """Return `found` with the lower of both limits."""
    rates = [each for each in (found.rate_per_s, wanted.rate_per_s) if each is not None]
    bursts = [each for each in (found.burst, wanted.burst) if each is not None]
    return replace(found, rate_per_s=min(rates, default=None), burst=min(bursts, default=None))


def _key_of(said: str) -> str:
    """Return how a patch names the entry that AWS shows under this name.

    AWS shows it as it was given, `~1iris~1predict/POST`; what plays AWS locally shows `/iris/predict/POST`.
    """
    path, _, method = said.rpartition("/")
    return key(path, method) if path.startswith("/") else said


def _named(named: str) -> str:
    """Return what people call a method: `POST /iris/predict`."""
    path, _, method = named.rpartition("/")
    return f"{method} {path.replace('~1', '/').replace('~0', '~')}"


def _read(entry: Mapping[str, Any]) -> Route:
    is_cached = bool(entry.get("cachingEnabled"))
    return Route(
        rate_per_s=_limit(entry.get("throttlingRateLimit")),
        burst=_limit(entry.get("throttlingBurstLimit")),
        cache_ttl_s=entry.get("cacheTtlInSeconds") if is_cached else None,
        is_guarded=not is_cached or all(entry.get(each) == value for each, value in _GUARD.items()),
    )


def _limit(value: Any) -> Any:
    """Return a limit; AWS says -1 where there is none but the account's."""
    return None if value is None or value < 0 else value


def _line(what: str, old: object, new: object) -> str:
    return f"{what}: {_shown(old)} -> {_shown(new)}" if old != new else ""


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _said(route: Route | None) -> str | None:
    if route is None:
        return "as all others"
    words = [f"{_shown(route.rate_per_s)} a second", f"bursts of {_shown(route.burst)}"]
    if route.cache_ttl_s is not None:
        words.append(f"answers kept for {route.cache_ttl_s} s" + ("" if route.is_guarded else ", open to all"))
    return ", ".join(words)
