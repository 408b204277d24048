"""What users subclass and receive."""

import inspect
import sys

import pytest

import thampi
from thampi.runtime.model import LONGEST_INVOCATION_MS

from .fresh import python


def test_the_public_api_is_these_names():
    assert thampi.__all__ == ["BadRequest", "Context", "Model", "__version__", "load", "save"]
    assert str(inspect.signature(thampi.save)).startswith(
        "(model: thampi.Model, name: str, path: str | os.PathLike[str] = '.', trained_time_utc: "
        "datetime.datetime | str | None = None, instance_id: str | None = None, "
    )
    assert list(inspect.signature(thampi.save).parameters)[5:] == ["tags", "example", "verify", "signature"]


@pytest.mark.parametrize("public", [thampi.Model, thampi.Context, thampi.BadRequest])
def test_a_public_class_says_that_it_is_of_thampi(public):
    assert public.__module__ == "thampi"


def test_a_model_without_predict_can_not_be_made():
    class Mute(thampi.Model):
        pass

    with pytest.raises(TypeError, match="predict"):
        Mute()


def test_a_model_needs_no_initialize():
    class Model(thampi.Model):
        def predict(self, args, context):
            return args

    assert Model().initialize(thampi.Context()) is None


def test_a_context_says_what_is_left_of_the_request():
    assert thampi.Context(_remaining=lambda: 1234).remaining_ms() == 1234


def test_a_context_without_a_deadline_has_the_longest_time_that_lambda_gives():
    assert thampi.Context().remaining_ms() == LONGEST_INVOCATION_MS == 15 * 60 * 1000


def test_a_context_is_what_it_says_and_does_not_show_how_it_knows_the_time():
    context = thampi.Context(request_id="1", _remaining=lambda: 1)
    assert context == thampi.Context(request_id="1")
    assert "remaining" not in repr(context)
    assert thampi.Context().request_id is None
    assert thampi.Context().stage == "local"


def test_importing_thampi_stays_light(tmp_path):
    heavy = "boto3 botocore click cloudpickle docker email importlib.metadata jinja2 numpy pydantic rich "
    heavy += "subprocess tomllib urllib.request asyncio multiprocessing concurrent.futures"
    code = f"import sys, thampi; print([name for name in {heavy.split()} if name in sys.modules])"
    assert python("-S", "-c", code, cwd=tmp_path, PYTHONPATH=":".join(entry for entry in sys.path if entry)) == "[]\n"
