"""Signatures, beside those that botocore makes."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thampi.runtime import endpoint, signing
from thampi.runtime.credentials import Credentials

from .s3_server import signature

KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=80)
WORDS = st.text(st.sampled_from("abcXYZ019/+="), min_size=1, max_size=40)


def agree(path: str, host: str, headers: dict[str, str], credentials: Credentials, region: str, now: float) -> None:
    from botocore.credentials import Credentials as Known

    sent = signing.signed(host, path, headers, credentials, region, now)
    known = Known(credentials.access_key, credentials.secret_key, credentials.token or None)
    assert sent["authorization"].rpartition("=")[2] == signature(path, sent, known)
    for name in (*headers, "host", "x-amz-date", "x-amz-content-sha256"):
        assert name in sent["authorization"]


@settings(deadline=None, max_examples=300)
@given(
    KEYS,
    st.from_regex("[A-Z0-9]{16,20}", fullmatch=True),
    WORDS,
    st.one_of(st.just(""), WORDS),
    st.integers(0, 2**40),
    st.integers(0, 4 * 10**9),
)
def test_what_is_signed_is_what_botocore_signs(key, access_key, secret_key, token, begin, now):
    headers = {"range": f"bytes={begin}-{begin + 5}", "if-match": '"0123-7"'}
    path = signing.quote(f"/bucket/{key}")
    agree(path, "s3.eu-central-1.amazonaws.com", headers, Credentials(access_key, secret_key, token), "eu-west-1", now)


@pytest.mark.parametrize("bucket", ["plain", "with.dots", "Upper_Case"])
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9000", "https://minio.example:8443/s3", "http://[::1]:80"])
def test_each_kind_of_address_is_signed_as_botocore_does(bucket, url):
    place = endpoint.of(bucket, "us-gov-west-1", {"AWS_ENDPOINT_URL": url})
    path = signing.quote(place.path + "models/a b")
    agree(path, place.authority, {}, Credentials("A", "B"), place.region, time.time())


def test_the_example_of_the_manual_comes_out():
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "GET Object"."""
    credentials = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    sent = signing.signed(
        "examplebucket.s3.amazonaws.com", "/test.txt", {"range": "bytes=0-9"}, credentials, "us-east-1", 1369353600
    )
    wanted = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    assert sent["authorization"].endswith(f"Signature={wanted}")
    assert sent["x-amz-date"] == "20130524T000000Z"


@settings(max_examples=200)
@given(st.text(st.characters(codec="utf-8")))
def test_a_path_is_encoded_as_botocore_encodes_it(path):
    from botocore.utils import percent_encode

    assert signing.quote(path) == percent_encode(path, safe="/-_.~")


def test_credentials_are_in_no_repr():
    assert repr(Credentials("AKID", "secret", "token", 5.0)) == "Credentials(expires=5.0)"
