"""The endpoint of a stage, of whichever type it is: the only place that asks for the type.

Each type is a module of `thampi.aws` that can do what `Kind` says. A stage has one endpoint; one of another type that
stands beside it is from before the type was changed, and is removed when the new one has answered.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from thampi import config, names
from thampi.aws import access_log, cors, function_url, gateway, release
from thampi.aws.addresses import Target
from thampi.aws.ensured import Ensured
from thampi.aws.rest import api as rest_api
from thampi.aws.rest import mocks
from thampi.aws.rest.wanted import Cors, Limit, Plan, Rest
from thampi.aws.session import Aws
from thampi.config import Stage, endpoints
from thampi.errors import ConfigError
from thampi.operations import checked, example
from thampi.operations.place import Place

Changes = tuple[str, str, str, tuple[str, ...]]  # thing, name, action, changes


class Kind(Protocol):
    """What a type of endpoint can do.

    What is wanted of one is a frozen value that has at least `project`, `stage`, `auth`; what is found of it is one
    that has at least `endpoint`: the same as it is at AWS.
    """

    PERMISSION: str  # how the ids of those statements begin that let it call what is live

    def read(self, aws: Aws, project: str, stage: str) -> Any | None:
        """Return what is found of it."""

    def read_url(self, aws: Aws, project: str, stage: str) -> str | None:
        """Return its URL with as few calls as can be; None when there is none, or more than one."""

    def differences(self, found: Any, wanted: Any) -> tuple[str, ...]:
        """Say all that `ensure_allowed` would change of it."""

    def tighten(self, aws: Aws, found: Any, wanted: Any) -> Ensured[Any]:
        """Make it as strict as wanted, and nothing else."""

    def ensure_allowed(self, aws: Aws, wanted: Any) -> tuple[Ensured[Any], Ensured[str]]:
        """Make it so, and let it call what is live, in the order in which nobody is shut out and nothing left open."""

    def is_allowed(self, aws: Aws, found: Any, wanted: Any, callers: Sequence[str]) -> bool:
        """Say whether it may call what is live, by the ids that `release.callers` gives."""

    def remove(self, aws: Aws, project: str, stage: str) -> bool:
        """Delete it; say whether there was one."""

    def name(self, found: Any) -> str:
        """Return what people know it by."""

    def url(self, aws: Aws, found: Any) -> str:
        """Return where predictions are asked for."""

    def target(self, aws: Aws, found: Any) -> Target | None:
        """Return what a domain of one's own may lead to; None where none can."""


KINDS: Mapping[str, Kind] = {"http": gateway, "rest": rest_api, "url": function_url}
_SAID = {"http": "an HTTP API", "rest": "a REST API", "url": "a function URL"}


@dataclass(frozen=True)
class Standing:
    """An endpoint as it is at AWS."""

    type: str
    name: str
    url: str
    auth: str | None
    found: Any  # as its kind has found it


@dataclass(frozen=True)
class Stand:
    """All endpoints of a stage: the one of the type that is wanted, and those that are from before a change of it."""

    wanted: Standing | None
    others: tuple[Standing, ...] = ()

    @property
    def in_use(self) -> Standing | None:
        """Return the one that callers know: while the type changes the old one, which goes when the new one answers."""
        return next(iter(self.others), self.wanted)


def wanted(stage: Stage, place: Place, kind: str | None = None) -> Any:
    """Return the endpoint that the stage should have, as its kind wants it; of another `kind`, as strict as that."""
    kind, api = kind or stage.api.type, stage.api
    tags = {**stage.tags, **names.tags(stage.name, stage.stage)}
    target = release.arn(place.aws, names.function(stage.name, stage.stage))
    # Whom a type can't tell apart it lets in only when they sign, as long as it stands.
    auth = api.auth if endpoints.lets_in(kind, api.auth) else "iam"
    if kind == "url":
        return function_url.FunctionUrl(stage.name, stage.stage, auth, cors=_cors(api))
    if kind == "rest":
        return Rest(
            project=stage.name,
            stage=stage.stage,
            target=None if api.mock else target,
            auth=auth,
            limit=_limit(api.limit),
            routes={route: _limit(each) for route, each in api.routes.items() if not api.mock or route in mocks.ROUTES},
            plan=Plan(**asdict(api.plan)) if auth == "api_key" else None,
            cors=Cors(**asdict(api.cors)) if api.cors else None,
            validation=checked.schema(stage),
            mock=example.answer(stage) if api.mock else None,
            cache_ttl_s=None if api.mock else api.cache_ttl_s,  # nobody is spared anything then
            waf_acl_arn=api.waf_acl_arn,
            access_log_arn=access_log.destination(place.aws, stage.name, stage.stage) if api.access_log else None,
            tracing=api.tracing,
            tags=tags,
        )
    keys = gateway.route_keys(stage.name)
    written = gateway.AccessLog(access_log.destination(place.aws, stage.name, stage.stage), access_log.format_http())
    return gateway.Endpoint(
        project=stage.name,
        stage=stage.stage,
        target=target,
        auth=auth,
        rate_per_s=api.rate_per_s,
        burst=api.burst,
        tags=tags,
        jwt=_jwt(api) if auth == "jwt" else None,
        limits={keys[route]: gateway.Limit(limit.rate_per_s, limit.burst) for route, limit in api.routes.items()},
        cors=_cors(api),
        access_log=written if api.access_log else None,
    )


