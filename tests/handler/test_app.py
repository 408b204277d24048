import base64
import json
import logging
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handler import events
from handler.control import ModelFailed
from tests.handler.inprocess import (
    ABOUT,
    DATA,
    REQUEST_ID,
    SHAPES,
    WITH_HEADERS,
    Echo,
    Tells,
    event,
    sample,
    serve,
)
from thampi import BadRequest
from thampi.errors import BundleError

PROPERTIES = {
    "instance_id": "the-id",
    "served_time_utc": "served-then",
    "tags": {"team": "flowers"},
    "thampi_data_version": "0.1",
    "trained_time_utc": "2026-09-06T22:03:04.886644Z",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def does(action):
    """Return an application whose model raises, or returns, what `action` does."""
    return serve(Tells(lambda args, context: action()))


def raising(error):
    def action():
        raise error

    return does(action)


class Unready:
    """A startup that never gets a model: stands in for `handler.startup.Startup`."""

    def __init__(self, failure):
        self.failure = failure

    def model(self):
        raise self.failure

    about = asking = model


# --- the three routes, through every front


@pytest.mark.parametrize("shape", SHAPES)
def test_predict_answers_with_the_properties_and_the_result(shape):
    reply = serve().http(sample(shape))
    assert reply.status == 200
    assert reply.json == {"properties": PROPERTIES, "result": DATA}
    assert reply.headers == {"content-type": "application/json", "x-request-id": REQUEST_ID}


@pytest.mark.parametrize("shape", SHAPES)
def test_predict_reads_a_body_in_base64(shape):
    made = event(shape, body=base64.b64encode(b'{"data": "\xc3\xa4"}').decode(), base64=True)
    assert serve().http(made).json["result"] == "ä"


@pytest.mark.parametrize("shape", SHAPES)
def test_ping_answers_without_asking_the_model(shape):
    reply = raising(AssertionError("asked")).http(event(shape, "/iris/ping", "GET", body=None))
    assert (reply.status, reply.json) == (200, {"ping": "pong"})


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/iris", "/iris/"])
def test_the_projects_path_says_what_is_served(shape, path):
    reply = serve().http(event(shape, path, "GET", body=None))
    assert reply.status == 200
    assert reply.json == {
        "name": "iris",
        "stage": "staging",
        "properties": PROPERTIES,
        "python": "3.11.7",
        "distributions": {"a": "1"},
        "example": None,
        "signature": None,
    }


def test_the_health_check_of_a_load_balancer_passes():
    assert serve().http(sample("alb-health-check")).status == 200


def test_without_a_name_any_project_is_answered():
    assert serve(THAMPI_NAME="").http(event("function-url", "/rose/predict")).status == 200


# --- what callers get wrong


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/", "/rose/predict", "/iris/train", "/iris/predict/now"])
def test_an_unknown_path_is_a_404_that_names_what_there_is(shape, path):
    reply = serve().http(event(shape, path))
    assert (reply.status, reply.error["type"]) == (404, "not_found")
    for there in ("POST /iris/predict", "GET /iris/ping", "GET /iris"):
        assert there in reply.error["message"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        ("/iris/predict", "GET", "POST, OPTIONS"),
        ("/iris/predict", "HEAD", "POST, OPTIONS"),
        ("/iris/predict", "DELETE", "POST, OPTIONS"),
        ("/iris/ping", "POST", "GET, HEAD, OPTIONS"),
        ("/iris", "PUT", "GET, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_a_405_that_names_those_it_takes(shape, path, method, allow):
    reply = serve().http(event(shape, path, method))
    assert (reply.status, reply.headers["allow"]) == (405, allow)
    if method != "HEAD":
        assert reply.error["type"] == "method_not_allowed"
        assert allow.partition(",")[0] in reply.error["message"]


@pytest.mark.parametrize("shape", SHAPES)
def test_options_says_which_methods_there_are(shape):
    reply = serve().http(event(shape, "/iris/predict", "OPTIONS", body=None))
    assert (reply.status, reply.body, reply.headers["allow"]) == (204, "", "POST, OPTIONS")
    assert reply.headers["x-request-id"] == REQUEST_ID


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("path", ["/iris", "/iris/ping"])
def test_head_answers_as_get_would_without_the_body(shape, path):
    got, headed = (serve().http(event(shape, path, method, body=None)) for method in ("GET", "HEAD"))
    assert (headed.status, headed.headers, headed.body) == (got.status, got.headers, "")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "empty"),
        (None, "empty"),
        ("data=1", "not JSON"),
        ('{"data": NaN}', "not JSON"),
        ('{"input": 1}', "no `data`"),
        ("[1, 2]", "no `data`"),
        ("null", "no `data`"),
        ({"data": 1}, "no text"),
    ],
)
def test_a_body_that_is_not_what_it_should_be_is_a_400_that_says_why(shape, body, said):
    reply = serve().http(event(shape, body=body))
    assert reply.status == 400
    assert said in reply.error["message"]


