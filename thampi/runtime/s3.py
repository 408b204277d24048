"""Files under an s3:// prefix, read by parallel ranged GETs.

obstore does the talking, because it imports in 26 ms where boto3 takes 440.

A file is read in order by one reader, while the ranges that follow are on their way: what is in flight, and nothing
more, is held twice.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from thampi.errors import BundleError

if TYPE_CHECKING:
    from concurrent.futures import Future

_CONNECTIONS = 16
_RANGE = 4 * 1024 * 1024


class UnreachableError(BundleError):
    """S3 did not give a file; it may the next time."""


class Prefix:
    """The files under `s3://bucket/prefix/`; the credentials, region and endpoint are those of the environment."""

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.url, self._prefix = url.rstrip("/"), prefix.rstrip("/")
        self._store = _connect(bucket, environ)

    def read(self, name: str) -> bytes:
        """Return a whole small file; raise BundleError when it can't be had."""
        import obstore

        return bytes(_tried(lambda: obstore.get(self._store, self._key(name)).bytes(), f"{self.url}/{name}"))

    def open(self, name: str, size: int) -> BinaryIO:
        """Return a file of `size` bytes whose ranges are being fetched; reading raises BundleError when one fails."""
        import obstore

        def fetch(start: int) -> Any:
            length = min(_RANGE, size - start)
            return obstore.get_range(self._store, self._key(name), start=start, length=length)

        return cast(BinaryIO, _Arriving(fetch, size, f"{self.url}/{name}"))

    def __str__(self) -> str:
        return self.url

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}" if self._prefix else name


class _Arriving(io.RawIOBase):
    """A file whose next ranges are under way while the current one is read."""

    def __init__(self, fetch: Callable[[int], Any], size: int, where: str) -> None:
        super().__init__()
        self._fetch, self._size, self._where = fetch, size, where
        from concurrent.futures import ThreadPoolExecutor  # 15 ms that a mounted bundle does not need

        self._pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="fetch")
        self._asked = 0
        self._under_way: deque[Future[Any]] = deque()
        self._ready = memoryview(b"")
        self._ask()

    def readable(self) -> bool:
        return True

    def readinto(self, wanted: memoryview) -> int:  # type: ignore[override]
        if not self._ready:
            if not self._under_way:
                return 0
            self._ready = memoryview(_tried(self._under_way.popleft().result, self._where))
            self._ask()
        count = min(len(wanted), len(self._ready))
        wanted[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()

    def _ask(self) -> None:
        while self._asked < self._size and len(self._under_way) < _CONNECTIONS:
            self._under_way.append(self._pool.submit(self._fetch, self._asked))
            self._asked += _RANGE


def _connect(bucket: str, environ: Mapping[str, str]) -> Any:
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise BundleError(
            "reading a model from S3 needs `obstore`, which is not installed here", hint="pip install thampi[s3]"
        ) from error
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    custom: dict[str, Any] = {}
    if endpoint:  # what plays S3 elsewhere knows no bucket as host name, and often no TLS
        custom = {
            "endpoint": endpoint,
            "virtual_hosted_style_request": False,
            "client_options": {"allow_http": endpoint.startswith("http://")},
        }
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return S3Store(bucket, region=region, **custom)


def _tried(get: Callable[[], Any], where: str) -> Any:
    """Return what `get` gets; obstore has tried again what may pass, so a failure is one to report."""
    try:
        return get()
    except Exception as error:
        said = str(error).splitlines()[0]  # what follows is a dump of the client's insides
        if isinstance(error, FileNotFoundError) or "not found" in said:
            raise UnreachableError(f"there is no {where}", hint="push the model again") from error
        raise UnreachableError(
            f"{where} can't be read: {said}", hint="the next request tries again; check the role and the network"
        ) from error
