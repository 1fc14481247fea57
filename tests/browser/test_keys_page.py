"""API keys: made, copied, rotated and revoked by whoever administers; the secret is seen once."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.test_accessibility import DARK, PHONE, violations
from tests.conftest import Server, serving, tallyboard

pytestmark = pytest.mark.browser

HOSTILE = '"><img src=x onerror=window.struck=1>'
SECRET = re.compile(r"tb_[\w-]{43}")


@pytest.fixture(scope="module")
def office(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Any]]]:
    """A server with an administrator's session that the tests of this module share."""
    with serving(tmp_path_factory.mktemp("keys") / "data") as server:
        yield server, sign_in(browser, server)


@pytest.fixture
def visit_keys(office: tuple[Server, list[Any]], open_page: Open) -> Open:
    server, cookies = office
    return lambda query="", **look: open_page(f"{server.url}/keys{query}", cookies, **look)


def make(server: Server, name: str, *options: object, scopes: str = "read") -> str:
    """A key made by the command line; its id."""
    made = tallyboard("key", "create", "--name", name, "--scopes", scopes, "--json", *options, data=server.folder)
    return str(json.loads(made.stdout)["id"])


def line(page: Page, name: str) -> Any:
    return page.get_by_role("row").filter(has_text=name)


def opens(server: Server, secret: str, path: str = "/api/v1/usage") -> int:
    return httpx.get(server.url + path, headers={"Authorization": f"Bearer {secret}"}).status_code


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_key_is_made_seen_once_and_works(office: tuple[Server, list[Any]], visit_keys: Open, script: bool) -> None:
    server, _ = office
    name = f"chat backend {script}"
    make(server, "before")
    page = visit_keys(java_script_enabled=script)
    page.get_by_role("link", name="Create key").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("Send usage").check()
    page.get_by_label("Read usage").check()
    page.get_by_label("Expires").select_option(label="In 90 days")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("heading", name="Copy this key now. You will not see it again.")).to_be_visible()
    secret = page.get_by_label("The new key").input_value()
    assert SECRET.fullmatch(secret)
    assert secret not in page.url
    assert opens(server, secret) == 200
    assert opens(server, secret, "/api/v1/holds") == 200
    expect(line(page, name)).to_contain_text("Send usage, read usage")
    expect(line(page, name)).to_contain_text("by admin@localhost")
    page.get_by_role("link", name="I have copied it").click()
    expect(page).to_have_url(f"{server.url}/keys")
    assert secret not in page.content()
    assert secret not in server.log


def test_the_secret_is_copied_by_a_button(visit_keys: Open) -> None:
    page = visit_keys("?new=1", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_label("Name").fill("to be copied")
    page.get_by_label("Ask for limits").check()
    page.get_by_role("button", name="Create key").click()
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    expect(page.locator("#copied")).to_have_text("It is in the clipboard.")
    assert page.evaluate("navigator.clipboard.readText()") == page.get_by_label("The new key").input_value()


def test_where_copying_is_not_allowed_the_secret_is_selected(visit_keys: Open) -> None:
    page = visit_keys("?new=1")
    page.get_by_label("Name").fill("to be selected")
    page.get_by_label("Ask for limits").check()
    page.get_by_role("button", name="Create key").click()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')) }")
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copied")).to_have_text("It is selected; copy it with the keyboard.")
    assert page.evaluate("document.getSelection().toString()") == page.get_by_label("The new key").input_value()


def test_a_key_bound_to_a_user_speaks_for_that_user_alone(office: tuple[Server, list[Any]], visit_keys: Open) -> None:
    server, _ = office
    page = visit_keys("?new=1")
    page.get_by_label("Name").fill("a laptop")
    page.get_by_label("Ask for limits").check()
    page.get_by_label("Bind to a user").fill("alice")
    page.get_by_role("button", name="Create key").click()
    secret = page.get_by_label("The new key").input_value()
    answer = httpx.post(f"{server.url}/api/v1/check", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json()["allowance"]["user"] == "alice"
    expect(line(page, "a laptop")).to_contain_text("alicebound to this user")


def test_a_form_that_cannot_be_taken_comes_back_as_it_was_typed(
    office: tuple[Server, list[Any]], visit_keys: Open, complaints: Complaints
) -> None:
    complaints.expect("400")
    server, _ = office
    before = tallyboard("key", "list", data=server.folder).stdout
    page = visit_keys("?new=1")
    page.get_by_label("Bind to a user").fill("alice")
    page.get_by_label("Expires").select_option(label="In 30 days")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("Say what the key is for.")).to_be_visible()
    expect(page.get_by_text("Choose at least one thing it may do.")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    expect(page.get_by_label("Name")).to_have_accessible_description("Say what the key is for.")
    expect(page.get_by_label("Bind to a user")).to_have_value("alice")
    expect(page.get_by_label("Expires")).to_have_value("30")
    assert violations(page) == []
    assert tallyboard("key", "list", data=server.folder).stdout == before


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_a_key_is_revoked_after_a_question(office: tuple[Server, list[Any]], visit_keys: Open, script: bool) -> None:
    server, _ = office
    name = f"to be revoked {script}"
    secret = server.keys.make("read")
    key_id = json.loads(tallyboard("key", "list", "--json", data=server.folder).stdout)[0]["id"]
    make(server, name)
    page = visit_keys(java_script_enabled=script)
    page.get_by_role("link", name=f"Revoke {name}").click()
    expect(page.get_by_role("dialog")).to_contain_text("This cannot be taken back.")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page).to_have_url(f"{server.url}/keys")
    assert opens(server, secret) == 200
    page.goto(f"{server.url}/keys?revoke={key_id}")
    page.get_by_role("button", name="Revoke key").click()
    expect(page.get_by_role("status").filter(has_text="revoked")).to_be_visible()
    assert opens(server, secret) == 401
    expect(page.locator(f"#k-{key_id} .state")).to_have_text("Revoked")
    expect(page.locator(f"#k-{key_id} a")).to_have_count(0)


def test_a_key_is_rotated_and_both_work_for_the_chosen_time(office: tuple[Server, list[Any]], visit_keys: Open) -> None:
    server, _ = office
    old = server.keys.make("read", "--expires", 300)
    key_id = json.loads(tallyboard("key", "list", "--json", data=server.folder).stdout)[0]["id"]
    page = visit_keys(f"?rotate={key_id}")
    page.get_by_label("The old key works on for").select_option(label="7 days")
    page.get_by_role("button", name="Rotate key").click()
    new = page.get_by_label("The new key").input_value()
    expect(page.locator(".once")).to_contain_text("the one it replaces works until")
    assert (opens(server, old), opens(server, new)) == (200, 200)


def test_by_keyboard_alone(office: tuple[Server, list[Any]], visit_keys: Open) -> None:
    server, _ = office
    make(server, "there already")
    page = visit_keys()
    page.get_by_role("link", name="Create key").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page).to_have_url(f"{server.url}/keys")
    page.goto(f"{server.url}/keys?new=1")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("typed")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Copy this key now.")).to_be_visible()
    expect(line(page, "typed")).to_contain_text("Send usage")


