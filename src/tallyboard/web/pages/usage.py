"""The Credit Usage page: from an `Overview` to what its template needs. Pure; every state of the page is made here."""

from collections.abc import Sequence
from datetime import date

from msgspec import Struct, structs

from tallyboard import days
from tallyboard.policy.reach import Reach
from tallyboard.usage.overview import Overview
from tallyboard.usage.report import short_identifier
from tallyboard.web.pages import figures, links
from tallyboard.web.pages.chart import chart
from tallyboard.web.pages.frame import address
from tallyboard.web.pages.kpis import kpis
from tallyboard.web.pages.names import primary
from tallyboard.web.pages.table import table

ALSO_SHOWN_MAX = 5


class WindowChoice(Struct, frozen=True):
    """One of the windows to choose from."""

    href: str
    label: str
    current: bool


class Chip(Struct, frozen=True):
    """A filter that is on and how to lift it; `escape` where it is the one the Esc key lifts first."""

    href: str
    label: str
    escape: bool


def context(overview: Overview, axis_floor_units: int = 0, reach: Reach | None = None) -> dict[str, object]:
    """What `usage.html` needs beside the layout's own keys. `reach` is None where nobody has a limit.

    `axis_floor_units` is the `axis` parameter a live refresh sends: the axis never shrinks while one looks.
    """
    overview = _settled(overview)
    view = overview.view
    limit = reach.limits.get(overview.person.usage.user) if reach and overview.person else None
    drawn = chart(overview, axis_floor_units, limit)
    return {
        "view": view,
        "empty": overview.report.user_count == 0,
        "zone": figures.zone_name(overview.report.timezone),
        "unrated": _unrated(overview),
        "complete_through": _complete_through(overview),
        "windows": tuple(_window(overview, length) for length in days.WINDOWS),
        "kpis": kpis(overview, reach),
        "chart": drawn,
        "table": table(overview, drawn.axis.top_units, reach),
        "person": primary(overview.person.usage) if overview.person else "",
        "also": also_known(overview.person.aliases, address("/users", q=overview.person.usage.user)) if overview.person else None,
        "day_chip": _day_chip(overview, view.day) if view.day else None,
        "user_chip": Chip(links.with_changes(view, user=None), "All users", view.day is None) if overview.person else None,
        "clear_search": links.with_changes(view, search=""),
        "export": links.address(view, links.USAGE_CSV),
        "day_fields": links.parameters(view, "day"),
        "search_fields": links.parameters(view, "q"),
    }


def also_known(keys: Sequence[str], href: str) -> dict[str, object] | None:
    """The other keys that mean a user: the first of them, how many more there are, and where they are listed, if anywhere."""
    if not keys:
        return None
    return {"known": [short_identifier(key) for key in keys[:ALSO_SHOWN_MAX]], "more": len(keys[ALSO_SHOWN_MAX:]), "href": href}


def _settled(overview: Overview) -> Overview:
    """The overview with a selected user only where there is one: a URL may name anybody."""
    if overview.person is not None or overview.view.user is None:
        return overview
    return structs.replace(overview, view=structs.replace(overview.view, user=None))


def _complete_through(overview: Overview) -> str:
    """When the figures are complete through, on the account's clock; nothing before the first event."""
    at_us = overview.report.complete_through_us
    return figures.clock(at_us, days.zone(overview.report.timezone), overview.today) if at_us > 0 else ""


def _unrated(overview: Overview) -> str:
    """Events that no meter of the rate card matched are never a silent zero."""
    if not overview.unrated:
        return ""
    return f"{figures.count(overview.unrated, 'event')} of this period matched no meter of the rate card and counted 0 credits."


def _window(overview: Overview, length: int) -> WindowChoice:
    return WindowChoice(links.with_window(overview, length), f"{length} days", overview.view.window == length)


def _day_chip(overview: Overview, day: date) -> Chip:
    return Chip(links.with_changes(overview.view, day=None), figures.full_date(day), True)
