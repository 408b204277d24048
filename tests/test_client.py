"""thampi.Client, as users make it: by a URL or a stage, with what lets it in; and what it costs to have it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import thampi
from tests.asking import server
from thampi import client as public
from thampi.errors import ConfigError, ThampiError

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def place():
    with server.serving() as served:
        yield served


# ------------------------------------------------------------------------------------------ who is let in, and stages


def test_a_key_and_a_token_are_sent_with_each_request(place):
    tokens = iter(["first", "second\n"])
    with thampi.Client(place.url, api_key=" a-key\n", token=lambda: next(tokens)) as client:
        client.predict(1)
        client.about()
    assert [headers["x-api-key"] for _, _, headers in place.requests] == ["a-key", "a-key"]
    assert [headers["authorization"] for _, _, headers in place.requests] == ["Bearer first", "Bearer second"]
    with thampi.Client(place.url, token="fixed") as client:
        client.predict(1)
    assert place.requests[-1][2]["authorization"] == "Bearer fixed"


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("", "is no URL"),
        ("mymodel/predict", "is no URL"),
        ("localhost:8080/mymodel", "is no URL"),
        ("s3://bucket/mymodel", "is no URL"),
        ("http:///mymodel", "is no URL"),
        ("http://[::1/mymodel", "is no URL"),
        ("http://host:99999/mymodel", "is no URL"),
        ("https://host/", "names no model"),
        ("https://host/predict", "names no model"),
        ("https://host/mymodel?key=1", "has more than scheme, host and path"),
        ("https://me:word@host/mymodel", "has more than scheme, host and path"),
        ("https://host/my model", "has more than scheme, host and path"),
    ],
)
def test_what_is_no_url_of_a_model_is_refused_with_the_form_of_one(url, mistake):
    with pytest.raises(ConfigError, match=mistake) as refused:
        thampi.Client(url)
    assert "https://…/{name}/predict" in refused.value.hint
    assert "word" not in refused.value.message


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"url": "https://h/m", "stage": "staging"},
        {"url": "https://h/m", "token": "t", "sign": True},
        {"url": "https://h/m", "profile": "mine"},
        {"url": "https://h/m", "timeout_s": 0},
        {"url": "https://h/m", "timeout_s": float("nan")},
        {"url": "https://h/m", "timeout_s": float("inf")},
        {"url": "https://h/m", "api_key": ""},
        {"url": "https://h/m", "api_key": "secret\r\nX-Other: 1"},
        {"url": "https://h/m", "token": "sécret"},
        {"stage": "staging", "sign": True},
    ],
)
def test_settings_that_cannot_go_together_are_refused_without_their_secrets(settings):
    with pytest.raises(ConfigError) as refused:
        thampi.Client(**settings)
    assert "cret" not in refused.value.message.replace("the secret itself", "")
    assert isinstance(refused.value, ThampiError)


def test_a_stage_without_a_project_is_told_how_to_begin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no thampi.toml"):
        thampi.Client(stage="staging")


def test_the_example_asks_about_many_messages_at_once(monkeypatch):
    spam = REPO / "examples/spam"
    monkeypatch.syspath_prepend(str(spam))
    example = runpy.run_path(str(spam / "train.py"))
    pipeline, _ = example["train"](60)
    words = [sys.executable, "ask.py"]
    with server.serving(model=example["SpamFilter"](pipeline)) as place:
        messages = ["You won a free prize, click now", "Good morning, the report is attached"]
        done = subprocess.run([*words, place.url, *messages], cwd=spam, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        first, *judged = done.stdout.splitlines()
        assert first == f"{place.url}, trained 2026-09-06T22:03:04.886644Z"
        assert [(line[:4].strip(), line[13:]) for line in judged] == list(zip(["spam", "ham"], messages, strict=True))
        nowhere = subprocess.run([*words, f"{place.url}/x", "m"], cwd=spam, capture_output=True, text=True)
        assert nowhere.returncode == 1
        assert "404" in nowhere.stderr


# ----------------------------------------------------------------------------------------------- what importing costs


def test_importing_thampi_brings_no_http_along():
    told = (
        "import sys, thampi; from thampi import *;"
        "had = {'http.client', 'urllib.request', 'thampi.client', 'thampi.asking', 'boto3'} & set(sys.modules);"
        "thampi.Client('http://127.0.0.1:1/m');"
        "print(sorted(had), sorted({'boto3', 'botocore', 'pydantic', 'thampi.operations'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, cwd=REPO)
    assert done.stdout == "[] []\n"


def test_every_public_name_of_the_client_is_one_of_thampi():
    assert set(thampi._OF_THE_CLIENT) == set(public.__all__)
    assert [getattr(thampi, name) for name in public.__all__] == [getattr(public, name) for name in public.__all__]
    with pytest.raises(AttributeError, match="module 'thampi' has no attribute 'Clint'"):
        _ = thampi.Clint
