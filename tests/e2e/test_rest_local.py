"""A REST API on the local AWS: called, signed, wrongly signed, asked from other sites, in the place of an HTTP API.

What plays AWS here serves methods as soon as they are written, and not from the next deployment on: that nobody sees
them before is shown in tests/aws/rest/test_api.py. It looks at signatures only where it is told to.
"""

import json
import secrets
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.e2e.test_least_privilege import enforcing_aws  # noqa: F401 - fixtures
from tests.e2e.test_push_local import (  # noqa: F401 - fixtures
    ask,
    new_project,
    result,
    shared_aws,
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

SITE = "https://app.example.com"
OPEN = 'api = { type = "rest" }'
SIGNED = 'api = { type = "rest", auth = "iam", cors = { origins = ["https://app.example.com"] } }'
STAGE = """
name = "{name}"
model_dir = "models/m"
region = "us-east-1"
bucket = "thampi-{name}"
endpoint_url = "{url}"
registry = "localhost:{port}"

[build]
dependency_file = "requirements.txt"

[stages.staging]
{stage}
"""
ROOT = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_SESSION_TOKEN": ""}
FROM_SITE = {"Content-Type": "application/json", "Origin": SITE}


def test_an_http_api_becomes_a_rest_api_when_it_is_asked_for_and_back(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws)
    old, _ = project.push()
    project.configure(OPEN)
    refused = project.thampi("push", "local")
    assert (refused.returncode, old in refused.stderr) == (2, True)
    new, said = project.push("--replace-endpoint")
    assert f"{old} answers no longer, {new} does" in said
    assert result(new) == ({"said": "x"}, project.instance_id)
    assert ask(old, {"data": "x"})[0] == 404
    apis = shared_aws.client("apigateway").get_rest_apis()["items"]
    assert [each["id"] in new for each in apis if each["name"] == project.function] == [True]

    info = json.loads(project.thampi("info", "local", "--json").stdout)
    assert (info["url"], info["endpoint"], info["auth"]) == (new, "rest", "none")
    predicted = project.thampi("predict", "local", "--data", '"y"')
    assert json.loads(predicted.stdout)["result"] == {"said": "y"}, predicted.stderr
    listed = project.thampi("list")
    assert new in listed.stdout

    # Paths and methods are the handler's, whether they have a resource of their own or not.
    root = new.removesuffix(f"/{project.name}/predict")
    for path, method, status in (
        ("", "GET", 404),
        ("/elsewhere/predict", "POST", 404),
        (f"/{project.name}/nothing", "GET", 404),
        (f"/{project.name}/predict/more", "POST", 404),
        (f"/{project.name}/predict", "GET", 405),
        (f"/{project.name}/ping", "DELETE", 405),
        (f"/{project.name}/ping", "GET", 200),
        (f"/{project.name}", "GET", 200),
    ):
        got, body, headers = ask(root + path, None, method)
        assert got == status, (path, method, body)
        assert ("allow" in headers) == (status == 405)
        if status > 400:
            assert set(body["error"]) == {"type", "message", "request_id"}

    again, said = project.push()
    assert (again, "nothing has changed" in said) == (new, True)
    model = project.save('return {"new": args}')
    assert project.push()[0] == new
    assert result(new) == ({"new": "x"}, model)

    project.configure()
    back, said = project.push("--replace-endpoint")
    assert f"{new} answers no longer, {back} does" in said
    assert result(back) == ({"new": "x"}, model)
    assert ask(new, {"data": "x"})[0] == 404


def test_whom_it_lets_in_changes_and_pages_of_other_sites_see_all_of_it(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws, OPEN)
    url, _ = project.push()
    assert "access-control-allow-origin" not in ask(url, {"data": "x"}, headers=FROM_SITE)[2]

    project.configure(SIGNED)
    assert project.push()[0] == url
    status, said, headers = ask(url, {"data": "x"}, headers=FROM_SITE)
    assert (status, said) == (403, {"message": "Missing Authentication Token"})
    assert headers["access-control-allow-origin"] == SITE
    signed = project.thampi("predict", "local", "--data", '"z"')
    assert (signed.returncode, json.loads(signed.stdout)["result"]) == (0, {"said": "z"}), signed.stderr
    # A browser asks first, and doesn't sign that.
    asks = {"Origin": SITE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for path in ("predict", "ping"):
        status, _, headers = ask(url.replace("predict", path), None, "OPTIONS", asks)
        assert (status // 100, headers["access-control-allow-origin"]) == (2, SITE), path

    project.configure(OPEN)
    assert project.push()[0] == url
    assert result(url)[0] == {"said": "x"}
    assert "access-control-allow-origin" not in ask(url, {"data": "x"}, headers=FROM_SITE)[2]
    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert ask(url, {"data": "x"})[0] == 404
    assert project.function not in [each["name"] for each in shared_aws.client("apigateway").get_rest_apis()["items"]]


def sent(url, credentials):
    """Ask for a prediction, signed by these; the status, what was answered, its headers."""
    request = AWSRequest("POST", url, data=b'{"data": "x"}', headers=FROM_SITE)
    if credentials is not None:
        SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    asked = urllib.request.Request(url, request.data, dict(request.headers.items()))
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.loads(refusal.read()), refusal.headers


def test_only_those_are_let_in_who_sign_and_may(new_project, enforcing_aws):  # noqa: F811
    project = new_project(enforcing_aws)
    settings = STAGE.format(name=project.name, url=enforcing_aws.endpoint_url, port=enforcing_aws.port, stage=SIGNED)
    (project.folder / "thampi.toml").write_text(settings)
    done = project.thampi("push", "staging", **ROOT)
    assert done.returncode == 0, done.stderr
    api_id = done.stdout.split("//")[1].split(".")[0]
    url = f"{enforcing_aws.endpoint_url}/_aws/execute-api/{api_id}/staging/{project.name}/predict"

    iam, keys = enforcing_aws.client("iam"), {}
    for who in ("caller", "other"):
        name = f"{who}-{secrets.token_hex(4)}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        keys[who] = Credentials(key["AccessKeyId"], key["SecretAccessKey"])
        resource = f"arn:aws:execute-api:us-east-1:*:{api_id}/staging/POST/{project.name}/predict"
        may = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
        if who == "caller":
            document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
            iam.put_user_policy(UserName=name, PolicyName="call", PolicyDocument=document)

    status, said, _ = sent(url, keys["caller"])
    assert (status, said.get("result")) == (200, {"said": "x"}), said
    forged = Credentials(keys["caller"].access_key, secrets.token_hex(20))
    for refused in (forged, None):
        status, said, headers = sent(url, refused)
        assert (status, headers["Access-Control-Allow-Origin"]) == (403, SITE), said
    # Who signs and may not is refused here before anything of the gateway is asked: without what browsers want to see.
    status, said, _ = sent(url, keys["other"])
    assert (status, said["__type"]) == (403, "AccessDeniedException")
    gone = project.thampi("destroy", "staging", "--yes", "--all", **ROOT)
    assert gone.returncode == 0, gone.stderr
