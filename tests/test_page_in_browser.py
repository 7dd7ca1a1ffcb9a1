"""The pages of the gallery in headless Chromium: whole, still, readable on a phone, on a desk and in print."""

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


def study(name, run, bound=1.0, **changes):
    long = "a_name_without_a_single_place_to_break_it_" * 4
    checks = (AtMost("value", lambda data: data["x"], bound), AtMost(long, lambda data: data["x"], 10.0))
    fields = {
        "id": name,
        "title": name.title(),
        "source": "A. Author, A Paper, 2020",
        "claim": f"The claim of {name}.",
        "standing": "as published",
        "run": run,
        "checks": checks,
        "plot": draw,
        "example": "import undertow as ut\n\n" + "print(" + "1 + " * 60 + "1)\n# 61",
    }
    return Study(**(fields | changes))


def value(budget, key, progress):
    return xr.Dataset({"x": 2.0}, attrs={"formula": "x" * 200, "rtol": 1e-6})


def lacking(budget, key, progress):
    raise DataNotFound("the data is not on this machine")


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("gallery")
    refuted = AtMost("the value as published", lambda data: data["x"], 1.0)
    amended = {"standing": "amended", "published": "The value is 1.", "refutation": refuted, "note": "It is 2."}
    studies = [
        study("holding", value, 3.0, chapter="first"),
        study("failing", value, chapter="first"),
        study("changed", value, 3.0, chapter="second", **amended),
        study("lacking", lacking, chapter="second"),
    ]
    gallery.reproduce(studies, folder, "smoke")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


PAGES = ("index.html", "holding/index.html", "failing/index.html", "changed/index.html", "lacking/index.html")


@pytest.fixture
def visit(browser, out):
    """Open a page at a size and in a scheme; what it says on the console and asks the network for must be nothing."""
    contexts, heard = [], []

    def open_at(place: str, size: str, scheme="light") -> Page:
        width, height = SIZES[size]
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(request.url))
        page.goto((out / place).as_uri(), wait_until="networkidle")
        return page

    yield open_at
    for context in contexts:
        context.close()
    for what in heard:
        assert what.startswith(("data:", out.as_uri() + "/")), what


def assert_whole(page: Page, images: int) -> None:
    broken = "[...document.images].filter(image => image.naturalWidth === 0).length"
    assert page.evaluate("document.images.length") == images
    page.wait_for_function("[...document.images].every(image => image.complete)")  # others, where the colours changed
    assert page.evaluate(broken) == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_broken_and_nothing_scrolls_sideways(visit, size, scheme):
    for place, images in zip(PAGES, (4, 2, 2, 2, 0), strict=True):
        assert_whole(visit(place, size, scheme), images)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(visit, scheme):
    """The contrast that the accessibility guidelines ask for (WCAG 2, level AA): 4.5 to 1."""
    script = """() => {
        const light = (text) => {
            const part = text.match(/[0-9.]+/g).slice(0, 3).map(c => c / 255)
                .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
            return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
        };
        const ground = (element) => {
            for (; element; element = element.parentElement) {
                const color = getComputedStyle(element).backgroundColor;
                if (color !== "rgba(0, 0, 0, 0)") return color;
            }
        };
        return [...document.querySelectorAll("body *")]
            .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
            .map(element => {
                const one = light(getComputedStyle(element).color), two = light(ground(element));
                return [(Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05), element.outerHTML.slice(0, 80)];
            });
    }"""
    for place in PAGES:
        found = visit(place, "desktop", scheme).evaluate(script)
        assert len(found) > 30
        assert [what for ratio, what in found if ratio < 4.5] == []


def test_dark_figures_for_dark_screens(visit):
    shown = "[...document.images].map(image => image.currentSrc)"
    for place in ("index.html", "holding/index.html"):
        light, dark = (set(visit(place, "desktop", scheme).evaluate(shown)) for scheme in ("light", "dark"))
        assert light
        assert light.isdisjoint(dark)


def test_on_a_phone_a_wide_figure_scrolls_within_itself(visit):
    page = visit("holding/index.html", "phone")
    widths = page.evaluate("[...document.querySelectorAll('a.larger')].map(a => [a.scrollWidth, a.clientWidth])")
    (plain, frame), (wide, _) = widths
    assert plain == frame <= 390
    assert wide > frame


def test_one_screen_says_what_it_is_about(visit):
    """The words that explain, and the picture, are seen before any scrolling."""
    page = visit("index.html", "desktop")
    for what in ("h1", "text=implicit regularization", ".opening img"):
        box = page.locator(what).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= SIZES["desktop"][1]


@pytest.mark.parametrize(
    ("place", "images", "least", "most"), [("index.html", 4, 1, 3), ("holding/index.html", 2, 1, 4)]
)
def test_print_fits_the_paper_and_shows_light_figures(visit, place, images, least, most):
    page = visit(place, "desktop", "dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 650, "height": 1000})  # A4 without its margins, in CSS pixels
    assert_whole(page, images)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert "dark" not in "".join(page.evaluate("[...document.images].map(image => image.currentSrc)"))
    printed = page.pdf(format="A4")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= most


def test_a_walk_from_the_index_through_all_studies_and_back(visit):
    page = visit("index.html", "desktop")
    page.click("h3 a >> nth=0")
    seen = [page.inner_text("h1")]
    while page.locator("a[rel=next]").count():
        page.click("a[rel=next]")
        seen.append(page.inner_text("h1"))
    assert seen == ["Holding", "Failing", "Changed", "Lacking"]
    page.click(".steps a:has-text('up')")
    assert page.url.endswith("/index.html#study-lacking")


def test_a_card_is_one_large_link(visit):
    page = visit("index.html", "phone")
    picture = page.locator(".card .thumbnail").first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.inner_text("h1") == "Holding"
