"""What one does on the Credit Policy page, and what its account's limits are before each test."""

from typing import Any
from urllib.parse import quote, urlencode

from playwright.sync_api import Locator, Page

from tests.browser.northwind import Northwind


def policy_address(northwind: Northwind, **state: object) -> str:
    """The page in a state, such as `policy_address(northwind, limit=10)`."""
    return f"{northwind.server.url}/policy" + (f"?{urlencode(state)}" if state else "")


def set_limit(northwind: Northwind, credits: str | None, timezone: str | None = None) -> None:
    """Put a default limit in force, as another administrator would."""
    body: dict[str, Any] = {"default_limit": None if credits is None else {"credits": credits}}
    body |= {"timezone": timezone} if timezone else {}
    answer = northwind.server.request("PUT", "/api/v1/policy", "admin", json=body, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text


def give(northwind: Northwind, user: str, credits: str | None, **more: object) -> None:
    """Give a user a limit of their own."""
    body = {"limit": None if credits is None else {"credits": credits}, **more}
    answer = northwind.server.request("PUT", f"/api/v1/policy/overrides/{quote(user, safe='')}", "admin", json=body)
    assert answer.status_code == 200, answer.text


def policy_of(northwind: Northwind) -> dict[str, Any]:
    """The policy in force."""
    return dict(northwind.server.request("GET", "/api/v1/policy", "read").json())


def limits_of(northwind: Northwind) -> dict[str, str | None]:
    """Users' own limits in credits."""
    found = northwind.server.request("GET", "/api/v1/policy/overrides", "read").json()["overrides"]
    return {one["user"]: one["limit"] and one["limit"]["credits"] for one in found}


def clear(northwind: Northwind) -> None:
    """No limits at all, and the account's own zone."""
    set_limit(northwind, None, northwind.zone.key)
    for user in limits_of(northwind):
        northwind.server.request("DELETE", f"/api/v1/policy/overrides/{quote(user, safe='')}", "admin")


def type_limit(page: Page, text: str) -> None:
    """Choose Custom and type a number."""
    page.get_by_role("radio", name="Custom").check()
    page.get_by_role("textbox", name="Custom daily limit").fill(text)


def save(page: Page) -> Locator:
    """The button that saves the policy."""
    return page.locator("#policy-form").get_by_role("button", name="Save")


def own_row(page: Page, user: str) -> Locator:
    """A user's line among the limits of single users."""
    return page.locator(f'[id="o-{quote(user, safe="")}"]')


def question(page: Page) -> Locator:
    """The question in front of the page."""
    return page.locator("dialog[open]")
