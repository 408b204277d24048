"""The certificate of a domain, as ACM knows it: whether API Gateway will take it is asked before anything is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from thampi.aws.session import Aws, absent_is_fine, code_of, doing
from thampi.errors import CloudError

_ISSUED = "ISSUED"
_PENDING = "PENDING_VALIDATION"
_DENIED = ("AccessDeniedException", "AccessDenied")


@dataclass(frozen=True)
class Certificate:
    """A certificate of ACM."""

    arn: str
    status: str  # ISSUED, PENDING_VALIDATION, EXPIRED, …
    names: tuple[str, ...]  # that it is for; *.example.com among them is each name of one level below
    records: tuple[tuple[str, str], ...] = ()  # CNAMEs that ACM waits to see in DNS: name and value


def read(aws: Aws, arn: str) -> Certificate | None:
    """Find a certificate. Raises CloudError when AWS refuses."""
    with doing(f"reading the certificate {arn}"), absent_is_fine("ResourceNotFoundException"):
        return _found(aws.client("acm").describe_certificate(CertificateArn=arn)["Certificate"])
    return None


def check(aws: Aws, arn: str, name: str) -> None:
    """Raise CloudError unless the certificate can be that of a domain of this name.

    Who may not ask ACM is told by API Gateway, when it is asked to make the domain.
    """
    try:
        found = read(aws, arn)
    except CloudError as refused:
        if isinstance(refused.__cause__, ClientError) and code_of(refused.__cause__) in _DENIED:
            return
        raise
    new = f"aws acm request-certificate --region {aws.region} --validation-method DNS --domain-name {name}"
    if found is None:
        raise CloudError(
            f"there is no certificate {arn}", hint=f"aws acm list-certificates --region {aws.region}; a new one: {new}"
        )
    if found.status == _PENDING:
        raise CloudError(
            f"the certificate of {name} was not issued yet: {_waits_for(found)}", hint=_how_to_issue(found)
        )
    if found.status != _ISSUED:
        raise CloudError(f"the certificate of {name} can't be used: ACM says that it is {found.status}", hint=new)
    if not covers(found, name):
        raise CloudError(
            f"the certificate is not for {name}, but for {', '.join(found.names)}",
            hint=f"{new}; one for *.example.com is for a.example.com, and neither for example.com nor a.b.example.com",
        )


def covers(certificate: Certificate, name: str) -> bool:
    """Say whether browsers take the certificate for that of a domain of this name."""
    _, _, above = name.partition(".")
    return name in certificate.names or f"*.{above}" in certificate.names


def _found(said: Mapping[str, Any]) -> Certificate:
    options = said.get("DomainValidationOptions", ())
    waiting = [each["ResourceRecord"] for each in options if each.get("ResourceRecord") and not _is_valid(each)]
    return Certificate(
        arn=said["CertificateArn"],
        status=said["Status"],
        names=tuple(dict.fromkeys([said["DomainName"], *said.get("SubjectAlternativeNames", ())])),
        # One record may be for several names, like example.com and *.example.com.
        records=tuple(dict.fromkeys((each["Name"], each["Value"]) for each in waiting)),
    )


def _is_valid(option: Mapping[str, Any]) -> bool:
    return option.get("ValidationStatus") == "SUCCESS"


def _waits_for(certificate: Certificate) -> str:
    records = "; ".join(f"{name} CNAME {value}" for name, value in certificate.records)
    return f"ACM waits to see in DNS {records}" if records else "ACM waits for who owns the domain to say so"


def _how_to_issue(certificate: Certificate) -> str:
    if certificate.records:
        return "set that record where the DNS of the domain is kept; ACM sees it in some minutes: then push again"
    return "ACM has written an e-mail to the owner of the domain, or makes the record up: push again in some minutes"
