"""Requests that only AWS identities may send: the signature is the one that AWS computes, of the right scope."""

import hashlib
import hmac

import boto3
import pytest

import thampi
from tests.asking import server
from thampi.aws import signing
from thampi.errors import CloudError

SECRET = "a-secret"


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    """Credentials of the environment, and no others."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDTEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def scope(headers):
    return headers["Authorization"].split("Credential=")[1].split(",")[0].split("/", 2)[2]


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://a1.execute-api.eu-central-1.amazonaws.com/staging/m", "eu-central-1/execute-api/aws4_request"),
        ("https://a1.execute-api.cn-north-1.amazonaws.com.cn/staging/m", "cn-north-1/execute-api/aws4_request"),
        ("https://a1-vpce-1.execute-api.us-east-1.amazonaws.com/staging/m", "us-east-1/execute-api/aws4_request"),
        ("https://a1b2.lambda-url.eu-west-1.on.aws/m", "eu-west-1/lambda/aws4_request"),
        ("https://models.example.com/m", "sa-east-1/execute-api/aws4_request"),
    ],
)
def test_the_host_says_for_which_service_and_region(url, wanted, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    headers = signing.of_url(url, None)("POST", url, {"Content-Type": "application/json"}, b"{}")
    assert scope(headers) == wanted


def test_without_a_region_a_domain_of_ones_own_cannot_be_signed_for():
    with pytest.raises(CloudError, match="no AWS region"):
        signing.of_url("https://models.example.com/m", None)


def test_without_credentials_there_is_nothing_to_sign_with(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    sign = signing.of_url("https://a1.execute-api.eu-central-1.amazonaws.com/s/m", None)
    with pytest.raises(CloudError, match="no AWS credentials") as refused:
        sign("GET", "https://a1.execute-api.eu-central-1.amazonaws.com/s/m", {}, None)
    assert refused.value.hint == "run `aws configure`"


def test_a_profile_that_is_not_there_is_named():
    with pytest.raises(CloudError, match="profile gone does not exist"):
        signing.of_url("https://a1.execute-api.eu-central-1.amazonaws.com/s/m", "gone")


def test_a_session_token_is_sent_along(monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "for-an-hour")
    url = "https://a1.execute-api.eu-central-1.amazonaws.com/s/m"
    assert signing.of_url(url, None)("GET", url, {}, None)["X-Amz-Security-Token"] == "for-an-hour"


def test_the_service_of_a_session_is_the_one_that_is_said():
    sign = signing.with_session(boto3.Session(), signing.FUNCTION_URL, "eu-north-1")
    assert scope(sign("GET", "http://127.0.0.1:4566/m", {}, None)) == "eu-north-1/lambda/aws4_request"


def test_what_arrives_carries_the_signature_that_its_receiver_computes(monkeypatch):
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, done by hand."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with server.serving() as place, thampi.Client(place.url, sign=True, api_key="a-key") as client:
        assert client.predict({"input": "äöü"}) == {"input": "äöü"}
        client.about()
    bodies = ['{"data":{"input":"äöü"}}'.encode(), b""]
    for (method, path, headers), body in zip(place.requests, bodies, strict=True):
        said = dict(part.strip().split("=", 1) for part in headers["authorization"].split(" ", 1)[1].split(","))
        names = said["SignedHeaders"].split(";")
        assert {"host", "x-amz-date"} <= set(names) <= {"host", "x-amz-date", "content-type"}
        canonical = "\n".join(
            [method, path, "", *(f"{name}:{headers[name]}" for name in names), "", ";".join(names), _sha256(body)]
        )
        date = headers["x-amz-date"]
        of = [date[:8], "eu-west-3", "execute-api", "aws4_request"]
        to_sign = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(of), _sha256(canonical.encode())])
        key = f"AWS4{SECRET}".encode()
        for each in [*of, to_sign]:
            key = hmac.new(key, each.encode(), hashlib.sha256).digest()
        assert said["Signature"] == key.hex()
        assert said["Credential"] == "/".join(["AKIDTEST", *of])


def _sha256(text):
    return hashlib.sha256(text).hexdigest()
