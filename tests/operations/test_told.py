"""What the handler is told of a stage, and that it understands it."""

import json
from dataclasses import replace

import pytest

from handler import cors, events
from handler import settings as handler_settings
from thampi.aws import cors as aws_cors
from thampi.config import AnswerCache, Api, Cors
from thampi.operations import told

CORS = Cors(origins=("https://app.example.com", "http://localhost:3000"), credentials=True)


def test_a_stage_as_it_is_by_default_tells_no_more_than_it_must(stand):
    assert told.of(stand.stage, cors=True) == {
        "THAMPI_NAME": "scale",
        "THAMPI_STAGE": "staging",
        "THAMPI_MAX_BODY_MB": "5",
    }


def test_what_is_told_is_what_the_handler_reads(stand):
    api = Api(cors=CORS, cache=AnswerCache(ttl_s=60, size_mb=16), page=False)
    stage = replace(stand.stage, api=api, environment={"TOKEN": "sesame"}, max_body_mb=3)
    said = told.of(stage, cors=True)
    read = handler_settings.read(said)
    assert said["TOKEN"] == "sesame"
    assert (read.name, read.stage, read.page) == ("scale", "staging", False)
    assert (read.cache_ttl_s, read.cache_bytes, read.max_body_bytes) == (60, 16 * 2**20, 3 * 2**20)
    assert json.loads(read.cors) == {
        "origins": ["https://app.example.com", "http://localhost:3000"],
        "methods": ["GET", "POST"],
        "headers": ["authorization", "content-type", "x-api-key"],
        "credentials": True,
        "max_age_s": 600,
    }
    assert cors.read(read.cors)


def test_where_something_else_sees_to_cors_the_handler_is_told_nothing_of_it(stand):
    assert "THAMPI_CORS" not in told.of(replace(stand.stage, api=Api(cors=CORS)), cors=False)


def test_whoever_sees_to_cors_pages_may_read_the_same_headers(stand):
    said = told.of(replace(stand.stage, api=Api(cors=CORS)), cors=True)["THAMPI_CORS"]
    headers = {}
    request = events.Request("v1", "POST", "/scale/predict", {"origin": CORS.origins[0]}, b"")
    cors.read(said).add(request, headers)
    assert headers["access-control-expose-headers"] == ", ".join(aws_cors.EXPOSED)


def variables(stand):
    return stand.live()["Environment"]["Variables"]


@pytest.mark.parametrize("kind", ["http", "url"])
def test_a_change_of_cors_makes_no_release_where_what_stands_in_front_sees_to_it(stand, kind):
    stand.push(replace(stand.stage, api=Api(type=kind, cors=CORS)))
    assert "THAMPI_CORS" not in variables(stand)
    stand.calls.clear()
    stand.push(replace(stand.stage, api=Api(type=kind, cors=replace(CORS, max_age_s=5))))
    assert "lambda.PublishVersion" not in stand.calls
    assert stand.live()["Version"] == "1"


def test_of_a_rest_api_the_function_sees_to_cors_and_a_change_of_it_is_a_release(stand):
    for number, max_age_s in enumerate((600, 5), 1):
        stand.push(replace(stand.stage, api=Api(type="rest", cors=replace(CORS, max_age_s=max_age_s))))
        assert json.loads(variables(stand)["THAMPI_CORS"])["max_age_s"] == max_age_s
        assert stand.live()["Version"] == str(number)
    stand.push(replace(stand.stage, api=Api(type="rest")))
    assert "THAMPI_CORS" not in variables(stand)


def test_kept_answers_are_switched_on_changed_and_off_by_a_release_each(stand):
    stand.push(stand.stage)
    for cache, wanted in (
        (AnswerCache(ttl_s=60), "ttl_s=60,size_mb=64"),
        (AnswerCache(ttl_s=5, size_mb=128), "ttl_s=5,size_mb=128"),
        (None, None),
    ):
        stage = replace(stand.stage, api=Api(cache=cache))
        pushed = stand.push(stage)
        (release,) = [row for row in pushed.rows if row.thing == "release"]
        (change,) = release.changes
        assert change.startswith("environment.THAMPI_CACHE: ")
        assert variables(stand).get("THAMPI_CACHE") == wanted
        assert not stand.push(stage).changed