@pytest.mark.parametrize("shape", SHAPES)
def test_broken_base64_is_a_400(shape):
    reply = serve().http(event(shape, body="{}", base64=True))
    assert (reply.status, reply.error["type"]) == (400, "not_json")


@pytest.mark.parametrize("shape", WITH_HEADERS)
def test_a_body_of_another_type_is_a_415(shape):
    reply = serve().http(event(shape, headers={"Content-Type": "application/x-www-form-urlencoded"}))
    assert (reply.status, reply.error["type"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("shape", WITH_HEADERS)
def test_a_binary_body_is_a_4xx(shape):
    picture = base64.b64encode(bytes(range(256))).decode()
    assert serve().http(event(shape, body=picture, base64=True, headers={"content-type": "image/png"})).status == 415
    assert serve().http(event(shape, body=picture, base64=True, headers={"content-type": None})).status == 400


def data_of_size(size):
    return '{"data": "' + "x" * (size - 12) + '"}'


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_over_five_megabytes_is_a_413_that_says_the_limit(shape):
    assert serve().http(event(shape, body=data_of_size(5 * 1024**2))).status == 200
    reply = serve().http(event(shape, body=data_of_size(5 * 1024**2 + 1)))
    assert (reply.status, reply.error["type"]) == (413, "too_large")
    assert "5 MB" in reply.error["message"]


def test_the_limit_is_of_the_environment():
    served = serve(THAMPI_MAX_BODY_MB="0.5")
    assert served.http(event("function-url", body=data_of_size(512 * 1024))).status == 200
    reply = served.http(event("function-url", body=data_of_size(512 * 1024 + 1)))
    assert reply.status == 413
    assert "0.5 MB" in reply.error["message"]


def test_a_body_in_base64_counts_as_what_it_holds():
    body = base64.b64encode(data_of_size(5 * 1024**2).encode()).decode()
    assert len(body) > 6 * 1024**2
    assert serve().http(event("alb", body=body, base64=True)).status == 200


def test_text_counts_in_bytes_and_not_in_letters():
    served = serve(THAMPI_MAX_BODY_MB="0.001")
    assert served.http(event("function-url", body=json.dumps({"data": "ä" * 600}, ensure_ascii=False))).status == 413


@pytest.mark.parametrize("message", ["`input` has 4 numbers, not 3", "", "ä\n", "half a pair: \ud800"])
def test_bad_request_is_a_400_with_the_models_own_message(message):
    reply = raising(BadRequest(message)).http(sample("function-url"))
    assert (reply.status, reply.error["type"]) == (400, "bad_request")
    assert reply.error["message"] == message.replace("\ud800", "?")


# --- what the model gets wrong


class Stop(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize("error", [ValueError("a secret"), SystemExit(3), Stop("a secret"), MemoryError()])
def test_a_model_that_fails_is_a_500_whose_reason_is_in_the_log_alone(error, caplog):
    reply = raising(error).http(sample("function-url"))
    assert (reply.status, reply.error["type"]) == (500, "model_failed")
    assert not any(word in reply.body for word in ("secret", "Traceback", ".py", type(error).__name__))
    (record,) = caplog.records
    assert REQUEST_ID in record.getMessage()
    assert record.exc_info[1] is error


def test_a_model_that_fails_leaves_the_next_request_alone():
    answers = iter([SystemExit(), "fine"])

    def tell(args, context):
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    served = serve(Tells(tell))
    assert served.http(sample("alb")).status == 500
    assert served.http(sample("alb")).json["result"] == "fine"


def test_ctrl_c_in_the_model_still_ends_the_process():
    with pytest.raises(KeyboardInterrupt):
        raising(KeyboardInterrupt()).ask(sample("alb"))


@pytest.mark.parametrize("result", [b"bytes", {"picture": b"bytes"}, object(), {(1, 2): 3}, 1j, lambda: 1])
def test_an_answer_that_has_no_form_in_json_is_a_500_that_says_so(result, caplog):
    reply = does(lambda: result).http(sample("function-url"))
    assert (reply.status, reply.error["type"]) == (500, "model_failed")
    assert "JSON" in reply.error["message"]
    (record,) = caplog.records
    assert record.exc_info[0] is TypeError


def test_an_answer_that_contains_itself_is_a_500(caplog):
    endless = []
    endless.append(endless)
    assert does(lambda: endless).http(sample("function-url")).status == 500
    assert "contains itself" in caplog.text


def test_nan_and_infinity_are_null():
    reply = does(lambda: [math.nan, math.inf, -math.inf]).http(sample("function-url"))
    assert reply.json["result"] == [None, None, None]


def test_a_fault_of_our_own_is_a_500_with_its_traceback_in_the_log(caplog):
    class Broken:
        failure = None

        def asking(self):
            raise RuntimeError("our own bug")

    reply = serve(startup=Broken()).http(sample("function-url"))
    assert (reply.status, reply.error["type"]) == (500, "internal")
    assert "our own bug" not in reply.body
    assert "our own bug" in caplog.text


# --- no model


def missing(name="sklearn"):
    failure = BundleError(f"the model needs `{name}`", hint="build again")
    failure.__cause__ = ModuleNotFoundError(name)
    return serve(startup=Unready(failure))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("path", "method"), [("/iris/predict", "POST"), ("/iris/ping", "GET"), ("/iris", "GET")])
def test_without_a_model_every_route_is_a_503_that_says_what_is_missing(shape, path, method):
    reply = missing().http(event(shape, path, method))
    assert (reply.status, reply.error["type"]) == (503, "model_unavailable")
    assert "`sklearn`" in reply.error["message"]


def test_what_an_exception_of_the_model_said_at_its_load_is_not_for_callers():
    failure = BundleError("can't be loaded: ValueError: password=hunter2", hint=None)
    failure.__cause__ = ValueError("password=hunter2")
    reply = serve(startup=Unready(failure)).http(sample("rest-v1"))
    assert reply.status == 503
    assert "hunter2" not in reply.body


def test_what_the_caller_got_wrong_is_said_before_what_we_did():
    assert missing().http(event("alb", body="{")).status == 400


# --- direct calls


def test_a_direct_call_gets_the_answer_itself():
    assert serve().direct({"data": DATA}) == {"properties": PROPERTIES, "result": DATA}


@pytest.mark.parametrize(
    ("given_event", "kind"), [({}, "no_data"), ([1], "no_data"), (None, "no_data"), (b"{", "not_json")]
)
def test_a_direct_call_that_is_wrong_gets_an_error_as_its_answer(given_event, kind):
    error = serve().direct(given_event)["error"]
    assert (error["type"], error["request_id"]) == (kind, REQUEST_ID)


def test_bad_request_of_a_direct_call_is_an_answer_too():
    error = raising(BadRequest("too few numbers")).direct({"data": 1})["error"]
    assert (error["type"], error["message"]) == ("bad_request", "too few numbers")


@pytest.mark.parametrize("error", [ValueError("a secret"), SystemExit()])
def test_a_direct_call_that_the_model_fails_is_raised(error, caplog):
    with pytest.raises(ModelFailed) as caught:
        raising(error).ask({"data": 1})
    assert "secret" not in str(caught.value)
    assert caplog.records[0].exc_info[1] is error


def test_a_direct_call_without_a_model_is_raised_with_what_is_missing():
    with pytest.raises(ModelFailed, match="`sklearn`"):
        missing().ask({"data": 1})


# --- thampi's own questions


def with_example(example, model=None):
    return serve(model or Echo(), about=type(ABOUT)(**vars(ABOUT) | {"example": example}))


def test_control_ping_answers_even_without_a_model():
    assert missing().direct({"thampi": "ping"}) == {"thampi": "ping"}


def test_warm_answers_when_the_model_is_there_and_raises_when_it_is_not():
    assert serve().direct({"thampi": "warm"}) == {"thampi": "warm"}
    with pytest.raises(ModelFailed, match="build again"):
        missing().ask({"thampi": "warm"})


def test_trial_answers_the_example():
    answer = with_example(DATA).direct({"thampi": "trial"})
    assert answer == {"thampi": "trial", "answer": {"properties": PROPERTIES, "result": DATA}}


def test_trial_without_an_example_is_content_with_the_model():
    assert serve().direct({"thampi": "trial"}) == {"thampi": "trial"}
    with pytest.raises(ModelFailed):
        missing().ask({"thampi": "trial"})


@pytest.mark.parametrize(
    ("error", "said"), [(BadRequest("wrong shape"), "400: wrong shape"), (ValueError("inside"), "500")]
)
def test_an_example_that_fails_is_a_failed_trial(error, said):
    def tell(args, context):
        raise error

    with pytest.raises(ModelFailed, match=said):
        with_example(DATA, Tells(tell)).ask({"thampi": "trial"})


@pytest.mark.parametrize("word", ["reload", "", None, ["ping"], {"ping": 1}, "half a pair: \ud800"])
def test_another_word_is_refused_with_those_there_are(word):
    error = serve().direct({"thampi": word})["error"]
    assert error["type"] == "bad_request"
    assert "ping, warm and trial" in error["message"]


def test_data_beside_the_word_makes_it_a_direct_call():
    assert serve().direct({"thampi": "ping", "data": 1})["result"] == 1


def test_thampis_own_questions_are_no_requests_and_end_the_cold_start():
    served = serve()
    served.ask({"thampi": "warm"})
    assert served.lines == []
    served.ask({"data": 1})
    assert [line["cold_start"] for line in served.lines] == [0]


# --- what the model is told


def told(context):
    return {
        "request_id": context.request_id,
        "remaining_ms": context.remaining_ms(),
        "headers": dict(context.headers),
        "name": context.name,
        "stage": context.stage,
        "properties": dict(context.properties),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_the_model_is_told_of_the_request_and_of_itself(shape):
    result = serve(Tells(lambda args, context: told(context))).http(sample(shape)).json["result"]
    headers = result.pop("headers")
    assert result == {
        "request_id": REQUEST_ID,
        "remaining_ms": 2500,
        "name": "iris",
        "stage": "staging",
        "properties": PROPERTIES,
    }
    assert headers == dict(events.read(sample(shape)).headers)
    assert all(name == name.lower() for name in headers)


def test_the_model_of_a_direct_call_is_told_no_headers():
    assert serve(Tells(lambda args, context: told(context))).direct({"data": 1})["result"]["headers"] == {}


def test_a_model_that_changes_its_properties_changes_no_answer():
    def tell(args, context):
        context.properties["instance_id"] = "forged"
        context.properties["tags"]["team"] = "weeds"

    served = serve(Tells(tell))
    served.ask(sample("alb"))
    assert served.http(sample("alb")).json["properties"] == PROPERTIES


# --- the lines


@pytest.mark.parametrize(
    ("made", "route", "status"),
    [
        (event("function-url"), "predict", 200),
        (event("rest-v1", "/iris/ping", "GET"), "ping", 200),
        (event("alb", "/iris", "GET"), "about", 200),
        (event("http-api-v2", "/nothing"), "none", 404),
        (event("http-api-v1", method="PUT"), "predict", 405),
        ({"data": 1}, "direct", 200),
        ({}, "direct", 400),
    ],
)
def test_each_request_is_one_line_that_says_route_and_status(made, route, status):
    served = serve()
    served.ask(made)
    (line,) = served.lines
    assert (line["route"], line["status"], line["request_id"]) == (route, status, REQUEST_ID)
    assert line["latency_ms"] >= 0


def test_a_failed_direct_call_has_its_line_too():
    served = raising(ValueError())
    with pytest.raises(ModelFailed):
        served.ask({"data": 1})
    assert [line["status"] for line in served.lines] == [500]


def test_only_the_first_request_of_an_environment_is_its_cold_start():
    served = serve()
    for _ in range(3):
        served.ask(sample("alb"))
    assert [line["cold_start"] for line in served.lines] == [1, 0, 0]


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "snap-start"])
def test_an_environment_that_was_made_ahead_has_no_cold_start(kind):
    served = serve(AWS_LAMBDA_INITIALIZATION_TYPE=kind)
    served.ask(sample("alb"))
    assert [line["cold_start"] for line in served.lines] == [0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("body", ['{"data": "a-secret"}', "a-secret", '{"a-secret": 1}'])
def test_a_line_never_holds_what_the_request_said(shape, body, caplog):
    caplog.set_level(logging.DEBUG)
    served = serve()
    served.ask(event(shape, body=body, headers={"authorization": "a-secret"}))
    served.ask(event(shape, "/iris/a-secret", body=body))
    served.ask(event(shape, method="A-SECRET"))
    assert "secret" not in json.dumps(served.lines).lower()
    assert caplog.records == []


# --- whatever comes


def lawful(answer):
    """Say whether an answer is one that a front can pass on, or JSON for a direct caller."""
    if isinstance(answer, bytes):
        return json.loads(answer) is not None
    return 200 <= answer["statusCode"] < 500 and isinstance(answer["body"], str)


@given(value=json_values)
def test_any_direct_event_gets_an_answer(value):
    assert lawful(serve().ask(value))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    made=st.fixed_dictionaries(
        {},
        optional={
            "version": json_values,
            "httpMethod": st.sampled_from(["GET", "POST"]) | json_values,
            "rawPath": st.sampled_from(["/iris/predict", "/iris", "/", "/iris/ping"]) | json_values,
            "path": st.sampled_from(["/iris/predict", "/iris", "/"]) | json_values,
            "headers": st.dictionaries(st.sampled_from(["Content-Type", "a"]), json_values) | json_values,
            "multiValueHeaders": st.dictionaries(st.text(max_size=3), st.lists(json_values, max_size=2)) | json_values,
            "cookies": st.lists(json_values, max_size=2) | json_values,
            "body": st.just('{"data": 1}') | st.text(st.characters()) | json_values,
            "isBase64Encoded": st.booleans() | json_values,
            "requestContext": st.fixed_dictionaries(
                {},
                optional={
                    "http": st.fixed_dictionaries({}, optional={"method": json_values, "path": json_values})
                    | json_values,
                    "elb": json_values,
                    "stage": json_values,
                    "domainName": json_values,
                    "path": json_values,
                },
            )
            | json_values,
            "data": json_values,
            "thampi": json_values,
        },
    )
)
def test_any_event_that_looks_like_one_of_a_front_gets_an_answer(made):
    assert lawful(serve().ask(made))


@given(body=st.text(st.characters()) | st.binary())
def test_any_body_gets_a_200_or_a_4xx_of_a_model_that_echoes(body):
    encoded = isinstance(body, bytes)
    made = event("function-url", body=base64.b64encode(body).decode() if encoded else body, base64=encoded)
    assert serve().http(made).status in (200, 400)


@given(data=json_values)
def test_any_data_that_is_json_comes_back_as_it_was_sent(data):
    body = json.dumps({"data": data})
    reply = serve().http(event("function-url", body=body))
    if reply.status == 400:
        assert "NaN" in body or "Infinity" in body
    else:
        sent, result = (json.loads(text, parse_int=_number) for text in (body, reply.body))
        assert result["result"] == sent["data"]


def _number(text):
    """Return an integer as a reader of 64 bits has it."""
    return int(text) if -(2**63) <= int(text) < 2**64 else float(text)


@pytest.mark.parametrize(("depth", "status"), [(254, 200), (500, 200), (1022, 200), (2000, 400)])
def test_data_comes_back_however_deep_it_is_nested(depth, status):
    reply = serve().http(event("function-url", body='{"data": ' + "[" * depth + "]" * depth + "}"))
    assert reply.status == status
    if status == 200:
        assert reply.body.count("[") == depth


def test_an_event_that_was_cut_off_at_six_megabytes_is_a_413_and_not_an_answer():
    served = serve()
    cut_off = json.dumps(sample("function-url") | {"body": "x" * 7_000_000}).encode()[:6_291_456]
    reply = served.http(cut_off)
    assert reply.status == 413
    assert reply.json["error"]["type"] == "too_large"
    assert served.lines[-1]["status_4xx"] == 1
