"""axe-core finds nothing to complain of, and the page says in words what it shows in pictures."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.northwind import ALICE, BOB, Northwind
from tests.browser.policies import clear, give, policy_address, save, set_limit, type_limit
from tests.browser.sights import day, row, written
from tests.conftest import Server
from tests.engines import once

pytestmark = [pytest.mark.browser, once]

AXE = Path(__file__).parents[2] / "frontend/node_modules/axe-core/axe.min.js"
DARK = {"color_scheme": "dark"}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize(
    ("look", "state"),
    [
        ({}, {}),
        ({}, {"day": "weekday"}),
        ({}, {"day": "quiet"}),
        ({}, {"user": BOB, "day": "today"}),
        ({}, {"q": "okaf zzz"}),
        (DARK, {"window": 7}),
        (DARK, {"window": 14, "day": "weekday", "user": BOB, "q": "b"}),
        (PHONE, {"window": 14, "day": "weekday"}),
        ({**PHONE, **DARK}, {}),
    ],
    ids=["all", "day", "quiet-day", "user", "no-match", "dark", "dark-all-filters", "phone", "phone-dark"],
)
def test_axe_finds_no_violation_on_the_page(visit: Open, northwind: Northwind, look: dict[str, Any], state: dict[str, Any]) -> None:
    days = {"weekday": northwind.weekday, "quiet": northwind.quiet, "today": northwind.today}
    page = visit({"reduced_motion": "reduce", **look}, **{name: days.get(value, value) for name, value in state.items()})
    assert violations(page) == []


def test_axe_finds_no_violation_while_a_user_is_lit_and_a_tooltip_shown(visit: Open, northwind: Northwind) -> None:
    page = visit({"reduced_motion": "reduce"})
    page.locator(f"#d-{northwind.weekday} .bar i").nth(1).hover()
    expect(page.locator("#tip")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("look", [{}, DARK], ids=["light", "dark"])
def test_axe_finds_no_violation_on_sign_in_and_errors(
    open_page: Open, northwind: Northwind, complaints: Complaints, look: dict[str, str]
) -> None:
    complaints.expect("403|404")
    for path in ("/sign-in", "/sign-in?token=used", "/usage/nothing"):
        assert violations(open_page(northwind.server.url + path, **look)) == []


@pytest.mark.parametrize("look", [{}, DARK, PHONE], ids=["light", "dark", "phone"])
def test_axe_finds_no_violation_in_any_state_of_the_credit_policy(
    open_page: Open, northwind: Northwind, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("400")
    give(northwind, BOB, "5", reason="Trial", expires_at="2099-01-01T00:00:00Z")
    give(northwind, "nobody yet", None)
    page = open_page(policy_address(northwind), northwind.cookies, reduced_motion="reduce", **look)
    for state in ({}, {"limit": 1}, {"limit": "x", "timezone": "Mars"}, {"q": "nobody at all"}, {"add": 1}, {"bulk": 1}, {"edit": BOB},
                  {"remove": BOB}, {"done": "policy"}, {"user": BOB, "at": "2026-01-01T00:00"}):  # fmt: skip
        page.once("dialog", lambda dialog: dialog.accept())
        page.goto(policy_address(northwind, **state))
        assert violations(page) == [], state
    page.goto(policy_address(northwind, bulk=1))
    page.locator("dialog textarea").fill("bob, many")
    page.locator("dialog").get_by_role("button", name="Save").click()
    expect(page.locator("#p-mistakes")).to_be_visible()
    assert violations(page) == []
    page.goto(policy_address(northwind))
    type_limit(page, "0")
    save(page).click()
    expect(page.locator("dialog[open]")).to_be_visible()
    assert violations(page) == []
    clear(northwind)


@pytest.mark.parametrize("look", [{}, DARK], ids=["light", "dark"])
def test_axe_finds_no_violation_where_limits_are_shown(visit: Open, northwind: Northwind, look: dict[str, Any]) -> None:
    set_limit(northwind, "150")
    for state in ({}, {"user": ALICE}, {"day": northwind.weekday}):
        assert violations(visit({"reduced_motion": "reduce", **look}, **state)) == [], state
    clear(northwind)


def test_axe_finds_no_violation_on_an_empty_account(browser: Browser, server: Server, open_page: Open) -> None:
    assert violations(open_page(f"{server.url}/usage", sign_in(browser, server))) == []


def test_the_chart_is_a_figure_with_a_name_a_summary_and_days_as_buttons(visit: Open, northwind: Northwind) -> None:
    page = visit()
    usage = northwind.server.usage()
    chart = page.get_by_role("figure", name="Credits per day")
    expect(chart).to_have_accessible_description(f"Bars of credits for each of 30 days, {_summary(usage)}")
    expect(chart.get_by_role("group", name="Days").get_by_role("button")).to_have_count(30)
    on = usage["days"][-2]
    expect(day(page, northwind.ago(1))).to_have_accessible_name(
        f"{northwind.ago(1):%A} {northwind.ago(1).day} {northwind.ago(1):%B}: {written(on)} credits"
    )


def test_the_table_is_a_table_with_a_caption_and_headers(visit: Open) -> None:
    page = visit()
    table = page.get_by_role("table", name="Users by credits, last 30 days")
    expect(table.get_by_role("columnheader", name="Credits")).to_have_attribute("aria-sort", "descending")
    expect(table.get_by_role("rowheader", name="Alice Anderson")).to_be_visible()
    assert row(page, BOB).get_by_role("rowheader").get_attribute("scope") == "row"


def test_everything_is_still_there_at_four_times_the_size(visit: Open) -> None:
    """WCAG 1.4.10: 1280 px at 400 % is 320 px."""
    page = visit({"viewport": {"width": 320, "height": 256}})
    for part in ("h1", ".segments", ".kpis", ".legend", ".plot", "#search", "tbody"):
        expect(page.locator(part)).to_be_visible()


def violations(page: Page) -> list[str]:
    """What axe-core has to say of a page as it is now."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"][:3]]


def _summary(usage: dict[str, Any]) -> str:
    busiest = max(usage["days"], key=lambda line: line["units"])
    first, last, most = (_spoken(line["day"]) for line in (usage["days"][0], usage["days"][-1], busiest))
    return (
        f"from {first} to {last}, split by the 8 largest users and Others. "
        f"The busiest is {most} with {written(busiest)} credits. The table lists the users' figures."
    )


def _spoken(day: str) -> str:
    on = date.fromisoformat(day)
    return f"{on:%A} {on.day} {on:%B}"
