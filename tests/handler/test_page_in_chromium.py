"""The page as people use it, in a real Chromium: with a mouse, with a keyboard, on a phone, in the dark."""

import json
import subprocess
import sys

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser import chromium
from tests.handler import flowers
from tests.handler.browsing import serving
from tests.handler.inprocess import Tells, serve
from thampi import BadRequest

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser):
    """Open the page of a model; whatever the page complains of is a failure."""
    contexts, complaints = [], []

    class Opened:
        def __enter__(self):
            return self

        def __call__(self, url, **options):
            context = browser.new_context(**options)
            contexts.append(context)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
            page.goto(url)
            return page

    yield Opened()
    for context in contexts:
        context.close()
    assert complaints == []


class Heard:
    """A model that keeps what it was asked, and answers as it is told."""

    def __init__(self, answer=flowers.ANSWER):
        self.data = []
        self.answer = answer

    def __call__(self, args, context):
        self.data.append(args)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer(args) if callable(self.answer) else self.answer


@pytest.fixture
def site():
    """Serve a model; the address of its page, and what it heard."""
    running = []

    def start(answer=flowers.ANSWER, about=None, **environ):
        heard = Heard(answer)
        context = serving(serve(Tells(heard), about or flowers.about(), **environ))
        running.append(context)
        return context.__enter__(), heard

    yield start
    for context in running:
        context.__exit__(None, None, None)


def send(page):
    page.get_by_role("button", name="Send").click()
    page.wait_for_selector("#status b")
    return page.inner_text("#status")


def code(page, language="curl"):
    page.get_by_label(language, exact=True).check()
    return page.inner_text("#code")


# --- what it says


def test_it_says_what_the_model_is(opened, site):
    page = opened(site()[0])
    assert page.title() == "iris · staging"
    assert page.get_by_role("heading", level=1).inner_text() == "iris"
    text = page.inner_text("body")
    for said in ("staging", "6 September 2026 at 22:03 UTC", "team flowers", "3.12.7", flowers.about().instance_id):
        assert said in text
    page.get_by_text("Libraries").click()
    assert "scikit-learn\t1.9.1" in page.inner_text("#libraries")


def test_it_says_what_the_model_takes_and_answers(opened, site):
    page = opened(site()[0])
    takes = page.inner_text("#takes")
    for said in (
        "list of numbers (exactly 4)",
        "Sepal length and width, petal length and width, in cm",
        "one of garden, meadow, shore",
        "yes or no",
        "number (≥ 0, ≤ 200), or null, optional",
        "text (at most 80 characters), optional",
    ):
        assert said in takes
    assert "one of setosa, versicolor, virginica" in page.inner_text("#gives")


def test_a_schema_that_contains_itself_is_said_to_its_end(opened, site):
    tree = {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "inner": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name"],
            }
        },
    }
    page = opened(site(about=flowers.about(signature=flowers.signature(tree), example={"name": "a"}))[0])
    assert "list of objects, optional" in page.inner_text("#takes")
    assert not page.is_visible("#modes")


@pytest.mark.parametrize(
    "text", ["<script>document.title = 'run'</script>", "<img src=x onerror=\"document.title='run'\">"]
)
def test_nothing_of_the_model_runs(opened, site, text):
    about = flowers.about(
        tags={text: text, "b": {"c": text}},
        example={text: text},
        distributions={text: text},
        signature=flowers.signature(
            {"type": "object", "properties": {text: {"type": "string", "description": text}, "e": {"enum": [text]}}}
        ),
    )
    page = opened(site(answer={text: text}, about=about)[0])
    send(page)
    assert page.title() == "iris · staging"
    assert page.locator("img").count() == 0
    assert text in page.inner_text("#tags")


# --- asking


def test_filled_in_and_sent_the_form_is_answered(opened, site):
    url, heard = site()
    page = opened(url)
    page.get_by_label("input").fill("5.1 3.5, 1.4;0.2")
    page.get_by_label("site").select_option("shore")
    page.get_by_label("wild").uncheck()
    page.get_by_label("height").fill("12.5")
    page.get_by_label("note").fill("by the “sea”")
    status = send(page)
    assert heard.data == [
        {"input": [5.1, 3.5, 1.4, 0.2], "site": "shore", "wild": False, "height": 12.5, "note": "by the “sea”"}
    ]
    assert status.startswith("200 OK in ")
    assert status.endswith(" ms")
    assert json.loads(page.get_by_label("Result").inner_text()) == flowers.ANSWER


