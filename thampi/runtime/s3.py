"""Files under an s3:// prefix, read in ranges over many connections, each straight into the memory that it is for.

A range that fails is asked for again by itself, from the byte where it broke off, with a pause that grows; an answer
that is not the bytes that were asked for is never taken for them. What talks (sockets, TLS, signatures) is imported
by the first reader: a model in a mounted folder needs none of it.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar

from thampi.errors import BundleError

if TYPE_CHECKING:
    from thampi.runtime.connection import Answer, Connection, Network
    from thampi.runtime.credentials import Credentials, Wallet
    from thampi.runtime.endpoint import Endpoint
    from thampi.runtime.refusals import Refusal

CONNECTIONS = 16  # one carries 80 to 90 MB/s: more are no faster than the network of a function

_Got = TypeVar("_Got")
_TRIES = 8
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 2.0
_FIRST_TIMEOUT_S, _LONGEST_TIMEOUT_S = 5.0, 20.0  # without a byte; each failure waits longer the next time
_LONGEST_WHOLE = 256 * 1024 * 1024
_HINT = "the next request tries again; check the role and the network"


class UnreachableError(BundleError):
    """S3 did not give a file; it may the next time."""


class Into(Protocol):
    """Where the bytes of a file go."""

    def views(self, begin: int, end: int) -> list[memoryview]:
        """Return where the bytes from `begin` on belong: up to `end`, or less far."""

    def arrived(self, begin: int, end: int) -> None:
        """Take note that these bytes are where they belong."""


class Object:
    """A file as S3 has it: all of it has to be of one version."""

    def __init__(self, key: str, size: int) -> None:
        self.key, self.size = key, size
        self._lock = threading.Lock()
        self.etag = ""

    def is_the_same(self, etag: str) -> bool:
        """Say whether this answer is of the version that the first one was of."""
        with self._lock:
            self.etag = self.etag or etag
            return self.etag == etag


class Prefix:
    """The files under `s3://bucket/prefix/`; the credentials, region and endpoint are those of the environment."""

    def __init__(self, url: str, environ: Mapping[str, str] = os.environ) -> None:
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.url, self._prefix = url.rstrip("/"), prefix.strip("/")
        self._environ = environ
        self._lock = threading.Lock()
        self._session: Session | None = None

    def read(self, name: str) -> bytes:
        """Return a whole small file; raise BundleError when it can't be had."""
        reader = self.reader()
        try:
            return reader.whole(name)
        finally:
            reader.close()

    def reader(self) -> "Reader":
        """Return what reads over one connection; each thread takes one of its own."""
        with self._lock:
            if self._session is None:
                self._session = Session(self.bucket, self._environ)
            return Reader(self, self._session)

    def key(self, name: str) -> str:
        """Return the key of a file."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def stop(self) -> None:
        """End all that is being read."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            session.network.stop()

    def __str__(self) -> str:
        return self.url


class Session:
    """What the readers of a bucket share: the credentials, and what was learnt of where and when to ask."""

    def __init__(self, bucket: str, environ: Mapping[str, str]) -> None:
        from thampi.runtime import connection, credentials, endpoint

        self._bucket, self._environ = bucket, environ
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        self.endpoint: Endpoint = endpoint.of(
            bucket, region or credentials.read_profile(environ).get("region") or "us-east-1", environ
        )
        self.network: Network = connection.Network(environ)
        self.wallet: Wallet = credentials.Wallet(environ, self._ask_container)
        self._lock = threading.Lock()
        self._objects: dict[str, Object] = {}
        self.ahead_s = 0.0  # by how much the store's clock is ahead of ours

    def object(self, key: str, size: int = -1) -> Object:
        """Return a file of the bucket, the same one each time."""
        with self._lock:
            return self._objects.setdefault(key, Object(key, size))

    def move(self, region: str) -> None:
        """Ask in another region from now on."""
        from thampi.runtime import endpoint

        if region != self.endpoint.region:  # another reader may have been told, too
            self.endpoint = endpoint.of(self._bucket, region, self._environ)

    def _ask_container(self) -> "Credentials":
        from thampi.runtime import container_credentials

        return container_credentials.ask(self._environ, self.network)


