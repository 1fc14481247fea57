"""Pointing at a user lights the user everywhere, and a card beside the day says the figures."""

from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.browser.northwind import ALICE, BOB, Northwind
from tests.browser.sights import background, colour, day, figure, legend, row, spent_by, token, written
from tests.engines import once

pytestmark = [pytest.mark.browser, once]

TAIL = "crowd-000"
AWAY = "h1"


def test_pointing_at_a_slice_lights_the_user_in_bars_legend_row_and_tooltip(visit: Open, northwind: Northwind) -> None:
    page = visit()
    bob = colour(row(page, BOB))
    before = _painted(page)
    page.locator(f"#d-{northwind.weekday} .{bob}").hover()
    _only_lit(page, bob, before)
    expect(page.locator(f".tip li.{bob}")).to_have_css("background-color", token(page, "--sunken"))
    page.locator(AWAY).hover()
    _nobody_lit(page, before)


@pytest.mark.parametrize("where", ["row", "legend"])
def test_pointing_at_a_row_or_the_legend_lights_the_user_in_the_bars(visit: Open, where: str) -> None:
    page = visit()
    bob = colour(row(page, BOB))
    before = _painted(page)
    (row(page, BOB) if where == "row" else legend(page, "bob@northwind.example")).hover()
    _only_lit(page, bob, before)
    page.locator(AWAY).hover()
    _nobody_lit(page, before)


def test_a_row_reached_by_keyboard_lights_its_user_too(visit: Open) -> None:
    page = visit()
    before = _painted(page)
    row(page, BOB).locator("a").focus()
    _only_lit(page, colour(row(page, BOB)), before)
    row(page, BOB).locator("a").blur()
    _nobody_lit(page, before)


def test_a_user_within_others_is_filled_in_where_their_part_is(visit: Open, northwind: Northwind) -> None:
    page = visit()
    before = _painted(page)
    usage = northwind.server.usage()
    spent: list[int] = spent_by(usage, TAIL)["days"]
    top = int(page.locator("#chart").get_attribute("data-axis") or 0)
    row(page, TAIL).hover()
    expect(page.locator("#page")).to_have_attribute("data-on", "tail")
    plot = float(page.evaluate("document.querySelector('.bar').clientHeight"))
    filled = page.eval_on_selector_all(
        ".bar", "bars => bars.map((bar) => parseFloat(bar.querySelector('.cx')?.style.getPropertyValue('--tail') || '0'))"
    )
    # The row's small chart has twenty steps, and the fill is drawn from it.
    step = max(spent) / top * plot / 20
    assert max(filled) > 1
    for pixels, units in zip(filled, spent, strict=True):
        assert abs(pixels - units / top * plot) <= step + 0.1
    page.locator(AWAY).hover()
    _nobody_lit(page, before)


def test_pointing_at_others_lights_others(visit: Open, northwind: Northwind) -> None:
    page = visit()
    page.locator(f"#d-{northwind.weekday} .cx").hover()
    expect(page.locator("#page")).to_have_attribute("data-on", "cx")
    expect(legend(page, "Others")).to_have_css("background-color", token(page, "--sunken"))


def test_the_tooltip_has_the_figures_of_the_day(visit: Open, northwind: Northwind) -> None:
    page = visit()
    usage = northwind.server.usage(first=str(northwind.weekday), last=str(northwind.weekday))
    day(page, northwind.weekday).hover()
    tip = page.locator("#tip")
    expect(tip).to_be_visible()
    expect(tip.locator(".tip-head")).to_contain_text(f"{written(usage['total'])} credits")
    expect(tip.locator("li", has_text="Alice Anderson").locator("b")).to_have_text(written(spent_by(usage, ALICE)))
    expect(tip.locator("li")).to_have_count(9)
    expect(tip.locator("li").first).to_contain_text("Others")
    expect(tip.locator(".tip-note")).to_be_hidden()
    page.locator(AWAY).hover()
    expect(tip).to_be_hidden()


@pytest.mark.parametrize("days", [7, 30])
def test_the_tooltip_stands_beside_the_day_and_never_under_the_pointer(visit: Open, northwind: Northwind, days: int) -> None:
    page = visit(window=days)
    for ago in (0, 1, days // 2, days - 1):
        day(page, northwind.ago(ago)).hover()
        expect(page.locator("#tip")).to_be_visible()
        expect(page.locator(".tip-head b")).to_have_text(day(page, northwind.ago(ago)).get_attribute("data-title") or "")
        tip, column, chart = _box(page.locator("#tip")), _box(day(page, northwind.ago(ago))), _box(page.locator("#chart"))
        assert tip["width"] == 256
        assert tip["x"] >= column["x"] + column["width"] or tip["x"] + tip["width"] <= column["x"]
        assert chart["x"] <= tip["x"] <= chart["x"] + chart["width"] - 256


def test_the_tooltip_of_today_says_that_the_day_is_in_progress(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.today).hover()
    expect(page.locator(".tip-note")).to_have_text("So far today – the day is still in progress")
    expect(page.locator(".tip-note")).to_be_visible()


def test_the_tooltip_of_a_quiet_day_has_no_lines(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.quiet).hover()
    expect(page.locator(".tip-head span")).to_have_text("0 credits")
    assert [line.is_visible() for line in page.locator(".tip li").all()] == [False] * 9


def test_a_name_from_right_to_left_stands_at_the_left_of_the_tooltip_like_all_names(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.weekday).hover()
    aligned = page.eval_on_selector_all(
        ".tip li:not([hidden]) bdi",
        "names => names.map((name) => { const r = document.createRange(); r.selectNodeContents(name); return Math.round(r.getBoundingClientRect().left - name.getBoundingClientRect().left) })",
    )
    assert aligned == [0] * 9


def test_nothing_is_lit_in_a_users_view_where_there_is_one_series(visit: Open, northwind: Northwind) -> None:
    page = visit(user=BOB)
    before = figure(page).inner_text()
    page.locator(f"#d-{northwind.weekday} .bar i").hover()
    expect(page.locator("#tip")).to_be_visible()
    expect(page.locator(".tip ul")).to_be_hidden()
    expect(page.locator("#page[data-on]")).to_have_count(0)
    assert figure(page).inner_text() == before


def _painted(page: Page) -> dict[str, str]:
    """What each colour class of the busiest stack is painted with."""
    script = "slices => Object.fromEntries(slices.map((slice) => [slice.className.match(/\\bc[\\dx]\\b/)[0], getComputedStyle(slice).backgroundImage]))"
    return dict(page.eval_on_selector_all(".day:last-child .bar i", script))


def _only_lit(page: Page, lit: str, before: dict[str, str]) -> None:
    expect(page.locator("#page")).to_have_attribute("data-on", lit)
    now = _painted(page)
    assert len(now) == 9
    assert {name for name in now if now[name] == before[name]} == {lit}
    sunken = token(page, "--sunken")
    for part in (page.locator(f".legend .{lit}"), page.locator(f"tr.{lit}")):
        assert background(part).startswith(sunken)
    assert not background(page.locator("tr.c0, tr.c1").locator(f":scope:not(.{lit})").first).startswith(sunken)


def _nobody_lit(page: Page, before: dict[str, str]) -> None:
    expect(page.locator("#page[data-on]")).to_have_count(0)
    assert _painted(page) == before


def _box(element: Locator) -> dict[str, Any]:
    box = element.bounding_box()
    assert box is not None
    return dict(box)
