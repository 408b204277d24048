"""An S3 as a function sees it, on loopback: ranged GETs, a bandwidth for each connection and all, a late first byte.

    python -m benchmarks.cold.s3_server FOLDER [--rate MIB] [--network MIB] [--first-byte-ms MS] [--tls CERTIFICATE KEY]

Serves FOLDER/bucket/key under http://127.0.0.1:PORT/bucket/key, and prints the port. It asks for no credentials. What
it knows is what loaders need: GET and HEAD, `Range`, `If-Match`, ETags, connections that are kept. A cap of 0 is none.

The kernel copies (sendfile), so that serving takes as little as possible of the processors that the loader runs on.
Bandwidth is given out in slices of 256 KiB at the times when a line of that speed would have sent them; nginx's
`limit_rate` counts whole seconds from each request's start, and never slows down a ranged GET of 8 MiB.
Over TLS Python encrypts, which takes a processor: there the loader's own processor time can be compared, and no times.
"""

import argparse
import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

_MIB = 1024 * 1024
_SLICE = 256 * 1024
_LARGEST_SEND = 4 * _MIB
_ROOT = Path(__file__).resolve().parents[2]

Connection: TypeAlias = socket.socket | ssl.SSLSocket


@dataclass(frozen=True)
class Line:
    """What lies between a loader and its bucket; 0 is no limit."""

    rate: float = 0  # MiB/s of one connection
    network: float = 0  # MiB/s of all
    first_byte_ms: float = 0


class _Pace:
    """Tells when the next bytes may go."""

    def __init__(self, mib_per_second: float) -> None:
        self._per_byte = 1 / (mib_per_second * _MIB) if mib_per_second else 0.0
        self._free, self._lock = 0.0, threading.Lock()

    def wait(self, count: int) -> None:
        if not self._per_byte:
            return
        with self._lock:
            at = max(self._free, time.perf_counter())
            self._free = at + count * self._per_byte
        if (pause := at - time.perf_counter()) > 0:
            time.sleep(pause)


class _Gone(Exception):  # noqa: N818 - no accident: a client that is done
    pass


class _Server:
    def __init__(self, folder: Path, line: Line) -> None:
        self._folder, self._line, self._network = folder, line, _Pace(line.network)

    def serve(self, connection: Connection) -> None:
        own, left = _Pace(self._line.rate), b""
        with connection, contextlib.suppress(OSError, _Gone):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                head, left = _head(connection, left)
                self._answer(connection, head, own)
                if "\r\nconnection: close" in head.lower():
                    return

    def _answer(self, connection: Connection, head: str, own: _Pace) -> None:
        method, target, _ = head.split(" ", 2)
        if self._line.first_byte_ms:
            time.sleep(self._line.first_byte_ms / 1000)
        try:
            file = os.open(self._folder / target.partition("?")[0].lstrip("/"), os.O_RDONLY)
        except OSError:
            connection.sendall(_refusal(404, "NoSuchKey"))
            return
        try:
            known = os.fstat(file)
            etag = f'"{known.st_mtime_ns:x}-{known.st_size:x}"'
            wanted = _header(head, "if-match")
            start, end = _range(head, known.st_size)
            if wanted and wanted != etag:
                connection.sendall(_refusal(412, "PreconditionFailed"))
            elif start >= end and known.st_size:
                connection.sendall(_refusal(416, "InvalidRange"))
            else:
                connection.sendall(_accepted(start, end, known.st_size, etag, part=bool(_header(head, "range"))))
                if method == "GET":
                    self._send(connection, file, start, end, own)
        finally:
            os.close(file)

    def _send(self, connection: Connection, file: int, start: int, end: int, own: _Pace) -> None:
        largest = _SLICE if self._line.rate or self._line.network else _LARGEST_SEND
        while start < end:
            count = min(largest, end - start)
            own.wait(count)
            self._network.wait(count)
            if isinstance(connection, ssl.SSLSocket):
                connection.sendall(os.pread(file, count, start))
                start += count
                continue
            until = start + count
            while start < until:
                sent = os.sendfile(connection.fileno(), file, start, until - start)
                if not sent:
                    raise _Gone
                start += sent


def _head(connection: Connection, left: bytes) -> tuple[str, bytes]:
    while b"\r\n\r\n" not in left:
        more = connection.recv(65536)
        if not more:
            raise _Gone
        left += more
    head, _, rest = left.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


def _header(head: str, name: str) -> str:
    found = re.search(rf"\r\n{name}: *([^\r]*)", head, re.IGNORECASE)
    return found[1] if found else ""


def _range(head: str, size: int) -> tuple[int, int]:
    """Return start and end of what is asked for; the end is the first byte that is not."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", _header(head, "range"))
    if not found or not any(found.groups()):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size


def _accepted(start: int, end: int, size: int, etag: str, *, part: bool) -> bytes:
    lines = [
        "HTTP/1.1 206 Partial Content" if part else "HTTP/1.1 200 OK",
        "Content-Type: binary/octet-stream",
        "Accept-Ranges: bytes",
        f"ETag: {etag}",
        "Last-Modified: Mon, 20 Oct 2025 10:00:00 GMT",
        "x-amz-request-id: 1",
        f"Content-Length: {end - start}",
        *([f"Content-Range: bytes {start}-{end - 1}/{size}"] if part else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _refusal(status: int, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@contextlib.contextmanager
def running(folder: Path, line: Line, tls: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Serve a folder from a process of its own; yield the port."""
    words = ["--rate", line.rate, "--network", line.network, "--first-byte-ms", line.first_byte_ms]
    words += ["--tls", *tls] if tls else []
    command = [sys.executable, "-m", "benchmarks.cold.s3_server", folder, *words]
    process = subprocess.Popen([*map(str, command)], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of `localhost`, and its key, with the openssl command; it is its own authority."""
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    return made, key


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--network", type=float, default=0)
    parser.add_argument("--first-byte-ms", type=float, default=0)
    parser.add_argument("--tls", nargs=2)
    told = parser.parse_args()
    context = None
    if told.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*told.tls)
    server = _Server(told.folder, Line(told.rate, told.network, told.first_byte_ms))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            accepted, _ = listener.accept()
            threading.Thread(target=_serve, args=(server, accepted, context), daemon=True).start()


def _serve(server: _Server, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        server.serve(context.wrap_socket(accepted, server_side=True) if context else accepted)


if __name__ == "__main__":
    main()
