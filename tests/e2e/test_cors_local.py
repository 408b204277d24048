"""Pages of other sites that call an endpoint on the local AWS, in a real Chromium.

Of a REST API the function itself says who may call; of the others, what stands in front of it.
"""

import json

import pytest

from tests.browser import chromium
from tests.browsing import ask, page_at, site
from tests.e2e.test_push_local import new_project, shared_aws  # noqa: F401 - fixtures

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

JSON = {"content-type": "application/json"}


def post(page, url, headers=JSON, body='{"data": "x"}'):
    return ask(page, url, method="POST", headers=headers, body=body)


def result(answer):
    assert answer["status"] == 200, answer
    return json.loads(answer["body"])["result"]


def test_of_endpoints_of_every_type_allowed_pages_alone_read_answers_and_refusals(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws)
    with site() as port, chromium() as browser:
        at_home, elsewhere = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
        cors = f'cors = {{ origins = ["{at_home}", "https://app.example.com"] }}'
        for kind in ("http", "url", "rest"):
            project.configure(f'api = {{ type = "{kind}", {cors} }}')
            url, _ = project.push("--replace-endpoint")
            with page_at(browser, at_home) as page:
                said = post(page, url)
                assert (result(said), bool(said["headers"]["x-request-id"])) == ({"said": "x"}, True)
                wrong = post(page, url, body="{")
                assert (wrong["status"], json.loads(wrong["body"])["error"]["type"]) == (400, "not_json")
                assert ask(page, url.removesuffix("predict") + "ping")["status"] == 200
                assert "blocked" in post(page, url, {**JSON, "x-other": "1"})
            with page_at(browser, elsewhere) as foreign:
                assert "blocked" in post(foreign, url)
                assert "blocked" in ask(foreign, url.removesuffix("predict") + "ping")

        # A browser asks before its page does, and without the key.
        project.configure(f'api = {{ type = "rest", auth = "api_key", {cors}, cache = {{ ttl_s = 60 }} }}')
        assert project.push()[0] == url
        made = project.thampi("keys", "local", "create", "the-page")
        assert made.returncode == 0, made.stderr
        key = {**JSON, "x-api-key": made.stdout.strip()}
        with page_at(browser, at_home) as page:
            first, second = post(page, url, key), post(page, url, key)
            assert result(first) == result(second) == {"said": "x"}
            assert [each["headers"]["x-thampi-cache"] for each in (first, second)] == ["miss", "hit"]
            # The gateway's own refusal, of a request that never gets to the function.
            assert post(page, url)["status"] == 403
        with page_at(browser, elsewhere) as foreign:
            assert "blocked" in post(foreign, url, key)

        project.configure('api = { type = "rest" }')
        assert project.push()[0] == url
        with page_at(browser, at_home) as page:
            assert "blocked" in post(page, url)
