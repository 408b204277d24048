"""Who gets the page, and what goes out with it; what it does in a browser is in test_page_in_chromium.py."""

import base64
import hashlib
import json
import re

import pytest

from handler import page
from tests.handler import flowers
from tests.handler.inprocess import SHAPES, event, serve

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def reply_to(accept=BROWSER, shape="http-api-v2", about=None, method="GET", **environ):
    made = event(shape, "/iris", method, body=None, headers={"accept": accept})
    return serve(about=about or flowers.about(), **environ).http(made)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/*", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("text/html;level=1;q=0.9, */*;q=0.1", True),
        ("*/*;q=0.1, text/html ; q=0.2", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("text/html, application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("application/*, text/html;q=0.5", False),
        ("text/html;q=0", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=0.5.5", False),
        (";;,,;q=", False),
    ],
)
def test_browsers_get_the_page_and_programs_json(accept, html):
    assert page.is_preferred(accept) is html
    wanted = "text/html; charset=utf-8" if html else "application/json"
    assert reply_to(accept).headers["content-type"] == wanted


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "rest-v1-console-test"])
def test_the_page_goes_through_every_front(shape):
    reply = reply_to(shape=shape)
    assert (reply.status, reply.headers["vary"]) == (200, "accept")
    assert reply.body.startswith("<!doctype html>")


@pytest.mark.parametrize("accept", [BROWSER, "*/*"])
def test_caches_are_told_that_it_depends_on_who_asks(accept):
    assert reply_to(accept).headers["vary"] == "accept"


def test_without_the_page_browsers_get_json_and_caches_need_know_nothing():
    reply = reply_to(THAMPI_PAGE="false")
    assert reply.headers["content-type"] == "application/json"
    assert "vary" not in reply.headers
    assert reply.json["example"] == flowers.EXAMPLE


def test_head_has_the_headers_of_the_page_and_no_body():
    reply = reply_to(method="HEAD")
    assert (reply.status, reply.body, reply.headers["content-type"]) == (200, "", "text/html; charset=utf-8")


def test_the_page_is_small():
    body = reply_to().body.encode()
    facts = reply_to("*/*").body.encode()
    assert len(body) - len(facts) <= 25 * 1024


def facts_in(body):
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', body, re.DOTALL)
    return json.loads(text)


def test_the_page_knows_what_the_json_says():
    assert facts_in(reply_to().body) == reply_to("*/*").json


NASTY = "</script><script>alert(1)</script><!--<script>{{facts}}{{title}}"


def test_nothing_of_the_model_ends_the_block_that_it_stands_in():
    about = flowers.about(
        tags={NASTY: NASTY}, example={NASTY: NASTY}, distributions={NASTY: NASTY}, instance_id=NASTY, python=NASTY
    )
    body = reply_to(about=about, THAMPI_STAGE=NASTY).body
    plain = reply_to(about=flowers.about()).body
    assert body.count("<script") == plain.count("<script") == 2
    assert body.count("</script") == 2
    assert "<!--" not in body
    assert facts_in(body)["properties"]["tags"] == {NASTY: NASTY}


def test_an_example_that_is_large_stays_out_of_the_page():
    example = {"input": [0.5] * 100_000}
    facts = facts_in(reply_to(about=flowers.about(example=example)).body)
    assert facts["example"] is None
    assert facts["example_left_out"] is True


def policy_of(reply):
    words = (each.split(" ") for each in reply.headers["content-security-policy"].split("; "))
    return {name: values for name, *values in words}


def test_only_the_pages_own_script_and_style_are_allowed():
    reply = reply_to()
    policy = policy_of(reply)
    assert (
        policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == ["'none'"]
    )
    assert policy["connect-src"] == ["'self'"]
    for tag in ("script", "style"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", reply.body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{tag}-src"] == [f"'sha256-{digest}'"]


def test_the_page_asks_nobody_else():
    body = reply_to().body
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", body)
    assert "@import" not in body


def test_what_only_its_writers_read_does_not_go_out():
    body = reply_to().body
    assert "\n " not in body
    assert "\n//" not in body
