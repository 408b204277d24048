"""An HTTP API becomes as strict as wanted before the release that counts on it is live, and nothing else of it changes.

A run that ends in between leaves an endpoint that is too strict rather than too open. Who may call it before and after
may do so all the while: each route changes whom it lets in with one call, and all that the call needs is there before.
"""

from dataclasses import replace
from typing import Any

from thampi import names
from thampi.aws.ensured import Ensured
from thampi.aws.gateway import writing
from thampi.aws.gateway.parts import EVERYTHING, PREFLIGHT, Endpoint, Found, Jwt, Limit, changes, route
from thampi.aws.session import Aws, doing
from thampi.errors import CloudError


def tighten(aws: Aws, found: Found, wanted: Endpoint) -> Ensured[Found]:
    """Make an existing endpoint as strict as wanted.

    Whom it lets in changes here unless the wanted ones are simply all. Of the audience and of the scopes those stay
    that were there and are wanted; where none is, the wanted ones come at once. Scopes come before the issuer and its
    audience; only where all of both are replaced in one push does a token with an old audience and a new scope pass in
    between. Raises CloudError when AWS refuses.
    """
    stricter = _stricter(found, wanted)
    lines = (*changes(found.endpoint, stricter), *_said(found, stricter, wanted))
    if not lines:
        return Ensured(found, "left")
    with doing(f"tightening the API {names.api(wanted.project, wanted.stage)}"):
        made = writing.repeatedly(aws, found, wanted, lambda seen: _write(aws, seen, wanted))
    return Ensured(made, "changed", lines)


def _write(aws: Aws, found: Found | None, wanted: Endpoint) -> Found:
    if found is None:
        name = names.api(wanted.project, wanted.stage)
        raise CloudError(f"the API {name} was removed a moment ago", hint="run the same command again")
    stricter = _stricter(found, wanted)
    asks = stricter.auth == wanted.auth == "jwt"
    is_asked = any(each.auth == "jwt" for each in found.routes.values())
    if asks and not (found.authorizer and is_asked):
        found = writing.authorizer(aws, found, stricter)
    if _is_routed(found):
        found = writing.routes(aws, found, stricter, [key for key in stricter.keys if key not in found.routes])
    if found.has_stage:
        found = writing.stage(aws, found, stricter)
    found = writing.routes(aws, found, stricter, _loose(found, stricter, wanted))
    if asks:
        found = writing.authorizer(aws, found, stricter)
    return replace(found, endpoint=stricter)


def _stricter(found: Found, wanted: Endpoint) -> Endpoint:
    """Return what is found, as strict as wanted."""
    has = found.endpoint
    auth = has.auth if wanted.auth == "none" or not _is_routed(found) else wanted.auth
    jwt = _narrowed(has.jwt, wanted.jwt) if auth == wanted.auth and wanted.jwt else has.jwt if auth == "jwt" else None
    stricter = replace(has, auth=auth, jwt=jwt)
    if found.has_stage:
        default = _lower(Limit.of(has), Limit.of(wanted))
        limits = _lower_limits(has, wanted) if _is_routed(found) else has.limits
        stricter = replace(stricter, rate_per_s=default.rate_per_s, burst=default.burst, limits=limits)
        if stricter != has:
            stricter = replace(stricter, auto_deploy=True)  # else callers would see nothing of it
    return stricter


def _is_routed(found: Found) -> bool:
    return EVERYTHING in found.routes and found.integration_id is not None


def _narrowed(has: Jwt | None, wanted: Jwt) -> Jwt:
    if has is None:
        return wanted
    audience = _kept(has.audience, wanted.audience) if has.issuer == wanted.issuer else wanted.audience
    # No scopes at all are more than any.
    scopes = _kept(has.scopes, wanted.scopes) if has.scopes and wanted.scopes else has.scopes or wanted.scopes
    return Jwt(wanted.issuer, audience, scopes)


def _kept(has: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in has if each in wanted) or wanted


def _lower_limits(has: Endpoint, wanted: Endpoint) -> dict[str, Limit]:
    """Return the limits of routes, each as low as the found and the wanted one; what has none has that of the stage."""
    limits = dict(has.limits)
    for key in {**has.limits, **wanted.limits}:
        old = has.limits.get(key, Limit.of(has))
        low = _lower(old, wanted.limits.get(key, Limit.of(wanted)))
        if low != old:
            limits[key] = low
    return limits


def _lower(has: Limit, wanted: Limit) -> Limit:
    return Limit(_lesser(has.rate_per_s, wanted.rate_per_s), _lesser(has.burst, wanted.burst))


def _lesser(found: float | None, wanted: float | None) -> Any:
    """Return the stricter of two numbers; None is no bound."""
    return wanted if found is None else found if wanted is None else min(found, wanted)


def _loose(found: Found, stricter: Endpoint, wanted: Endpoint) -> list[str]:
    """Name the routes that are there and let others in than they should, also those that will go.

    One that isn't wanted and leads elsewhere is somebody's own.
    """
    if wanted.auth == "none" or not _is_routed(found):
        return []
    loose = []
    for key in {**dict.fromkeys(stricter.keys), **found.routes}:
        has, aim = found.routes.get(key), route(found, key, stricter)
        if has and key not in stricter.keys and has.target not in (None, found.integration_id):
            continue
        if has and key != PREFLIGHT and replace(has, target=aim.target) != aim:
            loose.append(key)
    return loose


def _said(found: Found, stricter: Endpoint, wanted: Endpoint) -> list[str]:
    """Say of the routes what the settings don't show."""
    is_shown = found.endpoint.auth != stricter.auth or found.endpoint.jwt != stricter.jwt
    loose = [key for key in _loose(found, stricter, wanted) if key != EVERYTHING or not is_shown]
    return [f"route {key}: {found.routes[key]} -> {route(found, key, stricter)}" for key in loose]