class Reader:
    """Reads files over one connection, again and again where that may help. Not for two threads at once."""

    def __init__(self, prefix: Prefix, session: Session) -> None:
        self._prefix, self._session = prefix, session
        self._connection: Connection | None = None
        self._used: Credentials | None = None
        self.requests = self.retries = 0

    def whole(self, name: str) -> bytes:
        """Return a small file; raise UnreachableError when it can't be had."""
        file = self._session.object(self._prefix.key(name))

        def once() -> bytes:
            answer = self._ask(file, {})
            if answer.status != 200:
                raise self._refusal(answer)
            if answer.length is None or answer.length > _LONGEST_WHOLE:
                raise OSError("the answer does not say a length that can be")
            assert self._connection is not None
            return self._connection.read(answer.length)

        return self._again_and_again(file, once)

    def read(self, name: str, size: int, begin: int, end: int, into: Into) -> None:
        """Read the bytes from `begin` to `end` of a file of `size` bytes.

        Raises UnreachableError when they can't be had, or the file has another size or changes meanwhile; and what
        `into` raises.
        """
        file = self._session.object(self._prefix.key(name), size)
        place = begin
        views: list[memoryview] = []  # those that are still to be filled, from `place` on

        def once() -> None:
            nonlocal place
            if place < end:
                self._check_range(file, self._ask(file, {"range": f"bytes={place}-{end - 1}"}), place, end)
            while place < end:
                if not views:
                    views[:] = into.views(place, end)
                until = place + sum(map(len, views))
                assert self._connection is not None
                try:
                    self._connection.fill(views)
                finally:
                    came, place = place, until - sum(map(len, views))
                    if place > came:
                        into.arrived(came, place)

        self._again_and_again(file, once)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()

    def _ask(self, file: Object, headers: dict[str, str]) -> "Answer":
        from thampi.runtime import signing
        from thampi.runtime.connection import Connection

        session = self._session
        place = session.endpoint
        if self._connection is None or self._connection.place is not place:
            self.close()
            self._connection = Connection(place, session.network, _FIRST_TIMEOUT_S)
        self._used = session.wallet.get()
        if file.etag:
            headers["if-match"] = file.etag
        path = signing.quote(place.path + file.key)
        now = time.time() + session.ahead_s
        self.requests += 1
        return self._connection.ask(path, signing.signed(place.authority, path, headers, self._used, place.region, now))

    def _check_range(self, file: Object, answer: "Answer", begin: int, end: int) -> None:
        from thampi.runtime.connection import ProtocolError

        if answer.status != 206:
            raise self._refusal(answer)
        total = answer.headers.get("content-range", "").rpartition("/")[2]
        if total.isdigit() and int(total) != file.size:
            raise UnreachableError(
                f"{self._url(file)} has {total} bytes, and {file.size} were saved", hint="push the model again"
            )
        asked = f"bytes {begin}-{end - 1}/{file.size}"
        if answer.headers.get("content-range") != asked or answer.length != end - begin:
            raise ProtocolError("the answer is not the range that was asked for")
        if not file.is_the_same(answer.headers.get("etag", "")):
            raise self._replaced(file)

    def _refusal(self, answer: "Answer") -> "Refusal":
        from thampi.runtime import connection, refusals

        assert self._connection is not None
        body = self._connection.read(connection.LONGEST_REFUSAL)
        return refusals.Refusal(answer.status, answer.headers, body)

    def _again_and_again(self, file: Object, once: "Callable[[], _Got]") -> "_Got":
        """Return what `once` returns; try it again, after a growing pause, while that may help."""
        from thampi.runtime.connection import CertificateError
        from thampi.runtime.refusals import Refusal

        where, failures = self._url(file), 0
        cured: set[str] = set()
        while True:
            try:
                return once()
            except Refusal as refusal:
                if (cure := self._cure(refusal)) and cure not in cured:
                    cured.add(cure)
                    continue
                if not refusal.passes():
                    raise self._say(refusal, file) from None
                failure: Exception = refusal
            except CertificateError as error:
                raise UnreachableError(
                    f"{where} can't be read: the certificate of {self._session.endpoint.host} is not trusted: {error}",
                    hint="AWS_CA_BUNDLE names the certificates of a network that opens TLS",
                ) from None
            except OSError as error:
                failure = error
            self.close()
            failures += 1
            if failures == _TRIES:
                raise UnreachableError(f"{where} can't be read: {_said(failure)}", hint=_HINT) from failure
            self.retries += 1
            self._wait_longer(failures)

    def _wait_longer(self, failures: int) -> None:
        pause = min(_FIRST_PAUSE_S * 2 ** (failures - 1), _LONGEST_PAUSE_S)
        # Some earlier, some later: sixteen connections that were told to slow down shall not come back as one.
        self._session.network.pause(pause * (0.5 + os.urandom(1)[0] / 512))
        if self._connection is not None:
            self._connection.timeout_s = min(_FIRST_TIMEOUT_S * (failures + 1), _LONGEST_TIMEOUT_S)

    def _cure(self, refusal: "Refusal") -> str:
        """Mend what the answer says is wrong with how we ask; return what was mended, "" for nothing."""
        session = self._session
        assert self._connection is not None
        if refusal.is_of_another_region(self._connection.place.region):
            session.move(refusal.region)
            return f"region {refusal.region}"
        if refusal.is_of_a_wrong_clock() and (now := refusal.clock()) is not None:
            session.ahead_s = now - time.time()
            return "clock"
        if refusal.is_of_expired_credentials() and session.wallet.get(instead_of=self._used) != self._used:
            return "credentials"
        return ""

    def _say(self, refusal: "Refusal", file: Object) -> UnreachableError:
        where = self._url(file)
        if refusal.status == 412:
            return self._replaced(file)
        if refusal.code == "NoSuchBucket":
            return UnreachableError(f"there is no bucket {self._prefix.bucket}", hint="name the right one")
        if refusal.status == 404:
            return UnreachableError(f"there is no {where}", hint="push the model again")
        if refusal.is_of_expired_credentials():
            return UnreachableError(
                f"{where} can't be read: the credentials are no longer valid ({refusal.code})",
                hint="sign in again; in Lambda, the next request tries again",
            )
        if refusal.status == 403:
            return UnreachableError(
                f"{where} can't be read: {refusal}",
                hint=f"the role needs s3:GetObject there, and is told the same of a file that isn't there; {_HINT}",
            )
        return UnreachableError(f"{where} can't be read: {refusal}", hint=_HINT)

    def _replaced(self, file: Object) -> UnreachableError:
        return UnreachableError(
            f"{self._url(file)} was replaced while it was read", hint="the next request reads what is there now"
        )

    def _url(self, file: Object) -> str:
        return f"s3://{self._prefix.bucket}/{file.key}"


def _said(failure: Exception) -> str:
    return (getattr(failure, "strerror", None) or str(failure) or type(failure).__name__).splitlines()[0]
