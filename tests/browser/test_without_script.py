"""Without JavaScript every view is still reached, by links and forms."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Open, sign_in
from tests.browser.northwind import ALICE, BOB, LAST_OF_ALL, Northwind
from tests.browser.sights import credits_of, day, figure, row, rows, state, window, written

pytestmark = pytest.mark.browser


@pytest.fixture
def page(visit: Open) -> Page:
    return visit({"java_script_enabled": False})


def test_the_window_is_a_link(page: Page, northwind: Northwind) -> None:
    window(page, 7).click()
    expect(page.locator(".day")).to_have_count(7)
    expect(figure(page)).to_have_text(written(northwind.server.usage(window="7")["total"]))


def test_a_day_is_a_button_of_a_form(page: Page, northwind: Northwind) -> None:
    window(page, 14).click()
    day(page, northwind.weekday).click()
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "true")
    assert state(page) == {"window": "14", "day": str(northwind.weekday)}
    expect(page.locator("#clear-day kbd")).to_be_hidden()
    day(page, northwind.weekday).click()
    expect(day(page, northwind.weekday)).to_have_attribute("aria-pressed", "false")


def test_a_user_is_a_link_in_legend_and_table(page: Page) -> None:
    row(page, BOB).locator("a").click()
    expect(page.locator("#chart-title")).to_have_text("Credits per day · bob@northwind.example")
    page.get_by_role("link", name="All users").click()
    page.locator(".legend a", has_text="Alice").click()
    expect(row(page, ALICE)).to_have_attribute("aria-current", "true")


def test_the_search_is_a_form(page: Page) -> None:
    page.locator("#search").fill(LAST_OF_ALL)
    page.locator("#search").press("Enter")
    expect(rows(page)).to_have_count(1)
    expect(credits_of(row(page, LAST_OF_ALL))).to_have_text("<0.01")
    page.locator("#search").fill("nobody at all")
    page.locator("#search").press("Enter")
    page.get_by_role("link", name="Clear the search").click()
    expect(rows(page)).to_have_count(200)


def test_every_day_can_be_reached_by_tab_and_nothing_claims_to_be_live(page: Page) -> None:
    expect(page.locator(".day[tabindex]")).to_have_count(0)
    expect(page.locator("#live")).to_be_hidden()
    expect(page.locator("#tip")).to_be_hidden()


def test_signing_out_is_a_form(browser: Browser, open_page: Open, northwind: Northwind) -> None:
    cookies = sign_in(browser, northwind.server)
    page = open_page(northwind.address(), cookies, java_script_enabled=False)
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{northwind.server.url}/sign-in")
    page.goto(northwind.address())
    expect(page).to_have_url(f"{northwind.server.url}/sign-in")
