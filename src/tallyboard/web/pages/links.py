"""Addresses of the Credit Usage page: its state is its URL, so every control is an address."""

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from msgspec import structs

from tallyboard import days
from tallyboard.usage.overview import Overview, View

USAGE = "/usage"
USAGE_CSV = "/usage.csv"
USER_CHARACTERS_MAX = 256


def read(window: str, day: str = "", user: str = "", search: str = "") -> View:
    """The state a URL asks for; what makes no sense is passed over."""
    try:
        focused = date.fromisoformat(day) if len(day) == len("2026-11-22") else None
    except ValueError:
        focused = None
    length = int(window) if window in {str(choice) for choice in days.WINDOWS} else days.WINDOWS[-1]
    return View(length, focused, user[:USER_CHARACTERS_MAX] or None, search.strip()[:USER_CHARACTERS_MAX])


def address(view: View, path: str = USAGE) -> str:
    """The URL of a view; what is unset is left out."""
    return f"{path}?{urlencode(parameters(view))}"


def with_changes(view: View, **changes: Any) -> str:
    """The URL of the view with some of its parts replaced."""
    return address(structs.replace(view, **changes))


def with_window(overview: Overview, window: int) -> str:
    """The URL of the same view over another window; a focused day outside of that window is given up."""
    view = overview.view
    first = overview.today - timedelta(days=window - 1)
    day = view.day if view.day is None or view.day >= first else None
    return with_changes(view, window=window, day=day)


def parameters(view: View, *without: str) -> list[tuple[str, str]]:
    """The query of a view as name and value, in order, without some names: also what a form carries hidden."""
    pairs = [
        ("window", str(view.window)),
        ("day", view.day.isoformat() if view.day else ""),
        ("user", view.user or ""),
        ("q", view.search),
    ]
    return [(name, value) for name, value in pairs if value and name not in without]
