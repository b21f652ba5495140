"""The dashboard in a real Chromium: scripts run under the policy, keys suffice, and it fits a phone."""

import os
import re
import time
from pathlib import Path

import pytest
from browsers import chromium
from furnished import EVIL, shown

from pennyweight.web.pages import PAGES

pytestmark = pytest.mark.browser

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATHS = [*(page.path for page in PAGES), "/runs/2", "/registry/move?version=digits@3&to=production"]
PICTURES = {
    "overview": ("/", DESK, "light"),
    "runs": ("/runs", DESK, "light"),
    "live": ("/live", DESK, "dark"),
    "phone": ("/registry", PHONE, "light"),
}
WIDE = "document.scrollingElement.scrollWidth - innerWidth"
CHARTS = "document.querySelectorAll('.plot canvas').length"
DRAWN = """[...document.querySelectorAll('.plot canvas')].every(
  (it) => it.getContext('2d').getImageData(0, 0, it.width, it.height).data.some(Boolean))"""
FOCUSED = """() => {
  const on = document.activeElement, box = on.getBoundingClientRect();
  return {tag: on.tagName, text: on.innerText || on.name, seen: box.width > 0 && box.height > 0,
    outline: getComputedStyle(on).outlineStyle};
}"""


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    path, environment = chromium()
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, env=environment, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with shown(tmp_path_factory.mktemp("house"), why=EVIL) as (_, found):
        yield found


@pytest.fixture
def fresh(tmp_path):
    """The address of a house of its own, furnished a moment ago."""
    with shown(tmp_path) as (_, found):
        yield found


@pytest.fixture
def visit(browser, address):
    """Open a page in a window of its own; what the browser complains of, and whom it asks, is kept."""
    opened = []

    def visited(path, size=DESK, scheme="light", at=address):
        context = browser.new_context(viewport=size, color_scheme=scheme, locale="en-US", reduced_motion="reduce")
        page = context.new_page()
        page.complaints, page.asked = [], []
        page.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message) or dialog.dismiss())
        page.on("request", lambda request: page.asked.append(request.url))
        opened.append((page, at))
        page.goto(at + path)
        page.wait_for_load_state("load")
        return page

    yield visited
    for page, at in opened:
        assert page.complaints == []
        assert page.asked
        assert all(url.startswith(f"{at}/") for url in page.asked)
        page.context.close()


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("path", PATHS)
def test_a_page_fits_and_the_browser_has_nothing_to_complain_of(visit, path, size):
    page = visit(path, size)
    assert page.evaluate(WIDE) <= 0
    assert page.locator("h1").count() == 1


def test_light_and_dark_are_told_apart_and_both_can_be_read(visit):
    def colours(scheme):
        page = visit("/", scheme=scheme)
        told = page.evaluate(
            "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
        )
        return [sum(map(int, re.findall(r"\d+", colour)[:3])) / 765 for colour in told]

    (paper, ink), (dark_paper, light_ink) = colours("light"), colours("dark")
    assert paper - ink > 0.7
    assert light_ink - dark_paper > 0.7


def until(page, told, wanted=True):
    """Wait until a script tells what is wanted; the browser's own way of waiting would need what the policy forbids."""
    give_up_s = time.monotonic() + 30
    while page.evaluate(told) != wanted:
        assert time.monotonic() < give_up_s, told
        page.wait_for_timeout(50)


def test_live_numbers_arrive_and_charts_are_drawn(visit):
    page = visit("/live")
    page.wait_for_selector("[data-heard]")
    until(page, CHARTS, 4)
    first = page.get_attribute("[data-stream]", "data-heard")
    until(page, f"document.querySelector('[data-stream]').dataset.heard !== '{first}'")
    assert page.inner_text("[data-live=errors_hour]") == "7"
    assert page.evaluate(DRAWN)


def test_a_picker_changes_what_is_shown_without_a_new_page(visit):
    page = visit("/bills")
    page.evaluate("window.stayed = true")
    page.select_option("select[name=by]", "tenant")
    page.wait_for_url("**/bills?*by=tenant")
    until(page, "document.querySelector('#found thead').innerText.includes('model')", wanted=False)
    assert page.evaluate("window.stayed") is True
    assert page.locator("#found tbody tr").count() == 2
    assert page.get_by_role("link", name="This page as JSON").get_attribute("href").endswith("by=tenant")


def test_everything_is_reached_by_the_tab_key_in_the_order_of_the_page_and_seen(visit):
    page = visit("/registry")
    wanted = page.locator("a:visible, button:visible, summary:visible").all_inner_texts()
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        on = page.evaluate(FOCUSED)
        assert on["seen"]
        assert on["outline"] != "none"
        reached.append(on["text"])
    assert reached == wanted
    assert len(reached) > 10


def test_a_version_is_promoted_and_rolled_back_by_keys_alone(fresh, visit):
    page = visit("/registry", at=fresh)
    page.get_by_role("link", name="promote digits@3").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/registry/move?*")
    page.get_by_label("Why").focus()
    page.keyboard.type("tried with keys")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/registry")
    assert "production is version 3" in page.inner_text("main")
    page.get_by_role("link", name="roll production").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Roll back to version 2").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/registry")
    assert "production is version 2" in page.inner_text("main")
    page.locator("summary").focus()
    page.keyboard.press("Enter")
    assert "tried with keys" in page.inner_text("details")


def test_a_script_that_somebody_wrote_as_a_reason_is_text(visit):
    page = visit("/registry")
    page.locator("summary").click()
    assert EVIL in page.inner_text("details")
    assert page.locator("main script").count() == 0


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_documentation_show_it_as_it_is(fresh, visit, tmp_path, name):
    path, size, scheme = PICTURES[name]
    picture = Path(os.environ.get("PENNYWEIGHT_PICTURES", tmp_path)) / f"dashboard-{name}.png"
    page = visit(path, size, scheme, fresh)
    until(page, CHARTS, 4 if path == "/live" else 0)
    page.screenshot(path=picture, full_page=path != "/")
    assert picture.stat().st_size > 10_000
