"""Connections are kept, shared and closed; what is in their way, certificates and proxies, is dealt with or named."""

import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

import thampi
from tests import certificates
from tests.asking import server
from tests.asking.server import answers
from thampi.asking.connections import Connections
from thampi.errors import ConfigError

# -------------------------------------------------------------------------------------------------------- connections


def test_a_connection_is_kept_for_the_next_request(client, place):
    for _ in range(5):
        client.predict(1)
    client.about()
    assert place.connections == 1


def test_a_connection_that_the_other_side_closed_is_opened_anew_and_the_model_asked_once(client, place):
    place.faults.append(server.closes_after)
    assert client.predict(1) == 1
    _until(lambda: threading.active_count() <= 2)  # the server's end is closed
    assert client.predict(2) == 2
    assert (place.connections, place.model.asked) == (2, [1, 2])


def test_an_answer_that_ends_its_connection_is_taken_at_its_word(client, place):
    place.faults.append(answers(200, {"result": 3}, Connection="close"))
    assert (client.predict(1), client.predict(4)) == (3, 4)
    assert place.connections == 2


def test_threads_share_a_client(client, place):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(client.predict, range(200)))
    assert found == list(range(200))
    assert place.connections <= 8


def test_a_closed_client_can_be_asked_again(client, place):
    client.predict(1)
    client.close()
    client.close()
    assert client.predict(2) == 2
    assert place.connections == 2


def test_a_connection_that_was_idle_for_long_is_not_trusted_any_more(place):
    connections = Connections(urlsplit(place.url), idle_s=0.1)
    for pause in (0, 0.2, 0):
        time.sleep(pause)
        assert connections.exchange("GET", "/iris", {}, None, 5).status == 200
    assert place.connections == 2
    connections.close()


def test_no_more_connections_are_kept_than_it_was_told(place):
    connections = Connections(urlsplit(place.url), kept=0)
    for _ in range(3):
        assert connections.exchange("GET", "/iris", {}, None, 5).status == 200
    assert place.connections == 3


FORKS = """
import os, sys, thampi
client = thampi.Client(sys.argv[1])
client.predict(0)
child = os.fork()
found = client.predict(os.getpid())  # both wait for their answers at the same time
if found != os.getpid():
    os._exit(1)
if not child:
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_process_that_was_forked_off_has_connections_of_its_own(place):
    place.faults.extend([server.waits(0), server.waits(1), server.waits(1)])
    done = subprocess.run([sys.executable, "-c", FORKS, place.url], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert place.connections == 2


def test_a_client_can_be_given_to_a_pool_of_processes(place):
    with thampi.Client(place.url, api_key="a-key", timeout_s=5) as client:
        client.predict(1)
        copy = pickle.loads(pickle.dumps(client.predict))
    assert copy(2) == 2
    assert [headers["x-api-key"] for _, _, headers in place.requests] == ["a-key", "a-key"]
    assert place.connections == 2


def test_a_client_that_nobody_closed_warns_of_nothing(place):
    told = f"import thampi; print(thampi.Client({place.url!r}).predict(6))"
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", told], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("6\n", "", 0)


# ------------------------------------------------------------------------------------------------------ not reachable


def test_nobody_there_is_said_with_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    said = f"//127.0.0.1:{port}/iris can't be reached: Connection refused"
    with pytest.raises(thampi.UnreachableError, match=said) as failed:
        thampi.Client(f"http://127.0.0.1:{port}/iris").predict(1)
    assert (failed.value.hint, failed.value.exit_code, failed.value.may_have_run) == ("check the network", 5, False)


def test_a_host_that_does_not_exist_is_said_at_once():
    began = time.monotonic()
    with pytest.raises(thampi.UnreachableError, match=r"the host no-such-host\.invalid is unknown"):
        thampi.Client("http://no-such-host.invalid/iris").predict(1)
    assert time.monotonic() - began < 5


def test_plain_http_at_a_tls_url_is_explained(place):
    url = place.url.replace("http:", "https:")
    with pytest.raises(thampi.UnreachableError, match="TLS fails") as failed:
        thampi.Client(url).predict(1)
    assert "http://" in failed.value.hint
    assert place.connections == 1


# ------------------------------------------------------------------------------------------- certificates and proxies


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of this machine and of model.example that nobody trusts yet, and its key."""
    return certificates.write(tmp_path_factory.mktemp("certificate"), "model.example")


