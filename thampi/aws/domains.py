"""A domain of one's own in front of an API: the domain, and which of its paths leads to which API.

A domain may serve several stages and projects by its paths, so it carries a tag of its own that says whether thampi has
made it. Mappings have no tags: which of them are a stage's is noted at the API that they lead to (`notes`).

Calls of API Gateway's version 2 for both kinds of API: a Regional domain, and a mapping in it, may lead to REST APIs as
well, and one call leads it from one kind to the other.
https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mappings.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from thampi import names
from thampi.aws import owned
from thampi.aws.ensured import Ensured
from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError

_REGIONAL = "REGIONAL"
_TLS = "TLS_1_2"  # the only one that HTTP APIs take
_BY_MAPPINGS = "API_MAPPING_ONLY"
_ABSENT = "NotFoundException"
_TAKEN = "ConflictException"

# One CreateDomainName, UpdateDomainName and DeleteDomainName each are let through in 30 s, and a domain that is being
# changed refuses another change. https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_PAUSES_S = (5.0, 10.0, 20.0)


@dataclass(frozen=True)
class Api:
    """An API as a mapping knows it."""

    id: str
    stage: str  # its stage, which has the name of ours


@dataclass(frozen=True)
class Domain:
    """A domain, as wanted and as read alike."""

    name: str
    certificate_arn: str | None
    endpoint_type: str | None = _REGIONAL
    security_policy: str | None = _TLS
    routing: str | None = _BY_MAPPINGS


@dataclass(frozen=True)
class Mapped:
    """One path of a domain, and the API that it leads to."""

    id: str
    path: str  # empty: all that no other path takes
    api: Api


@dataclass(frozen=True)
class Found:
    """A domain as it is at AWS, what only AWS knows of it, and its mappings."""

    domain: Domain
    target: str  # the name that a DNS record of the domain has to point at
    zone_id: str  # of Route 53, for an alias to the target
    status: str  # AVAILABLE, UPDATING, …
    tags: Mapping[str, str]
    mapped: tuple[Mapped, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Say whether thampi has made it."""
        return not owned.changes(self.tags, names.domain_tags())

    def at(self, path: str) -> Mapped | None:
        """Return where a path leads."""
        return next((each for each in self.mapped if each.path == path), None)


def read(aws: Aws, name: str) -> Found | None:
    """Find a domain of this account and region, and its mappings."""
    with doing(f"reading the domain {name}"), absent_is_fine(_ABSENT):
        said = aws.client("apigatewayv2").get_domain_name(DomainName=name)
        return replace(_found(said), mapped=_mapped(aws, name))
    return None


def changes(found: Domain, wanted: Domain) -> tuple[str, ...]:
    """Say what would have to change, a line each: the certificate is all that is ever changed."""
    if found.certificate_arn == wanted.certificate_arn:
        return ()
    return (f"certificate_arn: {found.certificate_arn or 'none'} -> {wanted.certificate_arn}",)


def unfit(found: Domain) -> str | None:
    """Say why a domain that somebody else has made can't lead to an API of ours; None when it can.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-mappings.html
    """
    if found.endpoint_type != _REGIONAL:
        return f"its endpoint type is {found.endpoint_type}, and only a {_REGIONAL} one takes every kind of API"
    if found.security_policy == "TLS_1_0":
        return f"its security policy is {found.security_policy}, and APIs want {_TLS}"
    if found.routing == "ROUTING_RULE_ONLY":
        return "it routes by rules only, and no path of it is asked for"
    return None


def ensure(aws: Aws, found: Found | None, wanted: Domain) -> Ensured[Found]:
    """Make the domain so, from how it was found; one that isn't ours is left as it is.

    Raises CloudError when AWS refuses, as it does a certificate that can't be used.
    """
    if found is None:
        return _create(aws, wanted)
    lines = changes(found.domain, wanted)
    if not lines or not found.is_ours:
        return Ensured(found, "left")
    with doing(f"changing the domain {wanted.name}"):
        said = _refused(wanted, lambda: _patiently(aws, lambda: _update(aws, wanted)))
    return Ensured(replace(_found(said), mapped=found.mapped, tags=found.tags), "changed", lines)


def lead(aws: Aws, found: Found, path: str, api: Api) -> Ensured[Mapped]:
    """Let a path of the domain lead to the API; where it led to another one, it is moved by one call."""
    name, there = found.domain.name, found.at(path)
    if there is not None and there.api == api:
        return Ensured(there, "left")
    with doing(f"leading {address(name, path)} to the API {api.id}"):
        if there is None:
            return Ensured(_lead(aws, name, path, api), "created")
        aws.client("apigatewayv2").update_api_mapping(
            DomainName=name, ApiMappingId=there.id, ApiId=api.id, Stage=api.stage
        )
    return Ensured(replace(there, api=api), "changed", (f"API: {there.api.id} -> {api.id}",))


def leave(aws: Aws, found: Found, there: Mapped) -> Found:
    """Let a path of the domain lead nowhere."""
    name = found.domain.name
    with doing(f"removing the mapping {address(name, there.path)}"), absent_is_fine(_ABSENT):
        aws.client("apigatewayv2").delete_api_mapping(DomainName=name, ApiMappingId=there.id)
    return replace(found, mapped=tuple(each for each in found.mapped if each != there))


