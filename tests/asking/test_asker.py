"""A model is asked and answers, or there is a failure that says why not, and it is run no more often than is safe."""

import pickle
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime

import numpy
import pandas
import pytest
from hypothesis import given, settings, strategies

import thampi
from tests.asking import server
from tests.asking.server import answers
from tests.handler.inprocess import ABOUT, REQUEST_ID
from thampi.errors import PredictionError


@pytest.fixture
def patient(place):
    """A client that may run the model twice."""
    with thampi.Client(place.url, idempotent=True) as made:
        yield made


# ------------------------------------------------------------------------------------------------------------ answers


def test_a_model_is_asked_by_its_url(client, place):
    assert client.predict({"input": [5.9, 3.2, 4.8, 1.8]}) == {"input": [5.9, 3.2, 4.8, 1.8]}
    ((method, path, headers),) = place.requests
    assert (method, path) == ("POST", "/iris/predict")
    assert (headers["content-type"], headers["accept"]) == ("application/json", "application/json")
    assert headers["user-agent"] == f"thampi/{thampi.__version__}"
    assert not {"authorization", "x-api-key"} & set(headers)


def test_the_whole_answer_says_which_model_it_is_of(client):
    answer = client.ask(None)
    assert list(answer) == ["properties", "result"]
    assert (answer["result"], answer["properties"]["instance_id"]) == (None, "the-id")


def test_what_the_endpoint_says_of_itself_is_there(client, place):
    about = client.about()
    assert (about["name"], about["properties"]["tags"]) == ("iris", {"team": "flowers"})
    assert client.ping() is None
    assert [(method, path) for method, path, _ in place.requests] == [("GET", "/iris"), ("GET", "/iris/ping")]


@pytest.mark.parametrize("ending", ["", "/", "/predict", "/predict/"])
def test_the_url_may_be_that_of_the_model_or_of_its_predictions(place, ending):
    base = place.url.removesuffix("/predict")
    with thampi.Client(f" {base}{ending}\n") as client:
        assert client.url == base
        assert repr(client) == f"thampi.Client('{base}')"
        assert client.predict(1) == 1


def test_data_of_numpy_and_pandas_becomes_json_as_in_answers(client):
    table = pandas.DataFrame({"a": [1, 2], "when": pandas.to_datetime(["2026-01-01", None])})
    data = {"array": numpy.arange(3.0), "one": numpy.float32(0.5), "table": table, "sum": Decimal("1.5")}
    assert client.predict(data) == {
        "array": [0.0, 1.0, 2.0],
        "one": 0.5,
        "table": [{"a": 1, "when": "2026-01-01T00:00:00"}, {"a": 2, "when": None}],
        "sum": 1.5,
    }


def test_data_that_json_cannot_say_is_refused_before_anything_is_sent(client, place):
    with pytest.raises(TypeError, match="`bytes` has no form in JSON"):
        client.predict({"input": b"x"})
    assert place.requests == []


_JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers(-(2**53), 2**53)
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | strategies.text(strategies.characters(exclude_categories=["Cs"])),
    lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(max_size=9), inner),
    max_leaves=20,
)


def test_what_json_can_say_comes_back_as_it_was_sent(client):
    @given(_JSON)
    @settings(max_examples=60, deadline=None)
    def comes_back(data):
        if data in ("refuse", "fail"):
            return
        assert client.predict(data) == data

    comes_back()


def test_a_large_request_and_answer_fit(client):
    data = [index / 7 for index in range(100_000)]
    assert client.predict(data) == data


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("status", "kind", "base"),
    [
        (400, "RefusedError", "RefusedError"),
        (401, "UnauthorizedError", "RefusedError"),
        (403, "UnauthorizedError", "RefusedError"),
        (404, "RefusedError", "RefusedError"),
        (413, "TooLargeError", "RefusedError"),
        (415, "RefusedError", "RefusedError"),
        (422, "InvalidDataError", "RefusedError"),
        (500, "ModelFailedError", "EndpointError"),
        (502, "UnavailableError", "EndpointError"),
        (503, "UnavailableError", "EndpointError"),
        (504, "UnavailableError", "EndpointError"),
        (301, "UnexpectedAnswerError", "EndpointError"),
        (204, "UnexpectedAnswerError", "EndpointError"),
    ],
)
def test_each_status_is_an_error_of_its_own_kind_and_is_not_asked_again(client, place, status, kind, base):
    place.faults.append(answers(status, {"error": {"type": "a_type", "message": "why", "request_id": "an-id"}}))
    with pytest.raises(thampi.EndpointError) as refused:
        client.predict(1)
    failure = refused.value
    assert type(failure) is getattr(thampi, kind)
    assert isinstance(failure, getattr(thampi, base))
    assert isinstance(failure, PredictionError)
    assert (failure.status, failure.url) == (status, place.url)
    assert failure.exit_code == 6
    assert failure.may_have_run == (status >= 500)
    if status != 204:
        assert failure.message == f"{place.url} answered {status}: why"
        assert (failure.type, failure.request_id) == ("a_type", "an-id")
    assert len(place.requests) == 1


