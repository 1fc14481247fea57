"""My usage in the browser: windows, days, the keyboard, a phone, no JavaScript, a screen reader."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.test_accessibility import violations
from tests.browser.test_account import LOOKS, NAMES, OVERFLOW, enter
from tests.conftest import Server, event, tallyboard
from tests.web.visitors import Role, person

pytestmark = pytest.mark.browser

BOB = "bob@northwind.example"


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_a_member_sees_what_they_used_and_have_left(server: Server, open_page: Open, look: dict[str, Any]) -> None:
    person(server, BOB, Role.MEMBER)
    page = open_page(f"{server.url}/sign-in", **look)
    enter(page, BOB)
    expect(page.get_by_role("heading", name="No usage is linked to your email.")).to_be_visible()
    scripted = look.get("java_script_enabled", True)
    if scripted:
        assert violations(page) == []
    tallyboard("user", "set", "u-1", "--email", BOB, "--name", "Bob Brown", data=server.folder)
    tallyboard("policy", "set", "--limit", "1", data=server.folder)
    server.send(event("1", "u-1", time=None, conversations=540))
    page.reload()
    expect(page.locator(".kpis")).to_contain_text("0.10")
    expect(page.locator(".day")).to_have_count(30)
    assert page.evaluate(OVERFLOW) <= 0
    if scripted:
        assert violations(page) == []
    page.get_by_role("link", name="7 days").click()
    expect(page.locator(".day")).to_have_count(7)
    page.locator(".day.today").click()
    expect(page.locator(".day.today")).to_have_attribute("aria-pressed", "true")
    expect(page).to_have_url(f"{server.url}/my?window=7&day={page.locator('.day.today').get_attribute('id').removeprefix('d-')}")  # type: ignore[union-attr]
    expect(page.get_by_role("row").filter(has_text="so far")).to_have_attribute("aria-current", "true")
    if scripted:
        assert violations(page) == []
        page.keyboard.press("Escape")
        expect(page.locator(".day.today")).to_have_attribute("aria-pressed", "false")
