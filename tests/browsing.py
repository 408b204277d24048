"""Pages of other sites, in a browser, that call an endpoint and say what came of it."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from playwright.sync_api import Browser, Page

# What a site's own script does.
_ASK = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return {status: answer.status, body: await answer.text(), headers: Object.fromEntries(answer.headers)};
    } catch (error) {
        return {blocked: String(error)};
    }
}"""


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a site</title>")

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def site() -> Iterator[int]:
    """Serve an empty page; yield its port. At `localhost` and at `127.0.0.1` it has two origins."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def page_at(browser: Browser, origin: str) -> Iterator[Page]:
    """Open a page of an origin, in a browser that knows nothing of the others."""
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(origin)
        yield page
    finally:
        context.close()


def ask(page: Page, url: str, **options: Any) -> dict[str, Any]:
    """Have the page fetch; what it could read (status, body, headers), or `blocked` and why."""
    found: dict[str, Any] = page.evaluate(_ASK, [url, options])
    return found
