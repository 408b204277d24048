"""What a signature allows is answered, and what it forbids is refused with its path: for every style of hint."""

import dataclasses
import json
from functools import cache

import jsonschema
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import thampi
from handler import settings as app_settings
from handler import startup
from handler.control import ModelFailed
from tests.handler.inprocess import ABOUT, REQUEST_ID, Echo, Ready, event, serve
from tests.runtime.fresh import python
from tests.runtime.signature import hinted
from tests.runtime.signature.json_values import anything, from_schema
from thampi import Model
from thampi.runtime.signature import describing

# What the standard leaves to each checker; we take what Python reads, a time without its zone for example.
FORMATS = jsonschema.FormatChecker(["date", "uuid"])


@cache
def served(style):
    model = hinted.model(style)
    described = describing.describe(model, None)
    assert described.notes == []
    about = type(ABOUT)(**vars(ABOUT) | {"signature": described.signature})
    return serve(startup=Ready(model, about, described.plan)), described.signature[
        "request"
    ] if described.signature else {}


def ask(app, data):
    return app.http(event("function-url", body=json.dumps({"data": data})))


def valid(schema, data, formats=None):
    return jsonschema.Draft202012Validator(schema, format_checker=formats).is_valid(data)


@cache
def allowed(style):
    return from_schema(served(style)[1])


relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
every_style = pytest.mark.parametrize("style", hinted.STYLES)


@every_style
@relaxed
@given(data=st.data())
def test_what_the_schema_allows_is_answered(style, data):
    app, schema = served(style)
    sent = data.draw(allowed(style))
    assume(valid(schema, sent))
    reply = ask(app, sent)
    if reply.status == 422 and style in REFUSE_MORE:
        return
    assert (reply.status, reply.json.get("result")) == (200, "right"), reply.body


# Types that refuse what no schema can say: there a 422 is right, too.
REFUSE_MORE = ("dataclass that refuses", "array", "array of floats")


@every_style
@relaxed
@given(data=st.data())
def test_what_the_schema_forbids_is_refused_with_its_paths(style, data):
    app, schema = served(style)
    sent = data.draw(spoiled(style) | anything)
    reply = ask(app, sent)
    if not valid(schema, sent):
        assert reply.status == 422, reply.body
    assert reply.status in (200, 422), reply.body
    if reply.status == 422:
        for mistake in reply.json["error"]["mistakes"]:
            followed({"data": sent}, mistake["path"])
            assert mistake["message"]


@cache
def spoiled(style):
    """Return a strategy for data that was right, and has something else at one place."""

    @st.composite
    def one(draw):
        value = draw(allowed(style))
        places = list(places_in(value))
        path = draw(st.sampled_from(places))
        return put(value, path, draw(anything))

    return one()


def places_in(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places_in(each, (*path, key))


def put(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], new)
    return copy


def followed(value, pointer):
    """Follow a JSON pointer (RFC 6901); fails where it leads nowhere."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


# --- the answers, through the front and directly


class Doubles(Model):
    def predict(self, data: list[int], context):
        return [2 * each for each in data]


class Batch(Model):
    def predict(self, data: int, context):
        return data

    def predict_batch(self, items, context):
        return items[:2]


def app_of(model, example=None):
    described = describing.describe(model, example)
    about = type(ABOUT)(**vars(ABOUT) | {"signature": described.signature, "example": example})
    return serve(startup=Ready(model, about, described.plan))


def test_a_422_names_every_mistake():
    reply = ask(app_of(Doubles()), [1, "2", 3, None])
    assert reply.status == 422
    assert reply.headers["content-type"] == "application/json"
    assert reply.json == {
        "error": {
            "type": "invalid_data",
            "message": '/data/1: it is not of type "integer" (and 1 more)',
            "request_id": REQUEST_ID,
            "mistakes": [
                {"path": "/data/1", "message": 'it is not of type "integer"'},
                {"path": "/data/3", "message": 'it is not of type "integer"'},
            ],
        }
    }


def test_a_direct_call_is_refused_in_the_same_words():
    assert app_of(Doubles()).direct({"data": 1})["error"]["mistakes"] == [
        {"path": "/data", "message": 'it is not of type "array"'}
    ]


def test_a_whole_number_is_one_however_it_is_written():
    assert ask(app_of(Doubles()), [1.0, 2]).body == ask(app_of(Doubles()), [1, 2]).body


def test_an_example_that_is_refused_is_a_failed_trial():
    with pytest.raises(ModelFailed, match=r"the example was answered with 422: /data/0: it is not"):
        app_of(Doubles(), ["x"]).ask({"thampi": "trial"})


def test_a_batch_of_another_length_is_a_500_that_says_so(caplog):
    app = app_of(Batch())
    assert ask(app, [1, 2]).json["result"] == [1, 2]
    reply = ask(app, [1, 2, 3])
    assert (reply.status, reply.error["type"]) == (500, "model_failed")
    assert reply.error["message"] == "`predict_batch` got 3 items and returned 2 results"
    assert reply.error["message"] in caplog.text


def test_a_message_of_the_models_own_can_hold_anything():
    @dataclasses.dataclass
    class Refuses:
        word: str

        def __post_init__(self):
            raise ValueError("half a pair: \ud800")

    class Takes(Model):
        def predict(self, data: Refuses, context):
            return 1

    reply = ask(app_of(Takes()), {"word": "x"})
    assert (reply.status, reply.json["error"]["mistakes"][0]["message"]) == (422, "half a pair: ?")


# --- the start


@pytest.mark.parametrize(("model", "wanted"), [(Doubles(), True), (Echo(), False)])
def test_the_checker_is_imported_at_the_start_and_only_for_a_signature(model, wanted, tmp_path):
    thampi.save(model, "model", tmp_path, verify=False)
    told = (
        "import sys; from handler import settings, startup;"
        "it = startup.Startup(settings.read({'THAMPI_MODEL': 'model'}), write=lambda line: None);"
        "it.fetch(); it.begin();"
        "assert it.failure is None, it.failure; print('jsonschema_rs' in sys.modules)"
    )
    assert python("-c", told, cwd=tmp_path).strip() == str(wanted)


def test_a_signature_that_this_version_cant_check_is_no_model(tmp_path):
    folder = thampi.save(Doubles(), "model", tmp_path, verify=False)
    manifest = folder / "thampi.json"
    manifest.write_text(manifest.read_text().replace('"type":"integer"', '"type":"whole"'))
    begun = startup.Startup(app_settings.read({"THAMPI_MODEL": str(folder)}), write=lambda line: None)
    begun.fetch()
    begun.begin()
    assert "can't be loaded: ValidationError" in begun.failure.message
