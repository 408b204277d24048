"""What an endpoint says of itself, on the local AWS: its document, held against what it does, and its page."""

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import openapi_spec_validator
import pytest

from tests import sharing
from tests.browser import chromium
from tests.e2e.test_push_local import LocalAws, Project, end_local_aws, new_local_aws

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

EXAMPLE = {"input": [5.9, 3.2, 4.8, 1.8], "site": "meadow", "wild": True}
TRAIN = """
from typing import Annotated, Literal, NotRequired, TypedDict

import thampi
from pydantic import Field


class Flower(TypedDict):
    input: Annotated[list[float], Field(min_length=4, max_length=4, description="In cm")]
    site: Literal["garden", "meadow", "shore"]
    wild: bool
    height: NotRequired[Annotated[float, Field(ge=0, le=200)] | None]
    note: NotRequired[str]


class Answer(TypedDict):
    species: Literal["setosa", "virginica"]
    sizes: Annotated[list[float], Field(min_length=4, max_length=4)]


class Iris(thampi.Model):
    def predict(self, args: Flower, context) -> Answer:
        return {"species": "virginica" if args["wild"] else "setosa", "sizes": args["input"]}


thampi.save(Iris(), "m", "models", example=EXAMPLE, tags={"team": "<b>flowers</b>"})
"""


@pytest.fixture(scope="module")
def page_url(tmp_path_factory, client):
    """The address of an endpoint's page, pushed once for all workers."""
    place = sharing.folder(tmp_path_factory)

    def make(aws):
        folder = place / "endpoint"
        folder.mkdir()
        project = Project(folder, f"e{place.name.encode().hex()[-8:]}", aws).configure()
        (folder / "requirements.txt").write_text("pydantic\n")
        (folder / "train.py").write_text(TRAIN.replace("EXAMPLE", repr(EXAMPLE)))
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return project.push()[0].removesuffix("/predict")

    def remove(url):
        project = url.rpartition("/")[2]
        for reference in client.run("images", "--format={{.Repository}}:{{.Tag}}", f"thampi-{project}").stdout.split():
            client.run("rmi", "--force", reference)

    started = sharing.once(place, "push_local_aws", lambda: new_local_aws(place / "push-state"), end_local_aws)
    with started as found, sharing.once(place, "endpoint", lambda: make(LocalAws(**found)), remove) as url:
        yield url


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read().decode(), answer.headers


# --- the document


def test_the_document_is_valid_and_knows_the_models_hints(page_url):
    text, headers = get(f"{page_url}/openapi.json")
    found = json.loads(text)
    openapi_spec_validator.validate(found)
    assert headers["content-type"] == "application/json"
    assert found["servers"] == [{"url": ".."}]
    answer = found["components"]["schemas"]["Result.Answer"]
    assert answer["properties"]["species"]["enum"] == ["setosa", "virginica"]


def held_against_its_document(url, mode, tests, folder):
    """Let schemathesis ask `tests` times and more; return how often it did, and what it found."""
    done = subprocess.run(
        [
            *(
                Path(sys.executable).parent / "schemathesis",
                "run",
                f"{url}/openapi.json",
                "--url",
                url.rpartition("/")[0],
                "--checks=all",
            ),
            *("--phases=examples,coverage,fuzzing", f"--max-examples={tests}", "--continue-on-failure", "--no-color"),
            *(f"--mode={mode}", "--suppress-health-check=all"),
        ],
        cwd=folder,  # where it keeps what it found
        capture_output=True,
        text=True,
    )
    count = re.search(r"(\d+) generated", done.stdout.replace(",", ""))
    return int(count[1]) if count else 0, done.returncode, done.stdout


both_modes = pytest.mark.parametrize("mode", ["positive", "negative"])  # what the document allows, what it forbids


@both_modes
def test_what_the_endpoint_does_is_what_its_document_says(page_url, tmp_path, mode):
    count, failed, said = held_against_its_document(page_url, mode, 150, tmp_path)
    assert not failed, said
    assert count > 150


@pytest.mark.long
@pytest.mark.timeout(3600)
@both_modes
def test_five_thousand_requests_each_find_nothing_that_the_document_lacks(page_url, tmp_path, mode):
    count, failed, said = held_against_its_document(page_url, mode, 5_000, tmp_path)
    print(said[-1000:])
    assert not failed, said
    assert count >= 5_000


# --- the page


def test_browsers_get_the_page_and_programs_json(page_url):
    assert json.loads(get(page_url)[0])["example"] == EXAMPLE
    text, headers = get(page_url, Accept="text/html,*/*;q=0.8")
    assert (headers["content-type"], headers["vary"]) == ("text/html; charset=utf-8", "accept")
    assert text.startswith("<!doctype html>")


def test_in_a_browser_the_model_is_asked_and_answers(page_url):
    with chromium() as browser:
        page = browser.new_page()
        complaints = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(page_url)
        assert page.inner_text("h1") == page_url.rpartition("/")[2]
        assert "<b>flowers</b>" in page.inner_text("#tags")
        page.get_by_label("input").fill("5.1, 3.5, 1.4, 0.2")
        page.get_by_label("wild").uncheck()
        page.get_by_role("button", name="Send").click()
        page.wait_for_selector("#status b")
        assert page.inner_text("#status").startswith("200 OK in ")
        wanted = {"species": "setosa", "sizes": [5.1, 3.5, 1.4, 0.2]}
        assert json.loads(page.get_by_label("Result").inner_text()) == wanted
        page.get_by_label("input").fill("5.1")
        page.get_by_role("button", name="Send").click()
        page.get_by_text("/data/input", exact=True).wait_for()
        assert page.inner_text("#status").startswith("422 ")
        copied = page.inner_text("#code")
        assert complaints == []
    done = subprocess.run(["bash", "-c", copied.replace("[5.1]", "[1, 2, 3, 4]")], capture_output=True, text=True)
    assert json.loads(done.stdout)["result"]["sizes"] == [1, 2, 3, 4]


def test_the_document_is_linked_where_it_is(page_url):
    with chromium() as browser:
        page = browser.new_page()
        page.goto(page_url)
        page.get_by_role("link", name="the OpenAPI document").click()
        assert page.url == f"{page_url}/openapi.json"
