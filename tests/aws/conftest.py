"""What every test of thampi/aws stands on: moto in this process, never an account, no real sleep."""

import os
from types import SimpleNamespace

import botocore.endpoint
import botocore.loaders
import botocore.session
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto import mock_aws

from thampi.aws import session

_LOADER = botocore.loaders.create_loader()


class Death(BaseException):
    """What a test kills a run with: nothing in thampi may catch it."""


def refusal(code, status=400, message=""):
    """Make the answer with which AWS refuses a call; returned by a handler of `before-call`, it stands in for AWS's."""
    error = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return AWSResponse("", status, {}, None), error


class Meddler:
    """Does something at each call: `before` may raise or return an answer in AWS's stead, `after` may raise."""

    def __init__(self):
        self.stop()

    def stop(self):
        self.before = self.after = lambda operation: None

    def kill(self, moment, number):
        """Let the run die before its call of that number, or when AWS has done it and nobody has heard."""
        left = [number]

        def die(operation):
            left[0] -= 1
            if left[0] < 0:
                raise Death(operation)

        setattr(self, moment, die)

    def refuse(self, operation, code, status=400, message="", times=1_000_000):
        """Let AWS refuse an operation, a number of times."""
        left = [times]

        def answer(asked):
            if asked != operation or left[0] <= 0:
                return None
            left[0] -= 1
            return refusal(code, status, message)

        self.before = answer


@pytest.fixture(autouse=True)
def no_real_aws(monkeypatch, tmp_path):
    """Credentials that open nothing: a test that forgets moto fails, it never reaches an account."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


@pytest.fixture(autouse=True)
def service_models_read_once(monkeypatch):
    """Reading botocore's service models anew for each session takes most of such a test's time."""
    monkeypatch.setattr(botocore.session, "create_loader", lambda *_: _LOADER)


@pytest.fixture
def sleeps():
    """The seconds that were waited for AWS; nothing really waits."""
    return []


@pytest.fixture
def calls():
    """The operations that were asked of AWS, in order: `PutObject`. Empty it where the story begins."""
    return []


@pytest.fixture
def meddler():
    """What comes between thampi and AWS."""
    return Meddler()


@pytest.fixture
def aws(sleeps, calls, meddler):
    """An empty account, in eu-central-1."""
    with mock_aws():
        found = session.connect(region="eu-central-1", sleep=sleeps.append)
        # A client copies the session's handlers when it is made, so they come first.
        found.session.events.register("before-call", lambda model, **_: calls.append(model.name))
        found.session.events.register("before-call", lambda model, **_: meddler.before(model.name))
        found.session.events.register("after-call", lambda model, **_: meddler.after(model.name))
        yield found


@pytest.fixture
def lossy(aws, monkeypatch):
    """AWS does each write, and the first answer is lost on the way: the SDK asks again, where it may."""
    lost = set()

    def lose(request, **_):
        what = (request.method, request.url, request.body)
        if request.method != "GET" and what not in lost:
            lost.add(what)
            raise ConnectionClosedError(endpoint_url=request.url)

    # After moto's own handler: what was asked for is done.
    aws.session.events.register_last("before-send", lose)
    monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda seconds: None))
    return lost
