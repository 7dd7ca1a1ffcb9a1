"""The page of the gallery in headless Chromium: whole, still, readable on a phone, on a desk and in print."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from playwright.sync_api import Browser, Page, sync_playwright

from undertow import gallery, plotting
from undertow.datasets import DataNotFound
from undertow.studies import AtMost, Study

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

SIZES = {"phone": (390, 844), "tablet": (820, 1180), "desktop": (1440, 900)}


def draw(dataset):
    figures = {}
    for name, width in (("plain", 8.0), ("wide", 13.8)):
        with plotting.figure(width=width, height=5.0, caption=f"A {name} figure.") as (figures[name], ax):
            ax.plot([0, 1], [0, 1], color=plotting.color_of("deep 2"))
    return figures


def study(name, run, bound=1.0):
    long = "a_name_without_a_single_place_to_break_it_" * 4
    checks = (AtMost("value", lambda data: data["x"], bound), AtMost(long, lambda data: data["x"], 10.0))
    return Study(
        id=name,
        title=name.title(),
        source="A. Author, A Paper, 2020",
        claim=f"The claim of {name}.",
        chapter="primer",
        run=run,
        checks=checks,
        plot=draw,
    )


def value(budget, key, progress):
    return xr.Dataset({"x": 2.0}, attrs={"formula": "x" * 200, "rtol": 1e-6})


def lacking(budget, key, progress):
    raise DataNotFound("the data is not on this machine")


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    studies = [study("holding", value, 3.0), study("failing", value), study("lacking", lacking)]
    gallery.reproduce(studies, folder, "smoke")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


@pytest.fixture
def visit(browser, out):
    """Open the page at a size and in a scheme; what it says on the console and asks the network for must be nothing."""
    contexts, heard = [], []

    def open_at(size: str, scheme="light") -> Page:
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(request.url) if not request.url.startswith("data:") else None)
        page.goto((out / "index.html").as_uri(), wait_until="networkidle")
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert set(heard) == {(out / "index.html").as_uri()}


def assert_whole(page: Page) -> None:
    broken = "[...document.images].filter(image => !image.complete || image.naturalWidth === 0).length"
    assert page.evaluate("document.images.length") == 5
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_broken_and_nothing_scrolls_sideways(visit, size, scheme):
    assert_whole(visit(size, scheme))


def test_dark_figures_for_dark_screens(visit):
    shown = "[...document.querySelectorAll('article img')].map(image => image.currentSrc)"
    assert set(visit("desktop", "light").evaluate(shown)).isdisjoint(visit("desktop", "dark").evaluate(shown))


def test_on_a_phone_a_wide_figure_scrolls_within_itself(visit):
    page = visit("phone")
    widths = page.evaluate(
        "[...document.querySelectorAll('#holding a.larger')].map(a => [a.scrollWidth, a.clientWidth])"
    )
    (plain, frame), (wide, _) = widths
    assert plain == frame <= 390
    assert wide > frame


def test_one_screen_says_what_it_is_about(visit):
    """The words that explain, and the picture, are seen before any scrolling."""
    page = visit("desktop")
    for what in ("h1", "text=implicit regularization", ".opening img"):
        box = page.locator(what).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SIZES["desktop"][1]


def test_print_fits_the_paper_and_shows_light_figures(visit, out):
    page = visit("desktop", "dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 650, "height": 1000})  # A4 without its margins, in CSS pixels
    assert_whole(page)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(format="A4")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 12


def test_every_link_leads_to_a_file_or_a_place_of_the_page(visit, out):
    page = visit("desktop")
    links = page.evaluate("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert len(links) > 20
    for link in links:
        if link.startswith("#"):
            assert page.locator(f"[id='{link[1:]}']").count() == 1
        else:
            assert (out / link).is_file()
