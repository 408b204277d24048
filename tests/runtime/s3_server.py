"""A server on loopback that speaks what S3 speaks, and has any accident that one asks it for.

It checks each signature, by botocore's own signer, and keeps what was asked in `asked`.
"""

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

ENVIRON = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": "eu-central-1"}


@dataclass
class Request:
    """One question: its path, its headers in lower case, and where and when it came."""

    path: str
    headers: dict[str, str]
    connection: int
    number: int = 0  # of the questions for this path from this byte on, from 0
    time: float = field(default_factory=time.monotonic)

    @property
    def begin(self) -> int:
        return self.range[0] if self.range else 0

    @property
    def range(self) -> tuple[int, int] | None:
        if "range" not in self.headers:
            return None
        begin, end = self.headers["range"].removeprefix("bytes=").split("-")
        return int(begin), int(end) + 1


@dataclass
class Answer:
    """What is sent, whole or wrong; what is None is as it should be."""

    status: str = "206 Partial Content"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None  # instead of all the rest
    sent: int | None = None  # bytes of the body before the connection ends
    reset: bool = False  # it ends with a reset
    wait_s: float = 0.0  # before the first byte
    pieces: tuple[int, float] | None = None  # bytes of the body at a time, with a pause between


def _head(connection: socket.socket) -> str:
    """Return the next question on a connection; nothing is sent behind it before it is answered."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            return ""
        received += piece
    return received.removesuffix(b"\r\n\r\n").decode()


def error(status: str, code: str, more: str = "", **headers: str) -> Answer:
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>so it is</Message>{more}</Error>'.encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


Fault = Callable[[Request, Answer], Answer | None]


class Server:
    """Serves `objects`, by their path with the bucket; `fault` may change or replace any answer."""

    def __init__(self, certificate: tuple[Path, Path] | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.etags: dict[str, str] = {}
        self.fault: Fault = lambda request, answer: None
        self.asked: list[Request] = []
        self.region = "eu-central-1"
        self.keys = {ACCESS_KEY: SECRET_KEY}
        self.token = ""
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._accepted = 0
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._tls = None
        if certificate:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*certificate)
        self.port = self._listening.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def environ(self) -> dict[str, str]:
        return ENVIRON | {"AWS_ENDPOINT_URL_S3": self.url}

    def put(self, folder: Path, prefix: str) -> str:
        """Serve the files of a bundle; return its address."""
        for path in folder.iterdir():
            self.objects[f"/{prefix}/{path.name}"] = path.read_bytes()
        return f"s3://{prefix}"

    def of(self, ending: str) -> list[Request]:
        """Return what was asked about the files of this ending."""
        return [request for request in self.asked if request.path.endswith(ending)]

    def hang_up(self) -> None:
        """End all connections, as a server does with those that nothing came over for long."""
        with self._lock:
            for each in self._connections:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # or the one who accepts goes on
        self._listening.close()
        self.hang_up()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with self._lock:
                    self._connections.add(connection)
                    self._accepted += 1
                threading.Thread(target=self._serve, args=(connection, self._accepted), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):  # ssl.SSLError is one
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while (head := _head(connection)) and self._answer(connection, head, number):
                pass
        connection.close()

    def _answer(self, connection: socket.socket, head: str, number: int) -> bool:
        """Answer one question; say whether the connection goes on."""
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        assert method == "GET"
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        with self._lock:
            request = Request(path, headers, number)
            request.number = sum((each.path, each.begin) == (path, request.begin) for each in self.asked)
            self.asked.append(request)
        right = self._right(request)
        answer = self.fault(request, right) or right
        time.sleep(answer.wait_s)
        if answer.raw is not None:
            connection.sendall(answer.raw)
            return False
        headers = {
            "Date": formatdate(usegmt=True),
            "x-amz-request-id": "1",
            "Content-Length": str(len(answer.body)),
        } | answer.headers
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        connection.sendall(f"HTTP/1.1 {answer.status}\r\n{head}\r\n".encode())
        body = answer.body if answer.sent is None else answer.body[: answer.sent]
        if answer.pieces:
            size, pause = answer.pieces
            for begin in range(0, len(body), size):
                connection.sendall(body[begin : begin + size])
                time.sleep(pause)
        else:
            connection.sendall(body)
        if answer.reset:
            time.sleep(0.02)  # what was sent is to be received before
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
        return answer.sent is None and not answer.reset and headers.get("Connection") != "close"

    def _right(self, request: Request) -> Answer:
        refused = self._refused(request)
        if refused:
            return refused
        content = self.objects.get(request.path)
        if content is None:
            return error("404 Not Found", "NoSuchKey")
        etag = self.etags.get(request.path, '"1"')
        if request.headers.get("if-match", etag) != etag:
            return error("412 Precondition Failed", "PreconditionFailed")
        if request.range is None:
            return Answer("200 OK", {"ETag": etag}, content)
        begin, end = request.range
        said = f"bytes {begin}-{end - 1}/{len(content)}"
        return Answer(headers={"ETag": etag, "Content-Range": said}, body=content[begin:end])

    def _refused(self, request: Request) -> Answer | None:
        said = request.headers.get("authorization", "")
        key = said.partition("Credential=")[2].partition("/")[0]
        if key not in self.keys:
            return error("403 Forbidden", "InvalidAccessKeyId")
        if request.headers.get("x-amz-security-token", "") != self.token:
            return error("400 Bad Request", "ExpiredToken")
        if f"/{self.region}/s3/" not in said:
            more = f"<Region>{self.region}</Region>"
            return error("400 Bad Request", "AuthorizationHeaderMalformed", more)
        if said.rpartition("=")[2] != signature(request.path, request.headers, Credentials(key, self.keys[key])):
            return error("403 Forbidden", "SignatureDoesNotMatch", said)
        return None


def signature(path: str, headers: dict[str, str], credentials: Credentials) -> str:
    """Return what botocore signs this request with."""
    said = headers["authorization"]
    scope = said.partition("Credential=")[2].partition(",")[0].split("/")
    names = said.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest("GET", f"https://{headers['host']}{path}")
    request.headers = HTTPHeaders()
    for name in names:
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    request.context["payload_signing_enabled"] = True
    signer = S3SigV4Auth(credentials, "s3", scope[2])
    canonical = signer.canonical_request(request)
    return signer.signature(signer.string_to_sign(request, canonical), request)


@contextlib.contextmanager
def serving(certificate: tuple[Path, Path] | None = None) -> Iterator[Server]:
    server = Server(certificate)
    try:
        yield server
    finally:
        server.close()


def moment(request: Request) -> float:
    """Return when a request says that it was signed, in seconds since 1970."""
    said = datetime.datetime.strptime(request.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
    return said.replace(tzinfo=datetime.UTC).timestamp()
