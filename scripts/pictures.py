"""Draws the pictures in docs/pictures: the page of an endpoint, as a browser shows it.

.venv/bin/python -m scripts.pictures
"""

from pathlib import Path

from playwright.sync_api import Browser

from tests.browser import chromium
from tests.handler import flowers
from tests.handler.browsing import serving
from tests.handler.inprocess import Tells, serve

FOLDER = Path(__file__).resolve().parents[1] / "docs/pictures"
WIDE = {"width": 1120, "height": 1000}
PICTURES = {
    "page-light": {"viewport": WIDE},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}},
}


def draw(browser: Browser, url: str) -> None:
    """Ask the model once in each kind of window, and keep what is seen."""
    for name, options in PICTURES.items():
        page = browser.new_page(**options)
        page.goto(url)
        page.get_by_role("button", name="Send").click()
        page.get_by_label("Result").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.evaluate(f"scrollTo(0, {430 if name == 'page-phone' else 0})")
        page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
        page.close()


if __name__ == "__main__":
    model = Tells(lambda data, context: flowers.ANSWER)
    with serving(serve(model, flowers.about())) as url, chromium() as browser:
        draw(browser, url)