@pytest.fixture
def secure(certificate, place):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with server.serving(tls) as served:
        yield served


def test_a_certificate_of_ones_own_is_trusted_when_it_is_named(secure, certificate, monkeypatch):
    with pytest.raises(thampi.UnreachableError, match="certificate is not trusted") as failed:
        thampi.Client(secure.url).predict(1)
    assert "AWS_CA_BUNDLE" in failed.value.hint
    assert secure.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with thampi.Client(secure.url) as client:
        assert [client.predict(number) for number in range(3)] == [0, 1, 2]
    assert len(secure.requests) == 3
    assert secure.connections == 1
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere.pem")
    with pytest.raises(ConfigError, match=r"/nowhere\.pem can't be read"):
        thampi.Client(secure.url)


class Proxy(threading.Thread):
    """Takes one connection after another, notes the first line and the credentials, and passes bytes to `place`."""

    def __init__(self, place, refuse=b""):
        super().__init__(daemon=True)
        self.place, self.refuse, self.heads = place, refuse, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://user:p%40ss@127.0.0.1:{self.listener.getsockname()[1]}"

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65536)
            self.heads.append(head.decode("latin-1"))
            if self.refuse:
                connection.sendall(self.refuse)
                connection.close()
                continue
            onwards = socket.create_connection(("127.0.0.1", self.place.port))
            if head.startswith(b"CONNECT"):
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                onwards.sendall(head.replace(b"http://model.example", b"", 1))
            for one, other in ((connection, onwards), (onwards, connection)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()


def _pass_on(one, other):
    try:
        while piece := one.recv(65536):
            other.sendall(piece)
    except OSError:
        pass
    other.close()


def test_a_proxy_of_the_environment_is_gone_through(place, monkeypatch):
    with Proxy(place) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with thampi.Client("http://model.example/iris") as client:
            assert client.predict([1]) == [1]
        with thampi.Client(place.url) as client:  # this machine is behind no proxy
            assert client.predict([2]) == [2]
        (head,) = proxy.heads
        assert head.startswith("POST http://model.example/iris/predict HTTP/1.1\r\n")
        assert "\r\nHost: model.example\r\n" in head
        assert "\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head
        monkeypatch.setenv("no_proxy", "example")
        with pytest.raises(thampi.UnreachableError, match=r"the host model\.example is unknown"):
            thampi.Client("http://model.example/iris").predict(1)


def test_a_proxy_is_told_no_more_of_an_encrypted_request_than_its_host(secure, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Proxy(secure) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with thampi.Client("https://model.example/iris", token="secret") as client:
            assert [client.predict(1), client.predict(2)] == [1, 2]
        (head,) = proxy.heads
        assert head.startswith("CONNECT model.example:443 HTTP/1.")
        assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in head
        assert "secret" not in head
    assert "proxy-authorization" not in secure.requests[0][2]


def test_a_proxy_that_refuses_is_named_without_its_password(place, monkeypatch):
    with Proxy(place, refuse=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        with pytest.raises(thampi.UnreachableError, match=r"through the proxy 127\.0\.0\.1: .*407") as failed:
            thampi.Client("https://model.example/iris").predict(1)
    assert len(proxy.heads) == 1
    assert "p@ss" not in str(failed.value)
    assert "p%40ss" not in str(failed.value)
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ConfigError, match="http://"):
        thampi.Client("https://model.example/iris")


def _until(true):
    end = time.monotonic() + 5
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
