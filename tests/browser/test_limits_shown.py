"""What the Credit Usage page shows of limits, and that it is gone where nobody has one."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.northwind import ALICE, BOB, Northwind
from tests.browser.policies import clear, give, policy_address, save, set_limit, type_limit
from tests.browser.sights import day, row, spent_by

pytestmark = pytest.mark.browser
UNITS = 600_000_000


@pytest.fixture(autouse=True)
def unlimited(northwind: Northwind) -> Iterator[None]:
    clear(northwind)
    yield
    clear(northwind)


def test_without_limits_the_page_says_nothing_of_them(visit: Open) -> None:
    page = visit(user=ALICE)
    expect(page.locator("th.limit, .limits")).to_have_count(0)
    expect(page.locator(".kpis")).not_to_contain_text("limit")


def test_the_column_and_the_figure_count_who_has_reached_the_limit_today(visit: Open, northwind: Northwind) -> None:
    set_limit(northwind, "50")
    give(northwind, BOB, None)
    page = visit()
    used = {one["user"]: one["days"][-1] for one in northwind.server.usage()["users"]}
    expect(page.get_by_role("columnheader", name="Of limit today")).to_be_visible()
    expect(row(page, ALICE).locator("td").last).to_have_text(f"{round(used[ALICE] * 100 / (50 * UNITS))}%")
    expect(row(page, ALICE).locator("td").last).to_have_class("limit bad")
    expect(row(page, BOB).locator("td").last).to_have_text("–")
    reached = sum(units >= 50 * UNITS for user, units in used.items() if user != BOB)
    expect(page.locator(".kpis > div").last).to_contain_text("At or over limit today")
    expect(page.locator(".kpi-value").last).to_have_text(str(reached))


def test_a_user_s_own_view_has_the_limit_as_a_line_and_says_it(visit: Open, northwind: Northwind) -> None:
    set_limit(northwind, "150")
    page = visit(user=ALICE)
    expect(page.locator(".limits")).to_have_text("Daily limit 150")
    found = spent_by(northwind.server.usage(), ALICE)
    over = [index for index, units in enumerate(found["days"]) if units >= 150 * UNITS]
    assert over
    expect(page.locator(".kpi-value").last).to_have_text(str(len(over)))
    expect(day(page, northwind.ago(29 - over[0]))).to_have_accessible_name(re.compile("at or over the daily limit$"))
    line, plot = page.locator(".limits p").bounding_box(), page.locator(".plot").bounding_box()
    assert line
    assert plot
    assert plot["y"] < line["y"] < plot["y"] + plot["height"]
    page.get_by_role("link", name="All users").click()
    expect(page.locator(".limits")).to_have_count(0)


def test_an_open_page_learns_of_a_new_limit_by_itself(visit: Open, northwind: Northwind) -> None:
    page = visit()
    expect(page.locator("#live")).to_have_attribute("data-state", "live")
    set_limit(northwind, "5")
    expect(page.get_by_role("columnheader", name="Of limit today")).to_be_visible()
    set_limit(northwind, None)
    expect(page.get_by_role("columnheader", name="Of limit today")).to_have_count(0)


def test_a_limit_saved_on_the_policy_page_is_what_the_usage_page_shows(visit: Open, northwind: Northwind) -> None:
    page = visit()
    page.goto(policy_address(northwind))
    type_limit(page, "75.5")
    save(page).click()
    page.get_by_role("link", name="Credit Usage").click()
    expect(page.locator(".kpis > div").last).to_contain_text("limit 75.5 per user")
    day(page, northwind.weekday).click()
    expect(page.get_by_role("columnheader", name="Of daily limit")).to_be_visible()


def test_a_phone_shows_the_limit_as_text_only(visit: Open, northwind: Northwind) -> None:
    set_limit(northwind, "50")
    page = visit({"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True})
    expect(row(page, ALICE).locator("td").last).to_be_visible()
    expect(row(page, ALICE).locator("td.limit .meter")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
