"""What a trial comes to is said in words for who made the model."""

import base64
import io
import json
from dataclasses import replace

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError

from thampi.aws import trial
from thampi.errors import CloudError

REPORT = "REPORT RequestId: 1 Duration: 12.00 ms Memory Size: 1024 MB Max Memory Used: 1024 MB"


@pytest.fixture
def asked(aws):
    """What was asked of AWS, with all parameters."""
    seen = []
    aws.session.events.register("provide-client-params", lambda params, model, **_: seen.append((model.name, params)))
    return seen


def answers(meddler, payload, log="", **more):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    result = base64.b64encode(log.encode()).decode()
    answer = {"StatusCode": 200, "Payload": io.BytesIO(body), "LogResult": result, **more}
    meddler.before = lambda operation: (AWSResponse("", 200, {}, None), answer)


def fails(meddler, kind, message, log=REPORT):
    answers(meddler, {"errorType": kind, "errorMessage": message}, log, FunctionError="Unhandled")


def tried(aws):
    return trial.try_out(aws, "f", "7", {"thampi": "trial"}, 29)


def test_the_version_itself_is_asked_once_with_the_end_of_its_log(aws, asked, meddler):
    answers(meddler, {"thampi": "trial", "answer": {"result": 2}}, "log ü")
    found = tried(aws)
    assert (found.ok, found.error, found.log_tail) == (True, "", "log ü")
    assert json.loads(found.payload) == {"thampi": "trial", "answer": {"result": 2}}
    assert asked == [
        ("Invoke", {"FunctionName": "f", "Qualifier": "7", "LogType": "Tail", "Payload": b'{"thampi": "trial"}'})
    ]


def test_what_s3_refuses_a_role_that_is_new_is_asked_again_for_a_minute_and_nothing_else_is(aws, asked, meddler):
    refused = "s3://b/k can't be read: 403 AccessDenied\nhint: the role needs s3:GetObject there"

    def tries(message, **more):
        asked.clear()
        said = json.dumps({"errorType": "ModelFailed", "errorMessage": message}).encode()
        body = {"StatusCode": 200, "LogResult": "", "FunctionError": "Unhandled"}
        meddler.before = lambda operation: (AWSResponse("", 200, {}, None), {**body, "Payload": io.BytesIO(said)})
        found = trial.try_out(aws, "f", "7", {"thampi": "trial"}, 29, **more)
        assert not found.ok
        return len(asked)

    assert tries(refused, role_is_new=True) == 1 + 60 / 5
    assert tries(refused) == 1
    assert tries("no such flower", role_is_new=True) == 1


@pytest.mark.parametrize(
    ("kind", "message", "said"),
    [
        ("ValueError", "no such flower", "ValueError: no such flower"),
        ("ModelFailed", "the model needs `sklearn`", "the model needs `sklearn`"),
        (
            "Sandbox.Timedout",
            "RequestId: 1-2 Error: Task timed out after 29.00 seconds",
            "no answer within timeout_s = 29",
        ),
        ("", "2026-01-01T00:00:00.000Z 1-2 Task timed out after 29.03 seconds", "no answer within timeout_s = 29"),
        (
            "Runtime.ExitError",
            "RequestId: 1-2 Error: Runtime exited with error: signal: killed",
            "the model's process was killed, most likely for want of memory (it had 1024 MB): raise memory_mb",
        ),
        ("Runtime.OutOfMemory", "RequestId: 1-2 Error: Runtime exited", "for want of memory (it had 1024 MB)"),
        (
            "Runtime.ExitError",
            "RequestId: 1-2 Error: Runtime exited with error: exit status 1",
            "the model's process ended without an answer (Runtime exited with error: exit status 1); the log says more",
        ),
        (
            "Runtime.InvalidEntrypoint",
            "RequestId: 1-2 Error: fork/exec /opt/thampi/bin/entrypoint: exec format error",
            "the image is of another architecture than the function: set build.platform",
        ),
    ],
)
def test_a_failure_is_said_plainly(aws, meddler, kind, message, said):
    fails(meddler, kind, message)
    found = tried(aws)
    assert not found.ok
    assert found.error.startswith(said) or said in found.error
    assert found.log_tail == REPORT


@pytest.mark.parametrize(("payload", "said"), [(b"not json", "not json"), (b"", "without saying why"), (b"[1]", "[1]")])
def test_a_failure_of_another_form_is_shown_as_it_is(aws, meddler, payload, said):
    answers(meddler, payload, FunctionError="Unhandled")
    assert said in tried(aws).error


def test_a_refusal_of_the_handler_is_no_success(aws, meddler):
    answers(meddler, {"error": {"type": "bad_request", "message": "`thampi` is one of ping", "request_id": "1"}})
    found = tried(aws)
    assert (found.ok, found.error) == (False, "it refuses the trial: `thampi` is one of ping")


@pytest.mark.parametrize("payload", [b"null", b"[]", b"3", b'{"error": 3}', b'{"error": null}'])
def test_any_other_answer_is_one(aws, meddler, payload):
    answers(meddler, payload)
    assert tried(aws).ok


def test_an_invocation_that_takes_too_long_is_not_asked_for_twice(aws, meddler):
    asked = []

    def wait(operation):
        asked.append(operation)
        raise ReadTimeoutError(endpoint_url="x")

    meddler.before = wait
    found = tried(aws)
    assert (found.ok, asked) == (False, ["Invoke"])
    assert found.error.startswith("no answer within timeout_s = 29")


@pytest.mark.parametrize(
    "code",
    [
        "CodeArtifactUserPendingException",
        "ResourceConflictException",
        "ResourceNotReadyException",
        "SnapStartNotReadyException",
        "TooManyRequestsException",
    ],
)
def test_a_version_that_is_not_ready_yet_is_asked_again(aws, meddler, sleeps, code):
    meddler.refuse("Invoke", code, times=1_000)
    with pytest.raises(CloudError, match="trying version 7 of f"):
        tried(aws)
    assert 110 <= sum(sleeps) <= 130


def test_and_answers_when_it_is(aws, meddler, sleeps):
    meddler.refuse("Invoke", "CodeArtifactUserPendingException", times=20)
    refuse = meddler.before
    answer = (AWSResponse("", 200, {}, None), {"Payload": io.BytesIO(b"{}")})
    meddler.before = lambda operation: refuse(operation) or answer
    assert tried(aws).ok
    assert len(sleeps) == 20


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        ("KMSAccessDeniedException", "Lambda was unable to decrypt", "the role was deleted and made again"),
        ("CodeArtifactUserFailedException", "The artifact is broken", "The artifact is broken"),
        ("CodeArtifactUserDeletedException", "", "CodeArtifactUserDeletedException"),
    ],
)
def test_a_version_that_lambda_cant_start_has_failed(aws, meddler, code, message, said):
    meddler.refuse("Invoke", code, 502, message)
    found = tried(aws)
    assert not found.ok
    assert found.error.startswith("Lambda can't start it: ")
    assert said in found.error


def test_what_was_never_asked_is_no_trial(aws, meddler):
    meddler.refuse("Invoke", "AccessDeniedException", 403, "not authorized to perform: lambda:InvokeFunction on …")
    with pytest.raises(CloudError, match="lambda:InvokeFunction"):
        tried(aws)
    meddler.before = lambda operation: (_ for _ in ()).throw(EndpointConnectionError(endpoint_url="x"))
    with pytest.raises(CloudError, match="can't be reached"):
        tried(replace(aws, _clients={}))
