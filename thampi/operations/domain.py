"""The custom domain of a stage: one of its paths leads to the endpoint.

The new address leads to the endpoint before an old one leads nowhere, and an address that stays is moved from an old
endpoint to a new one by one call: no request to it fails. A domain that is absent is made. One that thampi has made
goes with the last of its paths; one that somebody else has made is never changed but for the path of this stage.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from thampi.aws import addresses, certificates, domains
from thampi.aws.addresses import Target
from thampi.config import LOCAL, Domain, Stage
from thampi.errors import ConfigError
from thampi.operations import endpoint
from thampi.operations.place import Place

Say = Callable[[str], None]

# A moved address is not seen everywhere at once, and a request that still gets to the old endpoint should find it. AWS
# promises no time; this is some times what most changes of the gateway take.
_UNTIL_SEEN_S = 20.0


@dataclass(frozen=True)
class Shown:
    """An address of a stage as it is at AWS."""

    url: str  # where predictions are asked for
    target: str  # what its DNS record has to point at
    zone_id: str  # of Route 53, for an alias to the target
    certificate_arn: str
    status: str
    leads: bool  # to the endpoint of the stage


def url(stage: Stage, place: Place) -> str:
    """Return where predictions are asked for under the domain that the settings name; empty without one."""
    wanted = stage.api.domain
    return _url(stage, place, _address(wanted)) if wanted else ""


def examine(stage: Stage, place: Place, stand: endpoint.Stand) -> list[endpoint.Changes]:
    """Say what `ensure` would do. Raises ConfigError when the settings ask for what can't be, or is somebody else's.

    CloudError for a certificate that API Gateway wouldn't take.
    """
    wanted, targets = stage.api.domain, _targets(place, stand)
    rows: list[endpoint.Changes] = []
    if wanted is not None:
        found = _checked(stage, place, wanted, targets)
        rows += _examine_wanted(stage, place, wanted, found, stand)
    return rows + [_gone(each) for each in _left_over(wanted, targets)]


def ensure(
    stage: Stage, place: Place, standing: endpoint.Standing, others: Sequence[endpoint.Standing], *, say: Say
) -> list[endpoint.Changes]:
    """Let the address lead to the endpoint that stands, then no other address to it, or to `others`, which will go.

    Raises ConfigError as `examine` does, CloudError when AWS refuses.
    """
    stand, wanted = endpoint.Stand(standing, tuple(others)), stage.api.domain
    rows: list[endpoint.Changes] = []
    target = endpoint.target(place, standing)
    if wanted is not None and target is not None:
        found = _checked(stage, place, wanted, _targets(place, stand))
        target = addresses.note(place.aws, target, _address(wanted))
        made = domains.ensure(place.aws, found, _domain(wanted))
        led = domains.lead(place.aws, made.value, wanted.path, target.api)
        rows.append(("domain", wanted.name, made.action, made.changes))
        rows.append(("mapping", _address(wanted), led.action, led.changes))
        if led.action == "changed" and not _on_this_machine(stage, place):
            say(f"{_address(wanted)} leads to {standing.url}: in {_UNTIL_SEEN_S:.0f} s everything at AWS knows of it")
            place.aws.sleep(_UNTIL_SEEN_S)
        if "created" in (made.action, led.action):
            say(advice(stage, place, _address(wanted), made.value.target, made.value.zone_id))
    left = _left_over(wanted, _targets(place, stand))
    for each in _targets(place, stand):
        _leave(place, each, _left_over(wanted, [each]))
    if target is not None:
        addresses.erase(place.aws, target, [each for each in target.addresses if each in left])
    return rows + [_gone(each) for each in left]


def remove(stage: Stage, place: Place) -> list[str]:
    """Let no address lead to an endpoint of the stage any more; return those that did, or may have."""
    gone: list[str] = []
    for standing in endpoint.all_standing(stage, place):
        target = endpoint.target(place, standing)
        if target is not None:
            _leave(place, target, target.addresses)
            gone += target.addresses
    return list(dict.fromkeys(gone))


def show(stage: Stage, place: Place, standing: endpoint.Standing) -> Iterator[Shown]:
    """Yield the addresses that lead to an endpoint, or are to."""
    target = endpoint.target(place, standing)
    for address in target.addresses if target else ():
        name, path = addresses.split(address)
        found = domains.read(place.aws, name)
        if target is None or found is None:
            continue
        there = found.at(path)
        yield Shown(
            url=_url(stage, place, address),
            target=found.target,
            zone_id=found.zone_id,
            certificate_arn=found.domain.certificate_arn or "",
            status=found.status,
            leads=there is not None and there.api == target.api,
        )


def advice(stage: Stage, place: Place, address: str, target: str, zone_id: str) -> str:
    """Say how requests get to an address: thampi keeps no DNS records."""
    name, _ = addresses.split(address)
    if at := _on_this_machine(stage, place):
        asked = _url(stage, place, address).replace("/predict", "/ping")
        return f"{name} needs no DNS to be tried here: curl --resolve {name}:{at.port}:{at.hostname} {asked}"
    return (
        f"{name} answers when its DNS record points at {target}: a CNAME, or in Route 53 an alias (A) to it, in the "
        f"hosted zone {zone_id}; where {name} is itself the top of a zone, like example.com, only an alias will do"
    )


def _checked(stage: Stage, place: Place, wanted: Domain, targets: Sequence[Target]) -> domains.Found | None:
    """Read the domain; raise ConfigError when it can't lead to the stage's endpoint, or leads elsewhere.

    Raises CloudError for a certificate that can't be used.
    """
    _check_settings(stage, place, wanted)
    found = domains.read(place.aws, wanted.name)
    if found is None:
        certificates.check(place.aws, wanted.certificate_arn, wanted.name)
        return None
    there = found.at(wanted.path)
    ours = {target.api.id for target in targets}
    if there is not None and there.api.id not in ours:
        raise ConfigError(
            f"{_address(wanted)} leads to another API already, {there.api.id}, which is not one of stage {stage.stage} "
            f"of {stage.name}",
            hint=f"set another path in {_table(stage)}, or remove that mapping first",
        )
    if found.is_ours:
        if domains.changes(found.domain, _domain(wanted)):
            certificates.check(place.aws, wanted.certificate_arn, wanted.name)
        return found
    if reason := domains.unfit(found.domain):
        raise ConfigError(
            f"the domain {wanted.name} is there, was not made by thampi, and can't be used: {reason}",
            hint=f"change it where it was made, or set another name in {_table(stage)}",
        )
    if found.domain.certificate_arn != wanted.certificate_arn:
        raise ConfigError(
            f"the domain {wanted.name} is there with another certificate, and thampi changes no domain that it has "
            f"not made",
            hint=f'set certificate_arn = "{found.domain.certificate_arn}" in {_table(stage)}, or change it where the '
            "domain was made",
        )
    return found


def _check_settings(stage: Stage, place: Place, wanted: Domain) -> None:
    _, _, _, region, account, *_ = wanted.certificate_arn.split(":", 5)
    aws = place.aws
    if (region, account) != (aws.region, aws.account):
        raise ConfigError(
            f"the certificate of {wanted.name} is of account {account}, region {region}, and the stage of account "
            f"{aws.account}, region {aws.region}: API Gateway takes none from elsewhere",
            hint=f"have one issued there: aws acm request-certificate --region {aws.region} --validation-method DNS "
            f"--domain-name {wanted.name}",
        )
    if len(_address(wanted)) > addresses.LONGEST:
        raise ConfigError(
            f"{_table(stage)}: name and path are {len(_address(wanted))} letters long together, more than the "
            f"{addresses.LONGEST} that can be noted at an API",
            hint="set a shorter path",
        )


def _examine_wanted(
    stage: Stage, place: Place, wanted: Domain, found: domains.Found | None, stand: endpoint.Stand
) -> list[endpoint.Changes]:
    lines = domains.changes(found.domain, _domain(wanted)) if found else ()
    there = found.at(wanted.path) if found else None
    target = endpoint.target(place, stand.wanted) if stand.wanted else None
    moves = there is not None and (target is None or there.api != target.api)
    moved = f"API: {there.api.id if there else ''} -> {target.api.id if target else 'the new one'}"
    return [
        ("domain", wanted.name, "created" if found is None else "changed" if lines else "left", lines),
        ("mapping", _address(wanted), "created" if there is None else "changed" if moves else "left", (moved,) * moves),
    ]


def _leave(place: Place, target: Target, left: Sequence[str]) -> None:
    """Let these addresses no longer lead to the API; a domain of ours that leads nowhere then goes."""
    for address in left:
        name, path = addresses.split(address)
        found = domains.read(place.aws, name)
        if found is None:
            continue
        there = found.at(path)
        if there is not None and there.api.id == target.api.id:
            found = domains.leave(place.aws, found, there)
        domains.remove_unused(place.aws, found)


def _left_over(wanted: Domain | None, targets: Sequence[Target]) -> list[str]:
    """Return the addresses that are noted and not wanted."""
    keep = _address(wanted) if wanted else None
    noted = dict.fromkeys(address for target in targets for address in target.addresses)
    return [address for address in noted if address != keep]


def _targets(place: Place, stand: endpoint.Stand) -> list[Target]:
    every = [endpoint.target(place, each) for each in (stand.wanted, *stand.others) if each]
    return [target for target in every if target]


def _domain(wanted: Domain) -> domains.Domain:
    return domains.Domain(wanted.name, wanted.certificate_arn)


def _address(wanted: Domain) -> str:
    return domains.address(wanted.name, wanted.path)


def _url(stage: Stage, place: Place, address: str) -> str:
    if at := _on_this_machine(stage, place):
        name, path = addresses.split(address)
        return f"http://{domains.address(f'{name}:{at.port}', path)}/{stage.name}/predict"
    return f"https://{address}/{stage.name}/predict"


def _on_this_machine(stage: Stage, place: Place) -> SplitResult | None:
    """Return where what plays AWS answers, for the stage `local`: it takes the domain from the header Host."""
    return urlsplit(place.aws.endpoint_url) if stage.stage == LOCAL and place.aws.endpoint_url else None


def _table(stage: Stage) -> str:
    return f"stages.{stage.stage}.api.domain"


def _gone(address: str) -> endpoint.Changes:
    return ("old mapping", address, "changed", ("-> removed",))