def test_what_is_left_empty_is_not_sent(opened, site):
    url, heard = site()
    send(opened(url))
    assert heard.data == [flowers.EXAMPLE]


def test_a_form_that_lacks_something_is_not_sent(opened, site):
    url, heard = site()
    page = opened(url)
    page.get_by_label("input").fill("")
    page.get_by_role("button", name="Send").click()
    assert page.evaluate("document.activeElement === document.querySelector('#field-0')")
    page.get_by_label("input").fill("one, two")
    page.get_by_role("button", name="Send").click()
    assert heard.data == []


def test_json_is_sent_as_it_was_written_with_every_digit(opened, site):
    url, heard = site(answer=lambda data: data)
    page = opened(url, viewport={"width": 1200, "height": 900})
    page.get_by_label("JSON", exact=True).check()
    data = '{"input": [1e2, 2.50, 3, 4], "site": "garden", "wild": true, "id": 12345678901234567890}'
    page.get_by_label("Body of the request, as JSON").fill('{"data": ' + data + "}")
    send(page)
    assert heard.data[0]["id"] == 12345678901234567890
    assert "12345678901234567890" in page.get_by_label("Result").inner_text()
    assert "12345678901234567890" in code(page)


@pytest.mark.parametrize(
    ("body", "said"), [('{"data": ', "Not JSON yet"), ("[1]", "no data"), ('{"dat": 1}', "no data")]
)
def test_a_body_that_cannot_be_meant_is_said_while_it_is_written(opened, site, body, said):
    url, heard = site()
    page = opened(url)
    page.get_by_label("JSON", exact=True).check()
    page.get_by_label("Body of the request, as JSON").fill(body)
    assert said in page.inner_text("#body-wrong")
    page.get_by_role("button", name="Send").click()
    assert heard.data == []
    page.get_by_label("Body of the request, as JSON").fill('{"data": 1}')
    assert page.inner_text("#body-wrong") == ""


def test_form_and_json_say_the_same(opened, site):
    page = opened(site()[0])
    page.get_by_label("note").fill("hello")
    page.get_by_label("JSON", exact=True).check()
    body = page.get_by_label("Body of the request, as JSON")
    assert json.loads(body.input_value()) == {"data": flowers.EXAMPLE | {"note": "hello"}}
    body.fill(json.dumps({"data": flowers.EXAMPLE | {"site": "shore", "height": 3}}))
    page.get_by_label("Form", exact=True).check()
    assert page.get_by_label("site").input_value() == '"shore"'
    assert page.get_by_label("height").input_value() == "3"
    assert page.get_by_label("note").input_value() == ""


def test_a_body_that_the_form_cannot_show_stays_json(opened, site):
    page = opened(site()[0])
    page.get_by_label("JSON", exact=True).check()
    body = page.get_by_label("Body of the request, as JSON")
    body.fill(json.dumps({"data": flowers.EXAMPLE | {"more": 1}}))
    page.get_by_label("Form", exact=True).click()
    assert page.get_by_label("JSON", exact=True).is_checked()
    assert "cannot show" in page.inner_text("#body-wrong")
    assert "more" in body.input_value()


SCHEMAS = {
    "a number": ({"type": "number"}, 2.5),
    "a text": ({"type": "string"}, "hello"),
    "a choice": ({"enum": ["a", 1, None]}, 1),
    "a list": ({"type": "array", "items": {"type": "integer"}}, [1, 2, 3]),
    "an optional flag": ({"type": "object", "properties": {"a": {"type": "boolean"}}}, {"a": False}),
    "a null that need not be": ({"type": "object", "properties": {"a": {"type": ["string", "null"]}}}, {"a": None}),
    "a text of two lines": ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "1\n2"}),
    "a null": ({"type": "object", "properties": {"a": {"type": ["number", "null"]}}, "required": ["a"]}, {"a": None}),
    "nested": ({"type": "object", "properties": {"a": {"type": "object"}}}, {"a": {"b": 1}}),
    "a table": ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, [[1, 2], [3, 4]]),
    "no schema": ({}, {"anything": [True]}),
    "a reference": (
        {"allOf": [{"$ref": "#/$defs/a~1b"}], "$defs": {"a/b": {"type": "string", "format": "date"}}},
        "2026-09-06",
    ),
    "never": (False, 1),
}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_example_of_any_schema_is_sent_as_it_is(opened, site, kind):
    schema, example = SCHEMAS[kind]
    # The page shows the signature; the model takes anything, so that what was sent comes through.
    about = flowers.about(signature=flowers.signature({}, {}), example=example)
    shown = flowers.about(signature=flowers.signature(schema, schema), example=example)
    url, heard = site(about=about)
    page = opened(url.replace("/iris", "/none"))
    page.route("**/iris", lambda route: route.fulfill(body=_page_of(shown), content_type="text/html"))
    page.goto(url)
    send(page)
    assert heard.data == [example]


