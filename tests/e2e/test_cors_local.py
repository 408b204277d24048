"""Pages of other sites that call an endpoint on the local AWS, in a real Chromium.

A REST API, where the function itself says who may call, and an HTTP API, where the gateway does.
"""

import json

import pytest

from tests.browser import chromium
from tests.browsing import ask, page_at, site
from tests.e2e.test_push_local import new_project, shared_aws  # noqa: F401 - fixtures

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def port():
    with site() as port:
        yield port


def post(page, url, headers=JSON, body='{"data": "x"}'):
    return ask(page, url, method="POST", headers=headers, body=body)


def test_of_a_rest_api_that_asks_for_keys_an_allowed_page_reads_answers_and_refusals(
    new_project,  # noqa: F811
    shared_aws,  # noqa: F811
    browser,
    port,
):
    origins = [f"http://localhost:{port}", "https://app.example.com"]
    settings = (
        f'type = "rest", auth = "api_key", cors = {{ origins = {json.dumps(origins)} }}, cache = {{ ttl_s = 60 }}'
    )
    project = new_project(shared_aws, f"api = {{ {settings} }}")
    url, _ = project.push()
    made = project.thampi("keys", "local", "create", "the-page")
    assert made.returncode == 0, made.stderr
    key = {**JSON, "x-api-key": made.stdout.strip()}

    with page_at(browser, f"http://localhost:{port}") as page:
        first, second = post(page, url, key), post(page, url, key)
        assert (first["status"], json.loads(first["body"])["result"]) == (200, {"said": "x"})
        assert (first["headers"]["x-thampi-cache"], second["headers"]["x-thampi-cache"]) == ("miss", "hit")
        wrong = post(page, url, key, "{}")
        assert (wrong["status"], json.loads(wrong["body"])["error"]["type"]) == (400, "no_data")
        # The gateway's own refusal, of a request that never gets to the function.
        assert post(page, url)["status"] == 403
        assert "blocked" in post(page, url, {**key, "x-other": "1"})

    with page_at(browser, f"http://127.0.0.1:{port}") as foreign:
        assert "blocked" in post(foreign, url, key)


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_of_an_endpoint_without_auth_only_allowed_pages_read_what_it_answers(
    new_project,  # noqa: F811
    shared_aws,  # noqa: F811
    browser,
    port,
    kind,
):
    project = new_project(
        shared_aws, f'api = {{ type = "{kind}", cors = {{ origins = ["http://localhost:{port}"] }} }}'
    )
    url, _ = project.push()
    with page_at(browser, f"http://localhost:{port}") as page:
        said = post(page, url)
        assert (said["status"], json.loads(said["body"])["result"]) == (200, {"said": "x"})
        assert said["headers"]["x-request-id"]
        wrong = post(page, url, body="{")
        assert (wrong["status"], json.loads(wrong["body"])["error"]["type"]) == (400, "not_json")
        assert ask(page, url.removesuffix("predict") + "ping")["status"] == 200
        assert "blocked" in post(page, url, {**JSON, "x-other": "1"})
    with page_at(browser, f"http://127.0.0.1:{port}") as foreign:
        assert "blocked" in post(foreign, url)
        assert "blocked" in ask(foreign, url.removesuffix("predict") + "ping")

    project.configure(f'api = {{ type = "{kind}" }}')
    assert project.push()[0] == url
    with page_at(browser, f"http://localhost:{port}") as page:
        assert "blocked" in post(page, url)