def _jwt(api: config.Api) -> gateway.Jwt:
    assert api.jwt is not None  # the settings are refused without it
    return gateway.Jwt(api.jwt.issuer, tuple(sorted({*api.jwt.audience})), tuple(sorted({*api.jwt.scopes})))


def _cors(api: config.Api) -> cors.Cors | None:
    return cors.make(**vars(api.cors)) if api.cors else None


def read(stage: Stage, place: Place, *, is_laid: bool = False) -> Stand:
    """Read every endpoint of the stage, of whatever type.

    Where all around the function was laid by these settings (see `ground`), none of another type was left.
    """
    others = []
    for kind in () if is_laid else KINDS:
        # Where a type is not to be had, none of it is left over.
        with contextlib.suppress(function_url.NotOfferedError):
            others += [_read(stage, place, kind)] if kind != stage.api.type else []
    return Stand(_read(stage, place, stage.api.type), tuple(each for each in others if each))


def read_url(stage: Stage, place: Place) -> str:
    """Return the URL of the endpoint of the wanted type with as few calls as can be; empty when it isn't clear."""
    return KINDS[stage.api.type].read_url(place.aws, stage.name, stage.stage) or ""


def check_replaced(stage: Stage, place: Place, stand: Stand, *, replacing: bool) -> None:
    """Raise ConfigError when a change of the type would take a URL from its callers, and nobody has said it may."""
    if not stand.others or replacing:
        return
    old = stand.others[0]
    new = stand.wanted.url if stand.wanted else f"the URL of {_SAID[stage.api.type]}, which AWS will choose"
    raise ConfigError(
        f'stages.{stage.stage}.api.type is "{stage.api.type}", and what callers know is {_SAID[old.type]}: {old.url} '
        f"would go, and {new} take its place",
        hint=f'thampi push {stage.stage} --replace-endpoint does it, the old one last; type = "{old.type}" keeps it',
    )


def check(stage: Stage, place: Place, stand: Stand) -> None:
    """Raise what would stop `ensure` halfway, before anything is made; asks only for what is to be changed."""
    if stage.api.type == "rest":
        rest_api.check(place.aws, stand.wanted.found if stand.wanted else None, wanted(stage, place))


def all_standing(stage: Stage, place: Place) -> list[Standing]:
    """Read every endpoint of the stage, also where the wanted type is not to be had."""
    found = []
    for kind in KINDS:
        with contextlib.suppress(function_url.NotOfferedError):
            found.append(_read(stage, place, kind))
    return [each for each in found if each]


def target(place: Place, standing: Standing) -> Target | None:
    """Return what a domain of one's own may lead to; None where none can."""
    return KINDS[standing.type].target(place.aws, standing.found)


def examine(stage: Stage, place: Place, stand: Stand, callers: Sequence[str]) -> list[Changes]:
    """Say what `ensure` would do; `callers` are the ids of the permissions of what is live."""
    kind, aim = KINDS[stage.api.type], wanted(stage, place)
    gone = [_removed(each) for each in stand.others]
    gone += [_taken_back(each) for each in stale(stage, stand.others, callers)]
    if stand.wanted is None:
        return [("endpoint", names.api(stage.name, stage.stage), "created", ()), *gone]
    lines = kind.differences(stand.wanted.found, aim)
    allowed = kind.is_allowed(place.aws, stand.wanted.found, aim, callers)
    return [
        ("endpoint", stand.wanted.name, "changed" if lines else "left", lines),
        ("permission", kind.PERMISSION, "left" if allowed else "created", ()),
        *gone,
    ]