def _page_of(about):
    from tests.handler.test_page import reply_to

    return reply_to(about=about).body


def test_a_large_example_is_asked_for(opened, site):
    example = {"input": [0.25] * 60_000}
    url, heard = site(about=flowers.about(example=example, signature=None))
    page = opened(url)
    page.wait_for_function("document.getElementById('body').value.length > 200000")
    send(page)
    assert heard.data == [example]


def test_with_predict_batch_the_form_is_for_one_item(opened, site):
    one = {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]}
    both = {"anyOf": [one, {"type": "array", "items": one}]}
    about = flowers.about(signature=None, example={"a": 1})
    url, _ = site(about=about)
    page = opened(url.replace("/iris", "/none"))
    shown = flowers.about(signature=flowers.signature(both, both, batch=True), example={"a": 1})
    page.route("**/iris", lambda route: route.fulfill(body=_page_of(shown), content_type="text/html"))
    page.goto(url)
    assert page.get_by_label("a", exact=True).input_value() == "1"
    assert "Or a list of such." in page.inner_text("#takes")


# --- what goes wrong


def test_each_mistake_is_said_and_its_field_is_marked(opened, site):
    url, heard = site()
    page = opened(url)
    page.get_by_label("input").fill("1, 2, 3")
    assert send(page).startswith("422 ")
    assert "/data/input" in page.inner_text("#content")
    assert page.get_by_label("input").get_attribute("aria-invalid") == "true"
    assert page.get_by_label("site").get_attribute("aria-invalid") == "false"
    page.get_by_label("input").fill("1, 2, 3, 4")
    page.evaluate("document.getElementById('status').replaceChildren()")
    assert send(page).startswith("200 ")
    assert page.get_by_label("input").get_attribute("aria-invalid") == "false"
    assert len(heard.data) == 1


def test_a_field_is_described_by_its_hint_and_by_its_mistake(opened, site):
    page = opened(site()[0])
    page.get_by_label("input").fill("1")
    send(page)
    ids = page.get_by_label("input").get_attribute("aria-describedby").split()
    said = [page.locator(f"#{each}").inner_text() for each in ids]
    assert "in cm" in said[0]
    assert said[1]


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BadRequest("no roses here"), "400 Bad request", "no roses here"),
        (ValueError("secret"), "500 The model failed", "log has"),
    ],
)
def test_a_refusal_is_shown_in_its_own_words(opened, site, error, status, said):
    page = opened(site(answer=error)[0])
    assert send(page).startswith(status)
    assert said in page.inner_text("#content")
    assert "secret" not in page.inner_text("#content")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"message": "Too Many Requests"}', "Too Many Requests"),
        ('{"Message": null}', "no reason"),
        ("Bad Gateway", "no reason"),
    ],
)
def test_what_the_gateway_says_is_shown_too(opened, site, body, said):
    page = opened(site()[0])
    page.route("**/predict", lambda route: route.fulfill(status=429, body=body))
    assert send(page).startswith("429 Too many requests")
    assert said in page.inner_text("#content")


def test_an_endpoint_that_is_gone_is_said(opened, site):
    page = opened(site()[0])
    page.route("**/predict", lambda route: route.abort())
    assert send(page) == "No answer"


# --- code to copy


