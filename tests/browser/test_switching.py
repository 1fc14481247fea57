"""Switching between two accounts: by mouse, by keyboard, without JavaScript, on a phone, for a screen reader."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.test_accessibility import violations
from tests.browser.test_account import LOOKS, NAMES, OVERFLOW, enter
from tests.conftest import Server, tallyboard
from tests.web.test_persons import NORTHWIND, SOUTHWIND, accept, invitation
from tests.web.visitors import PASSWORD, person

pytestmark = pytest.mark.browser

BOB = "bob@people.example"


@pytest.fixture
def both(server: Server) -> Server:
    """Bob administers Northwind and is a member of Southwind."""
    tallyboard("account", "set", "--name", NORTHWIND, data=server.folder)
    tallyboard("account", "create", "--name", SOUTHWIND, data=server.folder)
    person(server, BOB)
    accept(server, invitation(server, SOUTHWIND, BOB), PASSWORD)
    return server


def opener(page: Page, account: str) -> Locator:
    return page.locator("summary").filter(has_text=f"Account {account}: switch")


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_a_person_of_two_accounts_switches_there_and_back(both: Server, open_page: Open, look: dict[str, Any]) -> None:
    page = open_page(f"{both.url}/sign-in", **look)
    enter(page, BOB)
    expect(page).to_have_url(f"{both.url}/usage")
    for now, then, path in ((NORTHWIND, SOUTHWIND, "/my"), (SOUTHWIND, NORTHWIND, "/usage")):
        opener(page, now).click()
        expect(page.get_by_role("button", name=then)).to_be_visible()
        expect(page.get_by_role("button", name=now)).to_have_attribute("aria-current", "true")
        assert page.evaluate(OVERFLOW) <= 0
        if look.get("java_script_enabled", True):
            assert violations(page) == []
        page.get_by_role("button", name=then).click()
        expect(page).to_have_url(f"{both.url}{path}")
        expect(opener(page, then)).to_be_visible()
        expect(page.get_by_role("link", name="Members")).to_have_count(int(path == "/usage"))


def test_switching_by_keyboard(both: Server, open_page: Open) -> None:
    page = open_page(f"{both.url}/sign-in")
    enter(page, BOB)
    opener(page, NORTHWIND).focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=SOUTHWIND)).to_be_focused()
    page.keyboard.press("Enter")
    expect(opener(page, SOUTHWIND)).to_be_visible()


def test_an_open_page_of_the_account_one_has_left_goes_to_the_other(both: Server, open_page: Open, complaints: Complaints) -> None:
    complaints.expect("401|403|404")
    page = open_page(f"{both.url}/sign-in")
    enter(page, BOB)
    other = page.context.new_page()
    other.goto(f"{both.url}/usage")
    opener(other, NORTHWIND).click()
    other.get_by_role("button", name=SOUTHWIND).click()
    expect(opener(other, SOUTHWIND)).to_be_visible()
    expect(page.get_by_role("heading", name="For administrators")).to_be_visible()
    page.get_by_role("link", name="Your pages").click()
    expect(opener(page, SOUTHWIND)).to_be_visible()


def test_who_belongs_to_one_account_sees_no_switch(browser: Browser, server: Server, open_page: Open) -> None:
    page = open_page(f"{server.url}/usage", sign_in(browser, server))
    expect(page.get_by_text("My organization")).to_be_visible()
    expect(page.locator("details.switch")).to_have_count(0)
