"""Usage that arrives while one looks: it appears by itself, and nothing jumps or moves from under pointer and keyboard."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.northwind import ALICE, BOB, Northwind
from tests.browser.sights import credits_of, day, figure, order, row, rows, state, token
from tests.conftest import Server, event

pytestmark = pytest.mark.browser

SOON_MS = 2_500
"""Within about two seconds; the half is for a busy machine."""


@pytest.fixture
def ids() -> Iterator[str]:
    """Ids of events never sent before."""
    return (f"live-{datetime.now(UTC).timestamp()}-{number}" for number in range(1_000))


def test_an_event_appears_within_two_seconds_without_a_jump(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page = visit()
    _is_live(page)
    page.locator("#search").focus()
    page.evaluate("scrollTo(0, 240)")
    before, views = figure(page).inner_text(), page.evaluate("history.length")
    _send(northwind, ids, ALICE, 60_000)
    expect(figure(page)).not_to_have_text(before, timeout=SOON_MS)
    assert page.evaluate("scrollY") == 240
    expect(page.locator("#search")).to_be_focused()
    assert page.evaluate("shifts.reduce((sum, shift) => sum + shift, 0)") < 0.01
    assert page.evaluate("history.length") == views
    assert state(page) == {}
    expect(page.locator("#live")).to_have_text("Live")


def test_what_one_looks_at_stays_the_same_view(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page = visit(window=14, day=northwind.today, q="bob")
    _is_live(page)
    before = credits_of(row(page, BOB)).inner_text()
    address = page.url
    _send(northwind, ids, BOB, 6_000)
    expect(credits_of(row(page, BOB))).not_to_have_text(before)
    expect(day(page, northwind.today)).to_have_attribute("aria-pressed", "true")
    expect(rows(page)).to_have_count(1)
    assert page.url == address


def test_news_that_come_while_one_searches_are_shown_after_it(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page, witness = visit(), visit()
    for each in (page, witness):
        _is_live(each)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/usage?*q=bob*", hold)
    with page.expect_request("**/usage?*q=bob*"):
        page.locator("#search").fill("bob")
    before = figure(witness).inner_text()
    _send(northwind, ids, BOB, 6_000)
    expect(figure(witness)).not_to_have_text(before)
    for route in held:
        route.continue_()
    page.unroute("**/usage?*q=bob*")
    expect(rows(page)).to_have_count(1)
    expect(figure(page)).to_have_text(figure(witness).inner_text())


def test_a_new_user_appears(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page = visit(day=northwind.today)
    _is_live(page)
    _send(northwind, ids, "just-arrived", 9_000)
    expect(credits_of(row(page, "just-arrived"))).to_have_text("15.00")


def test_nothing_moves_while_the_pointer_is_over_chart_or_table(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    witness, over_chart, over_table = visit(), visit(), visit()
    for page in (witness, over_chart, over_table):
        _is_live(page)
    day(over_chart, northwind.weekday).hover()
    row(over_table, BOB).hover()
    before = figure(witness).inner_text()
    _send(northwind, ids, BOB, 6_000)
    expect(figure(witness)).not_to_have_text(before)
    after = figure(witness).inner_text()
    # The witness has it, so the others have heard of it; what they would do now they would have begun.
    for page in (over_chart, over_table):
        assert figure(page).inner_text() == before
    expect(over_chart.locator("#tip")).to_be_visible()
    for page in (over_chart, over_table):
        page.locator("h1").hover()
        expect(figure(page)).to_have_text(after)


def test_rows_keep_their_order_while_the_keyboard_is_in_the_table(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page = visit(day=northwind.today)
    _is_live(page)
    page.locator("#search").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = page.evaluate("document.activeElement.closest('tr').id")
    before, last = order(page), rows(page).last
    late = (last.get_attribute("id") or "").removeprefix("u-")
    spent = credits_of(row(page, late)).inner_text()
    _send(northwind, ids, late, 900_000)
    expect(credits_of(row(page, late))).not_to_have_text(spent)
    assert order(page) == before
    assert page.evaluate("document.activeElement.closest('tr').id") == focused
    page.reload()
    assert order(page)[0] == f"u-{late}"


def test_the_axis_does_not_shrink_while_one_looks(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    _send(northwind, ids, ALICE, 6_000_000)
    page = visit(window=7)
    _is_live(page)
    top, total = page.locator("#chart").get_attribute("data-axis"), figure(page).inner_text()
    _send(northwind, ids, ALICE, -6_000_000, scopes="ingest,adjust", reason="sent by mistake")
    expect(figure(page)).not_to_have_text(total)
    expect(page.locator("#chart")).to_have_attribute("data-axis", top or "")
    page.reload()
    expect(page.locator("#chart")).not_to_have_attribute("data-axis", top or "")


def test_a_focused_day_keeps_the_keyboard_through_a_refresh(visit: Open, northwind: Northwind, ids: Iterator[str]) -> None:
    page = visit()
    _is_live(page)
    day(page, northwind.today).focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    before = figure(page).inner_text()
    _send(northwind, ids, BOB, 6_000)
    expect(figure(page)).not_to_have_text(before)
    expect(day(page, northwind.ago(2))).to_be_focused()
    expect(page.locator("#tip")).to_be_visible()
    page.keyboard.press("ArrowRight")
    expect(day(page, northwind.ago(1))).to_be_focused()
    expect(page.locator('.day[tabindex="0"]')).to_have_count(1)


def test_a_lost_connection_is_said_and_what_was_missed_is_shown_when_it_is_back(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints
) -> None:
    complaints.expect("Failed to load resource|ERR_")
    server.send(event("before", time=None))
    page = open_page(f"{server.url}/usage", sign_in(browser, server))
    _is_live(page)
    assert _dot(page) == token(page, "--ok")
    server.kill()
    expect(page.locator("#live")).to_have_text("Reconnecting…")
    expect(page.locator("#live-lost")).to_have_text("Connection lost, reconnecting")
    assert _dot(page) == token(page, "--warn")
    server.start(port=urlsplit(server.url).port)  # As a service manager would.
    server.send(event("meanwhile", "late", time=None, conversations=1800))
    expect(page.locator("#live")).to_have_text("Live", timeout=20_000)
    expect(page.locator("#live-lost")).to_have_text("")
    expect(credits_of(row(page, "late"))).to_have_text("3.00")


def test_an_empty_account_shows_its_first_event_by_itself(browser: Browser, server: Server, open_page: Open) -> None:
    page = open_page(f"{server.url}/usage", sign_in(browser, server))
    expect(page.get_by_role("heading", name="No usage data for the selected period.")).to_be_visible()
    _is_live(page)
    server.send(event("first", time=None, conversations=600))
    expect(figure(page)).to_have_text("1.00")
    expect(rows(page)).to_have_count(1)
    expect(page.locator('.day[tabindex="0"]')).to_have_count(1)


def test_a_page_whose_session_ends_elsewhere_goes_to_sign_in(browser: Browser, northwind: Northwind, open_page: Open) -> None:
    cookies = sign_in(browser, northwind.server)
    looking, leaving = open_page(northwind.address(), cookies), open_page(northwind.address(), cookies)
    _is_live(looking)
    leaving.get_by_role("button", name="Sign out").click()
    expect(looking).to_have_url(f"{northwind.server.url}/sign-in")


def _is_live(page: Page) -> None:
    expect(page.locator("#live")).to_have_text("Live")


def _send(northwind: Northwind, ids: Iterator[str], user: str, conversations: int, *, scopes: str = "ingest", **data: str) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
    northwind.server.send(event(next(ids), user, time=at, conversations=conversations, **data), scopes=scopes)


def _dot(page: Page) -> str:
    return str(page.locator("#live").evaluate("live => getComputedStyle(live, '::before').backgroundColor"))
