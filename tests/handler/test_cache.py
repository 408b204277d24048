"""Answers that are given again to a request with the same body."""

import json
import os
import subprocess
import sys
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import settings
from handler.cache import Cache
from tests.handler.inprocess import REQUEST_ID, SHAPES, Tells, event, sample, serve
from thampi import BadRequest
from thampi.errors import ConfigError
from thampi.runtime.bundle import About

MB = 1024 * 1024
LARGEST = 3 * MB


class Counts:
    """A model that says how often it was asked."""

    def __init__(self, answer=None):
        self.asked = 0
        self._answer = answer

    def __call__(self, args, context):
        self.asked += 1
        return self.asked if self._answer is None else self._answer(args)


def cached(tell=None, cache="ttl_s=60,size_mb=1", **environ):
    tell = tell or Counts()
    return serve(Tells(tell), THAMPI_CACHE=cache, **environ), tell


class Clock:
    """Two clocks that are set by hand."""

    def __init__(self):
        self.monotonic_s, self.wall_s = 1000.0, 1.8e9

    def pass_s(self, seconds):
        self.monotonic_s += seconds
        self.wall_s += seconds


@pytest.fixture
def clock():
    return Clock()


def made(clock, ttl_s=60, size_bytes=MB, largest_bytes=LARGEST):
    return Cache(ttl_s, size_bytes, largest_bytes, lambda: clock.monotonic_s, lambda: clock.wall_s)


def ask(cache, body=b"body", answer=b"answer", asked=()):
    """Return what a cache answers, whether it says hit or miss, and the age that it says."""
    headers = {}
    found = cache.answer(body, dict(asked), headers, lambda: answer)
    return found, headers["x-thampi-cache"], headers.get("age")


# --- through the endpoint


@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_body_gets_the_same_answer_without_asking_the_model(shape):
    served, counts = cached()
    first, second = served.http(sample(shape)), served.http(sample(shape))
    assert (first.headers["x-thampi-cache"], second.headers["x-thampi-cache"]) == ("miss", "hit")
    assert first.body == second.body
    assert second.json["result"] == 1
    assert second.json["properties"]["instance_id"] == "the-id"
    assert second.headers["x-request-id"] == REQUEST_ID
    assert ("age" in first.headers, second.headers["age"]) == (False, "0")
    assert counts.asked == 1


def test_another_body_asks_the_model_also_one_that_means_the_same():
    served, counts = cached()
    for body in ('{"data": 1}', '{"data": 2}', '{"data":1}', '{"data": 1.0}', '{"data": 1, "more": 1}'):
        assert served.http(event("rest-v1", body=body)).headers["x-thampi-cache"] == "miss"
    assert counts.asked == 5


def test_whichever_front_a_body_came_through_it_is_the_same():
    served, counts = cached()
    for shape in SHAPES:
        served.http(event(shape, body='{"data": 1}'))
    assert counts.asked == 1


def test_off_is_the_default_and_says_nothing():
    counts = Counts()
    served = serve(Tells(counts))
    for _ in range(2):
        reply = served.http(sample("rest-v1"))
        assert not {"x-thampi-cache", "age"} & set(reply.headers)
    assert counts.asked == 2
    assert "cache_hits" not in served.lines[-1]
    assert "cache_hits" not in json.dumps(served.lines[-1])


def test_direct_calls_ask_the_model_each_time():
    served, counts = cached()
    for _ in range(2):
        served.direct({"data": 1})
        served.ask({"thampi": "warm"})
    assert counts.asked == 2


def test_only_predictions_are_kept():
    served, _ = cached()
    for path in ("/iris", "/iris/ping", "/iris/openapi.json"):
        for _ in range(2):
            assert "x-thampi-cache" not in served.http(event("rest-v1", path, "GET", body=None)).headers


@pytest.mark.parametrize("error", [BadRequest("no"), ValueError("no"), SystemExit()])
def test_what_went_wrong_is_never_kept(error):
    def fail(args):
        raise error

    served, counts = cached(Counts(fail))
    for _ in range(2):
        reply = served.http(sample("rest-v1"))
        assert reply.status in (400, 500)
        assert "x-thampi-cache" not in reply.headers
    assert counts.asked == 2


