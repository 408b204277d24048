"""A prediction is asked for once, the way that a caller would, or straight through Lambda."""

import http.server
import json
import threading
from dataclasses import replace

import pytest

import thampi
from tests.operations.stand import BUCKET, REGION
from tests.operations.test_push import answer, broken
from thampi.asking.failures import UnreachableError
from thampi.config import Api
from thampi.errors import CloudError, ConfigError, PredictionError
from thampi.operations import predict


class _Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(json.loads(body))

    def do_GET(self):
        self._answer(None)

    def _answer(self, body):
        self.server.asked.append((self.path, dict(self.headers), body))
        status, text = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint():
    """What answers at the URL: `answer` is its status and body, `asked` what it heard."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        server.asked, server.answer = [], (200, '{"result": 6}')
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def local(stand, endpoint):
    """The stage `local`, whose URL leads to `endpoint`; its clients are there already and lead to moto."""
    stage = replace(stand.stage, stage="local")
    aws = replace(stand.place.aws, endpoint_url=f"http://127.0.0.1:{endpoint.server_port}")

    def make(**more):
        pushed = stand.push(replace(stage, **more))
        path = f"/_aws/execute-api/{pushed.url.split('//')[1].split('.')[0]}/local/scale/predict"
        return replace(stage, **more), replace(stand.place, aws=aws), path

    return make


def test_the_url_is_asked_as_the_tutorial_does(local, endpoint):
    stage, place, path = local()
    assert predict.through_url(stage, place, {"input": 3}) == {"result": 6}
    ((asked, headers, body),) = endpoint.asked
    assert (asked, body) == (path, {"data": {"input": 3}})
    assert headers["Content-Type"] == "application/json"
    assert "Authorization" not in headers


def test_an_endpoint_for_aws_identities_gets_a_signed_request(local, endpoint):
    stage, place, _ = local(api=Api(auth="iam"))
    assert predict.through_url(stage, place, 1) == {"result": 6}
    ((_, headers, body),) = endpoint.asked
    assert body == {"data": 1}
    assert "AWS4-HMAC-SHA256 Credential=testing/" in headers["Authorization"]
    assert "/eu-central-1/execute-api/aws4_request" in headers["Authorization"]
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("status", "body", "said", "hint"),
    [
        (400, '{"error": {"type": "BadRequest", "message": "no such flower"}}', "answered 400: no such flower", None),
        (500, '{"error": {"type": "ModelFailed", "message": "it failed"}}', "answered 500: it failed", "thampi logs"),
        (503, '{"message": "Service Unavailable"}', "answered 503: Service Unavailable", "thampi logs"),
        (403, '{"message": "Forbidden"}', "answered 403: Forbidden", 'auth = "iam"'),
        (502, "<html><p>Bad gateway", "answered 502: Bad gateway", "thampi logs"),
        (502, "[1]", "answered 502: [1]", "thampi logs"),
        (500, '{"error": "it"}', 'answered 500: {"error": "it"}', "thampi logs"),
    ],
)
def test_what_the_endpoint_refuses_is_said_and_not_asked_again(local, endpoint, status, body, said, hint):
    stage, place, _ = local()
    endpoint.answer = status, body
    with pytest.raises(PredictionError) as refused:
        predict.through_url(stage, place, 1)
    assert said in refused.value.message
    assert (refused.value.hint is None) if hint is None else (hint in refused.value.hint)
    assert refused.value.exit_code == 6
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_nobody_answers_at_ends_as_a_failure_of_the_cloud_does(local):
    stage, place, _ = local()
    nowhere = replace(place, aws=replace(place.aws, endpoint_url="http://127.0.0.1:1"))
    with pytest.raises(UnreachableError, match="can't be reached") as refused:
        predict.through_url(stage, nowhere, 1)
    assert refused.value.hint == "check the network"
    assert refused.value.exit_code == CloudError.exit_code


def test_a_client_of_a_stage_finds_its_endpoint_by_the_project_of_its_folder(stand, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    said = f'name = "scale"\n[stages.staging]\nregion = "{REGION}"\nbucket = "{BUCKET}"\ntimeout_s = 7\n'
    (tmp_path / "thampi.toml").write_text(said)
    with pytest.raises(CloudError, match="scale has no endpoint in stage staging"):
        thampi.Client(stage="staging")
    pushed = stand.push()
    with thampi.Client(stage="staging") as client:
        assert f"{client.url}/predict" == pushed.url
        assert client.timeout_s == 22
    assert thampi.Client(stage="staging", timeout_s=3).timeout_s == 3
    with pytest.raises(ConfigError, match=r"there is no .production"):
        thampi.Client(stage="production")


def test_without_an_endpoint_the_command_that_pushes_is_told(stand):
    with pytest.raises(CloudError, match="scale has no endpoint in stage staging") as refused:
        predict.through_url(stand.stage, stand.place, 1)
    assert refused.value.hint == "thampi push staging"


def test_lambda_itself_is_asked_for_what_is_live(stand):
    stand.push()
    asked = []
    stand.wire = lambda operation, request: asked.append(request) if operation == "lambda.Invoke" else None
    assert predict.directly(stand.stage, stand.place, {"input": 3}) == {"data": {"input": 3}}  # moto echoes
    (request,) = asked
    assert request.url.endswith("/functions/thampi-scale-staging/invocations?Qualifier=live")


def test_a_model_that_fails_or_refuses_a_direct_call_is_said(stand):
    stand.push()
    broken(stand, message="no such flower")
    with pytest.raises(PredictionError, match="the model did not answer: no such flower") as refused:
        predict.directly(stand.stage, stand.place, 1)
    assert refused.value.hint == "thampi logs staging --errors"
    stand.before = lambda call: answer({"error": {"message": "no data"}}) if call == "lambda.Invoke" else None
    with pytest.raises(PredictionError, match="no data"):
        predict.directly(stand.stage, stand.place, 1)
