import pytest

from handler import payload
from handler.events import Request
from handler.refusals import Refusal


def request(body=b'{"data": 1}', **headers):
    return Request("v2", "POST", "/", {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.iris+json", "", " "],
)
def test_json_is_read_under_each_of_its_names_and_under_none(kind):
    assert payload.json_of(request(content_type=kind), 100) == {"data": 1}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png", "text/x+json"])
def test_another_type_is_refused_with_the_one_to_send(kind):
    with pytest.raises(Refusal, match="Content-Type: application/json") as caught:
        payload.json_of(request(content_type=kind), 100)
    assert caught.value.status == 415


def test_a_compressed_body_is_refused_by_its_coding():
    with pytest.raises(Refusal, match="gzip") as caught:
        payload.json_of(request(b"\x1f\x8b", content_encoding="gzip", content_type="application/json"), 100)
    assert caught.value.status == 415


def test_an_empty_body_is_refused_as_such_whatever_type_a_gateway_made_up_for_it():
    with pytest.raises(Refusal, match="empty") as caught:
        payload.json_of(request(b"", content_type="text/plain"), 100)
    assert caught.value.status == 400


def test_a_body_of_exactly_the_limit_is_read_and_a_byte_more_is_not():
    assert payload.json_of(request(b"[" + b" " * 98 + b"]"), 100) == []
    with pytest.raises(Refusal) as caught:
        payload.json_of(request(b"[" + b" " * 99 + b"]"), 100)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [b"NaN", b'{"data": NaN}', b"{", b"data=1", b"\xff\xfe", b'"\\ud800"', b"[" * 2000 + b"]" * 2000, b"-", b"'a'"],
)
def test_what_is_not_json_is_refused_and_says_where(body):
    with pytest.raises(Refusal, match="not JSON") as caught:
        payload.json_of(request(body), 10_000)
    assert (caught.value.status, caught.value.kind) == (400, "not_json")


@pytest.mark.parametrize("value", [[], ["data"], "data", None, 5, {}, {"Data": 1}, {"input": 1}])
def test_a_value_without_data_is_refused_with_what_to_send(value):
    with pytest.raises(Refusal, match="data") as caught:
        payload.data_of(value)
    assert (caught.value.status, caught.value.kind) == (400, "no_data")


@pytest.mark.parametrize("data", [None, 0, [], {}, "", False])
def test_data_may_be_any_value(data):
    assert payload.data_of({"data": data, "more": 1}) == data
