"""The Intake page in a browser: read, copied from, and a rate set; by mouse, by keyboard, without JavaScript, on a phone."""

from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.test_accessibility import violations
from tests.browser.test_account import LOOKS, NAMES, OVERFLOW
from tests.conftest import Server, event, wait_until

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("look", LOOKS, ids=NAMES)
def test_what_came_in_is_told_and_a_model_gets_a_rate(
    browser: Browser, server: Server, open_page: Open, complaints: Complaints, look: dict[str, Any]
) -> None:
    complaints.expect("400")
    scripted = look.get("java_script_enabled", True)
    cookies = sign_in(browser, server)
    empty = open_page(f"{server.url}/intake", cookies, **look)
    expect(empty.get_by_role("heading", name="Nothing has come in during the last 7 days.")).to_be_visible()
    assert empty.evaluate(OVERFLOW) <= 0
    server.send(event("1", time=None), event("2", time=None, model="gpt-5-mini", output_tokens=3), event("3", None, time=None))
    server.request("POST", "/api/v1/events", "ingest", json=[event("4", conversations="many")])
    wait_until(lambda: "bad_quantity" in server.client.get(f"{server.url}/intake", headers=_cookie(cookies)).text, "the refusal is noted")
    page = open_page(f"{server.url}/intake", cookies, **look)
    for title in ("Sources", "Refused", "Unrated", "Connect"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_role("table", name="Sources of events")).to_contain_text("/tests")
    page.locator("summary").filter(has_text="Codex").click()
    expect(page.get_by_label("Settings for Codex", exact=True)).to_have_value(f"{server.url}/v1/logs".join(_codex()))
    if scripted:
        assert violations(page) == []
    assert page.evaluate(OVERFLOW) <= 0
    link = page.get_by_role("link", name="Set a rate for gpt-5-mini")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page.get_by_label("Field of the event’s data")).to_have_value("output_tokens")
    if scripted:
        assert violations(page) == []
    page.get_by_label("One credit buys").fill("nothing")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    expect(page.get_by_label("One credit buys")).to_have_value("nothing")
    page.get_by_label("One credit buys").fill("1,000,000")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("The rate counts for what comes from now on.")
    page.get_by_role("link", name="Change what counts for All users").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    if scripted:
        assert violations(page) == []
    page.get_by_label("Counts", exact=True).select_option("Only /tests")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="All users")).to_contain_text("Only /tests; what others tell is set aside")
    assert page.evaluate(OVERFLOW) <= 0


def _codex() -> tuple[str, str]:
    return (
        '[otel]\nexporter = { otlp-http = { endpoint = "',
        '", protocol = "binary", headers = { Authorization = "Bearer tb_your_key" } } }',
    )


def _cookie(cookies: list[Any]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{each['name']}={each['value']}" for each in cookies)}
