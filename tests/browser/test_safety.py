"""The policy of the page is strict, and nothing that users are called can run."""

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.northwind import ARABIC, AWKWARD, FOX, HOSTILE, HOSTILE_EMAIL, HOSTILE_NAME, Northwind
from tests.browser.sights import colour, legend, row

pytestmark = pytest.mark.browser

PAGES = [
    "/usage",
    "/usage?window=7&user=alice",
    f"/usage?q=%3Cscript%3E&user={HOSTILE}",
    "/policy",
    "/policy?limit=1&add=1",
    "/policy?limit=%3Cscript%3E&edit=%22%3E%3Cscript%3E",
    "/usage/nothing",
    "/sign-in",
    "/sign-in?token=x",
]


@pytest.mark.parametrize("path", PAGES)
def test_the_policy_allows_own_files_only(northwind: Northwind, path: str) -> None:
    answer = _get(northwind, path)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PAGES)
def test_the_page_has_no_style_and_no_code_of_its_own(northwind: Northwind, path: str) -> None:
    page = _get(northwind, path).text
    tags = re.findall(r"<[a-zA-Z][^>]*>", re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace(">", ""), page))
    assert len(tags) > 10
    assert not [tag for tag in tags if re.search(r"\s(style|on\w+)\s*=", re.sub(r'"[^"]*"', '""', tag))]
    assert not [tag for tag in tags if tag.startswith(("<style", "<base", "<iframe"))]
    assert all(" src=" in tag for tag in tags if tag.startswith("<script"))
    assert "javascript:" not in page


def test_answers_of_the_api_and_files_carry_the_policy_too(northwind: Northwind) -> None:
    files = re.findall(r'"(/assets/[^"]+)"', _get(northwind, "/usage").text)
    assert len(files) >= 4
    for path in [*files, "/api/v1/usage", "/healthz", "/nothing", "/usage.csv"]:
        assert "default-src 'none'" in _get(northwind, path).headers["content-security-policy"]


@pytest.mark.parametrize("state", [{}, {"user": HOSTILE}, {"q": HOSTILE}, {"q": '"><script>window.struck=1</script>'}], ids=str)
def test_what_users_are_called_is_text_and_never_code(visit: Open, northwind: Northwind, state: dict[str, str]) -> None:
    page = visit(**state)
    struck = page.locator(f"#d-{northwind.weekday} .bar i").nth(0)
    struck.hover()
    expect(page.locator("#tip")).to_be_visible()
    if "q" not in state or state["q"] == HOSTILE:
        expect(row(page, HOSTILE).locator("bdi")).to_have_text(HOSTILE_NAME)
        expect(row(page, HOSTILE).locator("small")).to_have_text(HOSTILE_EMAIL)
        row(page, HOSTILE).locator("a").focus()
    page.locator("#search").fill(HOSTILE_NAME)
    expect(page.locator(".users-count")).to_contain_text("1 of ")
    assert page.evaluate("window.struck") is None
    expect(page.locator("body script, body img, svg[onload]")).to_have_count(0)


@pytest.mark.parametrize("user", [HOSTILE, ARABIC, FOX, AWKWARD])
def test_the_row_of_any_key_survives_a_morph_as_the_same_row(visit: Open, user: str) -> None:
    page = visit()
    swatch = colour(row(page, user))
    row(page, user).evaluate("row => { row.kept = true }")
    page.get_by_role("link", name="14 days").click()
    expect(page.locator(".day")).to_have_count(14)
    assert row(page, user).evaluate("row => row.kept"), "the row was replaced"
    assert colour(row(page, user)) == swatch


def test_a_name_from_right_to_left_does_not_turn_the_row_around(visit: Open) -> None:
    page = visit()
    expect(row(page, ARABIC).locator("bdi")).to_have_text("ليلى حداد")
    swatch, name = row(page, ARABIC).locator("a i").bounding_box(), row(page, ARABIC).locator("bdi").bounding_box()
    assert swatch
    assert name
    assert swatch["x"] < name["x"]
    expect(legend(page, "ليلى حداد").locator("bdi")).to_have_css("direction", "rtl")


def _get(northwind: Northwind, path: str) -> httpx.Response:
    """The answer to the administrator; to a stranger where the page is for strangers."""
    cookies = [] if path.startswith("/sign-in") else northwind.cookies
    return httpx.get(northwind.server.url + path, cookies={cookie["name"]: cookie["value"] for cookie in cookies})