def remove_unused(aws: Aws, found: Found) -> bool:
    """Delete a domain of ours that leads nowhere any more; say whether it was deleted."""
    if not found.is_ours or found.mapped:
        return False
    name = found.domain.name

    def delete() -> bool:
        # Other stages share it, and may have found it in the meantime: what it leads to is looked at right before.
        now = read(aws, name)
        if now is None or now.mapped:
            return now is None
        aws.client("apigatewayv2").delete_domain_name(DomainName=name)
        return True

    with doing(f"deleting the domain {name}"), absent_is_fine(_ABSENT):
        return bool(_patiently(aws, delete))
    return True


def address(name: str, path: str) -> str:
    """Return a path of a domain as people write it."""
    return f"{name}/{path}" if path else name


def _found(said: Mapping[str, Any]) -> Found:
    configuration: Mapping[str, Any] = next(iter(said.get("DomainNameConfigurations", ())), {})
    domain = Domain(
        name=said["DomainName"],
        certificate_arn=configuration.get("CertificateArn"),
        endpoint_type=configuration.get("EndpointType", _REGIONAL),
        security_policy=configuration.get("SecurityPolicy", _TLS),
        routing=said.get("RoutingMode", _BY_MAPPINGS),
    )
    return Found(
        domain=domain,
        target=configuration.get("ApiGatewayDomainName", ""),
        zone_id=configuration.get("HostedZoneId", ""),
        status=configuration.get("DomainNameStatus", ""),
        tags=said.get("Tags", {}),
    )


def _mapped(aws: Aws, name: str) -> tuple[Mapped, ...]:
    found: list[Mapped] = []
    token: dict[str, str] = {}
    while True:  # botocore has no paginator for it
        page = aws.client("apigatewayv2").get_api_mappings(DomainName=name, **token)
        for each in page.get("Items", ()):
            path = each.get("ApiMappingKey", "")
            api = Api(each["ApiId"], each["Stage"])
            found.append(Mapped(each["ApiMappingId"], "" if path == "(none)" else path, api))
        if not page.get("NextToken"):
            return tuple(found)
        token = {"NextToken": page["NextToken"]}


def _create(aws: Aws, wanted: Domain) -> Ensured[Found]:
    def create() -> Any:
        return aws.client("apigatewayv2").create_domain_name(
            DomainName=wanted.name, DomainNameConfigurations=_configurations(wanted), Tags=names.domain_tags()
        )

    with doing(f"making the domain {wanted.name}"):
        try:
            return Ensured(_found(_refused(wanted, lambda: _patiently(aws, create, passing=()))), "created")
        except ClientError as error:
            if code_of(error) != _TAKEN:
                raise
            refusal = error
    # The answer to our own call may have been lost, or another push of the domain was faster.
    found = read(aws, wanted.name)
    if found is not None:
        return Ensured(found, "created")
    raise CloudError(
        f"the domain {wanted.name} is taken: {refusal.response.get('Error', {}).get('Message', '')}",
        hint=f"another account has it in {aws.region}, or another kind of endpoint: remove it there, or use another "
        "name in api.domain",
    ) from refusal


def _update(aws: Aws, wanted: Domain) -> Any:
    return aws.client("apigatewayv2").update_domain_name(
        DomainName=wanted.name, DomainNameConfigurations=_configurations(wanted)
    )


def _lead(aws: Aws, name: str, path: str, api: Api) -> Mapped:
    key = {"ApiMappingKey": path} if path else {}
    try:
        made = aws.client("apigatewayv2").create_api_mapping(DomainName=name, ApiId=api.id, Stage=api.stage, **key)
    except ClientError as error:
        # The answer to our own call may have been lost, and the SDK have repeated it.
        there = next((each for each in _mapped(aws, name) if each.path == path), None)
        if code_of(error) != _TAKEN or there is None or there.api != api:
            raise
        return there
    return Mapped(made["ApiMappingId"], path, api)


def _configurations(wanted: Domain) -> list[dict[str, Any]]:
    return [
        {
            "CertificateArn": wanted.certificate_arn,
            "EndpointType": wanted.endpoint_type,
            "SecurityPolicy": wanted.security_policy,
        }
    ]


def _refused(wanted: Domain, call: Callable[[], Any]) -> Any:
    """Make the call, and say what to do about a certificate that AWS doesn't take."""
    try:
        return call()
    except ClientError as error:
        message = str(error.response.get("Error", {}).get("Message", ""))
        if code_of(error) != "BadRequestException" or "certificate" not in message.lower():
            raise
        raise CloudError(
            f"AWS does not take the certificate for {wanted.name}: {message}",
            hint=f"`aws acm describe-certificate --certificate-arn {wanted.certificate_arn}` shows it: it must be "
            f"ISSUED, and one of its names {wanted.name} or {_wildcard(wanted.name)}; then run the same command again",
        ) from error


def _wildcard(name: str) -> str:
    return f"*.{name.partition('.')[2]}"


def _patiently(aws: Aws, call: Callable[[], Any], passing: tuple[str, ...] = (_TAKEN,)) -> Any:
    """Make the call, again and again while AWS wants a pause before it."""
    for pause in _PAUSES_S:
        try:
            return call()
        except ClientError as error:
            if code_of(error) not in ("TooManyRequestsException", *passing):
                raise
        aws.sleep(pause)
    return call()
