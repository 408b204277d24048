"""Asking again: whether, and when."""

import re

import pytest
from hypothesis import given, strategies

from thampi.asking import failures, retrying
from thampi.asking.failures import EndpointError, RefusedError, ThrottledError, UnavailableError


def pause(failure, attempt=1, idempotent=False, chance=0.5):
    return retrying.pause_s(failure, attempt, idempotent=idempotent, chance=chance)


def test_pauses_grow_and_end():
    found = [pause(ThrottledError("m"), attempt) for attempt in (1, 2, 3, 4, 5)]
    assert found == [0.1875, 0.375, 0.75, None, None]


def test_clients_that_failed_together_come_back_one_by_one():
    assert pause(ThrottledError("m"), chance=0.0) == 0.125
    assert pause(ThrottledError("m"), chance=1.0) == 0.25
    assert pause(ThrottledError("m", retry_after_s=2.0), chance=0.0) == 2.0
    assert pause(ThrottledError("m", retry_after_s=2.0), chance=1.0) == 2.25


def test_who_is_told_to_wait_for_long_hears_so_at_once():
    assert pause(ThrottledError("m", retry_after_s=20.0)) == 20.125
    assert pause(ThrottledError("m", retry_after_s=20.1)) is None


def _kinds(kind=EndpointError):
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]


@pytest.mark.parametrize("kind", _kinds(), ids=lambda kind: kind.__name__)
@given(strategies.integers(1, 6), strategies.floats(0, 1), strategies.none() | strategies.floats(0, 100))
def test_what_may_have_run_the_model_is_never_repeated_unless_that_does_no_harm(kind, attempt, chance, after):
    failure = kind("m", may_have_run=True, retry_after_s=after)
    assert pause(failure, attempt, chance=chance) is None
    again = pause(failure, attempt, idempotent=True, chance=chance)
    assert again is None or (kind.may_pass and again <= retrying.LONGEST_S + 1)


def test_the_wrong_request_stays_wrong():
    assert pause(RefusedError("m"), idempotent=True) is None
    assert pause(UnavailableError("m"), idempotent=True) is not None


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes():
    said = re.findall(r"[├└]── (\w+)", failures.__doc__)
    assert said == [kind.__name__ for kind in _kinds()[1:]]
