"""What is wrong with a certificate is said with what makes it right."""

import pytest
from moto.acm.models import acm_backends

from thampi.aws import certificates
from thampi.aws.certificates import Certificate
from thampi.errors import CloudError

NAME = "models.example.com"


def requested(aws, name=NAME, status="ISSUED", others=()):
    more = {"SubjectAlternativeNames": list(others)} if others else {}
    arn = aws.client("acm").request_certificate(DomainName=name, ValidationMethod="DNS", **more)["CertificateArn"]
    acm_backends["123456789012"]["eu-central-1"]._certificates[arn].status = status
    return arn


def refused(aws, arn, name=NAME):
    with pytest.raises(CloudError) as no:
        certificates.check(aws, arn, name)
    return no.value


def test_one_that_is_issued_for_the_domain_is_fine(aws, calls):
    arn = requested(aws)
    calls.clear()
    certificates.check(aws, arn, NAME)
    assert calls == ["DescribeCertificate"]
    found = certificates.read(aws, arn)
    assert (found.arn, found.status, found.names) == (arn, "ISSUED", (NAME,))
    assert found.records == ()


@pytest.mark.parametrize(
    ("name", "is_covered"),
    [
        ("example.com", True),
        ("models.example.com", True),
        ("www.models.example.com", False),
        ("ml.example.org", True),
        ("example.org", False),
        ("models.example.community", False),
    ],
)
def test_a_wildcard_is_for_one_level_and_not_for_what_is_above(aws, name, is_covered):
    certificate = Certificate("arn", "ISSUED", ("example.com", "*.example.com", "*.example.org"))
    assert certificates.covers(certificate, name) is is_covered


def test_one_for_other_names_is_refused_with_what_a_wildcard_is_for(aws):
    arn = requested(aws, "example.com", others=["*.example.com"])
    certificates.check(aws, arn, NAME)
    no = refused(aws, arn, "a.b.example.com")
    assert no.message == "the certificate is not for a.b.example.com, but for example.com, *.example.com"
    assert "request-certificate --region eu-central-1 --validation-method DNS --domain-name a.b.example.com" in no.hint


def test_one_that_waits_for_its_record_says_the_record(aws):
    arn = requested(aws, status="PENDING_VALIDATION")
    (option,) = aws.client("acm").describe_certificate(CertificateArn=arn)["Certificate"]["DomainValidationOptions"]
    record = option["ResourceRecord"]
    no = refused(aws, arn)
    assert f"was not issued yet: ACM waits to see in DNS {record['Name']} CNAME {record['Value']}" in no.message
    assert "set that record" in no.hint
    assert "push again" in no.hint


def test_one_that_waits_for_somebody_says_so(aws, monkeypatch):
    said = {"CertificateArn": "arn", "Status": "PENDING_VALIDATION", "DomainName": NAME}
    option = {"DomainName": NAME, "ValidationMethod": "EMAIL", "ValidationStatus": "PENDING_VALIDATION"}
    client = aws.client("acm")
    answer = {"Certificate": {**said, "DomainValidationOptions": [option]}}
    monkeypatch.setattr(client, "describe_certificate", lambda **_: answer)
    no = refused(aws, "arn")
    assert "waits for who owns the domain" in no.message
    assert "e-mail" in no.hint


@pytest.mark.parametrize("status", ["EXPIRED", "REVOKED", "FAILED", "VALIDATION_TIMED_OUT"])
def test_one_that_can_not_be_used_any_more_is_refused_with_how_to_get_another(aws, status):
    no = refused(aws, requested(aws, status=status))
    assert status in no.message
    assert "aws acm request-certificate" in no.hint


def test_one_that_is_not_there_is_said_so(aws):
    arn = "arn:aws:acm:eu-central-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
    no = refused(aws, arn)
    assert no.message == f"there is no certificate {arn}"
    assert "aws acm list-certificates --region eu-central-1" in no.hint


def test_who_may_not_ask_is_not_kept_from_pushing(aws, meddler):
    meddler.refuse("DescribeCertificate", "AccessDeniedException", 400)
    certificates.check(aws, "arn:aws:acm:eu-central-1:123456789012:certificate/1", NAME)
    meddler.refuse("DescribeCertificate", "ThrottlingException", 400)
    with pytest.raises(CloudError, match="again and again"):
        certificates.check(aws, "arn:aws:acm:eu-central-1:123456789012:certificate/1", NAME)
