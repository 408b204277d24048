"""The way to a host: straight, or through the proxy that HTTPS_PROXY names and NO_PROXY doesn't except."""

import socket
from collections.abc import Mapping

from thampi.errors import BundleError
from thampi.runtime.endpoint import Endpoint

_LONGEST_HEAD = 16 * 1024


def connect(place: Endpoint, environ: Mapping[str, str], timeout_s: float) -> socket.socket:
    """Return a socket whose other end is the host; raises OSError when it can't be reached."""
    proxy = proxy_for(place, environ)
    if not proxy:
        return socket.create_connection((place.host, place.port), timeout_s)
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise BundleError("HTTPS_PROXY names no proxy that can be used", hint="set one like http://proxy:3128")
    host = f"[{place.host}]" if ":" in place.host else place.host
    lines = [f"CONNECT {host}:{place.port} HTTP/1.1", f"Host: {host}:{place.port}"]
    if parts.username is not None:
        import base64

        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(words.encode()).decode()}")
    sock = socket.create_connection((parts.hostname, parts.port or 80), timeout_s)
    try:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        _check_accepted(sock, f"{parts.hostname}:{parts.port or 80}")
    except BaseException:
        sock.close()
        raise
    return sock


def proxy_for(place: Endpoint, environ: Mapping[str, str]) -> str:
    """Return the URL of the proxy to take; "" for none. What is not encrypted goes straight, as boto3's would not."""
    proxy = environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
    if not place.tls or not proxy:
        return ""
    for word in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(","):
        name = word.strip().lower().removeprefix("*").removeprefix(".")
        if word.strip() == "*" or (name and (place.host == name or place.host.endswith(f".{name}"))):
            return ""
    return proxy


def _check_accepted(sock: socket.socket, proxy: str) -> None:
    head = b""
    while b"\r\n\r\n" not in head:  # the host behind it says nothing before we do: no byte too many is read
        piece = sock.recv(4096)
        if not piece or len(head) > _LONGEST_HEAD:
            raise ConnectionError(f"the proxy {proxy} closed the connection")
        head += piece
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) < 2 or words[1] != b"200":
        said = b" ".join(words[1:])[:80].decode("ascii", "replace")
        raise ConnectionError(f"the proxy {proxy} answered {said}")