def test_what_the_model_refuses_comes_in_its_own_words(client):
    with pytest.raises(thampi.RefusedError, match="answered 400: no such flower") as refused:
        client.predict("refuse")
    assert (refused.value.type, refused.value.request_id) == ("bad_request", REQUEST_ID)
    assert refused.value.hint is None


def test_a_model_that_fails_is_asked_once_and_leads_to_its_log(client, place):
    with pytest.raises(thampi.ModelFailedError, match="the model failed") as failed:
        client.predict("fail")
    assert (failed.value.type, failed.value.request_id) == ("model_failed", REQUEST_ID)
    assert "thampi logs" in failed.value.hint
    assert "secret" not in str(failed.value)
    assert place.model.asked == ["fail"]


def test_what_the_signature_refuses_comes_with_the_paths_of_the_mistakes():
    request = {"type": "array", "items": {"type": "number"}}
    signature = {"request": request, "answer": None, "source": "hints", "batch": False, "hooks": [], "types": False}
    with server.serving(about=replace(ABOUT, signature=signature)) as place, thampi.Client(place.url) as client:
        assert client.predict([1, 2.5]) == [1, 2.5]
        with pytest.raises(thampi.InvalidDataError) as refused:
            client.predict([1, "x", None])
    assert [each["path"] for each in refused.value.mistakes] == ["/data/1", "/data/2"]
    assert (refused.value.type, refused.value.request_id) == ("invalid_data", REQUEST_ID)
    assert place.model.asked == [[1, 2.5]]


def test_every_mistake_in_the_data_has_its_path(client, place):
    mistakes = [{"path": f"/data/input/{index}", "message": "it is no number"} for index in range(12)]
    said = {"type": "invalid_data", "message": "/data/input/0: it is no number (and 11 more)", "request_id": "r"}
    place.faults.append(answers(422, {"error": {**said, "mistakes": mistakes}}))
    with pytest.raises(thampi.InvalidDataError) as refused:
        client.predict(1)
    assert list(refused.value.mistakes) == mistakes
    assert refused.value.message.startswith(
        f"{place.url} answered 422: 12 mistakes\n  /data/input/0: it is no number\n"
    )
    assert refused.value.message.endswith("  /data/input/9: it is no number\n  … and 2 more")

    place.faults.append(answers(422, {"error": {**said, "message": "the only one", "mistakes": mistakes[:1]}}))
    with pytest.raises(thampi.InvalidDataError, match=r"answered 422: the only one$") as refused:
        client.predict(1)
    assert list(refused.value.mistakes) == mistakes[:1]


@pytest.mark.parametrize("body", ["", "[]", '{"error": "it"}', '{"error": {"mistakes": [1, {}], "type": 3}}', "\xff"])
def test_a_refusal_in_whatever_words_is_a_refusal(client, place, body):
    place.faults.append(answers(422, body))
    with pytest.raises(thampi.InvalidDataError, match="answered 422") as refused:
        client.predict(1)
    assert all(set(each) == {"path", "message"} for each in refused.value.mistakes)


@pytest.mark.parametrize("name", ["x-amzn-requestid", "apigw-requestid"])
def test_an_answer_of_the_gateway_itself_is_understood(client, place, name):
    place.faults.append(answers(403, {"Message": "Forbidden"}, **{name.replace("-", "_"): "of-the-gateway"}))
    with pytest.raises(thampi.UnauthorizedError, match="answered 403: Forbidden") as refused:
        client.predict(1)
    assert refused.value.request_id == "of-the-gateway"
    assert "sign=True" in refused.value.hint


def test_a_page_of_a_proxy_is_told_as_its_text(client, place):
    page = "<!doctype html><html><head><style>p {color: red}</style><title>Blocked</title></head><p>by policy"
    place.faults.append(answers(502, page))
    with pytest.raises(thampi.UnavailableError, match=r"answered 502: Blocked by policy\n"):
        client.predict(1)
    place.faults.append(answers(200, page))
    with pytest.raises(thampi.UnexpectedAnswerError, match=r"is no model of thampi: Blocked by policy\n") as refused:
        client.predict(1)
    assert "proxy" in refused.value.hint
    place.faults.append(answers(200, {"ok": True}))
    with pytest.raises(thampi.UnexpectedAnswerError, match="JSON without a result"):
        client.predict(1)
    place.faults.append(answers(302, "", Location="https://login.example.com/"))
    with pytest.raises(thampi.UnexpectedAnswerError, match=r"answered 302: it leads to https://login.example.com/\n"):
        client.predict(1)


def test_a_failure_survives_a_pool_of_processes(client, place):
    place.faults.append(answers(429, {"message": "Too Many"}, Retry_After="3600"))
    with pytest.raises(thampi.ThrottledError) as refused:
        client.predict(1)
    copy = pickle.loads(pickle.dumps(refused.value))
    assert type(copy) is thampi.ThrottledError
    assert vars(copy) == vars(refused.value)
    assert str(copy) == str(refused.value)
    assert copy.retry_after_s == 3600


# ----------------------------------------------------------------------------------- asking again, where that is safe


