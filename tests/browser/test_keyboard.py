"""Everything by keyboard: the chart is one stop with arrows inside, Esc lifts one filter at a time, / searches."""

from datetime import date

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open
from tests.browser.northwind import ALICE, BOB, Northwind
from tests.browser.sights import day, figure, row, rows, state, token
from tests.engines import once

pytestmark = [pytest.mark.browser, once]


def test_the_chart_is_one_stop_for_tab(visit: Open, northwind: Northwind) -> None:
    page = visit()
    expect(page.locator('.day[tabindex="0"]')).to_have_count(1)
    expect(day(page, northwind.today)).to_have_attribute("tabindex", "0")
    page.locator(".legend a").last.focus()
    page.keyboard.press("Tab")
    expect(day(page, northwind.today)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#search")).to_be_focused()


def test_arrows_pages_home_and_end_move_from_day_to_day(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.today).focus()
    for key, ago in [
        ("ArrowLeft", 1),
        ("ArrowLeft", 2),
        ("ArrowRight", 1),
        ("PageUp", 8),
        ("PageDown", 1),
        ("PageDown", 0),
        ("Home", 29),
        ("ArrowLeft", 29),
        ("PageUp", 29),
        ("End", 0),
        ("ArrowRight", 0),
    ]:
        page.keyboard.press(key)
        _is_the_one_stop(page, northwind.ago(ago))


def test_a_day_reached_by_keyboard_shows_its_tooltip_and_a_ring(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.today).focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tip")).to_be_visible()
    expect(page.locator(".tip-head b")).to_have_text(day(page, northwind.ago(1)).get_attribute("data-title") or "")
    assert _ring(day(page, northwind.ago(1))) == f"2px solid {token(page, '--accent')}"
    page.keyboard.press("Tab")
    expect(page.locator("#tip")).to_be_hidden()


@pytest.mark.parametrize("key", ["Enter", " "])
def test_enter_and_space_focus_a_day_and_clear_it(visit: Open, northwind: Northwind, key: str) -> None:
    page = visit()
    day(page, northwind.today).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(key)
    on = northwind.ago(1)
    expect(day(page, on)).to_have_attribute("aria-pressed", "true")
    expect(day(page, on)).to_be_focused()
    assert state(page)["day"] == str(on)
    page.keyboard.press(key)
    expect(day(page, on)).to_have_attribute("aria-pressed", "false")
    _is_the_one_stop(page, on)


def test_tab_reaches_the_focused_day_first(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.weekday)
    expect(day(page, northwind.weekday)).to_have_attribute("tabindex", "0")
    expect(page.locator('.day[tabindex="0"]')).to_have_count(1)


def test_escape_clears_the_search_then_the_day_then_the_user(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.weekday, user=BOB, q="bob")
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_value("")
    page.wait_for_url(lambda url: "q=" not in url)
    assert state(page) == {"window": "30", "day": str(northwind.weekday), "user": BOB}
    page.keyboard.press("Escape")
    expect(page.locator("#clear-day")).to_have_count(0)
    assert state(page) == {"window": "30", "user": BOB}
    page.keyboard.press("Escape")
    expect(page.locator("#clear-user")).to_have_count(0)
    assert state(page) == {"window": "30"}
    page.keyboard.press("Escape")
    assert state(page) == {"window": "30"}


def test_a_key_is_understood_as_soon_as_the_page_is_there(visit: Open) -> None:
    page = visit(user=BOB, q="bob")
    page.add_init_script(
        "document.addEventListener('DOMContentLoaded', () => document.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape'})))"
    )
    page.reload()
    page.wait_for_url(lambda url: "q=" not in url)
    assert state(page) == {"window": "30", "user": BOB}


def test_the_chip_that_names_escape_is_the_one_it_lifts(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.weekday, user=BOB)
    expect(page.locator("#clear-day kbd")).to_have_text("Esc")
    expect(page.locator("#clear-user kbd")).to_have_count(0)


def test_a_slash_goes_to_the_search_and_in_it_is_a_slash(visit: Open) -> None:
    page = visit()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#search")).to_have_value("")
    page.keyboard.type("a/b")
    expect(page.locator("#search")).to_have_value("a/b")


def test_tab_goes_from_skip_link_to_rows_in_the_order_of_the_page(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.weekday)
    stops: list[str] = []
    while "tbody" not in stops:
        page.keyboard.press("Tab")
        stops.append(_part_with_focus(page))
    assert list(dict.fromkeys(stops)) == [
        ".skip",
        "nav",
        ".member",
        ".segments",
        ".legend",
        ".plot",
        ".chip",
        ".search",
        ".button",
        "tbody",
    ]
    assert stops.count(".plot") == 1


def test_the_skip_link_leads_past_the_navigation(visit: Open) -> None:
    page = visit()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#page")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".segments a").first).to_be_focused()


def test_one_gets_from_loading_to_a_users_view_and_back_without_a_pointer(visit: Open) -> None:
    page = visit()
    page.keyboard.press("/")
    page.keyboard.type("alice")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(row(page, ALICE).locator("a")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#chart-title")).to_have_text("Credits per day · Alice Anderson")
    expect(row(page, ALICE).locator("a")).to_be_focused()
    before = figure(page).inner_text()
    page.keyboard.press(" ")
    expect(page.locator("#clear-user")).to_have_count(0)
    expect(figure(page)).not_to_have_text(before)


def test_focus_stays_in_the_page_when_what_had_it_is_gone(visit: Open) -> None:
    page = visit(user=BOB)
    page.locator("#clear-user").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#clear-user")).to_have_count(0)
    expect(page.locator("#page")).to_be_focused()


def _is_the_one_stop(page: Page, on: date) -> None:
    expect(day(page, on)).to_be_focused()
    expect(day(page, on)).to_have_attribute("tabindex", "0")
    expect(page.locator('.day[tabindex="0"]')).to_have_count(1)


def _ring(element: Locator) -> str:
    return str(
        element.evaluate(
            "element => { const { outlineWidth: w, outlineStyle: s, outlineColor: c } = getComputedStyle(element); return `${w} ${s} ${c}` }"
        )
    )


def _part_with_focus(page: Page) -> str:
    script = "parts => parts.find((part) => document.activeElement.closest(part)) ?? document.activeElement.outerHTML"
    return str(page.evaluate(script, [".skip", "nav", ".member", ".segments", ".legend", ".plot", ".chip", ".search", ".button", "tbody"]))
