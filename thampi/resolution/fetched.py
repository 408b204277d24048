"""The content of a file that an index names: of this machine as it lies there, else fetched once."""

import base64
import hashlib
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thampi.dependencies.wanted import Indexes
from thampi.errors import BuildError
from thampi.resolution.pylock import File

_TIMEOUT_S = 60
_BLOCK = 1 << 20


def content(file: File, indexes: Indexes) -> bytes | Path:
    """Return where a file lies on this machine, or the bytes of one that an index of this machine serves."""
    if file.path is not None:
        return file.path
    with _open(file.url, indexes) as answer:
        return bytes(answer.read())


def sha256(file: File, indexes: Indexes) -> str:
    """Return a file's digest, for an index that doesn't say."""
    digest = hashlib.sha256()
    with file.path.open("rb") if file.path else _open(file.url, indexes) as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sizes(urls: list[str], indexes: Indexes) -> dict[str, int]:
    """Return how many bytes each URL's file has, for an index that doesn't say; 0 where nobody answers."""

    def ask(url: str) -> int:
        try:
            with _open(url, indexes, method="HEAD", timeout_s=10) as answer:
                return int(answer.headers.get("Content-Length") or 0)
        except (BuildError, ValueError):
            return 0

    with ThreadPoolExecutor(16) as pool:
        return dict(zip(urls, pool.map(ask, urls), strict=True))


def refuses(url: str, name: str, indexes: Indexes) -> bool:
    """Say whether an index wants to know who we are, or does not know us, when it is asked for a distribution.

    uv passes over such an index in silence when it may look in others: a library of the same name, from anywhere, would
    be installed instead of the private one. Only a 401 says it for sure: some answer 403 for what they don't have.
    """
    try:
        with _open(f"{url.rstrip('/')}/{name}/", indexes, method="HEAD", timeout_s=20):
            return False
    except BuildError as error:
        return isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code == 401


def _open(url: str, indexes: Indexes, *, method: str = "GET", timeout_s: float = _TIMEOUT_S) -> Any:
    request = urllib.request.Request(url, method=method)  # noqa: S310 - http and https: the others are paths
    host = urlsplit(url).hostname or ""
    known = indexes.credentials.get(host)
    if known is not None:
        token = base64.b64encode(f"{known.user}:{known.password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    try:
        # Every URL is one that uv fetched from an index, with its own check of the scheme.
        return urllib.request.urlopen(  # noqa: S310
            request, timeout=timeout_s, context=ssl.create_default_context(cafile=indexes.ca_bundle)
        )
    except OSError as error:
        raise BuildError(f"{url} can't be fetched: {error}", hint="check the network and try again") from error
