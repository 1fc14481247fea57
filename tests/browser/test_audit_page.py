"""The audit log as administrators read, filter, export and check it."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli.options import ACCOUNT_ID
from tallyboard.ledger import audit
from tests import engines
from tests.browser.conftest import Open, sign_in
from tests.browser.test_accessibility import DARK, PHONE, violations
from tests.conftest import Server, event, serving, tallyboard

pytestmark = pytest.mark.browser

HOSTILE = '=HYPERLINK("x")<img src=x onerror=window.struck=1>'
MANY = 120


@pytest.fixture(scope="module")
def office(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Any]]]:
    """A server with a log of all kinds of lines, and an administrator's session."""
    with serving(tmp_path_factory.mktemp("audit") / "data") as server:
        tallyboard("account", "set", "--name", "Northwind", "--timezone", "Asia/Tokyo", data=server.folder)
        tallyboard("policy", "set", "--limit", "0.5", data=server.folder)
        tallyboard("user", "override", HOSTILE, "--limit", "5", "--reason", HOSTILE, data=server.folder)
        server.send(event("wrong", conversations=-1, reason="counted twice"), scopes="ingest,adjust")
        with App(engines.settings_of(server.folder)) as app, app.ledger.writing() as session:
            for number in range(MANY):
                audit.note(session, ACCOUNT_ID, "mallory@example.com", "rates.set", {"card": number}, clock.now_us())
        yield server, sign_in(browser, server)


@pytest.fixture
def visit_log(office: tuple[Server, list[Any]], open_page: Open) -> Open:
    server, cookies = office
    return lambda query="", **look: open_page(f"{server.url}/audit{query}", cookies, **look)


def exported(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in tallyboard("audit", "export", data=server.folder).stdout.splitlines()]


def numbers(page: Page) -> list[int]:
    return [int(text.replace(",", "")) for text in page.locator("tbody td:last-child").all_text_contents()]


def get(office: tuple[Server, list[Any]], path: str) -> httpx.Response:
    server, cookies = office
    return httpx.get(server.url + path, cookies={cookie["name"]: cookie["value"] for cookie in cookies})


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_every_line_is_read_page_after_page(office: tuple[Server, list[Any]], visit_log: Open, script: bool) -> None:
    page = visit_log(java_script_enabled=script)
    found = numbers(page)
    while page.get_by_role("link", name="Older").count():
        page.get_by_role("link", name="Older").click()
        expect(page.locator(f"#l-{found[-1]}")).to_have_count(0)
        found += numbers(page)
    assert sorted(found, reverse=True) == found == [line["number"] for line in reversed(exported(office[0]))]
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(f"#l-{found[0]}")).to_be_visible()


def test_lines_are_sentences(visit_log: Open) -> None:
    page = visit_log("?who=command+line")
    table = page.get_by_role("table", name="Lines of the audit log, newest first")
    expect(table).to_contain_text("Set the default limit to 0.5 credits a day, before unlimited")
    expect(table).to_contain_text("Renamed the account from “My organization” to “Northwind”")
    expect(visit_log("?action=usage.corrected").locator("tbody tr")).to_contain_text("API key test")


@pytest.mark.parametrize("script", [True, False], ids=["with script", "without script"])
def test_lines_are_filtered_by_what_who_and_when(office: tuple[Server, list[Any]], visit_log: Open, script: bool) -> None:
    page = visit_log(java_script_enabled=script)
    page.get_by_label("What").select_option(label="Rate card set")
    page.get_by_label("Who").fill("setup")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("Set rate card 1")
    page.get_by_label("Who").fill("mallory@example.com")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(50)
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_label("Who")).to_have_value("mallory@example.com")
    assert {line["actor"] for line in exported(office[0]) if line["number"] in numbers(page)} == {"mallory@example.com"}
    page.get_by_label("To").fill("2001-01-01")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No line of the log is like that.")).to_be_visible()
    page.get_by_role("link", name="Clear").click()
    expect(page.locator("tbody tr")).to_have_count(50)


@pytest.mark.parametrize("query", ["?action=nothing&from=2026-02-30&before=x", "?before=-1", "?to=99999-01-01", "?who=%00"])
def test_an_address_that_makes_no_sense_is_forgiven(office: tuple[Server, list[Any]], query: str) -> None:
    answer = get(office, f"/audit{query}")
    assert answer.status_code == 200


