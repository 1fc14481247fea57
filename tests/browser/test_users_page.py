"""Users: who is whom is decided by people who see both, and can be undone; found however many there are."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import engines
from tests.browser.conftest import Open, sign_in
from tests.browser.test_accessibility import DARK, PHONE, violations
from tests.conftest import Server, event, serving

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=window.struck=1>'
CROWD = 10_000


@pytest.fixture(scope="module")
def office(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Any]]]:
    """A server with an administrator's session and three that are one person."""
    with serving(tmp_path_factory.mktemp("users") / "data") as server:
        for number, user in enumerate(("alice", "Alice@X.example", "laptop", "bob", HOSTILE)):
            server.send(event(user, user, time=None, conversations=600 * (number + 1)))
        server.request("PUT", "/api/v1/users/alice", "admin", json={"name": "Alice Anderson", "email": "alice@x.example"})
        server.request("PUT", "/api/v1/policy/overrides/laptop", "admin", json={"limit": {"credits": "2.5"}})
        yield server, sign_in(browser, server)


@pytest.fixture
def users(office: tuple[Server, list[Any]], open_page: Open) -> Iterator[Open]:
    """Opens the page; whoever was merged is taken apart afterwards."""
    server, cookies = office
    yield lambda query="", **look: open_page(f"{server.url}/users{query}", cookies, **look)
    for each in server.request("GET", "/api/v1/users", "read").json()["users"]:
        if each["alias_of"]:
            server.request("DELETE", f"/api/v1/users/{quote(each['user'], safe='')}/alias", "admin")


def line(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


def merge(server: Server, user: str, into: str) -> None:
    server.request("PUT", f"/api/v1/users/{quote(user, safe='')}/alias", "admin", json={"of": into}).raise_for_status()


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_two_are_merged_seen_as_one_and_taken_apart_again(office: tuple[Server, list[Any]], users: Open, script: bool) -> None:
    server, _ = office
    page = users(java_script_enabled=script)
    line(page, "Alice@X.example").get_by_role("link", name="Merge into…").click()
    expect(page.get_by_text("Likely the same person")).to_be_visible()
    page.get_by_role("link", name="Alice Anderson Same email").click()
    sides = page.locator("dialog section")
    expect(sides.nth(0)).to_contain_text("Becomes an alias")
    expect(sides.nth(0)).to_contain_text("2.00")
    expect(sides.nth(1)).to_contain_text("Alice Anderson")
    expect(page.locator("dialog")).to_contain_text("together 3.00 credits in the last 30 days")
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_role("status").filter(has_text="Merged.")).to_be_visible()
    expect(line(page, "Alice@X.example")).to_have_count(0)
    expect(line(page, "Alice Anderson")).to_contain_text("Alice@X.example")
    page.goto(f"{server.url}/usage")
    of_alice = page.locator("#users tbody tr").filter(has_text="alice@x.example")
    expect(of_alice).to_have_count(1)
    expect(of_alice).to_contain_text("3.00")
    page.goto(f"{server.url}/usage?user={quote('Alice@X.example')}")
    expect(page.get_by_text("Also known as Alice@X.example")).to_be_visible()
    page.goto(f"{server.url}/users")
    page.get_by_role("link", name="Undo that Alice@X.example is Alice Anderson").click()
    expect(page.locator("dialog")).to_contain_text("2.00 credits in the last 30 days")
    expect(page.locator("dialog")).to_contain_text("alice keeps 1.00")
    page.get_by_role("button", name="Undo the merge").click()
    expect(page.get_by_role("status").filter(has_text="Taken apart.")).to_be_visible()
    page.goto(f"{server.url}/usage")
    expect(of_alice).to_have_count(2)


def test_it_says_what_becomes_of_a_limit_and_turns_round(users: Open) -> None:
    page = users("?merge=laptop&into=alice")
    expect(page.locator("dialog")).to_contain_text("The own limit of “laptop”, 2.5 credits a day, is kept and does not count")
    page.get_by_role("link", name="The other way round").click()
    expect(page.locator("dialog section").nth(0)).to_contain_text("Alice Anderson")
    expect(page.locator("dialog")).to_contain_text("that of laptop: 2.5 credits a day")