LOADING = answers(503, {"error": {"type": "model_loading", "message": "wait", "request_id": "r"}}, Retry_After="0")
UNLOADED = answers(503, {"error": {"type": "model_unavailable", "message": "S3", "request_id": "r"}}, Retry_After="0")
THROTTLED = answers(429, {"message": "Too Many Requests"}, Retry_After="0")
BY_GATEWAY = answers(503, {"message": "Service Unavailable"})


@pytest.mark.parametrize("fault", [LOADING, UNLOADED, THROTTLED], ids=["loading", "unloaded", "throttled"])
def test_what_never_reached_the_model_is_asked_again(client, place, fault):
    place.faults.extend([fault, fault, fault])
    assert client.predict(5) == 5
    assert (len(place.requests), place.model.asked) == (4, [5])


@pytest.mark.parametrize("fault", [LOADING, THROTTLED], ids=["loading", "throttled"])
def test_asking_again_has_an_end(client, place, fault):
    place.faults.extend([fault] * 10)
    with pytest.raises(thampi.EndpointError) as refused:
        client.predict(5)
    assert (len(place.requests), refused.value.may_have_run) == (4, False)


def test_what_may_have_reached_the_model_is_not_asked_again(client, place):
    faults = {
        server.resets: thampi.LostAnswerError,
        server.hangs_up: thampi.LostAnswerError,
        server.half: thampi.LostAnswerError,
        server.half_in_chunks: thampi.LostAnswerError,
        server.speaks_no_http: thampi.UnexpectedAnswerError,
        BY_GATEWAY: thampi.UnavailableError,  # what an HTTP API says when it gave up waiting
        answers(504, {"message": "Endpoint request timed out"}): thampi.UnavailableError,
        answers(502, {"message": "Internal server error"}): thampi.UnavailableError,
    }
    for count, (fault, kind) in enumerate(faults.items(), 1):
        place.faults.append(fault)
        with pytest.raises(thampi.EndpointError) as failed:
            client.predict(1)
        assert type(failed.value) is kind
        assert failed.value.may_have_run
        assert place.url.removesuffix("/iris/predict") in failed.value.message
        assert len(place.requests) == count
    assert client.predict(2) == 2


def test_an_answer_that_is_late_is_not_waited_for_and_not_asked_for_twice(place):
    with thampi.Client(place.url, timeout_s=0.2) as client:
        place.faults.append(server.waits(0.6))
        with pytest.raises(thampi.TimedOutError, match=r"did not answer within 0\.2 s") as late:
            client.predict(1)
        assert (late.value.may_have_run, late.value.status) == (True, None)
        assert len(place.requests) == 1
        assert client.predict(2) == 2  # and not the late answer to the other question


@pytest.mark.parametrize("fault", [server.resets, server.hangs_up, server.half, BY_GATEWAY, answers(500, "{}")])
def test_an_idempotent_client_asks_again_after_those_too(patient, place, fault):
    place.faults.extend([fault, fault])
    assert patient.predict(5) == 5
    assert len(place.requests) == 3


def test_an_idempotent_client_asks_again_after_a_timeout(place):
    with thampi.Client(place.url, timeout_s=0.2, idempotent=True) as client:
        place.faults.append(server.waits(0.5))
        assert client.predict(5) == 5


def test_an_idempotent_client_does_not_repeat_what_is_wrong(patient, place):
    with pytest.raises(thampi.RefusedError):
        patient.predict("refuse")
    assert place.model.asked == ["refuse"]


def test_what_only_reads_is_always_asked_again(client, place):
    place.faults.extend([server.resets, BY_GATEWAY])
    assert client.about()["name"] == "iris"


def test_retry_after_is_waited_for_and_a_long_one_is_said_at_once(client, place):
    place.faults.append(answers(429, {"message": "later"}, Retry_After="1"))
    began = time.monotonic()
    assert client.predict(1) == 1
    assert 1 <= time.monotonic() - began < 2
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    for value in ("3600", date):
        place.faults.append(answers(429, {"message": "tomorrow"}, Retry_After=value))
        began = time.monotonic()
        with pytest.raises(thampi.ThrottledError, match="tomorrow") as refused:
            client.predict(1)
        assert time.monotonic() - began < 0.9
        assert 3590 < refused.value.retry_after_s <= 3600


def test_who_comes_up_late_is_asked_again(place):
    """A connection that is refused has sent nothing."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    threading.Timer(0.3, lambda: _serve_once(port)).start()
    with thampi.Client(f"http://127.0.0.1:{port}/iris") as client:
        assert client.predict(1) == "late"


def _serve_once(port):
    body = b'{"properties": {}, "result": "late"}'
    with socket.create_server(("127.0.0.1", port)) as listener:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)


def test_a_body_that_is_refused_while_it_is_sent_is_a_413(client, place):
    place.faults.append(server.refuses_early)
    with pytest.raises(thampi.TooLargeError, match="5 MB is the most") as refused:
        client.predict("x" * (30 << 20))
    assert refused.value.type == "too_large"
    assert client.predict(1) == 1
