"""Signature version 4, by which S3 knows who asks: a request without a body or a query, signed.

The steps are those of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping

from thampi.runtime.credentials import Credentials

_NO_BODY = hashlib.sha256(b"").hexdigest()
_AS_THEY_ARE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~/")


def quote(path: str) -> str:
    """Return a path as S3 wants it in the request and in what is signed: once encoded, the slashes kept."""
    return "".join(chr(byte) if byte in _AS_THEY_ARE else f"%{byte:02X}" for byte in path.encode())


def signed(
    host: str, path: str, headers: Mapping[str, str], credentials: Credentials, region: str, now: float
) -> dict[str, str]:
    """Return all headers of a GET of `path` (encoded already) at `now` (seconds since 1970) with their signature."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    sent = {"host": host, "x-amz-content-sha256": _NO_BODY, "x-amz-date": moment}
    sent |= {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    if credentials.token:
        sent["x-amz-security-token"] = credentials.token
    names = sorted(sent)
    lines = ["GET", path, "", *(f"{name}:{sent[name]}" for name in names), "", ";".join(names), _NO_BODY]
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    request = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{credentials.secret_key}".encode()
    for word in scope.split("/"):
        key = _hmac(key, word)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{request}").hex()
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
        f"SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return sent


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
