"""What an answer means."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies

from thampi.asking import failures
from thampi.asking.answer import Answer

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("5", 5.0),
        (" 0.5 ", 0.5),
        ("-1", 0.0),
        ("nan", None),
        ("inf", None),
        ("Sat, 21 Nov 2026 10:00:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 10:00:30 -0000", 30.0),  # no zone is UTC
        ("Sat, 21 Nov 2026 11:00:30 +0100", 30.0),
        ("Fri, 20 Nov 2026 10:00:30 GMT", 0.0),
        ("Sat, 99 Nov 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value, seconds):
    assert failures.retry_after_s(value, NOW) == seconds


_VALUES = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers() | strategies.text(max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=4)
        | strategies.dictionaries(
            strategies.sampled_from(["error", "message", "Message", "type", "mistakes", "path", "request_id", "x"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
_BODIES = strategies.binary(max_size=60) | _VALUES.map(lambda value: json.dumps(value).encode())


@given(
    strategies.integers(100, 999),
    strategies.dictionaries(strategies.sampled_from(["retry-after", "location", "x-request-id"]), strategies.text()),
    _BODIES,
)
def test_whatever_is_answered_becomes_a_failure_with_words(status, headers, body):
    failure = failures.of("https://h/m", Answer(status, headers, body))
    assert failure.message.startswith(f"https://h/m answered {status}: ")
    assert isinstance(failure.type, str)
    assert isinstance(failure.request_id, str)
    assert all(set(each) == {"path", "message"} for each in failure.mistakes)
    assert failure.status == status
    assert not (400 <= status < 500 and failure.may_have_run)


def test_a_model_that_is_being_loaded_was_not_run():
    for told in ("model_loading", "model_unavailable"):
        body = json.dumps({"error": {"type": told, "message": "m", "request_id": "r"}}).encode()
        assert not failures.of("u", Answer(503, {}, body)).may_have_run
    assert failures.of("u", Answer(503, {}, b'{"message": "Service Unavailable"}')).may_have_run


@pytest.mark.parametrize(
    ("status", "header", "said"),
    [
        (
            401,
            'Bearer scope="" error="invalid_token" error_description="the token has expired"',
            "the token has expired",
        ),
        (403, 'Bearer scope="ask" error="insufficient_scope"', "insufficient_scope"),
        (401, 'Bearer error_description="eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2ln is bad"', "… is bad"),
        (401, "Bearer", ""),
        (400, 'Bearer error_description="not about a token"', ""),
    ],
)
def test_what_is_wrong_with_a_token_is_said_and_the_token_isnt(status, header, said):
    answer = Answer(status, {"www-authenticate": header}, b'{"message": "Unauthorized"}')
    failure = failures.of("https://x/m", answer)
    assert failure.message == f"https://x/m answered {status}: Unauthorized" + (f": {said}" if said else "")


def gateway_said(status, message, kind=None):
    """What a REST API says by itself."""
    headers = {} if kind is None else {"x-amzn-errortype": kind}
    return failures.of("u", Answer(status, headers, json.dumps({"message": message}).encode()))


@pytest.mark.parametrize("kind", [None, "LimitExceededException"])
def test_a_used_up_quota_is_a_throttle_that_no_retry_gets_past(kind):
    failure = gateway_said(429, "Limit Exceeded", kind)
    assert type(failure) is failures.QuotaExceededError
    assert isinstance(failure, failures.ThrottledError)
    assert not failure.may_pass
    assert "next period" in failure.hint
    assert type(gateway_said(429, "in other words", "LimitExceededException")) is failures.QuotaExceededError


def test_a_rate_that_was_exceeded_may_pass():
    failure = gateway_said(429, "Too Many Requests", "TooManyRequestsException")
    assert type(failure) is failures.ThrottledError
    assert failure.may_pass


def test_what_a_rest_api_says_to_who_brings_no_key_of_its_own_leads_to_the_keys():
    failure = gateway_said(403, "Forbidden", "ForbiddenException")
    assert type(failure) is failures.UnauthorizedError
    assert "thampi keys STAGE list" in failure.hint
    assert (
        "thampi keys"
        not in gateway_said(403, "Missing Authentication Token", "MissingAuthenticationTokenException").hint
    )
