"""The connections to one endpoint: kept for the next request, through a proxy where the environment names one.

Whatever breaks is one of three failures, by what it means for the model: nothing was sent, the answer was lost, or
none came in time.
"""

import base64
import contextlib
import http.client
import os
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from thampi.asking.answer import Answer
from thampi.asking.failures import LostAnswerError, TimedOutError, UnexpectedAnswerError, UnreachableError
from thampi.errors import BundleError, ConfigError
from thampi.runtime import trust

CONNECT_S = 10.0
# Gateways close what was idle for long, some without a word; the request that meets that is lost.
_IDLE_S = 30.0
_KEPT = 32
_REFUSED_BY_PROXY = "Tunnel connection failed: 407"  # http.client's words
_HERE = ("127.0.0.1", "localhost", "::1")


class Connections:
    """As many connections to a host as there are requests at a time; safe for any number of threads."""

    def __init__(self, url: SplitResult, *, idle_s: float = _IDLE_S, kept: int = _KEPT) -> None:
        self._url, self._idle_s, self._most = url, idle_s, kept
        self._host, self._is_tls = url.hostname or "", url.scheme == "https"
        self._port = url.port or (443 if self._is_tls else 80)
        self._proxy = _proxy_for(self._host, self._port, url.scheme)
        self._tls = _trusted() if self._is_tls else None
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
        self._process = os.getpid()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> Answer:
        """Send a request once, and return its answer, whatever its status is.

        `timeout_s` is how long nothing may come. Raises UnreachableError, TimedOutError, LostAnswerError, and
        UnexpectedAnswerError when what answers doesn't speak HTTP.
        """
        connection = self._kept() or self._open()
        try:
            answer, is_open = self._sent(connection, method, target, headers, body, timeout_s)
        except BaseException:
            connection.close()
            raise
        if is_open:
            self._keep(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close what nobody uses; a request after that opens a connection again."""
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop()[1].close()

    def _kept(self) -> http.client.HTTPConnection | None:
        """Return a connection that was left open, if it still is."""
        if self._process != os.getpid():  # after a fork: they are the other process's
            self._idle, self._process = deque(), os.getpid()
        with contextlib.suppress(IndexError):
            while True:
                since, connection = self._idle.pop()
                if time.monotonic() - since < self._idle_s and not _has_something(connection.sock):
                    return connection
                connection.close()
        return None

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        if len(self._idle) < self._most:
            self._idle.append((time.monotonic(), connection))
        else:
            connection.close()

    def _open(self) -> http.client.HTTPConnection:
        host, port = (self._host, self._port) if self._proxy is None else _address(self._proxy)
        if self._tls:
            connection: http.client.HTTPConnection
            connection = http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=self._tls)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        connection.auto_open = 0  # a connection that has ended is never opened again behind our back
        if self._proxy is not None and self._is_tls:
            connection.set_tunnel(self._host, self._port, _proxy_headers(self._proxy))
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._unreachable(error) from error
        return connection

    def _sent(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout_s: float,
    ) -> tuple[Answer, bool]:
        """Return the answer, and whether the connection is still open."""
        if self._proxy is not None and not self._is_tls:  # plain HTTP: the proxy is told the whole URL
            target = f"{self._url.scheme}://{self._url.netloc}{target}"
            headers = {**headers, **_proxy_headers(self._proxy)}
        with self._explained(timeout_s):
            connection.sock.settimeout(timeout_s)
            # Who refuses a large body may do so before all of it came, and hang up: there is an answer to be read.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body, dict(headers))
            with connection.getresponse() as answer:
                content = answer.read()
                found = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, found, content), not answer.will_close

    @contextlib.contextmanager
    def _explained(self, timeout_s: float) -> Iterator[None]:
        url = self._url.geturl()
        try:
            yield
        except TimeoutError as error:
            raise TimedOutError(
                f"{url} did not answer within {timeout_s:g} s",
                hint="a first request may wait for the model to be loaded: raise the client's timeout_s, or try again",
                url=url,
                may_have_run=True,
            ) from error
        except (OSError, http.client.IncompleteRead, http.client.RemoteDisconnected) as error:
            raise LostAnswerError(
                f"{url} closed the connection before the answer was there",
                hint="the model may have run: ask again only if that does no harm (Client(…, idempotent=True) does)",
                url=url,
                may_have_run=True,
            ) from error
        except http.client.HTTPException as error:
            raise UnexpectedAnswerError(
                f"what answers at {url} does not speak HTTP",
                hint="check the scheme, the host and the port of the URL",
                url=url,
                may_have_run=True,
            ) from error

    def _unreachable(self, error: Exception) -> UnreachableError:
        url = self._url.geturl()
        through = "" if self._proxy is None else f" through the proxy {self._proxy.hostname}"
        why, hint, may_pass = getattr(error, "strerror", None) or str(error), "check the network", True
        if isinstance(error, ssl.SSLCertVerificationError):
            why, may_pass = f"its certificate is not trusted ({error.verify_message})", False
            hint = "if a proxy signs the traffic, set AWS_CA_BUNDLE or SSL_CERT_FILE to its CA bundle"
        elif isinstance(error, ssl.SSLError):
            why, may_pass = f"TLS fails ({error.reason or error})", False
            hint = "is it an http:// URL?"
        elif isinstance(error, socket.gaierror):
            why, may_pass = f"the host {self._host if self._proxy is None else self._proxy.hostname} is unknown", False
            hint = "check the URL, and the network; `thampi info STAGE` prints the URL"
        elif isinstance(error, TimeoutError):
            why = f"nothing answers within {CONNECT_S:g} s"
        elif _REFUSED_BY_PROXY in why:  # asking again may lock the user out
            hint, may_pass = "the proxy's URL has to hold a user and a password that it knows", False
        failure = UnreachableError(f"{url} can't be reached{through}: {why}", hint=hint, url=url)
        failure.may_pass = may_pass
        return failure


def _has_something(sock: socket.socket | None) -> bool:
    """Say whether a connection on which nobody waits for anything has an end, or bytes that nobody asked for."""
    if sock is None:
        return True
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _trusted() -> ssl.SSLContext:
    try:
        return trust.context(os.environ)
    except BundleError as error:
        raise ConfigError(error.message, hint=error.hint) from error


def _proxy_for(host: str, port: int, scheme: str) -> SplitResult | None:
    """Return the proxy for a host, by the environment or the system's settings; this machine is behind none."""
    if host in _HERE or host.endswith(".localhost"):
        return None
    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    if not found or proxy_bypass(f"{host}:{port}"):
        return None
    proxy = urlsplit(found if "://" in found else f"http://{found}")
    if proxy.scheme != "http" or not proxy.hostname:
        raise ConfigError(
            f"the proxy for {scheme} URLs can't be used: its own URL has to begin with http://",
            hint=f"set {scheme.upper()}_PROXY=http://host:port, or name {host} in NO_PROXY",
        )
    return proxy


def _address(proxy: SplitResult) -> tuple[str, int]:
    return proxy.hostname or "", proxy.port or 80


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}
