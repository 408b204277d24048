"""The way to S3 through a proxy."""

import base64
import contextlib
import hashlib
import socket
import threading

import pytest

import thampi
from thampi.errors import BundleError
from thampi.runtime import endpoint, s3, tunnel

from . import s3_server
from .fresh import Holder

S3 = endpoint.of("store", "eu-central-1", {})


@pytest.mark.parametrize(
    ("environ", "proxy"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://other:1", "https_proxy": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTP_PROXY": "http://proxy:3128"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost, .amazonaws.com"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "s3.eu-central-1.amazonaws.com"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*.amazonaws.com"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "aws.com,localhost,"}, "http://proxy:3128"),
    ],
)
def test_a_proxy_is_taken_where_the_environment_says_so(environ, proxy):
    assert tunnel.proxy_for(S3, environ) == proxy


def test_what_is_not_encrypted_goes_straight():
    local = endpoint.of("store", "r", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:4566"})
    assert tunnel.proxy_for(local, {"HTTPS_PROXY": "http://proxy:3128"}) == ""


class Proxy:
    """Connects whoever asks properly, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._threads: list[threading.Thread] = []
        self.answer = b"HTTP/1.1 200 Connection established\r\n\r\n"
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                inner, _ = self._listening.accept()
                self._threads.append(threading.Thread(target=self._serve, args=(inner,), daemon=True))
                self._threads[-1].start()

    def _serve(self, inner: socket.socket) -> None:
        with inner:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += inner.recv(1)
            self.asked.append(head.decode())
            inner.sendall(self.answer)
            if b" 200 " not in self.answer:
                return
            host, _, port = head.split(b" ")[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as outer:
                back = threading.Thread(target=self._copy, args=(outer, inner), daemon=True)
                back.start()
                self._copy(inner, outer)
                back.join()

    def _copy(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._threads:
            each.join(5)


@pytest.fixture
def proxy():
    proxy = Proxy()
    yield proxy
    proxy.close()


@pytest.fixture
def environ(certificate, proxy, monkeypatch):
    monkeypatch.setattr(s3, "_FIRST_PAUSE_S", 0.001)
    with s3_server.serving(certificate) as server:
        yield (
            server,
            server.environ
            | {
                "AWS_CA_BUNDLE": str(certificate[0]),
                "HTTPS_PROXY": f"http://us%40er:pass@{proxy.address}",
            },
        )


def test_a_model_comes_through_the_proxy_encrypted(environ, proxy, tmp_path, monkeypatch):
    server, words = environ
    for name, value in words.items():
        monkeypatch.setenv(name, value)
    saved = thampi.save(Holder("through"), "model", tmp_path, verify=False)
    url = server.put(saved, "bucket/id")
    digest = hashlib.sha256((saved / "thampi.json").read_bytes()).hexdigest()
    assert thampi.load(url, sha256=digest).held == "through"
    assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    authorization = f"Proxy-Authorization: Basic {base64.b64encode(b'us@er:pass').decode()}\r\n"
    assert all(authorization in head for head in proxy.asked)
    assert not any("AWS4" in head for head in proxy.asked)


def test_a_proxy_that_refuses_is_named_without_its_password(environ, proxy):
    server, words = environ
    proxy.answer = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    with pytest.raises(s3.UnreachableError, match=f"the proxy {proxy.address} answered 407 Proxy Auth") as raised:
        s3.Prefix("s3://bucket/id", words).read("thampi.json")
    assert "pass" not in str(raised.value)
    assert not server.asked


def test_a_proxy_that_we_cannot_speak_to_is_refused(environ):
    _, words = environ
    with pytest.raises(BundleError, match="HTTPS_PROXY"):
        s3.Prefix("s3://bucket/id", words | {"HTTPS_PROXY": "socks5://x:1"}).read("thampi.json")
