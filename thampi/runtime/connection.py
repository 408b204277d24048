"""One HTTP connection, over which bytes come straight into memory that is given: what S3 takes of HTTP/1.1, no more.

Python's own client reads through a buffer and brings the email package along; this one needs sockets and, for TLS, ssl.
"""

import contextlib
import os
import re
import select
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from thampi.runtime import tunnel
from thampi.runtime.endpoint import Endpoint

if TYPE_CHECKING:
    import ssl

LONGEST_REFUSAL = 64 * 1024  # bytes of an answer that is read to be understood, and not to be kept
_LONGEST_HEAD = 64 * 1024
_VIEWS_AT_A_TIME = 512  # Linux takes 1024
_WORTH_WAKING_FOR = 128 * 1024  # bytes: TLS comes in records of 16 KiB
_CAN_DRAIN = sys.platform == "linux"
_CONTENT_LENGTH = re.compile(r"[0-9]{1,18}")


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """Nobody wants the bytes any more."""


class CertificateError(Exception):
    """The other side is not who it should be, as far as the certificates here can tell."""


class Network:
    """What all connections share: TLS, the proxy, and the end of them all."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._open: set[socket.socket] = set()
        self._stopped = threading.Event()
        self.at_work = threading.BoundedSemaphore(max(2, os.cpu_count() or 1))  # who decrypt at the same time

    def stop(self) -> None:
        """End every connection at once, and have no other begun; who waits for bytes gets an OSError or Stopped."""
        self._stopped.set()
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):  # it has ended by itself
                    socket.socket.shutdown(each, socket.SHUT_RDWR)  # what TLS has to say takes no part in this

    def pause(self, seconds: float) -> None:
        """Wait; raise Stopped when there is nothing to wait for any more."""
        if self._stopped.wait(seconds):
            raise Stopped

    def opened(self, sock: socket.socket) -> None:
        """Note a socket that `stop` has to end."""
        with self._lock:
            self._open.add(sock)
        self.pause(0)

    def closed(self, sock: socket.socket) -> None:
        """Forget a socket."""
        with self._lock:
            self._open.discard(sock)

    def tls(self) -> "ssl.SSLContext":
        """Return what TLS connections trust, made once: reading the certificates takes 20 ms."""
        with self._lock:
            if self._tls is None:
                from thampi.runtime import trust  # ssl takes as long again, which a mounted model need not wait for

                self._tls = trust.context(self.environ)
            return self._tls


@dataclass(frozen=True)
class Answer:
    """The head of an answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]

    @property
    def length(self) -> int | None:
        """Return the length of the body in bytes; None when it is not said, or said in a way that we don't read."""
        length = self.headers.get("content-length", "")
        plain = "transfer-encoding" not in self.headers and _CONTENT_LENGTH.fullmatch(length)
        return int(length) if plain else None


