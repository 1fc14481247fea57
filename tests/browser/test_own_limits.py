"""Limits of single users, what is set aside, and the history, on the Credit Policy page."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, Open
from tests.browser.northwind import ALICE, ARABIC, AWKWARD, BOB, HOSTILE, HOSTILE_NAME, Northwind
from tests.browser.policies import clear, give, limits_of, own_row, policy_address, question, set_limit
from tests.conftest import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def unlimited(northwind: Northwind) -> Iterator[None]:
    clear(northwind)
    yield
    clear(northwind)


@pytest.fixture
def look(open_page: Open, northwind: Northwind) -> Open:
    def looked(options: dict[str, Any] | None = None, /, **asked: object) -> Page:
        return open_page(policy_address(northwind, **asked), northwind.cookies, **(options or {}))

    return looked


def fill(page: Page, **fields: str) -> None:
    for name, text in fields.items():
        question(page).locator(f'[name="{name}"]').fill(text)
    question(page).get_by_role("button", name="Save").click()


def test_a_user_is_given_a_limit_by_email_edited_and_removed(look: Open, northwind: Northwind) -> None:
    page = look()
    expect(page.locator("#own-list")).to_contain_text("No user has a limit of their own.")
    page.get_by_role("link", name="Add", exact=True).click()
    fill(page, user="alice@northwind.example", limit="20", reason="Pilot", expires="2099-01-02T03:04")
    expect(page.get_by_text("Limit saved.")).to_be_visible()
    line = own_row(page, ALICE)
    expect(line).to_contain_text("Alice Anderson")
    expect(line.locator("td").nth(0)).to_have_text("20")
    expect(line).to_contain_text("Pilot")
    expect(line).to_contain_text("Fri, 2 Jan 2099 03:04")
    expect(line).to_contain_text("admin@localhost")
    page.get_by_role("link", name="Edit the limit of Alice Anderson").click()
    expect(question(page).locator('[name="expires"]')).to_have_value("2099-01-02T03:04")
    fill(page, limit="unlimited", expires="")
    expect(line.locator("td").nth(0)).to_have_text("Unlimited")
    expect(line).to_contain_text("never")
    page.get_by_role("link", name="Remove the limit of Alice Anderson").click()
    expect(question(page)).to_contain_text("Remove the limit of alice?")
    question(page).get_by_role("link", name="Cancel").click()
    expect(question(page)).to_have_count(0)
    assert limits_of(northwind) == {ALICE: None}
    page.get_by_role("link", name="Remove the limit of Alice Anderson").click()
    question(page).get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Limit removed.")).to_be_visible()
    assert not limits_of(northwind)


@pytest.mark.parametrize("size", [{"width": 1280, "height": 400}, {"width": 390, "height": 500}], ids=str)
def test_what_was_done_is_told_where_one_looks(look: Open, size: dict[str, int]) -> None:
    page = look({"viewport": size})
    page.get_by_role("link", name="Add", exact=True).click()
    fill(page, user="alice@northwind.example", limit="20")
    told = page.get_by_text("Limit saved.")
    expect(told).to_be_in_viewport(ratio=1)
    assert page.evaluate("scrollY") > 200
    head, box = page.get_by_role("heading", name="Limits of single users").bounding_box(), told.bounding_box()
    assert head
    assert box
    assert box["y"] + box["height"] <= head["y"], "it covers what the page was scrolled to"


def test_what_is_wrong_with_a_limit_is_said_beside_the_field_and_nothing_is_lost(look: Open, complaints: Complaints) -> None:
    complaints.expect("400")
    page = look(add=1)
    fill(page, user=BOB, limit="a lot", reason="because")
    expect(question(page).get_by_role("alert")).to_have_text("“a lot” is not a number of credits.")
    for name, text in {"user": BOB, "limit": "a lot", "reason": "because"}.items():
        expect(question(page).locator(f'[name="{name}"]')).to_have_value(text)
    fill(page, limit="5", expires="2020-01-01T00:00")
    expect(question(page).get_by_role("alert")).to_contain_text("cannot expire in the past")


def test_many_users_are_given_limits_at_once_and_each_mistake_is_named(look: Open, northwind: Northwind, complaints: Complaints) -> None:
    complaints.expect("400")
    page = look()
    page.get_by_role("link", name="Add several").click()
    lines = f"{BOB}\nalice@northwind.example, 1,000\ncrowd-001\tunlimited\ncrowd-002, many\n{BOB}, 3"
    fill(page, lines=lines, limit="7.5", reason="Spring")
    expect(question(page).locator("#p-mistakes")).to_contain_text("Nothing was saved.")
    expect(question(page).locator("#p-mistakes li")).to_have_text(
        ["Line 4: “many” is not a number of credits.", "Line 5: bob is on line 1 already."]
    )
    expect(question(page).locator("textarea")).to_have_value(lines)
    assert not limits_of(northwind)
    fill(page, lines=lines.replace("many", "2").replace(f"{BOB}, 3", ""))
    expect(page.get_by_text("Limits saved.")).to_be_visible()
    assert limits_of(northwind) == {ALICE: "1000.000000", BOB: "7.500000", "crowd-001": None, "crowd-002": "2.000000"}


def test_two_who_change_one_users_limit_do_not_overwrite_each_other_unseen(
    look: Open, northwind: Northwind, complaints: Complaints
) -> None:
    complaints.expect("412")
    give(northwind, BOB, "5")
    page = look(edit=BOB)
    give(northwind, BOB, "6")
    fill(page, limit="7")
    expect(question(page).get_by_role("alert")).to_contain_text("This user has a limit of 6, set by API key")
    expect(question(page).locator('[name="limit"]')).to_have_value("7")
    assert limits_of(northwind)[BOB] == "6.000000"
    fill(page)
    expect(page.get_by_text("Limit saved.")).to_be_visible()
    assert limits_of(northwind)[BOB] == "7.000000"


def test_a_limit_that_has_expired_counts_no_more_and_the_history_says_so(look: Open, northwind: Northwind) -> None:
    give(northwind, BOB, "5", expires_at=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    wait_until(lambda: BOB not in limits_of(northwind), "the limit has been ended")
    page = look()
    expect(own_row(page, BOB)).to_have_count(0)
    expect(page.locator("#preview")).to_contain_text("nobody would have been paused")
    expect(page.locator(".changes li").first).to_contain_text("Expired")
    expect(page.locator(".changes li").first).to_contain_text("Limit of bob: 5 until")


def test_names_of_any_kind_are_shown_as_text_and_can_be_edited(look: Open, northwind: Northwind) -> None:
    for user in (HOSTILE, ARABIC, AWKWARD):
        give(northwind, user, "3", reason=HOSTILE)
    page = look()
    expect(own_row(page, HOSTILE).locator("bdi")).to_have_text(HOSTILE_NAME)
    for user in (HOSTILE, ARABIC, AWKWARD):
        own_row(page, user).get_by_role("link", name="Edit").click()
        expect(question(page).locator("h2 bdi")).to_have_text(user)
        fill(page, limit="4")
        expect(own_row(page, user).locator("td").nth(0)).to_have_text("4")
    assert page.evaluate("window.struck") is None


def test_the_search_finds_a_user_by_name_and_the_pages_hold_two_hundred(look: Open) -> None:
    page = look(bulk=1)
    fill(page, lines="\n".join(f"someone-{number:04}" for number in range(450)) + "\nalice", limit="9")
    expect(page.locator("#own .users-count")).to_have_text("451 users")
    expect(page.locator("#own tbody tr")).to_have_count(200)
    page.get_by_role("link", name="Next 200").click()
    page.get_by_role("link", name="Next 200").click()
    expect(page.locator("#own tbody tr")).to_have_count(51)
    expect(page.locator("#own")).to_contain_text("no usage yet")
    page.keyboard.press("/")
    page.keyboard.type("anderson")
    expect(page.locator("#own tbody tr")).to_have_count(1)
    expect(own_row(page, ALICE)).to_be_visible()
    page.locator("#search").fill("nobody here")
    expect(page.locator("#own-list")).to_contain_text("No limits match “nobody here”.")


def test_what_is_set_aside_is_listed_and_can_be_released(look: Open, northwind: Northwind) -> None:
    asked = {"user": ALICE, "credits": "1.5", "id": "hold-1", "ttl_s": 600}
    key = northwind.server.keys.make("check")
    headers = {"Authorization": f"Bearer {key}"}
    held = northwind.server.client.post(f"{northwind.server.url}/api/v1/holds", json=asked, headers=headers)
    assert held.status_code == 201, held.text
    page = look()
    expect(page.locator("#aside")).to_contain_text("1.50 credits in 1 request")
    expect(page.locator("#aside tbody tr")).to_contain_text("Alice Anderson")
    expect(page.locator("#aside tbody tr")).to_contain_text("9 min")
    page.get_by_role("button", name="Release what is set aside for Alice Anderson").click()
    expect(page.get_by_text("Released.")).to_be_visible()
    expect(page.locator("#aside")).to_contain_text("Nothing is set aside right now.")
    again = northwind.server.client.post(f"{northwind.server.url}/api/v1/holds", json=asked, headers=headers)
    assert again.status_code == 200, again.text


def test_the_history_tells_who_changed_what_and_which_limit_applied(look: Open, northwind: Northwind) -> None:
    set_limit(northwind, "40")
    give(northwind, BOB, "5", reason="Trial")
    page = look()
    newest, second = page.locator(".changes li").nth(0), page.locator(".changes li").nth(1)
    expect(newest).to_contain_text("Limit of bob: the default")
    expect(newest).to_contain_text("“Trial”")
    expect(second).to_contain_text("Default limit: Unlimited")
    page.locator('.lookup [name="user"]').fill("bob@northwind.example")
    page.locator('.lookup [name="at"]').fill("2020-01-01T00:00")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator(".answer")).to_have_text("On Wed, 1 Jan 2020 00:00, bob@northwind.example had no daily limit: the default.")
    page.locator('.lookup [name="at"]').fill("2099-01-01T00:00")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator(".answer")).to_have_text(
        "On Thu, 1 Jan 2099 00:00, bob@northwind.example had a daily limit of 5 credits: their own limit."
    )


def test_without_script_limits_are_added_and_removed(look: Open, northwind: Northwind) -> None:
    page = look({"java_script_enabled": False})
    page.get_by_role("link", name="Add", exact=True).click()
    fill(page, user=BOB, limit="12")
    expect(own_row(page, BOB)).to_contain_text("12")
    own_row(page, BOB).get_by_role("link", name="Remove").click()
    question(page).get_by_role("button", name="Remove").click()
    expect(page.get_by_text("Limit removed.")).to_be_visible()
    assert not limits_of(northwind)