def test_a_model_that_failed_once_is_asked_again_and_then_no_more():
    answers = iter([ValueError("once"), "fine"])

    def tell(args):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    served, _ = cached(Counts(tell))
    assert [served.http(sample("alb")).status for _ in range(3)] == [500, 200, 200]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"headers": {"content-type": "text/csv"}}, 415),
        ({"headers": {"content-encoding": "gzip"}}, 415),
        ({"method": "PUT"}, 405),
        ({"path": "/iris/train"}, 404),
    ],
)
def test_a_request_that_is_wrong_is_refused_although_its_body_has_an_answer(changed, status):
    served, _ = cached()
    assert served.http(sample("rest-v1")).status == 200
    reply = served.http(event("rest-v1", **changed))
    assert (reply.status, "x-thampi-cache" in reply.headers) == (status, False)


@pytest.mark.parametrize("wish", ["no-cache", "No-Cache", "max-age=0, no-cache"])
def test_a_caller_who_wants_the_models_own_answer_gets_it_and_the_others_get_it_from_then_on(wish):
    served, _ = cached()
    served.http(sample("rest-v1"))
    fresh = served.http(event("rest-v1", headers={"Cache-Control": wish}))
    assert (fresh.json["result"], fresh.headers["x-thampi-cache"]) == (2, "miss")
    later = served.http(sample("rest-v1"))
    assert (later.json["result"], later.headers["x-thampi-cache"]) == (2, "hit")


def test_a_caller_who_wants_nothing_kept_gets_the_models_own_answer_and_has_nothing_kept():
    served, _ = cached()
    no_store = event("rest-v1", headers={"Cache-Control": "no-store"})
    asked = (no_store, sample("rest-v1"), no_store, sample("rest-v1"))
    assert [served.http(made).json["result"] for made in asked] == [1, 2, 3, 2]


def test_an_answer_that_lambda_might_not_let_through_is_made_anew_each_time():
    served, counts = cached(Counts(lambda data: '"' * int(data)), cache="ttl_s=60,size_mb=64")
    for size, status, asked in ((1_000_000, 200, 1), (2_000_000, 413, 3)):
        # In JSON a quote takes two bytes, and in the JSON of the response once more twice.
        for _ in range(2):
            assert served.http(event("rest-v1", body=json.dumps({"data": size}))).status == status
        assert counts.asked == asked


def test_what_is_given_again_is_told_to_each_caller_with_its_own_leave_to_read_it():
    cors = {"origins": ["https://a.com"], "methods": ["POST"], "headers": [], "credentials": False, "max_age_s": 1}
    served, _ = cached(THAMPI_CORS=json.dumps(cors))
    allowed, other, again = (
        served.http(event("rest-v1", headers={"Origin": origin}))
        for origin in ("https://a.com", "https://b.com", "https://a.com")
    )
    assert allowed.headers["access-control-allow-origin"] == "https://a.com"
    assert "access-control-allow-origin" not in other.headers
    assert again.headers["access-control-allow-origin"] == "https://a.com"
    assert [each.headers["x-thampi-cache"] for each in (allowed, other, again)] == ["miss", "hit", "hit"]


def test_the_log_says_which_answers_were_given_again_and_counts_them():
    served, _ = cached()
    for _ in range(3):
        served.http(sample("rest-v1"))
    served.http(event("rest-v1", body="{"))
    served.direct({"data": 1})
    assert [line["cache_hits"] for line in served.lines] == [0, 1, 1, 0, 0]
    (directive,) = served.lines[0]["_aws"]["CloudWatchMetrics"]
    assert {"Name": "cache_hits", "Unit": "Count"} in directive["Metrics"]


