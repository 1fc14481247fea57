"""The Credit Policy page: default limit and zone, with a preview before and a guard around what is not saved."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from tests.browser.conftest import Complaints, Open, sign_in
from tests.browser.northwind import ALICE, Northwind
from tests.browser.policies import clear, give, policy_address, policy_of, question, save, set_limit, type_limit
from tests.browser.sights import state

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def unlimited(northwind: Northwind) -> Iterator[None]:
    clear(northwind)
    yield
    clear(northwind)


@pytest.fixture
def look(open_page: Open, northwind: Northwind) -> Open:
    def looked(options: dict[str, Any] | None = None, /, **asked: object) -> Page:
        return open_page(policy_address(northwind, **asked), northwind.cookies, **(options or {}))

    return looked


def previewed(northwind: Northwind, credits: str) -> dict[str, Any]:
    body = {"default_limit": {"credits": credits}}
    return dict(northwind.server.request("POST", "/api/v1/policy/preview", "read", json=body).json())


def test_typing_a_limit_shows_what_it_would_have_done_and_saving_puts_it_in_force(look: Open, northwind: Northwind) -> None:
    page = look()
    expect(page.get_by_role("radio", name="Unlimited")).to_be_checked()
    expect(page.locator(".save-bar")).to_be_hidden()
    type_limit(page, "100")
    found = previewed(northwind, "100")
    assert found["users"] > 1
    expect(page.locator(".preview-sentence")).to_have_text(
        f"With 100 a day, {found['users']} users would have been paused on {found['user_days']} user-days in the last 30 days."
    )
    expect(page.locator("#preview")).to_contain_text("Without a limit, as saved now: nobody.")
    expect(page.locator(".preview-bars b[class]:not([class=''])")).to_have_count(sum(line["users"] > 0 for line in found["days"]))
    assert state(page)["limit"] == "100"
    save(page).click()
    expect(page.get_by_role("status").filter(has_text="Credit policy saved.")).to_be_visible()
    assert policy_of(northwind)["default_limit"]["credits"] == "100.000000"
    expect(page.locator(".save-bar")).to_be_hidden()
    expect(page.locator(".changes li").first).to_contain_text("Default limit: Unlimited")
    expect(page.locator(".changes li").first).to_contain_text("100")


def test_everybody_who_would_be_paused_can_be_seen(look: Open, northwind: Northwind) -> None:
    page = look(limit="0.5")
    found = previewed(northwind, "0.5")
    assert found["users"] > 200
    expect(page.locator(".paused").first.locator("li")).to_have_count(10)
    page.get_by_text(f"and {found['users'] - 10} more").click()
    expect(page.locator("#preview-rest li")).to_have_count(190)
    page.get_by_role("link", name="The next of").click()
    expect(page.locator("#preview")).to_contain_text("After the first 200.")
    assert page.locator(".paused li").count() == found["users"] - 200


def test_the_preview_follows_the_radio_buttons(look: Open, northwind: Northwind) -> None:
    set_limit(northwind, "100")
    page = look()
    page.get_by_role("radio", name="Unlimited").check()
    expect(page.locator(".preview-sentence")).to_contain_text("Without a default limit, nobody")
    expect(page.locator(".suffixed")).to_be_hidden()
    expect(page.get_by_text("Unsaved changes")).to_be_visible()


def test_discard_goes_back_to_what_is_saved_without_asking(look: Open, northwind: Northwind) -> None:
    set_limit(northwind, "100")
    page = look()
    type_limit(page, "7")
    page.get_by_role("link", name="Discard").click()
    expect(page.locator("#limit")).to_have_value("100")
    expect(page.locator(".save-bar")).to_be_hidden()


def test_leaving_with_something_unsaved_asks_first(look: Open) -> None:
    page = look()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    type_limit(page, "7")
    page.get_by_role("link", name="Credit Usage").click(no_wait_after=True)
    expect(page.locator("#limit")).to_have_value("7")
    page.wait_for_function("true")
    assert asked == ["beforeunload"]
    assert page.url.split("?")[0].endswith("/policy")


def test_leaving_with_nothing_unsaved_does_not_ask(look: Open) -> None:
    page = look()
    page.get_by_role("link", name="Credit Usage").click()
    expect(page.get_by_role("heading", name="Credit Usage")).to_be_visible()


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("ten", "“ten” is not a number of credits."),
        ("-1", "below nothing"),
        ("0.123456789", "more than eight decimals"),
        ("99999999999", "not a number of credits below 15 billion"),
        ("", "Type a number of credits, or choose Unlimited."),
    ],
)
def test_what_is_no_limit_is_said_beside_the_field_and_kept(
    look: Open, northwind: Northwind, complaints: Complaints, typed: str, problem: str
) -> None:
    complaints.expect("400")
    page = look()
    type_limit(page, typed)
    save(page).click()
    expect(page.locator("#limit-problem")).to_contain_text(problem)
    expect(page.locator("#limit")).to_have_value(typed)
    expect(page.locator("#limit")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#limit")).to_be_focused()
    assert policy_of(northwind)["default_limit"] is None


def test_nought_asks_whether_everybody_is_meant(look: Open, northwind: Northwind) -> None:
    page = look()
    type_limit(page, "0")
    save(page).click()
    expect(question(page)).to_contain_text("Pause everybody?")
    page.keyboard.press("Escape")
    expect(question(page)).to_have_count(0)
    expect(page.locator("#limit")).to_have_value("0")
    assert policy_of(northwind)["default_limit"] is None
    save(page).click()
    question(page).get_by_role("button", name="Pause everybody").click()
    expect(page.get_by_text("Credit policy saved.")).to_be_visible()
    assert policy_of(northwind)["default_limit"]["units"] == 0


def test_of_two_who_save_at_once_the_second_sees_both(
    browser: Browser, open_page: Open, look: Open, northwind: Northwind, complaints: Complaints
) -> None:
    complaints.expect("412")
    first, second = look(), open_page(policy_address(northwind), sign_in(browser, northwind.server))
    type_limit(first, "50")
    type_limit(second, "60")
    save(first).click()
    expect(first.get_by_text("Credit policy saved.")).to_be_visible()
    save(second).click()
    expect(second.get_by_role("alert").filter(has_text="saved meanwhile: 50 a day")).to_be_visible()
    expect(second.locator("#limit")).to_have_value("60")
    assert policy_of(northwind)["default_limit"]["credits"] == "50.000000"
    save(second).click()
    expect(second.get_by_text("Credit policy saved.")).to_be_visible()
    assert policy_of(northwind)["default_limit"]["credits"] == "60.000000"


def test_another_zone_is_explained_before_and_moves_the_days_of_the_usage_page(look: Open, northwind: Northwind) -> None:
    other = "Pacific/Kiritimati" if northwind.zone.key != "Pacific/Auckland" else "America/Los_Angeles"
    page = look()
    page.get_by_role("combobox", name="Account timezone").fill(other.lower().replace("_", " "))
    expect(page.locator("#zone-facts")).to_contain_text("Saving regroups all history into the days of")
    expect(page.locator("#zone-facts")).to_contain_text(re.compile(r"next on \w{3}, \d+ \w{3} \d{4} \d\d:00, in "))
    save(page).click()
    expect(page.get_by_text("Credit policy saved.")).to_be_visible()
    page.get_by_role("link", name="Credit Usage").click()
    expect(page.locator(".status")).to_contain_text(f"Days end at midnight, {other.replace('_', ' ')}")
    usage = northwind.server.usage()
    assert usage["account"]["timezone"] == other
    expect(page.locator(f"#d-{usage['days'][0]['day']}")).to_be_visible()


def test_a_zone_that_does_not_exist_is_said_beside_the_field(look: Open, northwind: Northwind, complaints: Complaints) -> None:
    complaints.expect("400")
    page = look()
    page.locator("#timezone").fill("Mars/Olympus")
    expect(page.locator("#zone-problem")).to_have_text("There is no timezone “Mars/Olympus”. Choose one from the list.")
    save(page).click()
    expect(page.locator("#timezone")).to_have_value("Mars/Olympus")
    assert policy_of(northwind)["timezone"] == northwind.zone.key


def test_the_whole_page_works_with_the_keyboard_alone(look: Open, northwind: Northwind) -> None:
    page = look()
    page.get_by_role("radio", name="Unlimited").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    expect(page.locator("#limit")).to_be_focused()
    page.keyboard.type("80")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Credit policy saved.")).to_be_visible()
    assert policy_of(northwind)["default_limit"]["credits"] == "80.000000"
    page.get_by_role("link", name="Add", exact=True).focus()
    page.keyboard.press("Enter")
    expect(question(page).get_by_role("combobox", name="User")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question(page)).to_have_count(0)


def test_without_script_a_limit_is_previewed_confirmed_and_saved(look: Open, northwind: Northwind) -> None:
    page = look({"java_script_enabled": False})
    type_limit(page, "100")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".preview-sentence")).to_contain_text("With 100 a day, ")
    assert state(page)["limit"] == "100"
    assert "_csrf_token" not in state(page)
    page.locator("#limit").fill("0")
    save(page).click()
    page.get_by_role("button", name="Pause everybody").click()
    expect(page.get_by_text("Credit policy saved.")).to_be_visible()
    assert policy_of(northwind)["default_limit"]["units"] == 0


def test_a_form_that_some_other_page_sent_is_refused(northwind: Northwind) -> None:
    cookies = {cookie["name"]: cookie["value"] for cookie in northwind.cookies}
    for path in ("", "/limit", "/limits", "/limit/remove", "/release"):
        answer = httpx.post(f"{northwind.server.url}/policy{path}", data={"limit": "1", "user": ALICE}, cookies=cookies)
        assert answer.status_code == 403, path
        assert httpx.post(f"{northwind.server.url}/policy{path}", data={"limit": "1"}).headers["location"] == "/sign-in"


@pytest.mark.parametrize("width", [390, 320])
def test_nothing_scrolls_sideways_on_a_phone(look: Open, northwind: Northwind, width: int) -> None:
    give(northwind, "crowd-100", "12.5", reason="a reason without any place to break " + "x" * 60)
    page = look({"viewport": {"width": width, "height": 844}, "has_touch": True, "is_mobile": True}, limit="1")
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.goto(policy_address(northwind, bulk=1))
