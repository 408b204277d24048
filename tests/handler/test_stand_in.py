import threading
import time
from types import SimpleNamespace

import pytest

from handler.stand_in import StandIn


class Lambda:
    """Gives out events, and hears the answers."""

    def __init__(self, *events):
        self.events, self.answered, self.asked_by = list(events), [], []
        self.lock = threading.Lock()

    def ask(self):
        assert self.lock.acquire(blocking=False), "two ask at once"
        try:
            self.asked_by.append(threading.current_thread().name)
            while not self.events:
                time.sleep(0.01)
            event = self.events.pop(0)
            if isinstance(event, Exception):
                raise event
            event.deadline_time_in_ms = str(int((time.time() + event.left_s) * 1000))
            return event
        finally:
            self.lock.release()

    def answer(self, event, handle):
        self.answered.append((event.name, handle(event, None)))


def event(name, left_s=60.0):
    return SimpleNamespace(name=name, left_s=left_s)


def standing_in(there, after_s=0.0, margin_ms=100.0, at_once=lambda event: False):
    stand_in = StandIn(after_s, margin_ms)
    stand_in.connect(there.ask, there.answer)
    stand_in.begin(lambda event, context: "not yet", at_once)
    return stand_in


def until(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


def test_a_start_that_is_fast_enough_never_asks():
    there = Lambda(event("first"))
    stand_in = standing_in(there, after_s=0.2)
    stand_in.end()
    assert stand_in.taken() is None
    time.sleep(0.4)
    assert there.asked_by == []


def test_it_does_not_ask_before_its_time():
    there = Lambda(event("first"))
    standing_in(there, after_s=0.3)
    time.sleep(0.15)
    assert there.asked_by == []
    until(lambda: there.asked_by == ["stand-in"])


def test_the_event_that_it_took_is_the_main_threads_next_and_given_once():
    there = Lambda(event("first"))
    stand_in = standing_in(there)
    until(lambda: not there.events)
    stand_in.end()
    assert stand_in.taken().name == "first"
    assert stand_in.taken() is None
    assert there.answered == []


def test_a_main_thread_that_is_ready_while_it_asks_waits_for_its_event_and_does_not_ask_too():
    there = Lambda()
    stand_in = standing_in(there)
    until(lambda: there.asked_by)
    stand_in.end()
    threading.Timer(0.1, lambda: there.events.append(event("late"))).start()
    assert stand_in.taken().name == "late"
    assert there.asked_by == ["stand-in"]


def test_an_event_whose_time_runs_out_is_answered_and_the_next_one_asked_for():
    there = Lambda(event("short", 0.3), event("long"))
    began = time.monotonic()  # first: it begins to ask at once
    stand_in = standing_in(there)
    until(lambda: there.answered)
    assert 0.15 < time.monotonic() - began < 0.3, "in time, and not before"
    until(lambda: not there.events)
    stand_in.end()
    assert stand_in.taken().name == "long"
    assert there.answered == [("short", "not yet")]


def test_what_needs_no_model_is_answered_at_once():
    there = Lambda(event("ping"), event("request"))
    stand_in = standing_in(there, at_once=lambda event: event.name == "ping")
    until(lambda: there.answered == [("ping", "not yet")])
    stand_in.end()
    assert stand_in.taken().name == "request"


def test_a_failure_to_ask_reaches_the_main_thread():
    there = Lambda(ConnectionError("the runtime API is gone"))
    stand_in = standing_in(there)
    until(lambda: there.asked_by)
    stand_in.end()
    with pytest.raises(ConnectionError, match="gone"):
        stand_in.taken()


def test_without_a_client_nobody_stands_in():
    stand_in = StandIn(0)
    stand_in.begin(lambda event, context: None, lambda event: False)
    time.sleep(0.05)
    stand_in.end()
    assert stand_in.taken() is None
