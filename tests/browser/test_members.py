"""Members and invitations: by mouse, by keyboard, without JavaScript, on a phone, for a screen reader."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.test_accessibility import violations
from tests.browser.test_account import LOOKS, NAMES, OVERFLOW
from tests.conftest import Server
from tests.web.visitors import PASSWORD, person

pytestmark = pytest.mark.browser

BOB = "bob@northwind.example"


def row(page: Page, email: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=email))


def invite(page: Page, email: str) -> str:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Role").select_option("Member")
    page.get_by_role("button", name="Make an invitation").click()
    expect(page.get_by_role("status")).to_contain_text("Copy this link now.")
    return page.get_by_label("Link", exact=True).input_value()


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_somebody_is_invited_arrives_and_is_deactivated(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("403")
    page = open_page(f"{server.url}/usage", sign_in(browser, server), **look)
    page.get_by_role("link", name="Members").click()
    expect(page.get_by_role("heading", name="Members", level=1)).to_be_visible()
    expect(row(page, "admin@localhost")).to_contain_text("you")
    link = invite(page, BOB)
    assert page.evaluate(OVERFLOW) <= 0
    if look.get("java_script_enabled", True):
        assert violations(page) == []
    expect(row(page, BOB)).to_contain_text("invited")
    bob = open_page(link, **look)
    expect(bob.get_by_role("heading", name="Welcome to My organization")).to_be_visible()
    assert bob.evaluate(OVERFLOW) <= 0
    if look.get("java_script_enabled", True):
        assert violations(bob) == []
    bob.get_by_label("Password", exact=True).fill(PASSWORD)
    bob.get_by_label("Password, once more").fill(PASSWORD)
    bob.get_by_role("button", name="Set password and sign in").click()
    expect(bob.get_by_role("link", name=BOB)).to_be_visible()
    page.goto(f"{server.url}/members")
    row(page, BOB).locator("summary").click()
    if look.get("java_script_enabled", True):
        assert violations(page) == []
    assert page.evaluate(OVERFLOW) <= 0
    row(page, BOB).get_by_role("button", name="Deactivate").click()
    expect(page.get_by_role("status")).to_contain_text("The member is deactivated")
    expect(row(page, BOB)).to_contain_text("deactivated")
    bob.reload()
    expect(bob).to_have_url(f"{server.url}/sign-in")
    used = open_page(link, **look)
    expect(used.get_by_role("alert")).to_contain_text("It has been used")
    if look.get("java_script_enabled", True):
        assert violations(used) == []


def test_roles_change_by_keyboard_and_the_last_administrator_is_told(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints
) -> None:
    complaints.expect("400")
    person(server, BOB)
    page = open_page(f"{server.url}/members", sign_in(browser, server))
    page.get_by_label("Change bob").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(row(page, BOB).get_by_role("button", name="Make a member")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The role has changed.")
    expect(row(page, BOB).locator(".role")).to_have_text("Member")
    page.get_by_label("Change admin").click()
    row(page, "admin@localhost").get_by_role("button", name="Make a member").click()
    expect(page.get_by_role("alert")).to_contain_text("is the last administrator")
    assert violations(page) == []


def test_who_is_a_member_already_is_told_beside_the_field(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints
) -> None:
    complaints.expect("409")
    page = open_page(f"{server.url}/members", sign_in(browser, server))
    page.get_by_label("Email").fill("admin@localhost")
    page.get_by_role("button", name="Make an invitation").click()
    expect(page.get_by_label("Email")).to_have_accessible_description("Admin@localhost is a member already.")
    assert violations(page) == []
