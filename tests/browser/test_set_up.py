"""The first run in the browser: the zone is suggested, and without JavaScript it is chosen."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Complaints, Open
from tests.browser.test_accessibility import violations
from tests.browser.test_account import LOOKS, NAMES, OVERFLOW
from tests.conftest import Server
from tests.web.test_set_up import printed
from tests.web.visitors import PASSWORD

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_the_printed_link_leads_through_set_up_to_the_page(
    server: Server, open_page: Open, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("400")
    page = open_page(server.url + printed(server), timezone_id="Asia/Tokyo", **look)
    expect(page).to_have_url(f"{server.url}/set-up")
    scripted = look.get("java_script_enabled", True)
    expect(page.get_by_label("Timezone")).to_have_value("Asia/Tokyo" if scripted else "UTC")
    page.get_by_label("Timezone").select_option("Europe/Berlin")
    page.get_by_label("Name of the organization").fill("Northwind")
    page.get_by_label("Your email").fill("alice@northwind.example")
    for password in ("password1234", PASSWORD):
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_label("Password, once more").fill(password)
        assert page.evaluate(OVERFLOW) <= 0
        if scripted:
            assert violations(page) == []
        page.get_by_label("Password, once more").press("Enter")
        if password != PASSWORD:
            expect(page.get_by_role("alert")).to_contain_text("This password is one of the first")
            expect(page.get_by_label("Timezone")).to_have_value("Europe/Berlin")
    expect(page).to_have_url(f"{server.url}/usage")
    expect(page.locator(".status")).to_contain_text("Europe/Berlin")
    expect(page.get_by_role("link", name="alice@northwind.example")).to_be_visible()


def test_later_leads_to_the_page(server: Server, open_page: Open) -> None:
    page = open_page(server.url + printed(server))
    page.get_by_role("link", name="Later").click()
    expect(page.get_by_role("heading", name="Credit Usage")).to_be_visible()