class Connection:
    """Asks one host for one thing after another; opened when it is asked, and anew when the other side has closed it.

    Every method raises OSError when the network fails; TimeoutError, when nothing came for `timeout_s` seconds.
    """

    def __init__(self, place: Endpoint, network: Network, timeout_s: float) -> None:
        self.place, self.timeout_s = place, timeout_s
        self._network = network
        self._socket: socket.socket | None = None
        self._awaited = 1  # bytes that the kernel wakes us for
        self._whole_views = 0  # the flag with which the kernel fills all it is given before it returns
        self._rest = memoryview(b"")  # of the body, what came with the head
        self._answer: Answer | None = None
        self._left = 0  # bytes of the body that nobody has read yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, path: str, headers: Mapping[str, str]) -> Answer:
        """Send a GET, and return the head of the answer; the body is there to be read."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        if self._left:
            self.close()
        used = self._socket is not None
        try:
            self._answer = self._exchange(request)
        except ConnectionError:
            # The other side ends a connection that nothing came over for long: while Lambda has us frozen, say.
            self.close()
            if not used:
                raise
            self._answer = self._exchange(request)
        self._left = 1 if self._answer.length is None else self._answer.length  # unknown: at least not done
        return self._answer

    def fill(self, views: list[memoryview]) -> None:
        """Fill the views with what follows of the body, and take them off the list as they are full.

        When that fails, the views that are still to be filled, or the rest of them, are left on the list.
        """
        while views:
            if self._rest:
                count = min(len(self._rest), len(views[0]))
                views[0][:count] = self._rest[:count]
                self._rest = self._rest[count:]
            else:
                count = self._receive(views)
                if not count:
                    raise ConnectionError("the answer ended too early")
            self._left -= count
            _take_off(views, count)
        if not self._left and self._answer and self._answer.headers.get("connection", "").lower() == "close":
            self.close()

    def read(self, limit: int) -> bytes:
        """Return the whole body, or what there is of it up to `limit` bytes, of an answer that says no length, too."""
        length = self._answer.length if self._answer else 0
        if length is not None:
            body = bytearray(min(length, limit))
            self.fill([memoryview(body)] if body else [])
            return bytes(body)
        found = bytes(self._rest[:limit])
        while len(found) < limit and not found.endswith((b"\r\n0\r\n\r\n", b"</Error>")):
            piece = bytearray(limit - len(found))
            count = self._receive([memoryview(piece)])
            if not count:
                break
            found += piece[:count]
        self.close()
        return found

    def close(self) -> None:
        """End the connection; the next question opens another."""
        if self._socket is not None:
            self._network.closed(self._socket)
            self._socket.close()
        self._socket, self._rest, self._left, self._awaited = None, memoryview(b""), 0, 1

    def _exchange(self, request: bytes) -> Answer:
        if self._socket is None:
            self._open()
        assert self._socket is not None
        try:
            if self.place.tls:
                self._socket.settimeout(self.timeout_s)
            self._socket.sendall(request)
            head = b""
            while (end := head.find(b"\r\n\r\n")) < 0:
                piece = self._socket.recv(4096)
                if not piece:
                    raise ConnectionResetError("the connection was closed before an answer came")
                head += piece
                if len(head) > _LONGEST_HEAD or not head.startswith(b"HTTP/1."[: len(head)]):
                    raise ProtocolError("what answered does not speak HTTP")
        except BlockingIOError as error:
            raise TimeoutError(f"nothing came for {self.timeout_s:.0f} s") from error
        self._rest = memoryview(head)[end + 4 :]
        return _parse(head[:end].decode("latin-1"))

    def _open(self) -> None:
        self._network.pause(0)
        place = self.place
        sock = tunnel.connect(place, self._network.environ, self.timeout_s)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if place.tls:
                sock = self._network.tls().wrap_socket(sock, server_hostname=place.host)
            elif sys.platform == "linux":
                # Python's own timeout would wake us for each bit that has come, and have us wait for the interpreter's
                # lock while another thread imports or unpickles; the kernel's own lets it fill a whole part first.
                waiting = struct.pack("@ll", int(self.timeout_s), int(self.timeout_s % 1 * 1_000_000))
                sock.settimeout(None)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, waiting)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, waiting)
                self._whole_views = socket.MSG_WAITALL
            self._network.opened(sock)
        except BaseException as error:
            sock.close()
            if type(error).__name__ == "SSLCertVerificationError":  # by its name: ssl is imported for TLS alone
                raise CertificateError(getattr(error, "verify_message", "")) from error
            raise
        self._socket = sock

    def _drain(self, view: memoryview) -> int:
        """Receive over TLS what has come and fits; wait until that is something. Return how many bytes it was.

        TLS comes in records of 16 KiB, and Python's lock is taken and given back for each. Sixteen threads that do so
        at once spend more on the lock than on the bytes, so only as many do as there are processors; and one that has
        emptied its connection is woken when there is enough for several records, and not for each.
        """
        import ssl

        assert self._socket is not None
        self._socket.settimeout(0)
        while True:
            with self._network.at_work:
                done = 0
                try:
                    while done < len(view) and (count := self._socket.recv_into(view[done:])):
                        done += count
                    return done
                except ssl.SSLWantReadError:
                    if done:
                        return done
            self._wait_for_some()

    def _wait_for_some(self) -> None:
        assert self._socket is not None
        waiting = select.poll()
        waiting.register(self._socket, select.POLLIN)
        # The last bytes come alone; and on a slow line, enough to be woken for may take longer than we wait for any.
        for enough in (_WORTH_WAKING_FOR, 1) if self._left > 2 * _WORTH_WAKING_FOR else (1,):
            if enough != self._awaited:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, enough)
                self._awaited = enough
            if waiting.poll(self.timeout_s * 1000):
                return
        raise BlockingIOError

    def _receive(self, views: list[memoryview]) -> int:
        """Receive into the views, in order; return how many bytes came, 0 at the end."""
        assert self._socket is not None
        try:
            if not self._whole_views:
                return self._drain(views[0]) if self.place.tls and _CAN_DRAIN else self._socket.recv_into(views[0])
            if len(views) == 1:
                return self._socket.recv_into(views[0], 0, self._whole_views)
            return self._socket.recvmsg_into(views[:_VIEWS_AT_A_TIME], 0, self._whole_views)[0]
        except BlockingIOError as error:
            raise TimeoutError(f"nothing came for {self.timeout_s:.0f} s") from error


class ProtocolError(OSError):
    """An answer that is none, or not the one to what was asked: perhaps of somebody between us and S3."""


def _take_off(views: list[memoryview], count: int) -> None:
    full = 0
    while full < len(views) and count >= len(views[full]):
        count -= len(views[full])
        full += 1
    del views[:full]
    if count:
        views[0] = views[0][count:]


def _parse(head: str) -> Answer:
    first, *lines = head.split("\r\n")
    status = first.split(" ")[1:2]
    if not status or not re.fullmatch("[1-5][0-9]{2}", status[0]):
        raise ProtocolError("what answered does not speak HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(status[0]), headers)
