"""The role's keys by HTTP from beside the function: so they come under snapshots, and in containers.

What the endpoint is told and answers:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
"""

import datetime
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from thampi.errors import BundleError
from thampi.runtime import connection
from thampi.runtime.connection import Connection, Network
from thampi.runtime.credentials import Credentials
from thampi.runtime.endpoint import Endpoint

_ECS = "http://169.254.170.2"
# Of plain HTTP, what does not leave the machine: the SDKs ask nobody else for keys.
_BESIDE_US = ("localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23")


def ask(environ: Mapping[str, str], network: Network) -> Credentials:
    """Return the keys that the endpoint gives now.

    Raises OSError when it doesn't answer, and BundleError when it must not be asked, or answers no keys.
    """
    relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = _ECS + relative if relative else environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https" and (parts.scheme != "http" or host not in _BESIDE_US):
        raise BundleError(f"credentials are not asked for at {parts.scheme}://{host}", hint=None)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    place = Endpoint(parts.scheme == "https", host, port, "/", "", custom=True)
    headers = {"host": place.authority, "accept": "application/json"}
    token = _token(environ)
    if token:
        headers["authorization"] = token
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with Connection(place, network, timeout_s=2.0) as asked:
        answer = asked.ask(path, headers)
        if answer.status != 200:
            raise OSError(f"the container's credentials endpoint answered {answer.status}")
        return _parse(asked.read(connection.LONGEST_REFUSAL))


def _token(environ: Mapping[str, str]) -> str:
    file = environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = Path(file).read_text("utf-8") if file else environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if "\r" in token or "\n" in token:
        raise BundleError("the container's authorization token has a line break in it", hint=None)
    return token


def _parse(content: bytes) -> Credentials:
    try:
        found = orjson.loads(content)
        expires = found.get("Expiration")
        until = datetime.datetime.fromisoformat(expires).timestamp() if expires else None
        return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token") or "", until)
    except (ValueError, TypeError, KeyError, AttributeError):
        # Not what was answered, and no cause that quotes it: it may hold a key.
        raise BundleError("the container's credentials endpoint answered something else than keys", hint=None) from None