def test_the_document_says_that_answers_may_be_given_again_only_where_they_may():
    for environ, there in (({}, False), ({"THAMPI_CACHE": "ttl_s=60,size_mb=1"}, True)):
        about = About("id", "then", {}, python="3.12.1", distributions={})
        found = serve(about=about, **environ).http(event("rest-v1", "/iris/openapi.json", "GET", body=None)).json
        headers = found["paths"]["/iris/predict"]["post"]["responses"]["200"]["headers"]
        assert ({"x-thampi-cache", "age"} <= set(headers)) is there


# --- how long


def test_an_answer_is_given_again_until_its_time_is_over(clock):
    cache = made(clock, ttl_s=60)
    ask(cache, answer=b"old")
    clock.pass_s(59.5)
    assert ask(cache, answer=b"new") == (b"old", "hit", "59")
    clock.pass_s(0.5)
    assert ask(cache, answer=b"new") == (b"new", "miss", None)
    assert ask(cache, answer=b"newer") == (b"new", "hit", "0")


def test_to_be_asked_for_makes_no_answer_younger(clock):
    cache = made(clock, ttl_s=60)
    ask(cache)
    for _ in range(3):
        clock.pass_s(19)
        assert ask(cache)[1] == "hit"
    clock.pass_s(19)
    assert ask(cache)[1] == "miss"


def test_an_environment_that_was_frozen_while_its_clock_stood_still_gives_no_old_answer(clock):
    cache = made(clock, ttl_s=60)
    ask(cache)
    clock.wall_s += 3600
    assert ask(cache)[1] == "miss"


def test_an_environment_whose_clock_was_set_back_gives_no_old_answer(clock):
    cache = made(clock, ttl_s=60)
    ask(cache)
    clock.monotonic_s += 60
    clock.wall_s -= 3600
    assert ask(cache)[1] == "miss"


def test_where_the_monotonic_clock_began_anew_the_other_one_counts(clock):
    cache = made(clock, ttl_s=60)
    ask(cache)
    clock.monotonic_s, clock.wall_s = 1.0, clock.wall_s + 30
    assert ask(cache)[1:] == ("hit", "30")
    clock.wall_s += 30
    assert ask(cache)[1] == "miss"


def test_no_answer_is_of_the_future(clock):
    cache = made(clock)
    ask(cache)
    clock.monotonic_s, clock.wall_s = 1.0, clock.wall_s - 100
    assert ask(cache)[2] == "0"


def test_on_real_clocks_an_answer_gets_old():
    cache = Cache(0.2, MB, LARGEST)
    ask(cache)
    assert ask(cache)[1] == "hit"
    time.sleep(0.25)
    assert ask(cache)[1] == "miss"


# --- how much


def test_what_was_not_asked_for_longest_goes_first(clock):
    cache = made(clock, size_bytes=3 * 1400 + 100)  # three answers of a thousand bytes, with what each takes beside
    for body in (b"a", b"b", b"c"):
        ask(cache, body, b"x" * 1000)
    ask(cache, b"a")
    ask(cache, b"d", b"x" * 1000)
    assert [ask(cache, body)[1] for body in (b"a", b"d", b"c")] == ["hit", "hit", "hit"]
    assert ask(cache, b"b", b"x" * 1000)[1] == "miss"


def test_for_a_large_answer_as_many_go_as_have_to(clock):
    cache = made(clock, size_bytes=5 * 1400)
    for body in (b"a", b"b", b"c", b"d", b"e"):
        ask(cache, body, b"x" * 1000)
    ask(cache, b"large", b"x" * 3000)
    assert [ask(cache, body)[1] for body in (b"large", b"d", b"e")] == ["hit", "hit", "hit"]
    assert ask(cache, b"c", asked={"cache-control": "no-store"})[1] == "miss"


def test_an_answer_in_the_place_of_an_old_one_takes_no_more_than_its_own(clock):
    cache = made(clock, size_bytes=2 * 1400)
    ask(cache, b"other", b"x" * 1000)
    for _ in range(5):
        ask(cache, b"again", b"x" * 1000, {"cache-control": "no-cache"})
    assert ask(cache, b"other")[1] == "hit"


