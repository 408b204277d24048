"""An endpoint before its model, and bodies that are checked before the function: on the local AWS, asked with curl.

What plays AWS here writes no detail into a refusal, checks a body of whatever type by the model for JSON, and looks at
no template of Velocity: what AWS makes of those is shown in tests/aws/rest.
"""

import json
import subprocess

import pytest

from tests.e2e.test_push_local import ended, new_project, shared_aws  # noqa: F401 - fixtures

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

RESULT = {"label": "setosa $input.body #set($x=1) ü", "score": 0.1, "n": 12345678901234567}
MOCK = """
[stages.local.api]
type = "rest"
{auth}
mock = true
mock_result = {{ label = "setosa $input.body #set($x=1) ü", score = 0.1, n = 12345678901234567 }}
cors.origins = ["https://app.example.com"]
"""
CHECKED = """
import thampi

class M(thampi.Model):
    def predict(self, data: {hint}, context) -> dict:
        return {{"was": data}}

thampi.save(M(), "m", "models", example={example})
"""


def curl(url, body=None, *, method="POST", **headers):
    """Ask as anybody would: the status, the body, the headers in small letters."""
    words = ["curl", "--silent", "--max-time", "60", "--request", method, "--dump-header", "-", url]
    words += ["--data-binary", "@-"] if body is not None else []
    for name, value in {"Content-Type": "application/json", **headers}.items():
        words += ["--header", f"{name.replace('_', '-')}: {value}"]
    done = subprocess.run(words, input=body, capture_output=True, text=True, check=True)
    head, _, said = done.stdout.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.split("\n")
    found = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), json.loads(said) if said.strip() else None, found


def save(project, hint, example):
    """Save a model with a hint; return its instance id."""
    (project.folder / "train.py").write_text(CHECKED.format(hint=hint, example=example))
    done = ended(project.aws.start(cwd=project.folder, python=["train.py"]))
    assert done.returncode == 0, done.stderr
    return project.instance_id


def lines(project):
    """Count the requests that the function has noted."""
    done = project.thampi("logs", "local", "--since", "1h")
    assert done.returncode == 0, done.stderr
    return done.stdout.count('"route":"predict"')


def test_an_example_answers_until_the_model_is_there_at_the_same_url(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, MOCK.format(auth=""))
    for path in ("models", "train.py", "requirements.txt"):  # there is nothing to build or to release
        subprocess.run(["rm", "-rf", project.folder / path], check=True)
    dry = project.thampi("push", "local", "--dry-run", "--json")
    assert (dry.returncode, json.loads(dry.stdout)["url"]) == (0, ""), dry.stderr
    url, _ = project.push()
    status, answer, headers = curl(url, '{"data": [1, 2]}', Origin="https://app.example.com")
    assert status == 200
    assert answer["result"] == RESULT
    assert answer["properties"]["mock"] is True
    assert headers["access-control-allow-origin"] == "https://app.example.com"
    about, ping = url.removesuffix("/predict"), url.replace("/predict", "/ping")
    assert curl(ping, method="GET")[:2] == (200, {"ping": "pong"})
    assert curl(about, method="GET")[1] == {"name": project.name, "stage": "local", "mock": True}
    assert curl(f"{about}/nothing", method="GET")[0] == 404
    assert curl(url, method="GET")[1]["error"]["type"] == "method_not_allowed"
    assert curl(url, "a,b", Content_Type="text/csv")[0] == 415
    status, _, headers = curl(url, method="OPTIONS", Origin="https://app.example.com")
    assert (status, headers["access-control-allow-methods"]) == (204, "GET,POST")
    assert "x-api-key" in headers["access-control-allow-headers"]

    names = [each["FunctionName"] for each in shared_aws.client("lambda").list_functions()["Functions"]]
    assert project.function not in names
    roles = [each["RoleName"] for each in shared_aws.client("iam").list_roles()["Roles"]]
    assert not [each for each in roles if project.name in each]
    predicted = project.thampi("predict", "local", "--data", '"y"')
    assert (predicted.returncode, json.loads(predicted.stdout)["result"]["score"]) == (0, 0.1)
    assert project.thampi("predict", "local", "--data", '"y"', "--direct").returncode == 2
    info = json.loads(project.thampi("info", "local", "--json").stdout)
    assert (info["url"], info["mock"]) == (url, True)
    (state,) = json.loads(project.thampi("list", "--json").stdout)
    assert (state["state"], state["url"]) == ("mock", url)
    again, said = project.push()
    assert (again, "nothing has changed" in said) == (url, True)

    project.configure(MOCK.format(auth='auth = "api_key"'))
    assert project.push()[0] == url
    assert curl(url, '{"data": 1}')[0] == 403
    key = project.thampi("keys", "local", "create", "me").stdout.strip()
    assert curl(url, '{"data": 1}', x_api_key=key)[1]["result"]["score"] == 0.1

    model = save(project, "float", "1.5")
    (project.folder / "requirements.txt").write_text("")
    project.configure('api = { type = "rest" }')
    assert project.push()[0] == url
    status, answer, _ = curl(url, '{"data": 2.5}')
    assert (status, answer["result"], answer["properties"]["instance_id"]) == (200, {"was": 2.5}, model)
    assert "mock" not in answer["properties"]

    project.configure('api = { type = "rest", mock = true }')  # what the saved model has answered to its example
    back, said = project.push()
    assert (back, "version 1 stays, and gets no calls" in said) == (url, True)
    assert curl(url, '{"data": 2.5}')[1]["result"] == {"was": 1.5}
    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert curl(url, '{"data": 1}')[0] in (403, 404)


def test_without_an_example_it_is_said_what_to_write(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, 'api = { type = "rest", mock = true }')
    refused = project.thampi("push", "local")
    assert refused.returncode == 2
    assert "mock_result = { label" in refused.stderr


def test_a_wrong_body_gets_a_422_and_the_function_hears_nothing_of_it(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, 'api = { type = "rest" }')
    save(project, "dict[str, list[float]] | float", "1.5")
    url, _ = project.push()
    before = lines(project)
    for body in ('{"data": "x"}', '{"input": 1}', "[1]", "no json"):
        status, said, _ = curl(url, body)
        assert (status, said["error"]["type"]) == (422, "invalid_data"), body
    assert lines(project) == before
    assert curl(url, '{"data": 2.5}')[1]["result"] == {"was": 2.5}
    status, said, _ = curl(url, '{"data": {"a": "x"}}')  # what only the handler knows
    assert (status, said["error"]["mistakes"][0]["path"]) == (422, "/data/a")
    assert lines(project) == before + 2

    save(project, "str", '"x"')  # what was wrong is right, and what was right is wrong
    assert project.push()[0] == url
    assert curl(url, '{"data": "x"}')[1]["result"] == {"was": "x"}
    assert curl(url, '{"data": 2.5}')[0] == 422
    rolled = project.thampi("rollback", "local")
    assert rolled.returncode == 0, rolled.stderr
    assert curl(url, '{"data": 2.5}')[1]["result"] == {"was": 2.5}
    assert curl(url, '{"data": "x"}')[0] == 422

    project.configure('api = { type = "rest", validate = false }')
    project.push()
    seen = lines(project)
    assert curl(url, '{"data": 2.5}')[0] == 422  # by the handler
    assert lines(project) == seen + 1
