"""Signing in with OpenID Connect as people do it: the button, there and back, and what the page says where it does not work."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests import engines
from tests.browser.conftest import Complaints, Open
from tests.browser.test_accessibility import DARK, PHONE, violations
from tests.conftest import Server, serving
from tests.web.openid import Provider, person, providing, settings_for

pytestmark = pytest.mark.browser

LOOKS = [{}, DARK, PHONE, {**PHONE, **DARK}]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Provider, Server]]:
    folder = tmp_path_factory.mktemp("provider") / "data"
    wanted = {"openid_new_members": "yes", "openid_domains": "northwind.example", "openid_admin_claim": "groups"}
    with (
        providing() as provider,
        serving(folder, **settings_for(provider.issuer, **wanted, openid_admin_values="admins")) as server,
    ):
        yield provider, server
    engines.drop(folder)


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "phone", "phone-dark"])
@pytest.mark.parametrize("scripts", [True, False], ids=["", "without-scripts"])
def test_the_button_leads_to_the_provider_and_back_in(
    open_page: Open, places: tuple[Provider, Server], look: dict[str, Any], scripts: bool
) -> None:
    provider, server = places
    provider.reset()
    provider.person = person("alice", groups=["admins"])
    page = open_page(f"{server.url}/sign-in?next=/policy", java_script_enabled=scripts, **look)
    button = page.get_by_role("link", name="Sign in with Northwind ID")
    expect(button).to_be_visible()
    if scripts:
        assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]  # type: ignore[index]
    button.focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{server.url}/policy")
    expect(page.get_by_role("heading", name="Credit Policy", exact=True)).to_be_visible()
    assert [cookie["name"] for cookie in page.context.cookies()] == ["tallyboard_session"]


@pytest.mark.parametrize("look", LOOKS, ids=["light", "dark", "phone", "phone-dark"])
def test_who_is_not_let_in_reads_why_and_can_begin_again(
    open_page: Open, places: tuple[Provider, Server], complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("403")
    provider, server = places
    provider.reset()
    engines.look(server.folder, "DELETE FROM sign_in_attempt")
    provider.person = person("eve", email="eve@elsewhere.example")
    page = open_page(f"{server.url}/sign-in", **look)
    page.get_by_role("link", name="Sign in with Northwind ID").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Emails like yours are not let in here. Sign in at Northwind ID with the one of your organization."
    )
    assert violations(page) == []
    provider.person = person("bob")
    page.get_by_role("link", name="Sign in with Northwind ID").click()
    expect(page).to_have_url(re.compile(r"/my$"))


def test_where_passwords_are_not_used_there_is_the_button_alone(open_page: Open, folder: Path) -> None:
    with providing() as provider, serving(folder, **settings_for(provider.issuer, passwords="no")) as server:
        for look in LOOKS:
            page = open_page(f"{server.url}/sign-in", **look)
            expect(page.get_by_role("link", name="Sign in with Northwind ID")).to_be_visible()
            expect(page.locator("input")).to_have_count(0)
            assert violations(page) == []