def test_an_account_without_keys_says_what_they_are_for(browser: Browser, server: Server, open_page: Open) -> None:
    page = open_page(f"{server.url}/keys", sign_in(browser, server))
    expect(page.get_by_role("heading", name="No API keys yet.")).to_be_visible()
    expect(page.locator("table")).to_have_count(0)
    assert violations(page) == []
    page.get_by_role("link", name="Create key").click()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize("look", [{}, DARK, PHONE, {**PHONE, **DARK}], ids=["light", "dark", "phone", "phone-dark"])
@pytest.mark.parametrize("state", ["", "?new=1", "?revoke={id}", "?rotate={id}"])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(
    office: tuple[Server, list[Any]], visit_keys: Open, look: dict[str, Any], state: str
) -> None:
    server, _ = office
    key_id = make(server, "a long name of a key, with_words_that_are_themselves_rather_long_too", scopes="ingest,check,read")
    page = visit_keys(state.format(id=key_id), reduced_motion="reduce", **look)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_what_keys_are_called_is_text_and_never_code(office: tuple[Server, list[Any]], visit_keys: Open) -> None:
    server, _ = office
    key_id = make(server, HOSTILE, "--user", HOSTILE)
    for query in ("", f"?revoke={key_id}", f"?rotate={key_id}"):
        page = visit_keys(query)
        expect(page.locator(f"#k-{key_id} th bdi").first).to_have_text(HOSTILE)
        assert page.evaluate("window.struck") is None


def test_many_keys_are_turned_over_page_by_page(browser: Browser, tmp_path: Path, open_page: Open) -> None:
    with serving(tmp_path / "data") as server:
        for number in range(51):
            make(server, f"key {number}")
        page = open_page(f"{server.url}/keys", sign_in(browser, server), java_script_enabled=False)
        expect(page.locator("tbody tr")).to_have_count(50)
        page.get_by_role("link", name="Next").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        page.get_by_role("link", name="Previous").click()
        expect(page.locator("tbody tr")).to_have_count(50)


@pytest.mark.parametrize("path", ["/keys", "/keys/{id}/revoke", "/keys/{id}/rotate"])
def test_a_forged_form_changes_nothing(office: tuple[Server, list[Any]], path: str) -> None:
    server, cookies = office
    key_id = make(server, "wanted")
    before = tallyboard("key", "list", data=server.folder).stdout
    jar = {cookie["name"]: cookie["value"] for cookie in cookies}
    form = {"name": "forged", "scope-admin": "on", "expires": "", "overlap": "0"}
    for token in ("", "0" * 64):
        answer = httpx.post(server.url + path.format(id=key_id), data={**form, "_csrf_token": token}, cookies=jar)
        assert answer.status_code == 403
        assert not SECRET.search(answer.text)
    answer = httpx.post(server.url + path.format(id=key_id), data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert tallyboard("key", "list", data=server.folder).stdout == before
