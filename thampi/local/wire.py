"""HTTP on loopback, as the front and the Runtime API need it: request bodies in both forms, and a quiet server."""

import contextlib
import os
import re
import selectors
import socket
import threading
from collections.abc import Iterable, Iterator
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from socketserver import TCPServer
from typing import Any, ClassVar

LOOPBACK = "127.0.0.1"
_PIECE = 64 * 1024
_READ_IN_VAIN = 64 * 1024 * 1024  # of a body that is refused: who is in the middle of sending hears no answer
_BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED)
_OURS = ("connection", "content-length", "date", "server", "transfer-encoding")


class Refused(Exception):  # noqa: N818 - an answer, not an accident
    """The request's body can't be had; the connection ends with the answer."""

    def __init__(self, status: int, message: str, size: int = 0) -> None:
        super().__init__(message)
        self.status, self.message, self.size = status, message, size  # size: as far as it is known, in bytes


class Server(ThreadingHTTPServer):
    """A thread for each connection on 127.0.0.1. The port is taken at once; who connects is refused until it serves."""

    allow_reuse_address = os.name == "posix"  # on Windows it would let two servers share a port
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, exchange: type["Exchange"]) -> None:
        super().__init__((LOOPBACK, port), exchange, bind_and_activate=False)
        try:
            self.server_bind()
        except BaseException:
            self.server_close()
            raise

    def server_bind(self) -> None:
        """Take the port; HTTPServer's own way asks DNS for the host's name, which takes seconds on some machines."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, int(self.server_address[1])

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection; out of files, wait a moment instead of trying again at full speed."""
        try:
            return super().get_request()
        except OSError:
            threading.Event().wait(0.05)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away in the middle are everyday."""


@contextlib.contextmanager
def serving(server: Server) -> Iterator[None]:
    """Answer on threads while the block runs, then let the port go."""
    try:
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="http", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
    finally:
        server.server_close()


class Exchange(BaseHTTPRequestHandler):
    """One connection: reads whole requests, sends whole answers, keeps quiet."""

    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = 75
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer goes out in one piece

    def body(self, limit: int) -> bytes:
        """Return the request's body; raise Refused when it can't be had or is longer than `limit`."""
        try:
            return _read(_pieces(self.headers, self.rfile), limit)
        except Refused:
            self.close_connection = True
            raise

    def respond(self, status: int, body: bytes = b"", headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send an answer; JSON, unless `headers` say otherwise."""
        sent = {name.lower() for name, _ in headers}
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in _OURS:
                self.send_header(name, value)
        if status not in _BODILESS:
            if "content-type" not in sent:
                self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if status not in _BODILESS and self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def is_gone(self) -> bool:
        """Say whether the client has hung up."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            try:
                return bool(selector.select(0)) and not self.connection.recv(1, socket.MSG_PEEK)
            except OSError:
                return True

    def handle_expect_100(self) -> bool:
        """Tell the client to go on; at once, since it waits."""
        self.send_response_only(HTTPStatus.CONTINUE)
        self.end_headers()
        self.wfile.flush()
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what can't be read as a request."""
        self.close_connection = True
        self.respond(int(code), (message or "").encode(), [("Content-Type", "text/plain")])

    def version_string(self) -> str:
        """Name the server."""
        return "thampi"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        """Say nothing: the handler logs each request itself."""


def declared_length(headers: Message) -> int:
    """Return the length of the body that a request declares, 0 when it declares none; raise Refused for nonsense."""
    declared = set(headers.get_all("content-length") or ["0"])
    text = declared.pop().strip()
    if declared or not re.fullmatch(r"[0-9]{1,18}", text):
        raise Refused(400, "the header Content-Length is not one number")
    return int(text)


def _read(pieces: Iterator[bytes], limit: int) -> bytes:
    """Return the pieces as one; when they are more than `limit`, read on for a while so that the client hears of it."""
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size <= limit:
            kept.append(piece)
        elif size > _READ_IN_VAIN:
            break
    if size > limit:
        raise Refused(413, f"the body has more than {limit} bytes", size)
    return b"".join(kept)


def _pieces(headers: Message, stream: BufferedIOBase) -> Iterator[bytes]:
    coding = headers.get("transfer-encoding", "").strip().lower()
    if coding and "content-length" in headers:
        raise Refused(400, "a request has Content-Length or Transfer-Encoding, not both")
    if coding not in ("", "chunked"):
        raise Refused(501, f"a body in the transfer encoding {coding} can't be read: send it plain or chunked")
    return _chunks(stream) if coding else _exactly(stream, declared_length(headers))


def _exactly(stream: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, _PIECE))
        if not piece:
            raise ConnectionAbortedError("the client went away in the middle of its request")
        size -= len(piece)
        yield piece


def _chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    while size := _chunk_size(_line(stream)):
        yield from _exactly(stream, size)
        if _line(stream):
            raise Refused(400, "the body is not chunked as it says")
    for _ in range(100):  # trailers, which nobody needs
        if not _line(stream):
            return
    raise Refused(400, "the chunked body has too many trailers")


def _chunk_size(line: bytes) -> int:
    text = line.partition(b";")[0].strip()
    if not re.fullmatch(rb"[0-9a-fA-F]{1,15}", text):
        raise Refused(400, "the body is not chunked as it says")
    return int(text, 16)


def _line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(8192)
    if not line:
        raise ConnectionAbortedError("the client went away in the middle of its request")
    if not line.endswith(b"\n"):
        raise Refused(400, "the body is not chunked as it says")
    return line.rstrip(b"\r\n")
