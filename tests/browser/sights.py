"""What one sees on the Credit Usage page, named as a person would."""

from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from playwright.sync_api import Locator, Page

from tallyboard.credits import shown


def figure(page: Page, index: int = 0) -> Locator:
    """One of the four key figures."""
    return page.locator(".kpi-value").nth(index)


def day(page: Page, on: date) -> Locator:
    """The button of a day in the chart."""
    return page.locator(f"#d-{on}")


def row(page: Page, user: str) -> Locator:
    """A user's row of the table."""
    return page.locator(f'[id="u-{quote(user, safe="")}"]')


def rows(page: Page) -> Locator:
    """All rows of the table."""
    return page.locator("#users tbody tr")


def credits_of(line: Locator) -> Locator:
    """The credits in a row."""
    return line.locator("td").nth(1)


def order(page: Page) -> list[str]:
    """The ids of the rows from the top."""
    return list(page.eval_on_selector_all("#users tbody tr", "rows => rows.map((row) => row.id)"))


def legend(page: Page, name: str) -> Locator:
    """An entry of the legend."""
    return page.locator(".legend li > *", has_text=name)


def colour(line: Locator) -> str:
    """The colour class of a row or a legend entry, such as `c3`."""
    return next(name for name in (line.get_attribute("class") or "").split() if name.startswith("c"))


def window(page: Page, days: int) -> Locator:
    """One choice of the time window."""
    return page.get_by_role("link", name=f"{days} days", exact=True)


def state(page: Page) -> dict[str, str]:
    """The query of the page's address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def written(amount: dict[str, Any]) -> str:
    """An amount of the API as the page writes it."""
    assert Decimal(amount["credits"]).quantize(Decimal("0.01")) == (Decimal(amount["units"]) / 600_000_000).quantize(Decimal("0.01"))
    return shown(amount["units"])


def spent_by(usage: dict[str, Any], user: str) -> dict[str, Any]:
    """A user's part of an answer of the API."""
    return dict(next(one for one in usage["users"] if one["user"] == user))


def background(element: Locator) -> str:
    """What is painted behind an element."""
    return str(element.evaluate("element => getComputedStyle(element).background"))


def token(page: Page, name: str) -> str:
    """A colour of the style sheet as the browser computes it."""
    script = """name => {
      const probe = document.body.appendChild(document.createElement("i"));
      probe.style.color = `var(${name})`;
      const colour = getComputedStyle(probe).color;
      probe.remove();
      return colour;
    }"""
    return str(page.evaluate(script, name))
