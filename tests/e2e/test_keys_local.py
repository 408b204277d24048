"""API keys on the local AWS, asked with curl: who has one gets in, as often as the plan says, until it is revoked."""

import json
import subprocess

import pytest

from tests.e2e.test_push_local import ended, new_project, shared_aws  # noqa: F401 - fixtures

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

KEYS = 'api = { type = "rest", auth = "api_key" }'
PLAN = 'api = { type = "rest", auth = "api_key", plan = { quota = 5, period = "day" } }'
SLOW = 'api = { type = "rest", auth = "api_key", plan = { rate_per_s = 0.01, burst = 2 } }'
ASK = """
import thampi

with thampi.Client(stage="local") as client:
    print(client.predict("from python")["said"])
"""


def curl(url, key=None):
    """Ask as anybody would: the status and the body."""
    words = ["curl", "--silent", "--max-time", "60", "--data", '{"data": "x"}', "--write-out", "\n%{http_code}"]
    words += ["--header", "Content-Type: application/json"]
    if key is not None:
        words += ["--header", "@-"]
    done = subprocess.run(
        [*words, url], input=None if key is None else f"x-api-key: {key}", capture_output=True, text=True, check=True
    )
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def keys(project, *words):
    done = project.thampi("keys", "local", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_who_has_a_key_gets_in_until_it_is_revoked(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, KEYS)
    early = keys(project, "create", "early")  # before there is anything to call
    url, _ = project.push()
    late = keys(project, "create", "late")
    assert [each["label"] for each in json.loads(keys(project, "list", "--json"))] == ["early", "late"]
    assert early not in keys(project, "list")

    assert curl(url) == (403, {"message": "Forbidden"})
    assert curl(url, "x" * 40) == (403, {"message": "Forbidden"})
    for key in (early, late):
        status, said = curl(url, key)
        assert (status, said["result"]) == (200, {"said": "x"})
    assert keys(project, "show", "late") == late

    # Who may ask AWS needs no key at hand; who has one in the variable needs nobody to ask.
    predicted = project.thampi("predict", "local", "--data", '"y"')
    assert (predicted.returncode, json.loads(predicted.stdout)["result"]) == (0, {"said": "y"}), predicted.stderr
    (project.folder / "ask.py").write_text(ASK)
    asked = ended(shared_aws.start(cwd=project.folder, python=["ask.py"]))
    assert asked.stdout == "from python\n", asked.stderr
    wrong = project.thampi("predict", "local", "--data", '"y"', THAMPI_API_KEY="x" * 40)
    assert wrong.returncode == 6
    assert "answered 403: Forbidden" in wrong.stderr
    assert "x" * 40 not in wrong.stderr

    assert keys(project, "revoke", "early", "--yes") == "early"
    assert curl(url, early) == (403, {"message": "Forbidden"})
    assert curl(url, late)[0] == 200
    assert keys(project, "revoke", "late", "--yes") == "late"
    without = project.thampi("predict", "local", "--data", '"y"')
    assert without.returncode == 5
    assert "hint: thampi keys local create me makes one" in without.stderr


def test_the_plan_bounds_each_key_by_itself_and_can_be_changed(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, PLAN)
    url, _ = project.push()
    anna, ben = keys(project, "create", "anna"), keys(project, "create", "ben")
    assert [curl(url, anna)[0] for _ in range(6)] == [200] * 5 + [429]
    assert curl(url, anna) == (429, {"message": "Limit Exceeded"})
    assert curl(url, ben)[0] == 200
    used_up = project.thampi("predict", "local", "--data", '"y"', THAMPI_API_KEY=anna)
    assert used_up.returncode == 6
    assert "answered 429: Limit Exceeded" in used_up.stderr
    assert "hint: wait for the next period" in used_up.stderr

    project.configure(SLOW)
    assert project.push()[0] == url
    # No quota any more, and 2 at once: the third has to wait.
    assert [curl(url, anna) for _ in range(3)][2] == (429, {"message": "Too Many Requests"})
    assert curl(url, ben)[0] == 200

    project.configure('api = { type = "rest" }')
    assert project.push()[0] == url
    assert curl(url)[0] == 200
    # Nothing is lost: who had a key is let in by it when keys are asked for again.
    project.configure(KEYS)
    assert project.push()[0] == url
    assert (curl(url)[0], curl(url, anna)[0], curl(url, ben)[0]) == (403, 200, 200)


def test_destroy_takes_keys_and_plan(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, KEYS)
    keys(project, "create", "anna")
    url, _ = project.push()
    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert "API keys" in gone.stderr
    client = shared_aws.client("apigateway")
    names = [each["name"] for each in client.get_api_keys()["items"] + client.get_usage_plans()["items"]]
    assert [name for name in names if name.startswith(project.function)] == []
    assert curl(url)[0] in (403, 404)
