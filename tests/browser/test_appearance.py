"""Small screens, the dark theme, reduced motion, paper."""

import os
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.northwind import ALICE, Northwind
from tests.browser.sights import day, row, token, window
from tests.conftest import Server
from tests.engines import once

pytestmark = [pytest.mark.browser, once]

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
SHOTS = Path(__file__).parent / "shots"


@pytest.mark.parametrize("width", [320, 390, 600, 768, 1024])
def test_no_width_makes_the_page_scroll_sideways(visit: Open, width: int) -> None:
    page = visit({"viewport": {"width": width, "height": 800}})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(overflow) <= 0
    row(page, "crowd-100").locator("a").click()
    expect(page.locator("#clear-user")).to_be_attached()
    assert page.evaluate(overflow) <= 0


def test_a_phone_shows_name_credits_and_share(visit: Open) -> None:
    page = visit(PHONE)
    assert [head.inner_text() for head in page.locator("thead th").all() if head.is_visible()] == ["User", "Credits", "Share"]
    expect(row(page, ALICE).locator(".meter")).to_be_hidden()
    expect(row(page, ALICE).locator("td").last).to_be_visible()
    expect(page.locator(".bar").first).to_have_css("height", "208px")


def test_a_touched_day_is_focused_and_its_tooltip_is_docked_at_the_bottom(visit: Open, northwind: Northwind) -> None:
    page = visit(PHONE, window=7)
    day(page, northwind.weekday).tap()
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "true")
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    box = tip.bounding_box()
    assert box
    assert (box["x"], box["width"], round(box["y"] + box["height"])) == (8, 374, 836)
    expect(page.locator("#clear-day kbd")).to_be_hidden()
    page.locator("h1").tap()
    expect(tip).to_be_hidden()
    page.locator("#clear-day").tap()
    expect(page.locator("#clear-day")).to_have_count(0)


def test_what_one_touches_is_large_enough(visit: Open, northwind: Northwind) -> None:
    page = visit(PHONE, window=7, day=northwind.weekday)
    small = page.eval_on_selector_all(
        ".segments a, .legend a, .chip, .button, #search, tbody a, .member button, .side a",
        "all => all.filter((one) => one.getClientRects().length).map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect().height]).filter(([, height]) => height < 32)",
    )
    assert not small


@pytest.mark.parametrize("look", [PHONE, {"viewport": {"width": 768, "height": 1024}}, {}], ids=["phone", "tablet", "desktop"])
def test_the_labels_of_the_days_stay_within_the_plot_and_apart(visit: Open, northwind: Northwind, look: dict[str, Any]) -> None:
    for days in (7, 14, 30):
        page = visit(look, window=days, day=northwind.ago(4))
        edges = _labels(page)
        right = page.evaluate("document.querySelector('.plot').getBoundingClientRect().right")
        assert edges[-1][1] <= right + 1, f"the label of today ends {edges[-1][1] - right:.0f} px beyond the plot"
        assert all(left[1] < next_one[0] for left, next_one in pairwise(edges))


def test_the_status_line_never_begins_a_line_with_a_separator(visit: Open) -> None:
    page = visit()
    for width in (1440, 1040, 960, 900, 768, 740, 600, 390):
        page.set_viewport_size({"width": width, "height": 900})
        # One at the start of a line is not drawn, or lies outside of the line's box and is clipped.
        dangling = page.eval_on_selector_all(
            ".status > span + span",
            """spans => spans.filter((span) => {
              const { content, display, position } = getComputedStyle(span, "::before");
              const starts = span.getBoundingClientRect().left <= span.parentElement.getBoundingClientRect().left + 1;
              const clipped = position === "absolute" && getComputedStyle(span.parentElement).overflowX !== "visible";
              return starts && content.includes("·") && display !== "none" && !clipped;
            }).map((span) => span.textContent)""",
        )
        assert not dangling, f"at {width} px"


def test_the_baseline_runs_under_all_days(visit: Open, northwind: Northwind) -> None:
    """Bands of weekends and of the focused day lie behind the lines of the axis."""
    page = visit()
    line = page.locator(".axis li").last.bounding_box()
    assert line

    def at_the_edge_of(on: date) -> bytes:
        column = day(page, on).bounding_box()
        assert column
        return page.screenshot(clip={"x": round(column["x"]) + 1, "y": round(line["y"]), "width": 1, "height": 1})

    assert at_the_edge_of(northwind.quiet) == at_the_edge_of(northwind.weekday)


