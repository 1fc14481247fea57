"""Cursor's usage events of a team: `POST /teams/filtered-usage-events`. They have no id, so what counts are their sums by the hour.

Source: cursor.com/docs/account/teams/admin-api. At most 20 requests a minute; Cursor itself sums by the hour, so more than one pull an
hour tells nothing new.
"""

from base64 import b64encode
from collections.abc import Iterator
from decimal import Decimal

from msgspec import Struct

from tallyboard.intake.replacing import Line, Window, said
from tallyboard.intake.tokens import Tokens, fields
from tallyboard.pulls.asking import Asker, Place, decoder
from tallyboard.pulls.windows import HOUR_US, Names, Stretch, by_hour

BASE_URL = "https://api.cursor.com"
VARIABLE = "CURSOR_API_KEY"
SOURCE = "cursor-report"
REQUESTS_A_MINUTE = 20
EVENTS_A_PAGE = 500
EVENTS_A_DAY_MAX = 200_000
READ_AGAIN = 3
"""How often a day is begun anew because events came while its pages were read."""
_CENTS_MAX = 10**12
_COST_PLACES = Decimal("0.000000001")


class _Tokens(Struct):
    inputTokens: int = 0  # noqa: N815  Cursor's names.
    outputTokens: int = 0  # noqa: N815
    cacheWriteTokens: int = 0  # noqa: N815
    cacheReadTokens: int = 0  # noqa: N815
    totalCents: Decimal | int = 0  # noqa: N815


class _Event(Struct):
    timestamp: str | int
    userEmail: str | None = None  # noqa: N815
    model: str | None = None
    kind: str | None = None
    tokenUsage: _Tokens | None = None  # noqa: N815


class _Pages(Struct, frozen=True):
    hasNextPage: bool = False  # noqa: N815


class _Page(Struct):
    usageEvents: list[_Event]  # noqa: N815
    pagination: _Pages = _Pages()
    totalUsageEventsCount: int = 0  # noqa: N815


_page = decoder(_Page)


def place(key: str, base_url: str | None) -> Place:
    """Cursor, or what stands in front of it."""
    basic = b64encode(f"{key}:".encode()).decode()
    return Place("Cursor", base_url or BASE_URL, VARIABLE, {"Authorization": f"Basic {basic}"}, REQUESTS_A_MINUTE)


def reports(asker: Asker, stretch: Stretch, names: Names) -> Iterator[tuple[str, Iterator[Window]]]:
    """The windows of the one report there is."""
    yield "team", _windows(asker, stretch, names)


def _windows(asker: Asker, stretch: Stretch, names: Names) -> Iterator[Window]:
    for day in stretch.days():
        yield from by_hour(day, [_line(asker, day, event, names) for event in _events(asker, day)])


def _events(asker: Asker, day: Stretch) -> list[_Event]:
    """The events of a day. Pages are counted from the newest event on: where their number has changed meanwhile, an event may be missing."""
    for _ in range(READ_AGAIN):
        found: list[_Event] = []
        totals: set[int] = set()
        for page in _pages(asker, day):
            found += page.usageEvents
            totals.add(page.totalUsageEventsCount)
            if len(found) > EVENTS_A_DAY_MAX:
                raise asker.wrong(f"more than {EVENTS_A_DAY_MAX:,} events a day")
        if len(totals) == 1:
            return found
    raise asker.wrong("a number of events that changes each time it is asked")


def _pages(asker: Asker, day: Stretch) -> Iterator[_Page]:
    asked = {"startDate": day.start_us // 1_000, "endDate": day.end_us // 1_000 - 1, "pageSize": EVENTS_A_PAGE}
    number = 0
    more = True
    while more:
        number += 1
        page = asker.post("/teams/filtered-usage-events", {**asked, "page": number}, _page)
        yield page
        more = page.pagination.hasNextPage and bool(page.usageEvents)


def _line(asker: Asker, day: Stretch, event: _Event, names: Names) -> tuple[int, Line]:
    """One event, with the start of its hour; those of one user, model and kind are added up."""
    try:
        at_us = int(event.timestamp) * 1_000
    except ValueError:
        raise asker.wrong("an event whose timestamp is no number") from None
    start_us = at_us - at_us % HOUR_US
    if start_us not in day.hours:
        raise asker.wrong("events of other hours than those asked for")
    used = event.tokenUsage
    stated = Tokens(used.inputTokens, used.cacheReadTokens, used.cacheWriteTokens, used.outputTokens) if used else Tokens()
    cents = Decimal(used.totalCents) if used else Decimal()
    cost = {"cost_usd": (cents / 100).quantize(_COST_PLACES).normalize() if abs(cents) < _CENTS_MAX else None}
    texts = {"model": event.model, "provider": "cursor", "kind": event.kind}
    line = said(texts, {"requests": 1}, fields(stated, apart=True), cost)
    return start_us, Line(names.key(event.userEmail), (event.model or "", event.kind or ""), line)
