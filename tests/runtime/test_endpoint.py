"""Where buckets are, beside where botocore looks for them."""

import boto3
import pytest
from botocore.config import Config

from thampi.errors import BundleError
from thampi.runtime import endpoint

REGIONS = [
    *("us-east-1", "eu-central-1", "ap-southeast-5", "il-central-1", "us-gov-west-1", "cn-north-1"),
    *("us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"),
]


VARIANTS = [
    *((region, ()) for region in REGIONS),
    *((region, ("DUALSTACK",)) for region in REGIONS if region not in ("eu-isoe-west-1", "us-isof-south-1")),
    *((region, ("FIPS",)) for region in REGIONS if region != "cn-north-1"),
    *((region, ("FIPS", "DUALSTACK")) for region in ("us-east-1", "ca-central-1", "us-gov-west-1")),
]


@pytest.mark.parametrize(("region", "variables"), VARIANTS)
@pytest.mark.parametrize("bucket", ["thampi-store", "0ab", "with.dots"])
def test_a_bucket_is_where_botocore_finds_it(region, bucket, variables):
    environ = {f"AWS_USE_{name}_ENDPOINT": "true" for name in variables}
    client = boto3.client(
        "s3",
        region_name=region,
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=Config(
            use_fips_endpoint="FIPS" in variables,
            use_dualstack_endpoint="DUALSTACK" in variables,
            s3={"us_east_1_regional_endpoint": "regional"},
        ),
    )
    asked = []
    client.meta.events.register("before-send.s3", lambda request, **_: asked.append(request.url) or _Nothing())
    client.get_object(Bucket=bucket, Key="models/a")
    place = endpoint.of(bucket, region, environ)
    assert asked == [f"https://{place.authority}{place.path}models/a"]
    assert place.region == region


class _Nothing:
    status_code, headers, content, text = 200, {}, b"", ""
    raw = None


@pytest.mark.parametrize(
    ("url", "authority", "path", "port", "tls"),
    [
        ("http://127.0.0.1:4566", "127.0.0.1:4566", "/store/", 4566, False),
        ("http://minio", "minio", "/store/", 80, False),
        ("https://minio:443/", "minio", "/store/", 443, True),
        ("https://proxy.example/s3/", "proxy.example", "/s3/store/", 443, True),
        ("http://[::1]:9000", "[::1]:9000", "/store/", 9000, False),
    ],
)
def test_another_endpoint_names_the_bucket_in_the_path(url, authority, path, port, tls):
    place = endpoint.of("store", "eu-central-1", {"AWS_ENDPOINT_URL": url})
    assert (place.authority, place.path, place.port, place.tls, place.custom) == (authority, path, port, tls, True)


def test_the_endpoint_of_s3_goes_before_that_of_all_services():
    environ = {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_S3": "http://s3:2"}
    assert endpoint.of("b", "r", environ).authority == "s3:2"
    assert not endpoint.of("b", "r", environ | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}).custom


@pytest.mark.parametrize("url", ["localhost:4566", "ftp://x", "http://", "http://x:port", "nonsense"])
def test_an_endpoint_that_is_none_is_refused(url):
    with pytest.raises(BundleError, match="no endpoint of S3") as raised:
        endpoint.of("b", "r", {"AWS_ENDPOINT_URL_S3": url})
    assert "AWS_ENDPOINT_URL_S3" in raised.value.hint
