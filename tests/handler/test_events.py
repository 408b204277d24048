import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import events
from tests.handler.inprocess import DATA, SHAPES, WITH_HEADERS, event, sample

BODY = b'{"data": {"input": [5.9, 3.2, 4.8, 1.8]}}'
ALB = ("alb", "alb-multi-value")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_read_as_the_same_request(shape):
    request = events.read(sample(shape))
    assert request.method == "POST"
    assert request.path.endswith("/iris/predict")
    assert json.loads(request.body) == {"data": DATA}


@pytest.mark.parametrize("shape", WITH_HEADERS)
def test_header_names_are_lower_case_and_values_that_came_twice_are_both_there(shape):
    request = events.read(sample(shape))
    assert request.headers["content-type"] == "application/json"
    assert all(name == name.lower() for name in request.headers)
    wanted = "leaves" if shape == "alb" else "flowers,leaves"  # an ALB without lists keeps the last
    assert request.headers["x-team"].replace(" ", "") == wanted


def test_cookies_that_payload_2_takes_out_of_the_headers_are_back_in_them():
    assert events.read(sample("http-api-v2")).headers["cookie"] == "session=blue; theme=dark"


def test_a_cookie_header_that_is_still_there_is_kept():
    assert events.read(event("http-api-v2", headers={"Cookie": "a=b"})).headers["cookie"] == "a=b"


def test_a_header_without_a_value_is_no_header():
    made = event("http-api-v2")
    made["headers"]["content-type"] = None
    assert "content-type" not in events.read(made).headers


def test_headers_of_a_console_test_are_none_at_all():
    assert events.read(sample("rest-v1-console-test")).headers == {}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_in_base64_is_decoded(shape):
    encoded = base64.b64encode(BODY).decode()
    assert events.read(event(shape, body=encoded, base64=True)).body == BODY


@pytest.mark.parametrize("flag", [True, "true", "True"])
def test_a_flag_for_base64_counts_as_a_string_too(flag):
    made = event("alb", body=base64.b64encode(BODY).decode()) | {"isBase64Encoded": flag}
    assert events.read(made).body == BODY


@pytest.mark.parametrize("flag", [False, None, "false", "", 0])
def test_a_flag_that_says_no_leaves_the_body_as_it_is(flag):
    assert events.read(event("alb") | {"isBase64Encoded": flag}).body == BODY


@pytest.mark.parametrize("broken", ["e30", "e3 0=", "{}", "ä===", "e30=="])
def test_a_body_that_only_claims_to_be_base64_is_none(broken):
    assert events.read(event("function-url", body=broken, base64=True)).body is None


def test_a_body_that_is_no_text_is_none():
    assert events.read(event("rest-v1", body={"data": 1})).body is None


@pytest.mark.parametrize("body", [None, ""])
def test_a_body_that_is_missing_is_empty(body):
    assert events.read(event("rest-v1", body=body)).body == b""


def test_a_body_with_half_a_surrogate_pair_becomes_bytes_that_are_no_utf_8():
    assert events.read(event("function-url", body='"\ud800"')).body == b'"\xed\xa0\x80"'


@pytest.mark.parametrize(
    ("shape", "prefix"),
    [
        ("http-api-v2", "staging"),
        ("http-api-v1", "staging"),
        ("rest-v1", "staging"),
        ("rest-v1-console-test", "*"),
        ("function-url", ""),
        ("alb", ""),
        ("alb-multi-value", ""),
        ("alb-health-check", ""),
    ],
)
def test_what_may_stand_before_our_path_is_known_from_the_event(shape, prefix):
    assert events.read(sample(shape)).prefix == prefix


def test_behind_a_custom_domain_anything_may_stand_before_our_path():
    made = sample("http-api-v2")
    made["requestContext"]["domainName"] = "models.example.com"
    assert events.read(made).prefix == "*"


def test_a_rest_event_without_path_is_read_by_the_path_of_its_context():
    made = sample("rest-v1") | {"path": None}
    assert events.read(made).path == "/staging/iris/predict"


def test_an_http_event_without_raw_path_is_read_by_the_path_of_its_context():
    made = sample("http-api-v2")
    del made["rawPath"]
    assert events.read(made).path == "/staging/iris/predict"


def test_methods_are_upper_case():
    assert events.read(event("http-api-v2", method="post")).method == "POST"
    assert events.read(event("rest-v1", method="post")).method == "POST"


@pytest.mark.parametrize("direct", [{"data": 1}, {}, [], None, "text", 5, b"\xff", {"requestContext": {}}])
def test_what_came_through_no_front_is_no_request(direct):
    assert events.read(direct) is None


@pytest.mark.parametrize("shape", [*SHAPES, "alb-health-check"])
@given(damage=st.data())
def test_an_event_with_any_field_missing_or_of_another_type_is_read_or_is_none(shape, damage):
    made = sample(shape)
    places = [made, made["requestContext"], made["requestContext"].get("http", {}), made.get("headers") or {}]
    for place in places:
        for key in damage.draw(st.sets(st.sampled_from(sorted(place)), max_size=3) if place else st.just(set())):
            if damage.draw(st.booleans()):
                del place[key]
            else:
                place[key] = damage.draw(json_values)
    request = events.read(made)
    if request is not None:
        assert isinstance(request.path, str)
        assert isinstance(request.body, bytes | None)
        assert all(isinstance(value, str) for value in request.headers.values())


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape not in ALB])
def test_a_gateway_gets_status_headers_and_text(shape):
    response = events.write(events.read(sample(shape)), 404, b'{"a": "\xc3\xa4"}', {"x-a": "b"})
    assert response == {
        "statusCode": 404,
        "headers": {"x-a": "b"},
        "body": '{"a": "ä"}',
        "isBase64Encoded": False,
    }


def test_a_load_balancer_gets_a_description_of_the_status_too():
    response = events.write(events.read(sample("alb")), 413, b"{}", {"x-a": "b"})
    assert response["statusDescription"].startswith("413 ")
    assert response["headers"] == {"x-a": "b"}
    assert "multiValueHeaders" not in response


def test_a_load_balancer_that_sends_lists_gets_lists():
    response = events.write(events.read(sample("alb-multi-value")), 200, b"{}", {"x-a": "b"})
    assert response["multiValueHeaders"] == {"x-a": ["b"]}
    assert "headers" not in response
    assert response["statusDescription"] == "200 OK"


def test_a_load_balancer_that_sends_both_gets_what_it_gets_without_lists():
    made = sample("alb") | {"multiValueHeaders": sample("alb-multi-value")["multiValueHeaders"]}
    assert events.write(events.read(made), 200, b"{}", {"x-a": "b"})["headers"] == {"x-a": "b"}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_answer_to_head_has_no_body(shape):
    assert events.write(events.read(event(shape, method="HEAD")), 404, b"{}", {})["body"] == ""