def tighten(stage: Stage, place: Place) -> tuple[str, ...]:
    """Make what stands as strict as wanted, and nothing else; say what was changed.

    Before the release goes live that counts on it. Also those that will be removed: they are called till then.
    """
    stand = read(stage, place)
    lines: list[str] = []
    for each in (stand.wanted, *stand.others):
        if each is not None:
            aim = wanted(stage, place, each.type)
            whose = "" if each is stand.wanted else f"{_SAID[each.type]}, which goes: "
            lines += [f"{whose}{line}" for line in KINDS[each.type].tighten(place.aws, each.found, aim).changes]
    return tuple(lines)


def with_tightened(rows: Sequence[Changes], tightened: tuple[str, ...]) -> list[Changes]:
    """Tell what `tighten` has changed as a change of the endpoint, which it is; it comes first of the rows."""
    (thing, name, action, changes), *rest = rows
    return [(thing, name, "changed" if tightened and action == "left" else action, (*tightened, *changes)), *rest]


def answers_itself(standing: Standing | None) -> bool:
    """Say whether it answers with an example, and no release."""
    return standing is not None and standing.type == "rest" and standing.found.tree.answers_itself


def uncheck(stage: Stage, place: Place) -> None:
    """Have a REST API check no bodies, unless it does so by the schema that is wanted."""
    found = rest_api.read(place.aws, stage.name, stage.stage)
    if found is not None:
        rest_api.uncheck(place.aws, found, wanted(stage, place, "rest"))


def check_bodies(stage: Stage, place: Place) -> None:
    """Have a REST API check bodies by the schema that is wanted, if there is one, and change nothing else of it."""
    schema = checked.schema(stage)
    found = rest_api.read(place.aws, stage.name, stage.stage) if schema else None
    if found is not None and schema:
        rest_api.check_bodies(place.aws, found, schema)


def ensure(stage: Stage, place: Place) -> tuple[Standing, list[Changes]]:
    """Make the endpoint of the wanted type so, and let it call what is live; those of other types stay."""
    kind = KINDS[stage.api.type]
    made, permission = kind.ensure_allowed(place.aws, wanted(stage, place))
    standing = _standing(place, stage.api.type, made.value)
    return standing, [
        ("endpoint", standing.name, made.action, made.changes),
        ("permission", permission.value, permission.action, ()),
    ]


def stale(stage: Stage, others: Sequence[Standing], callers: Sequence[str]) -> tuple[str, ...]:
    """Name the permissions of endpoints that are gone, by a run that ended before it had taken them back."""
    alive = {stage.api.type, *(each.type for each in others)}
    gone = [kind.PERMISSION for name, kind in KINDS.items() if name not in alive]
    return tuple(each for each in gone if any(sid.startswith(each) for sid in callers))


def take_back(stage: Stage, place: Place, permissions: Sequence[str]) -> list[Changes]:
    """Remove what `stale` has named."""
    for each in permissions:
        release.disallow(place.aws, names.function(stage.name, stage.stage), each)
    return [_taken_back(each) for each in permissions]


def remove_others(stage: Stage, place: Place, others: Sequence[Standing]) -> list[Changes]:
    """Remove endpoints of other types than the wanted one, each with its permission after it."""
    rows = []
    for each in others:
        KINDS[each.type].remove(place.aws, stage.name, stage.stage)
        release.disallow(place.aws, names.function(stage.name, stage.stage), KINDS[each.type].PERMISSION)
        rows.append(_removed(each))
    return rows


def remove(stage: Stage, place: Place) -> bool:
    """Delete every endpoint of the stage; say whether there was one."""
    gone = False
    for kind in KINDS.values():
        with contextlib.suppress(function_url.NotOfferedError):
            gone = kind.remove(place.aws, stage.name, stage.stage) or gone
    return gone


def _limit(limit: config.Limit) -> Limit:
    return Limit(limit.rate_per_s, limit.burst)


def _read(stage: Stage, place: Place, kind: str) -> Standing | None:
    found = KINDS[kind].read(place.aws, stage.name, stage.stage)
    return _standing(place, kind, found) if found else None


def _standing(place: Place, kind: str, found: Any) -> Standing:
    return Standing(kind, KINDS[kind].name(found), KINDS[kind].url(place.aws, found), found.endpoint.auth, found)


def _taken_back(permission: str) -> Changes:
    return ("old permission", permission, "changed", ("-> removed",))


def _removed(old: Standing) -> Changes:
    return ("old endpoint", old.name, "changed", (f"{old.url} -> removed",))