def test_the_dark_theme_has_its_own_colours(visit: Open) -> None:
    page = visit({"color_scheme": "dark"})
    expect(page.locator("body")).to_have_css("background-color", "rgb(13, 14, 16)")
    expect(page.locator(".card").first).to_have_css("background-color", "rgb(19, 20, 23)")
    expect(page.locator("h1")).to_have_css("color", "rgb(237, 237, 240)")
    expect(page.locator(".legend .c0 i")).to_have_css("background-color", "rgb(46, 154, 254)")
    assert _is_not_blank(page.screenshot())


@pytest.mark.parametrize(("scheme", "theme", "ground"), [("light", "dark", "rgb(13, 14, 16)"), ("dark", "light", "rgb(250, 250, 250)")])
def test_a_chosen_theme_overrules_the_system(visit: Open, scheme: str, theme: str, ground: str) -> None:
    page = visit({"color_scheme": scheme})
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    expect(page.locator("body")).to_have_css("background-color", ground)


def test_with_reduced_motion_nothing_moves(visit: Open) -> None:
    page = visit({"reduced_motion": "reduce"})
    window(page, 7).click()
    expect(page.locator(".day")).to_have_count(7)
    assert page.evaluate("document.getAnimations().length") == 0
    moving = page.eval_on_selector_all("*", "all => all.filter((one) => parseFloat(getComputedStyle(one).transitionDuration) > 0).length")
    assert moving == 0
    assert _is_not_blank(page.screenshot())


def test_paper_shows_the_figures_and_no_controls(visit: Open, northwind: Northwind) -> None:
    page = visit({"color_scheme": "dark"}, day=northwind.weekday)
    page.emulate_media(media="print")
    for hidden in (".side", ".segments", ".search", ".button", "#live", "#tip", ".skip", "tbody small", ".meter"):
        expect(page.locator(hidden).first).to_be_hidden()
    for shown in ("h1", ".kpis", ".bar", "#clear-day", "thead", ".note"):
        expect(page.locator(shown).first).to_be_visible()
    expect(page.locator("body")).to_have_css("background-color", "rgb(255, 255, 255)")
    assert token(page, "--ink") == "rgb(24, 24, 27)"
    expect(page.locator("thead")).to_have_css("display", "table-header-group")


def test_the_font_is_our_own(visit: Open) -> None:
    page = visit()
    page.evaluate("document.fonts.ready")
    assert page.evaluate("[...document.fonts].some((font) => font.family === 'Inter' && font.status === 'loaded')")


@pytest.mark.skipif(not os.environ.get("TALLYBOARD_SHOTS"), reason="TALLYBOARD_SHOTS is not set")
def test_pictures_for_people_to_look_at(
    browser: Browser, server: Server, visit: Open, open_page: Open, northwind: Northwind, complaints: Complaints
) -> None:
    complaints.expect("404")
    SHOTS.mkdir(exist_ok=True)
    on: date = northwind.weekday
    dark = {"color_scheme": "dark"}
    hovered, printed, touched = visit(), visit({"viewport": {"width": 794, "height": 1123}}), visit(PHONE, window=14)
    hovered.locator(f"#d-{northwind.ago(3)} .bar i").nth(1).hover()
    printed.emulate_media(media="print")
    day(touched, on).tap()
    expect(touched.locator("#clear-day")).to_be_visible()
    pages = {
        "light": visit(),
        "dark-day": visit(dark, day=on),
        "hover": hovered,
        "user": visit(user=ALICE),
        "phone-day": touched,
        "no-match": visit(q="okaf zzz"),
        "empty": open_page(f"{server.url}/usage", sign_in(browser, server)),
        "sign-in": open_page(f"{server.url}/sign-in"),
        "error": open_page(f"{server.url}/usage/nothing"),
        "print": printed,
    }
    for name, page in pages.items():
        page.wait_for_function("document.getAnimations().length === 0")
        page.screenshot(path=SHOTS / f"{name}.png")


def _labels(page: Page) -> list[list[float]]:
    """Left and right edge of each day's visible label; the text is drawn by ::after, as wide as the tick."""
    script = """ticks => ticks.filter((tick) => tick.dataset.text && getComputedStyle(tick).visibility === "visible")
      .map((tick) => [tick.getBoundingClientRect().left, tick.getBoundingClientRect().right])"""
    return list(page.eval_on_selector_all(".tick", script))


def _is_not_blank(png: bytes) -> bool:
    """A page without content compresses to almost nothing."""
    return png.startswith(b"\x89PNG") and len(png) > 20_000