def test_the_chain_is_followed_when_it_is_asked_for(office: tuple[Server, list[Any]], visit_log: Open) -> None:
    page = visit_log()
    expect(page.locator(".verdict")).to_have_count(0)
    page.get_by_role("button", name="Check the whole log").click()
    lines = exported(office[0])
    expect(page.get_by_role("status")).to_contain_text(f"{len(lines):,} lines, each follows from the one before.")
    expect(page.locator(".digest")).to_have_text(lines[-1]["digest"])
    assert violations(page) == []


def test_a_broken_log_is_said_to_be_broken(browser: Browser, server: Server, open_page: Open) -> None:
    cookies = sign_in(browser, server)
    engines.look(server.folder, "UPDATE audit SET actor = 'nobody' WHERE account_id = 1 AND audit_id = 2")
    page = open_page(f"{server.url}/audit", cookies, java_script_enabled=False)
    page.get_by_role("button", name="Check the whole log").click()
    expect(page.get_by_role("alert")).to_contain_text("The log is broken at line 2")


def test_a_forged_form_starts_no_check(office: tuple[Server, list[Any]]) -> None:
    server, cookies = office
    jar = {cookie["name"]: cookie["value"] for cookie in cookies}
    answer = httpx.post(f"{server.url}/audit/check", data={"_csrf_token": "0" * 64}, cookies=jar)
    assert answer.status_code == 403


def test_the_export_for_programs_is_that_of_the_command(office: tuple[Server, list[Any]]) -> None:
    answer = get(office, "/audit.ndjson")
    assert [json.loads(line) for line in answer.text.splitlines()] == exported(office[0])[::-1]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-disposition"].endswith('.ndjson"')
    one = get(office, "/audit.ndjson?action=rates.set&who=setup").text.splitlines()
    assert [json.loads(line)["detail"] for line in one] == [{"card": 1}]


def test_the_export_for_spreadsheets_holds_no_formula(office: tuple[Server, list[Any]]) -> None:
    answer = get(office, "/audit.csv")
    head, *lines = csv.reader(io.StringIO(answer.text))
    assert head == ["number", "at", "actor", "action", "sentence", "detail", "digest"]
    assert len(lines) == len(exported(office[0]))
    with App(engines.settings_of(office[0].folder)) as app, app.ledger.writing() as session:
        audit.note(session, ACCOUNT_ID, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, clock.now_us())
    _, newest, *_ = csv.reader(io.StringIO(get(office, "/audit.csv").text))
    assert newest[2] == newest[3] == f"'{HOSTILE}"
    assert not [cell for cell in newest if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_what_people_typed_is_text_and_never_code(visit_log: Open) -> None:
    page = visit_log("?action=override.set")
    expect(page.locator("tbody tr")).to_contain_text(f"Set the limit of {HOSTILE} to 5 credits a day")
    assert page.evaluate("window.struck") is None
    expect(page.locator("tbody img")).to_have_count(0)


def test_by_keyboard_alone(visit_log: Open) -> None:
    page = visit_log()
    page.get_by_label("Who").focus()
    page.keyboard.type("setup")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_role("link", name="Clear").focus()
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(50)


@pytest.mark.parametrize("look", [{}, DARK, PHONE, {**PHONE, **DARK}], ids=["light", "dark", "phone", "phone-dark"])
@pytest.mark.parametrize("query", ["", "?action=override.set", "?who=nobody"], ids=["lines", "long", "none"])
def test_axe_finds_no_violation_and_nothing_is_wider_than_the_screen(visit_log: Open, look: dict[str, Any], query: str) -> None:
    page = visit_log(query, reduced_motion="reduce", **look)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize("path", ["/audit", "/audit.csv", "/audit.ndjson"])
def test_nobody_else_sees_it(office: tuple[Server, list[Any]], path: str) -> None:
    server, _ = office
    answer = httpx.get(server.url + path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    key = {"Authorization": f"Bearer {server.keys['read,admin']}"}
    assert httpx.get(server.url + path, headers=key).status_code == 303, "a key opens no page"