def test_the_keyboard_alone_finds_searches_and_merges(users: Open) -> None:
    page = users()
    page.keyboard.press("/")
    page.keyboard.type("lap")
    expect(page.locator(".users-table tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile(r"q=lap"))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Merge into…")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Search for the user")).to_be_focused()
    page.keyboard.type("ander")
    expect(page.locator("#targets a")).to_have_count(1)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Back")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="Merged.")).to_be_visible()
    page.get_by_role("link", name="Undo that laptop is Alice Anderson").press("Enter")
    expect(page.locator("dialog[open]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"/users$"))


def test_what_a_user_is_called_is_edited_and_mistakes_come_back_as_typed(users: Open, complaints: Any) -> None:
    complaints.expect("400")
    page = users()
    line(page, "bob").get_by_role("link", name="Edit").click()
    page.get_by_label("Name", exact=True).fill(HOSTILE)
    page.get_by_label("Email", exact=True).fill("no email")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("is not an email address")
    expect(page.get_by_label("Name", exact=True)).to_have_value(HOSTILE)
    page.get_by_label("Email", exact=True).fill("bob@x.example")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
    expect(line(page, HOSTILE).filter(has_text="bob@x.example")).to_be_visible()
    assert page.evaluate("window.struck") is None


def test_who_is_merged_already_is_told_in_the_dialog(office: tuple[Server, list[Any]], users: Open, complaints: Any) -> None:
    """Somebody else was quicker."""
    complaints.expect("409")
    server, _ = office
    page = users("?merge=laptop&into=alice")
    merge(server, "laptop", "bob")
    page.get_by_role("button", name="Merge").click()
    expect(page.get_by_role("alert")).to_contain_text("is an alias of 'bob'; undo that first")


@pytest.mark.parametrize("look", [{}, DARK, PHONE, {**PHONE, **DARK}], ids=["light", "dark", "phone", "phone-dark"])
def test_axe_finds_no_violation_and_nothing_runs_over(office: tuple[Server, list[Any]], users: Open, look: dict[str, Any]) -> None:
    server, _ = office
    merge(server, "Alice@X.example", "alice")
    page = users(reduced_motion="reduce", **look)
    for query in ("", "?q=nobody+at+all", "?merge=laptop", "?merge=laptop&find=zzz", "?merge=bob&into=alice", "?edit=bob", "?done=merged",
                  f"?undo={quote('Alice@X.example')}", f"?merge={quote(HOSTILE)}&into=bob"):  # fmt: skip
        page.goto(f"{server.url}/users{query}")
        assert violations(page) == [], query
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), query
    page.goto(f"{server.url}/usage?user=alice")
    assert violations(page) == []


def test_without_users_the_page_says_where_they_come_from(browser: Browser, server: Server, open_page: Open) -> None:
    page = open_page(f"{server.url}/users", sign_in(browser, server))
    expect(page.get_by_role("heading", name="No users yet.")).to_be_visible()
    assert violations(page) == []


def test_ten_thousand_are_paged_and_any_is_found_by_an_alias(browser: Browser, server: Server, open_page: Open) -> None:
    server.send(event("1", "alice"), event("2", "zoë's phone"))
    for first in range(0, CROWD, 5_000):
        numbers = ", ".join(f"(1, {number + 10}, 'user-{number:05}')" for number in range(first, first + 5_000))
        engines.look(server.folder, f"INSERT INTO app_user (account_id, user_id, key) VALUES {numbers}")
    engines.look(server.folder, f"UPDATE account SET user_count = {CROWD + 2} WHERE account_id = 1")
    merge(server, "zoë's phone", "user-07777")
    page = open_page(f"{server.url}/users", sign_in(browser, server))
    expect(page.get_by_text("10,001 users")).to_be_visible()
    expect(page.locator(".users-table tbody tr")).to_have_count(100)
    page.get_by_role("link", name="Next 100").click()
    expect(page.locator(".users-table tbody tr").first).to_contain_text("user-00099")
    page.get_by_label("Search users").fill("ZOË")
    expect(page.locator(".users-table tbody tr")).to_have_count(1)
    expect(line(page, "user-07777")).to_contain_text("zoë's phone")
