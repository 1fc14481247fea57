"""The search reaches every user, also those below the two hundred shown."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.northwind import ALICE, BOB, HOSTILE, LAST_OF_ALL, Northwind
from tests.browser.sights import credits_of, row, rows, state

pytestmark = pytest.mark.browser


def test_typing_finds_a_user_beyond_the_top_two_hundred_and_keeps_the_focus(visit: Open) -> None:
    page = visit()
    total = page.locator(".users-count").inner_text()
    views = page.evaluate("history.length")
    page.evaluate("document.querySelector('#chart').kept = true")
    page.locator("#search").click()
    page.keyboard.type(LAST_OF_ALL)
    expect(rows(page)).to_have_count(1)
    expect(credits_of(row(page, LAST_OF_ALL))).to_have_text("<0.01")
    expect(page.get_by_role("status").filter(has_text=f"1 of {total}")).to_be_visible()
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#search")).to_have_value(LAST_OF_ALL)
    assert state(page) == {"window": "30", "q": LAST_OF_ALL}
    assert page.evaluate("history.length") == views
    assert page.evaluate("document.querySelector('#chart').kept"), "the search has replaced the chart"


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("ALICE AND", ALICE),
        ("bob@NORTH", BOB),
        ("Okafor-lindqvist", "crowd-100"),
        ("onerror=", HOSTILE),
        ("حداد", "مستخدم-١"),
        ("🦊", "🦊 agent"),
    ],
)
def test_the_search_looks_at_names_emails_and_keys_whatever_their_case(visit: Open, text: str, user: str) -> None:
    page = visit()
    page.locator("#search").fill(text)
    expect(rows(page)).to_have_count(1)
    expect(row(page, user)).to_be_visible()


def test_no_match_is_said_in_words_and_one_click_clears_it(visit: Open) -> None:
    page = visit()
    page.locator("#search").fill("<b>okaf")
    expect(page.locator(".nothing p")).to_have_text("No users match “<b>okaf”.")
    expect(rows(page)).to_have_count(0)
    page.get_by_role("link", name="Clear the search").click()
    expect(rows(page)).to_have_count(200)
    expect(page.locator("#search")).to_have_value("")
    assert "q" not in state(page)


def test_escape_clears_the_text_and_the_search(visit: Open) -> None:
    page = visit()
    page.locator("#search").fill("alice")
    expect(rows(page)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#search")).to_have_value("")
    expect(rows(page)).to_have_count(200)
    expect(page.locator("#search")).to_be_focused()
    assert state(page) == {"window": "30"}


def test_a_search_stays_when_a_day_is_focused_and_searches_its_users(visit: Open, northwind: Northwind) -> None:
    page = visit(q="crowd-22")
    expect(rows(page)).to_have_count(10)
    page.locator(f"#d-{northwind.ago(1)}").click()
    expect(page.locator("#clear-day")).to_be_visible()
    expect(row(page, LAST_OF_ALL)).to_be_visible()
    assert rows(page).count() < 10
    assert state(page) == {"window": "30", "day": str(northwind.ago(1)), "q": "crowd-22"}


def test_a_search_of_many_says_how_many_it_shows(visit: Open) -> None:
    page = visit(q="crowd")
    expect(rows(page)).to_have_count(200)
    expect(page.locator(".card-note")).to_have_text("Showing the top 200 of 230 matching users by credits. CSV export reaches all of them.")


TYPE_ALICE = """
(box) => {
  for (const end of [1, 2, 3, 4, 5]) {
    box.value = "alice".slice(0, end);
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
}
"""


def test_what_is_typed_quickly_ends_in_one_answer(visit: Open) -> None:
    page = visit()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "q=" in request.url else None)
    page.locator("#search").evaluate(TYPE_ALICE)  # In one go: between two keys of a keyboard a busy machine may let any time pass.
    expect(rows(page)).to_have_count(1)
    assert len(asked) == 1
