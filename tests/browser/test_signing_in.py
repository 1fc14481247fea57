"""Who gets in, who does not, and how one leaves."""

import re

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli.options import ACCOUNT_ID
from tallyboard.people import members
from tallyboard.people.members import Role
from tests import engines
from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.northwind import Northwind
from tests.conftest import Server

pytestmark = pytest.mark.browser


def test_a_one_time_link_leads_to_the_page_and_works_once(open_page: Open, northwind: Northwind, complaints: Complaints) -> None:
    complaints.expect("403")
    link = northwind.server.sign_in_link()
    page = open_page(link)
    expect(page).to_have_url(northwind.address())
    expect(page.get_by_role("heading", name="Credit Usage")).to_be_visible()
    second = open_page(link)
    expect(second.get_by_role("alert")).to_have_text("This sign-in link has been used or is older than 30 minutes.")
    expect(second.locator("pre")).to_have_text("tallyboard member link")
    expect(second.locator(".sign-in")).to_contain_text("gets a new one")


@pytest.mark.parametrize("token", ["", "x", "%00", "a" * 2000, "'--"])
def test_a_made_up_link_says_the_same(open_page: Open, northwind: Northwind, complaints: Complaints, token: str) -> None:
    complaints.expect("403")
    page = open_page(f"{northwind.server.url}/sign-in?token={token}")
    expect(page.get_by_role("alert")).to_contain_text("has been used or is older")


@pytest.mark.parametrize("path", ["/", "/usage", "/usage?window=7&user=alice", "/usage.csv"])
def test_without_a_session_every_page_leads_to_sign_in(open_page: Open, northwind: Northwind, path: str) -> None:
    page = open_page(northwind.server.url + path)
    expect(page).to_have_url(f"{northwind.server.url}/sign-in")
    expect(page.get_by_role("heading", name="Sign in to Tallyboard")).to_be_visible()


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(northwind: Northwind) -> None:
    (cookie,) = northwind.cookies
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"


def test_signing_out_ends_the_session_on_the_server(browser: Browser, open_page: Open, northwind: Northwind) -> None:
    cookies = sign_in(browser, northwind.server)
    page = open_page(northwind.address(), cookies)
    expect(page.locator("#live")).to_have_text("Live")  # Leaving a page that still loads would replace it in the history.
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{northwind.server.url}/sign-in")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["tallyboard_visit"]  # Which binds the sign-in form, and opens nothing.
    page.go_back()
    expect(page).to_have_url(f"{northwind.server.url}/sign-in")
    stolen = open_page(northwind.address(), cookies)
    expect(stolen).to_have_url(f"{northwind.server.url}/sign-in")


@pytest.mark.parametrize("form", [{}, {"_csrf_token": ""}, {"_csrf_token": "0" * 64}, {"_csrf_token": "ü"}], ids=str)
def test_a_forged_form_is_refused_and_signs_nobody_out(northwind: Northwind, form: dict[str, str]) -> None:
    jar = {cookie["name"]: cookie["value"] for cookie in northwind.cookies}
    answer = httpx.post(f"{northwind.server.url}/sign-out", data=form, cookies=jar)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert httpx.get(northwind.address(), cookies=jar).status_code == 200


def test_a_form_of_another_site_is_refused_and_signs_nobody_out(browser: Browser, northwind: Northwind) -> None:
    context = browser.new_context()
    context.add_cookies(northwind.cookies)
    page = context.new_page()
    page.set_content(f'<form method="post" action="{northwind.server.url}/sign-out"><button>You have won</button></form>')
    page.get_by_role("button").click()
    expect(page.locator(".trouble-status")).to_have_text("403")
    page.goto(northwind.address())
    expect(page).to_have_url(northwind.address())
    context.close()


def test_a_member_who_is_no_administrator_is_told_so(open_page: Open, northwind: Northwind, complaints: Complaints) -> None:
    complaints.expect("403")
    page = open_page(_link_of_a_member(northwind.server))
    expect(page.get_by_role("heading", name="My usage")).to_be_visible()
    expect(page.get_by_role("link", name="Credit Usage")).to_have_count(0)
    page.goto(northwind.address())
    expect(page.locator(".trouble-status")).to_have_text("403")
    expect(page.get_by_role("heading")).to_have_text("For administrators")
    for path in ("/usage.csv", "/usage?user=alice", "/api/v1/stream"):
        answer = page.request.get(northwind.server.url + path)
        assert answer.status == 403
        assert "alice" not in answer.text()


def test_a_member_who_is_no_administrator_has_a_way_on_from_there(open_page: Open, northwind: Northwind, complaints: Complaints) -> None:
    """A button that leads to the same refusal leads nowhere; the way on is to sign out."""
    complaints.expect("403")
    page = open_page(_link_of_a_member(northwind.server))
    page.goto(northwind.address())
    expect(page.locator(".trouble-status")).to_have_text("403")
    expect(page.locator('a[href="/usage"]')).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


@pytest.mark.parametrize("path", ["/usage/nothing", "/usagexyz", "/sign-up"])
def test_an_address_that_leads_nowhere_says_so_and_leads_back(
    open_page: Open, northwind: Northwind, complaints: Complaints, path: str
) -> None:
    complaints.expect("404")
    page = open_page(northwind.server.url + path, northwind.cookies)
    expect(page.locator(".trouble-status")).to_have_text("404")
    assert not re.search("Traceback|litestar|Not Found", page.content())
    page.get_by_role("link", name="Credit Usage").click()
    expect(page).to_have_url(northwind.address())


def test_an_account_without_usage_says_so_in_every_window(browser: Browser, server: Server, open_page: Open) -> None:
    page: Page = open_page(f"{server.url}/usage", sign_in(browser, server))
    heading = page.get_by_role("heading", name="No usage data for the selected period.")
    expect(heading).to_be_visible()
    page.get_by_role("link", name="7 days").click()
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    expect(heading).to_be_visible()
    expect(page.locator("#chart, table, .kpis")).to_have_count(0)


def _link_of_a_member(server: Server) -> str:
    with App(engines.settings_of(server.folder)) as app, app.ledger.writing() as session:
        now_us = clock.now_us()
        bob = members.add(session, ACCOUNT_ID, f"bob-{now_us}@northwind.example", Role.MEMBER, "test", now_us)
        return f"{server.url}/sign-in?token={members.invite(session, bob, now_us)}"