def ran(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


TRICKY = {
    "input": [5.9, 3.2, 4.8, 1.8],
    "site": "garden",
    "wild": False,
    "height": None,
    "note": 'it\'s "so" \\ \n ä 🌷',
}


def test_the_curl_line_works_as_it_was_copied(opened, site):
    url, heard = site(about=flowers.about(example=TRICKY))
    copied = opened(url).inner_text("#code")
    assert json.loads(ran("bash", "-c", copied + " -s"))["result"] == flowers.ANSWER
    assert heard.data == [TRICKY]


@pytest.mark.parametrize("language", ["Python", "thampi"])
def test_the_python_lines_work_as_they_were_copied(opened, site, language):
    url, heard = site(about=flowers.about(example=TRICKY))
    copied = code(opened(url), language)
    assert ran(sys.executable, "-c", copied).strip() == str(flowers.ANSWER)
    assert heard.data == [TRICKY]


def test_the_button_copies(opened, site):
    page = opened(site()[0], permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#code")


def test_behind_a_prefix_it_asks_beside_its_own_address(opened, site):
    url, heard = site()
    page = opened(url.replace("/iris", "/none"))
    deep = url.replace("/iris", "/ml/staging/iris/")
    page.route(
        "**/ml/staging/iris/", lambda route: route.fulfill(body=_page_of(flowers.about()), content_type="text/html")
    )
    page.route("**/ml/staging/iris/predict", lambda route: route.continue_(url=url + "/predict"))
    page.goto(deep)
    assert deep + "predict" in code(page)
    assert page.get_by_role("link").get_attribute("href") == "/ml/staging/iris/openapi.json"
    send(page)
    assert heard.data == [flowers.EXAMPLE]


# --- for everybody


def test_everything_can_be_done_with_the_keyboard(opened, site):
    url, heard = site()
    page = opened(url)
    seen = []
    for _ in range(30):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "[document.activeElement.id, document.activeElement.value ?? '',"
            " getComputedStyle(document.activeElement.closest('label') ?? document.activeElement).outlineStyle]"
        )
        seen.append(focused[0])
        assert focused[0] == "" or focused[2] != "none", f"no focus is seen on {focused[0]}"
        if focused[0] == "field-4":
            page.keyboard.type("typed")
        if focused[0] == "go":
            page.keyboard.press("Enter")
            page.wait_for_selector("#status b")
            break
    assert seen[:6] == ["as-form", "field-0", "field-1", "field-2", "field-3", "field-4"]
    assert heard.data == [flowers.EXAMPLE | {"note": "typed"}]


def test_in_the_editor_control_and_enter_send(opened, site):
    url, heard = site()
    page = opened(url)
    page.get_by_label("JSON", exact=True).check()
    page.get_by_label("Body of the request, as JSON").press("Control+Enter")
    page.wait_for_selector("#status b")
    assert heard.data == [flowers.EXAMPLE]


LONG = {"a-tag-of-one-long-word" * 6: "x" * 200}


@pytest.mark.parametrize("mode", ["Form", "JSON"])
@pytest.mark.parametrize("width", [320, 360])
def test_on_a_phone_nothing_scrolls_sideways(opened, site, width, mode):
    about = flowers.about(tags=LONG)
    answer = {"long": "y" * 500, "numbers": list(range(200))}
    page = opened(site(answer=answer, about=about)[0], viewport={"width": width, "height": 640}, has_touch=True)
    page.get_by_label(mode, exact=True).check()
    send(page)
    page.get_by_text("Libraries").click()
    page.get_by_text("The whole answer").click()
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_answer_is_announced(opened, site):
    page = opened(site()[0])
    send(page)
    assert page.get_by_role("status").first.inner_text().startswith("200 OK")


def test_who_wants_no_motion_gets_none(opened, site):
    still = opened(site()[0], reduced_motion="reduce")
    send(still)
    assert still.evaluate("document.getAnimations().length") == 0
    names = "getComputedStyle(document.querySelector('#content > *')).animationName"
    assert still.evaluate(names) == "none"
    moving = opened(site()[0], reduced_motion="no-preference")
    send(moving)
    assert moving.evaluate(names) == "come"


@pytest.mark.parametrize("state", ["fresh", "json", "answered", "refused"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(opened, site, scheme, state):
    page = opened(site()[0], color_scheme=scheme, reduced_motion="reduce")
    if state == "json":
        page.get_by_label("JSON", exact=True).check()
    if state == "refused":
        page.get_by_label("input").fill("1")
    if state in ("answered", "refused"):
        send(page)
        page.get_by_text("The whole answer").click()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_dark_is_dark_and_light_is_light(opened, site):
    def brightness(scheme):
        page = opened(site()[0], color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness("dark") < 150 < 600 < brightness("light")


def test_nothing_but_the_endpoint_is_asked(opened, site, browser):
    url, _ = site()
    context = browser.new_context()
    asked = []
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    send(page)
    context.close()
    assert set(asked) == {url, url + "/predict"}
