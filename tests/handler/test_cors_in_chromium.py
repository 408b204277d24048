"""Other sites' pages that call the endpoint, in a real Chromium: it asks first, and keeps what isn't theirs from them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browser import chromium
from tests.handler import flowers
from tests.handler.browsing import serving
from tests.handler.inprocess import Tells, serve

pytestmark = pytest.mark.timeout(120)

# What a site's own script does: ask, and say what came of it.
ASK = """async ([url, options]) => {
    try {
        const answer = await fetch(url, options);
        return {
            status: answer.status,
            body: await answer.text(),
            headers: Object.fromEntries(answer.headers),
        };
    } catch (error) {
        return {blocked: String(error)};
    }
}"""
JSON = {"content-type": "application/json", "x-api-key": "a-key"}


class Site(BaseHTTPRequestHandler):
    """An empty page, of whichever origin one reaches it by."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>a site</title>")

    def log_message(self, *of):
        pass


@pytest.fixture(scope="module")
def port():
    """The port of a site that is `http://localhost:…` to some and `http://127.0.0.1:…` to others: two origins."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page_of(browser):
    """Open a page of an origin."""
    opened = []

    def open_(origin):
        context = browser.new_context()
        opened.append(context)
        page = context.new_page()
        page.goto(origin)
        return page

    yield open_
    for context in opened:
        context.close()


def cors(**changes):
    said = {"methods": ["GET", "POST"], "headers": ["content-type", "x-api-key"], "credentials": False, "max_age_s": 0}
    return json.dumps(said | changes)


@pytest.fixture
def endpoint(port):
    """Serve a model that lets the page at localhost in, or what is said; its address, and what it was asked."""
    running, asked = [], []

    def start(environ=None, **changes):
        def tell(args, context):
            asked.append(dict(context.headers))
            return flowers.ANSWER

        said = cors(**{"origins": [f"http://localhost:{port}"], **changes})
        context = serving(serve(Tells(tell), flowers.about(), THAMPI_CORS=said, **(environ or {})))
        running.append(context)
        return context.__enter__(), asked

    yield start
    for context in running:
        context.__exit__(None, None, None)


def post(page, url, data=flowers.EXAMPLE, headers=JSON, **options):
    body = json.dumps({"data": data})
    return page.evaluate(ASK, [f"{url}/predict", {"method": "POST", "headers": headers, "body": body, **options}])


def test_a_page_of_an_allowed_origin_asks_with_json_and_a_key_after_its_preflight(page_of, endpoint, port):
    url, asked = endpoint()
    page = page_of(f"http://localhost:{port}")
    answer = post(page, url)
    assert answer["status"] == 200
    assert json.loads(answer["body"])["result"] == flowers.ANSWER
    assert asked[0]["x-api-key"] == "a-key"
    assert answer["headers"]["x-request-id"]


def test_a_page_of_another_origin_is_refused_by_its_browser_before_the_model_is_asked(page_of, endpoint, port):
    url, asked = endpoint()
    assert "blocked" in post(page_of(f"http://127.0.0.1:{port}"), url)
    assert asked == []


def test_a_page_of_another_origin_that_needs_no_preflight_cannot_read_the_answer(page_of, endpoint, port):
    url, _ = endpoint()
    page = page_of(f"http://127.0.0.1:{port}")
    assert "blocked" in page.evaluate(ASK, [f"{url}/ping", {}])
    assert "blocked" in page.evaluate(ASK, [f"{url}/openapi.json", {}])
    assert page_of(f"http://localhost:{port}").evaluate(ASK, [f"{url}/ping", {}])["status"] == 200


@pytest.mark.parametrize(
    ("data", "headers", "status", "kind"),
    [
        ({"input": [1]}, JSON, 422, "invalid_data"),
        (flowers.EXAMPLE, {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ],
)
def test_an_allowed_page_reads_what_it_did_wrong(page_of, endpoint, port, data, headers, status, kind):
    url, _ = endpoint()
    answer = post(page_of(f"http://localhost:{port}"), url, data, headers)
    assert answer["status"] == status
    assert json.loads(answer["body"])["error"]["type"] == kind


def test_an_allowed_page_reads_that_nothing_is_at_a_path(page_of, endpoint, port):
    url, _ = endpoint()
    page = page_of(f"http://localhost:{port}")
    assert page.evaluate(ASK, [f"{url}/train", {"method": "POST", "headers": JSON, "body": "{}"}])["status"] == 404


@pytest.mark.parametrize("headers", [{"x-other": "1"}, {"authorization": "Bearer a"}])
def test_a_header_that_is_not_allowed_is_refused_by_the_browser(page_of, endpoint, port, headers):
    url, asked = endpoint()
    assert "blocked" in post(page_of(f"http://localhost:{port}"), url, headers=JSON | headers)
    assert asked == []


@pytest.mark.parametrize("headers", [{"x-other": "1"}, {"authorization": "Bearer a"}])
def test_where_every_header_is_allowed_a_token_is_too(page_of, endpoint, port, headers):
    url, asked = endpoint(headers=["*"])
    assert post(page_of(f"http://localhost:{port}"), url, headers=JSON | headers)["status"] == 200
    assert headers.items() <= asked[0].items()


def test_every_page_may_call_where_every_origin_is_allowed(page_of, endpoint, port):
    url, _ = endpoint(origins=["*"])
    assert post(page_of(f"http://127.0.0.1:{port}"), url)["status"] == 200
    assert "blocked" in post(page_of(f"http://127.0.0.1:{port}"), url, credentials="include")


def test_with_credentials_a_page_of_an_allowed_origin_sends_them_and_without_it_is_refused(page_of, endpoint, port):
    allowing, _ = endpoint(credentials=True)
    refusing, _ = endpoint()
    page = page_of(f"http://localhost:{port}")
    assert post(page, allowing, credentials="include")["status"] == 200
    assert "blocked" in post(page, refusing, credentials="include")


def test_a_method_that_is_not_allowed_is_refused_although_browsers_think_it_harmless(page_of, endpoint, port):
    url, asked = endpoint(methods=["GET"])
    page = page_of(f"http://localhost:{port}")
    assert "blocked" in post(page, url)
    assert asked == []
    assert page.evaluate(ASK, [f"{url}/ping", {}])["status"] == 200


def test_a_page_reads_whether_its_answer_had_been_kept_and_how_old_it_is(page_of, endpoint, port):
    url, asked = endpoint(environ={"THAMPI_CACHE": "ttl_s=60,size_mb=1"})
    page = page_of(f"http://localhost:{port}")
    first, second = post(page, url), post(page, url)
    assert (first["headers"]["x-thampi-cache"], second["headers"]["x-thampi-cache"]) == ("miss", "hit")
    assert second["headers"]["age"] == "0"
    assert len(asked) == 1


def test_the_endpoints_own_page_still_works(page_of, endpoint):
    url, _ = endpoint()
    page = page_of(url)
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector("#status b")
    assert page.inner_text("#status").startswith("200 OK")
