"""Where a bucket answers: the host, the path and the region that a request for it is signed for."""

from collections.abc import Mapping
from dataclasses import dataclass

from thampi.errors import BundleError

# The first that fits; https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json
_DOMAINS = (
    ("cn-", "amazonaws.com.cn"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("eusc-", "amazonaws.eu"),
    ("", "amazonaws.com"),
)


@dataclass(frozen=True)
class Endpoint:
    """A bucket's place on the network."""

    tls: bool
    host: str  # to connect to
    port: int
    path: str  # before the key: "/", or "/bucket/" where the host doesn't name the bucket
    region: str
    custom: bool  # somebody else's S3: its region says nothing about its host

    @property
    def authority(self) -> str:
        """Return what the Host header says: the port only where it isn't the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def of(bucket: str, region: str, environ: Mapping[str, str]) -> Endpoint:
    """Return where the bucket answers; `environ` may name another endpoint, or FIPS or dual-stack ones."""
    url = "" if _on(environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") else _custom(environ)
    if url:
        return _at(url, bucket, region)
    words = ["s3-fips" if _on(environ, "AWS_USE_FIPS_ENDPOINT") else "s3"]
    if _on(environ, "AWS_USE_DUALSTACK_ENDPOINT"):
        words.append("dualstack")
    words += [region, next(domain for start, domain in _DOMAINS if region.startswith(start))]
    if _fits_a_host_name(bucket):
        return Endpoint(True, ".".join([bucket, *words]), 443, "/", region, custom=False)
    return Endpoint(True, ".".join(words), 443, f"/{bucket}/", region, custom=False)


def _custom(environ: Mapping[str, str]) -> str:
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or ""


def _on(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").lower() == "true"


def _at(url: str, bucket: str, region: str) -> Endpoint:
    """Return the endpoint at a URL; what plays S3 elsewhere knows no bucket as host name."""
    from urllib.parse import urlsplit  # where no endpoint is set, nobody needs it

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BundleError(f"{url!r} is no endpoint of S3", hint="set AWS_ENDPOINT_URL_S3 to one like http://host:9000")
    tls = parts.scheme == "https"
    path = f"{parts.path.rstrip('/')}/{bucket}/"
    return Endpoint(tls, parts.hostname, port or (443 if tls else 80), path, region, custom=True)


def _fits_a_host_name(bucket: str) -> bool:
    """Say whether TLS can vouch for the bucket's own host: a wildcard stands for one label, so a dot is too many."""
    plain = bucket.replace("-", "a")
    return 3 <= len(bucket) <= 63 and plain.isascii() and plain.isalnum() and bucket == bucket.lower().strip("-")