@pytest.mark.parametrize("largest", [LARGEST, 10_000])
def test_an_answer_that_is_too_large_to_keep_drives_no_other_out(clock, largest):
    cache = made(clock, size_bytes=20_000, largest_bytes=largest)
    ask(cache, b"small")
    for _ in range(2):
        assert ask(cache, b"large", b"x" * 20_000)[1] == "miss"
    assert ask(cache, b"small")[1] == "hit"


def test_an_answer_that_became_too_large_takes_the_old_one_with_it(clock):
    cache = made(clock, size_bytes=20_000)
    ask(cache, b"a", b"old")
    ask(cache, b"a", b"x" * 20_000, {"cache-control": "no-cache"})
    assert ask(cache, b"a", b"new")[:2] == (b"new", "miss")


@pytest.mark.parametrize("size", [0, 10, 100, 1000, 100_000])
def test_what_is_kept_takes_no_more_memory_than_it_may(size):
    limit = 4 * MB
    cache = Cache(3600, limit, LARGEST)
    tracemalloc.start()
    try:
        for number in range(3 * limit // (400 + size)):  # over its brim, and on
            ask(cache, b"%d" % number, os.urandom(size))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held <= limit
    assert peak <= limit + 2 * size + 100_000
    assert held >= limit // 2  # or it would be no use


class Model:
    """What a cache should do, said as plainly as can be: a list of (body, answer, age), the youngest use last."""

    def __init__(self, ttl_s, size):
        self.ttl_s, self.size, self.kept = ttl_s, size, []

    def ask(self, body, answer):
        for each in self.kept:
            if each[0] == body and each[2] < self.ttl_s:
                self.kept.remove(each)
                self.kept.append(each)
                return each[1], "hit"
        self.kept = [each for each in self.kept if each[0] != body]
        if 400 + len(answer) <= self.size:
            self.kept.append([body, answer, 0])
        while sum(400 + len(each[1]) for each in self.kept) > self.size:
            self.kept.pop(0)
        return answer, "miss"

    def pass_s(self, seconds):
        for each in self.kept:
            each[2] += seconds


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 900)) | st.integers(1, 40),
        max_size=60,
    ),
    size=st.integers(300, 4000),
)
def test_whatever_is_asked_in_whatever_order_it_does_what_it_should(steps, size):
    clock, model = Clock(), Model(60, size)
    cache = made(clock, ttl_s=60, size_bytes=size)
    for number, step in enumerate(steps):
        if isinstance(step, int):
            clock.pass_s(step)
            model.pass_s(step)
        else:
            body, answer = b"%d" % step[0], (b"%d " % number).ljust(step[1], b"x")
            assert ask(cache, body, answer)[:2] == model.ask(body, answer)


# --- what it is told


@pytest.mark.parametrize(
    "text", ["60", "ttl_s=60", "size_mb=64", "ttl_s=0,size_mb=64", "ttl_s=60,size_mb=0", "ttl_s=1.5,size_mb=1", "a=1"]
)
def test_what_cannot_be_meant_is_refused_by_its_name(text):
    with pytest.raises(ConfigError, match="THAMPI_CACHE"):
        settings.read({"THAMPI_CACHE": text})


def test_time_and_size_are_what_was_said():
    read = settings.read({"THAMPI_CACHE": "ttl_s=60,size_mb=64"})
    assert (read.cache_ttl_s, read.cache_bytes) == (60, 64 * MB)
    assert settings.read({}).cache_ttl_s == settings.read({"THAMPI_CACHE": ""}).cache_ttl_s == 0


IMPORTED = """
import sys
from handler import app, settings
made = app.Application(settings.read({argument}), None)
print(sorted(name for name in ("handler.cache", "handler.cors") if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, "[]"),
        ({"THAMPI_CACHE": "ttl_s=60,size_mb=1"}, "['handler.cache']"),
        (
            {"THAMPI_CORS": '{"origins": ["*"], "methods": [], "headers": [], "credentials": false, "max_age_s": 1}'},
            "['handler.cors']",
        ),
    ],
)
def test_what_is_not_wanted_is_not_imported(request, environ, wanted):
    program = IMPORTED.replace("{argument}", repr(environ))
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=request.config.rootpath, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == wanted
