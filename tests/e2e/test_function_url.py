"""Function URLs on the local AWS: called, signed, in the place of an API, longer than a gateway waits, and large.

What plays AWS here lets any signature in, and asks for no permission: that both of Lambda's are there is shown in
tests/aws/test_function_url.py.
"""

import json

import pytest

from tests.e2e.test_push_local import (  # noqa: F401 - fixtures
    ask,
    new_project,
    result,
    shared_aws,
)

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

URL = 'api = { type = "url" }'
LIMIT = 6_291_556  # bytes of a whole response, as Lambda and its emulator count them


def test_an_api_becomes_a_function_url_when_it_is_asked_for_and_back(new_project, shared_aws):  # noqa: F811
    project = new_project(shared_aws)
    old, _ = project.push()
    project.configure(URL)
    refused = project.thampi("push", "local")
    assert refused.returncode == 2
    assert old in refused.stderr
    assert "thampi push local --replace-endpoint" in refused.stderr
    assert result(old) == ({"said": "x"}, project.instance_id)

    new, said = project.push("--replace-endpoint")
    assert "/_aws/lambda-url/" in new
    assert new.endswith(f"/{project.name}/predict")
    assert f"{old} answers no longer, {new} does" in said
    assert result(new) == ({"said": "x"}, project.instance_id)
    assert ask(old, {"data": "x"})[0] == 404
    apis = shared_aws.client("apigatewayv2").get_apis()["Items"]
    assert project.function not in [each["Name"] for each in apis]

    info = json.loads(project.thampi("info", "local", "--json").stdout)
    assert (info["url"], info["endpoint"], info["auth"]) == (new, "url", "none")
    for way in ((), ("--direct",)):
        predicted = project.thampi("predict", "local", "--data", '"y"', *way)
        assert predicted.returncode == 0, predicted.stderr
        assert json.loads(predicted.stdout)["result"] == {"said": "y"}

    again, said = project.push()
    assert (again, "nothing has changed" in said) == (new, True)
    model = project.save('return {"new": args}')
    assert project.push()[0] == new
    assert result(new) == ({"new": "x"}, model)

    project.configure('api = { type = "url", auth = "iam" }')
    assert project.push()[0] == new
    status, said, _ = ask(new, {"data": "x"})
    assert (status, said) == (403, {"Message": "Forbidden"})
    signed = project.thampi("predict", "local", "--data", '"z"')
    assert (signed.returncode, json.loads(signed.stdout)["result"]) == (0, {"new": "z"}), signed.stderr

    project.configure()
    back, said = project.push("--replace-endpoint")
    assert "/_aws/execute-api/" in back
    assert f"{new} answers no longer, {back} does" in said
    assert result(back) == ({"new": "x"}, model)
    gone = project.thampi("destroy", "local", "--yes")
    assert gone.returncode == 0, gone.stderr
    assert ask(back, {"data": "x"})[0] == 404


def test_a_function_url_waits_longer_than_a_gateway_and_says_what_is_too_large(new_project, shared_aws):  # noqa: F811
    body = (
        "import time",
        "asked = args if isinstance(args, dict) else {}",
        "time.sleep(asked.get('seconds', 0))",
        "return 'x' * asked.get('bytes', 0)",
    )
    project = new_project(shared_aws, f"{URL}\ntimeout_s = 60", body)
    url, _ = project.push()
    assert ask(url, {"data": {"seconds": 32}})[0] == 200

    # The emulator and the handler count alike: down to the byte there is no answer in between.
    fits, over, refusal = 0, LIMIT, {}
    while over - fits > 1:
        middle = (fits + over) // 2
        status, said, _ = ask(url, {"data": {"bytes": middle}})
        if status == 200:
            assert len(said["result"]) == middle
            fits = middle
        else:
            assert (status, said["error"]["type"]) == (413, "too_large")
            over, refusal = middle, said["error"]
    assert f"has {LIMIT + 1:,} bytes as Lambda counts it, and the limit is {LIMIT:,}" in refusal["message"]

    direct = project.thampi("predict", "local", "--data", json.dumps({"bytes": LIMIT}), "--direct")
    assert direct.returncode == 6
    assert "as Lambda counts it" in direct.stderr
