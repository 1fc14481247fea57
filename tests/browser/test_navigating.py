"""Windows, days and users: what a click shows, and that every view is an address."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser import sights
from tests.browser.conftest import Complaints, Open
from tests.browser.northwind import ALICE, ARABIC, AWKWARD, BOB, FOX, HASH, HOSTILE, HOSTILE_NAME, LAST_OF_ALL, NEWCOMER, Northwind
from tests.browser.sights import credits_of, day, figure, legend, row, rows, spent_by, state, window, written

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("days", [7, 14])
def test_another_window_shows_the_figures_of_its_days_and_has_its_own_address(visit: Open, northwind: Northwind, days: int) -> None:
    page = visit()
    page.evaluate("window.kept = true")
    window(page, days).click()
    expect(page.locator(".day")).to_have_count(days)
    expect(figure(page)).to_have_text(written(northwind.server.usage(window=str(days))["total"]))
    expect(window(page, days)).to_have_attribute("aria-current", "true")
    expect(page.locator(".segments [aria-current]")).to_have_count(1)
    assert state(page) == {"window": str(days)}
    assert page.evaluate("window.kept"), "the page was loaded anew instead of changed"


def test_a_click_on_a_day_focuses_it_and_a_second_one_clears_it(visit: Open, northwind: Northwind) -> None:
    page = visit()
    focused = day(page, northwind.weekday)
    focused.click()
    expect(focused).to_have_attribute("aria-pressed", "true")
    assert state(page) == {"window": "30", "day": str(northwind.weekday)}
    usage = northwind.server.usage(first=str(northwind.weekday), last=str(northwind.weekday))
    expect(figure(page)).to_have_text(written(usage["total"]))
    expect(credits_of(row(page, ALICE))).to_have_text(written(spent_by(usage, ALICE)))
    focused.click()
    expect(focused).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#clear-day")).to_have_count(0)
    assert state(page) == {"window": "30"}


def test_a_click_above_a_low_bar_focuses_the_day_as_well(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.quiet).click(position={"x": 5, "y": 5})
    expect(page.locator(".nothing")).to_contain_text("No usage on Sat, ")
    expect(figure(page)).to_have_text("0")
    expect(rows(page)).to_have_count(0)


def test_the_chip_of_a_day_clears_it(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.weekday)
    page.locator("#clear-day").click()
    expect(page.locator("#clear-day")).to_have_count(0)
    expect(page.locator('.day[aria-pressed="true"]')).to_have_count(0)


def test_a_focused_day_stays_in_a_window_that_holds_it_and_is_given_up_in_one_that_does_not(visit: Open, northwind: Northwind) -> None:
    on = northwind.ago(9)
    page = visit(day=on)
    window(page, 14).click()
    expect(page.locator(".day")).to_have_count(14)
    expect(day(page, on)).to_have_attribute("aria-pressed", "true")
    window(page, 7).click()
    expect(page.locator(".day")).to_have_count(7)
    assert state(page) == {"window": "7"}


def test_a_click_anywhere_in_a_row_opens_the_user_and_the_chip_leads_back_to_all(visit: Open, northwind: Northwind) -> None:
    page = visit()
    credits_of(row(page, BOB)).click()
    expect(row(page, BOB)).to_have_attribute("aria-current", "true")
    expect(page.locator("#chart-title")).to_contain_text("bob@northwind.example")
    expect(figure(page)).to_have_text(written(spent_by(northwind.server.usage(), BOB)))
    assert state(page) == {"window": "30", "user": BOB}
    page.get_by_role("link", name="All users").click()
    expect(page.locator("#users [aria-current]")).to_have_count(0)
    expect(page.locator(".legend")).to_be_visible()
    assert state(page) == {"window": "30"}


def test_a_second_click_on_a_users_row_clears_the_user(visit: Open) -> None:
    page = visit(user=BOB)
    row(page, BOB).click()
    expect(row(page, BOB)).not_to_have_attribute("aria-current", "true")
    assert "user" not in state(page)


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (ALICE, "Alice Anderson"),
        (HOSTILE, HOSTILE_NAME),
        (ARABIC, "ليلى حداد"),
        (FOX, FOX),
        (AWKWARD, "team/a b?win…x#z%41+ü"),
        (HASH, "0123456789ab…89abcdef"),
        ("unattributed", "Unattributed"),
    ],
)
def test_the_legend_opens_any_user_whatever_the_key(visit: Open, northwind: Northwind, user: str, name: str) -> None:
    page = visit()
    legend(page, name).click()
    expect(page.locator("#chart-title")).to_have_text(f"Credits per day · {name}")
    expect(row(page, user)).to_have_attribute("aria-current", "true")
    assert state(page) == {"window": "30", "user": user}
    expect(figure(page)).to_have_text(written(northwind.server.usage(user=user)["total"]))


def test_a_user_keeps_the_colour_in_every_window(visit: Open) -> None:
    page = visit()
    colours = {user: sights.colour(row(page, user)) for user in (ALICE, HOSTILE, BOB, FOX)}
    window(page, 7).click()
    expect(page.locator(".day")).to_have_count(7)
    assert {user: sights.colour(row(page, user)) for user in colours} == colours


def test_a_link_shows_the_view_it_was_copied_from(visit: Open, northwind: Northwind) -> None:
    page = visit(window=14, day=northwind.weekday, user=BOB, q="bob")
    expect(page.locator(".day")).to_have_count(14)
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#chart-title")).to_contain_text("bob@northwind.example")
    expect(page.locator("#search")).to_have_value("bob")
    expect(rows(page)).to_have_count(1)
    expect(row(page, BOB)).to_have_attribute("aria-current", "true")
    usage = northwind.server.usage(first=str(northwind.weekday), last=str(northwind.weekday), user=BOB)
    expect(figure(page)).to_have_text(written(usage["total"]))


@pytest.mark.parametrize(
    "state",
    [
        {"window": 31, "day": "2026-02-30", "user": "nobody-of-this-name"},
        {"window": "-7", "day": "1999-01-01"},
        {"window": "thirty", "day": "today", "axis": "9" * 40},
        {"window": "٧", "day": "'; DROP TABLE event --", "user": "\u202e"},
    ],
    ids=lambda state: str(state["window"]),
)
def test_what_makes_no_sense_in_an_address_is_passed_over(visit: Open, state: dict[str, str]) -> None:
    page = visit(**state)
    expect(page.locator(".day")).to_have_count(30)
    expect(page.locator('.day[aria-pressed="true"]')).to_have_count(0)
    expect(page.locator("#chart-title")).to_have_text("Credits per day")
    expect(rows(page)).to_have_count(200)


def test_a_day_outside_of_the_window_is_passed_over(visit: Open, northwind: Northwind) -> None:
    page = visit(window=7, day=northwind.today + timedelta(days=1))
    expect(page.locator("#clear-day")).to_have_count(0)
    expect(page.locator('.day[aria-pressed="true"]')).to_have_count(0)


def test_back_and_forward_walk_through_the_views(visit: Open, northwind: Northwind) -> None:
    page = visit()
    window(page, 7).click()
    expect(page.locator(".day")).to_have_count(7)
    day(page, northwind.weekday).click()
    expect(page.locator("#clear-day")).to_be_visible()
    row(page, ALICE).click()
    expect(page.locator("#clear-user")).to_be_visible()

    page.go_back()
    expect(page.locator("#clear-user")).to_have_count(0)
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator("#clear-day")).to_have_count(0)
    expect(page.locator(".day")).to_have_count(7)
    page.go_back()
    expect(page.locator(".day")).to_have_count(30)
    page.go_forward()
    expect(page.locator(".day")).to_have_count(7)
    page.go_forward()
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "true")
    assert state(page) == {"window": "7", "day": str(northwind.weekday)}


def test_a_reload_shows_the_same_view(visit: Open, northwind: Northwind) -> None:
    page = visit()
    day(page, northwind.today).click()
    expect(row(page, NEWCOMER)).to_be_visible()
    expect(credits_of(row(page, NEWCOMER))).to_have_text("3.00")
    page.reload()
    expect(day(page, northwind.today)).to_have_attribute("aria-pressed", "true")
    expect(credits_of(row(page, NEWCOMER))).to_have_text("3.00")


def test_today_says_that_it_is_not_over(visit: Open, northwind: Northwind) -> None:
    page = visit(day=northwind.today)
    expect(page.locator(".kpi-note").first).to_contain_text("so far today")
    expect(day(page, northwind.today)).to_have_attribute("aria-label", re.compile(r"so far today$"))


def test_only_two_hundred_users_are_shown_and_the_page_says_so(visit: Open, northwind: Northwind) -> None:
    page = visit()
    expect(rows(page)).to_have_count(200)
    expect(row(page, LAST_OF_ALL)).to_have_count(0)
    users = northwind.server.usage()
    total = len(users["users"]) + users["others"]["users"]
    expect(page.locator(".card-note")).to_have_text(
        f"Showing the top 200 of {total} users by credits. Search and CSV export reach all of them."
    )
    expect(page.locator(".users-count")).to_have_text(f"{total} users")


def test_events_that_no_meter_matches_are_told(visit: Open) -> None:
    expect(visit().locator(".note")).to_contain_text("1 event of this period")


def test_a_view_that_does_not_load_says_so_and_retry_loads_it(visit: Open, complaints: Complaints) -> None:
    complaints.expect("ERR_FAILED|Failed to fetch")
    page = visit()
    page.route("**/usage?*", lambda route: route.abort())
    window(page, 7).click()
    problem = page.locator("#problem")
    expect(problem).to_be_visible()
    _still_shows_thirty_days(page)
    page.unroute_all()
    problem.get_by_role("button", name="Retry").click()
    expect(page.locator(".day")).to_have_count(7)
    expect(problem).to_be_hidden()
    assert state(page) == {"window": "7"}


def _still_shows_thirty_days(page: Page) -> None:
    expect(page.locator(".day")).to_have_count(30)
    assert state(page) == {}
