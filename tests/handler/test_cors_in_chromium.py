"""Other sites' pages that call the endpoint, in a real Chromium, which asks first and keeps from them what it must."""

import contextlib
import json

import pytest

from tests.browser import chromium
from tests.browsing import ask, page_at, site
from tests.handler import flowers
from tests.handler.browsing import serving
from tests.handler.inprocess import Tells, serve

pytestmark = pytest.mark.timeout(120)

JSON = {"content-type": "application/json", "x-api-key": "a-key"}


@pytest.fixture(scope="module")
def port():
    with site() as port:
        yield port


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def page_of(browser):
    """Open a page of an origin."""
    with contextlib.ExitStack() as opened:
        yield lambda origin: opened.enter_context(page_at(browser, origin))


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
    return ask(page, f"{url}/predict", method="POST", headers=headers, body=json.dumps({"data": data}), **options)


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
    assert "blocked" in ask(page, f"{url}/ping")
    assert "blocked" in ask(page, f"{url}/openapi.json")
    assert ask(page_of(f"http://localhost:{port}"), f"{url}/ping")["status"] == 200


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
    assert ask(page, f"{url}/train", method="POST", headers=JSON, body="{}")["status"] == 404


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
    assert ask(page, f"{url}/ping")["status"] == 200


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
