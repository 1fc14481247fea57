"""Signing in by password and Your account: by mouse, by keyboard, without JavaScript, on a phone, for a screen reader."""

from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.test_accessibility import DARK, PHONE, violations
from tests.conftest import Server
from tests.web.visitors import OTHER_PASSWORD, PASSWORD, person

pytestmark = pytest.mark.browser

LOOKS: list[dict[str, Any]] = [{}, DARK, PHONE, {"java_script_enabled": False}]
NAMES = ["desktop", "dark", "phone", "no-script"]
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def enter(page: Page, email: str, password: str = PASSWORD) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_email_and_password_lead_in(shared_server: Server, open_page: Open, look: dict[str, Any]) -> None:
    alice = person(shared_server, f"alice-{NAMES[LOOKS.index(look)]}@northwind.example")
    page = open_page(f"{shared_server.url}/sign-in", **look)
    enter(page, alice.email)
    expect(page).to_have_url(f"{shared_server.url}/usage")
    page.get_by_role("link", name=alice.email).click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    assert not page.evaluate(OVERFLOW) > 0


def test_a_wrong_password_is_said_once_and_the_email_stays(shared_server: Server, open_page: Open, complaints: Complaints) -> None:
    complaints.expect("403")
    alice = person(shared_server, "alice-wrong@northwind.example")
    page = open_page(f"{shared_server.url}/sign-in")
    enter(page, alice.email, OTHER_PASSWORD)
    expect(page.get_by_role("alert")).to_have_text("Email and password do not belong together.")
    expect(page.get_by_label("Email")).to_have_value(alice.email)
    expect(page.get_by_label("Password", exact=True)).to_have_value("")
    expect(page.locator("pre")).to_be_visible()
    enter(page, alice.email)
    expect(page).to_have_url(f"{shared_server.url}/usage")


def test_who_fails_too_often_is_told_when_to_try_again(shared_server: Server, open_page: Open, complaints: Complaints) -> None:
    complaints.expect("403|429")
    page = open_page(f"{shared_server.url}/sign-in")
    for _ in range(8):
        enter(page, "mallory@northwind.example", OTHER_PASSWORD)
        if "Too many" in page.get_by_role("alert").inner_text():
            break
    expect(page.get_by_role("alert")).to_contain_text("Too many sign-ins have failed. Try again in ")
    assert violations(page) == []


def test_all_of_it_by_keyboard(shared_server: Server, open_page: Open) -> None:
    alice = person(shared_server, "alice-keys@northwind.example")
    page = open_page(f"{shared_server.url}/sign-in")
    page.keyboard.press("Tab")
    page.keyboard.type(alice.email)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{shared_server.url}/usage")
    page.get_by_role("link", name=alice.email).focus()
    page.keyboard.press("Enter")
    page.get_by_label("Old password").focus()
    for text in (PASSWORD, OTHER_PASSWORD, OTHER_PASSWORD):
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Change password")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Your password is set. Your other sessions have ended.")


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_a_first_password_is_set_and_mistakes_stand_beside_their_field(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("400")
    page = open_page(f"{server.url}/account", sign_in(browser, server), **look)
    expect(page.get_by_role("heading", name="Set a password")).to_be_visible()
    expect(page.get_by_label("Old password")).to_have_count(0)
    new, again = page.get_by_label("New password", exact=True), page.get_by_label("New password, once more")
    new.fill("password1234")
    again.fill("password1234")
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("alert")).to_have_text("This password is one of the first that anybody would guess; choose another.")
    expect(new).to_have_attribute("aria-invalid", "true")
    expect(new).to_have_accessible_description("This password is one of the first that anybody would guess; choose another.")
    new.fill(PASSWORD)
    again.fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("status")).to_be_visible()
    expect(page.get_by_role("heading", name="Change your password")).to_be_visible()


@pytest.mark.parametrize("look", LOOKS[:3], ids=NAMES[:3])
def test_axe_finds_no_violation(
    browser: Browser, shared_server: Server, open_page: Open, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("40[03]")
    account = open_page(f"{shared_server.url}/account", sign_in(browser, shared_server), **look)
    assert violations(account) == []
    account.get_by_label("New password", exact=True).fill("abcabcabcabc")
    account.get_by_label("New password, once more").fill("abcabcabcabc")
    account.get_by_role("button", name="Set password").click()
    expect(account.get_by_role("alert")).to_be_visible()
    assert violations(account) == []
    assert account.evaluate(OVERFLOW) <= 0
    page = open_page(f"{shared_server.url}/sign-in", **look)
    assert violations(page) == []
    enter(page, "nobody@northwind.example")
    expect(page.get_by_role("alert")).to_be_visible()
    assert violations(page) == []
    assert page.evaluate(OVERFLOW) <= 0


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_sessions_are_listed_and_ended(browser: Browser, server: Server, open_page: Open, look: dict[str, Any]) -> None:
    other = open_page(f"{server.url}/usage", sign_in(browser, server))
    page = open_page(f"{server.url}/account", sign_in(browser, server), **look)
    lines = page.get_by_role("region", name="Where you are signed in").get_by_role("listitem")
    expect(lines).to_have_count(2)
    expect(lines.first).to_contain_text("this one")
    if look.get("java_script_enabled", True):
        assert violations(page) == []
    assert page.evaluate(OVERFLOW) <= 0
    lines.last.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("The session has ended.")
    expect(lines).to_have_count(1)
    expect(other).to_have_url(f"{server.url}/sign-in", timeout=30_000)  # By itself: an open page notices that its session has ended.
    page.get_by_role("button", name="Sign out everywhere").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/sign-in")
