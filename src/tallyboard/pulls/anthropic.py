"""Anthropic's usage by user: `GET /v1/organizations/analytics/user_usage_report` by the hour, model and product.

Source: the types of anthropic-python 2.12, `types/beta/organization/beta_analytics_usage_users_item.py`, and its request as recorded.
Rows come by rank, not by time, so a day is read to its end before its hours count.
"""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct

from tallyboard import days
from tallyboard.intake.replacing import Line, Window, said
from tallyboard.intake.tokens import Tokens, fields
from tallyboard.pulls.asking import Asker, Place, decoder
from tallyboard.pulls.windows import HOUR_US, Names, Stretch, by_hour

BASE_URL = "https://api.anthropic.com"
VARIABLE = "ANTHROPIC_ADMIN_KEY"
SOURCE = "anthropic-report"
VERSION = "2026-10-21"
ROWS_A_PAGE = 1_000
ROWS_A_DAY_MAX = 200_000


class _Actor(Struct):
    user_id: str | None = None
    email_address: str | None = None


class _Written(Struct, frozen=True):
    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class _Tools(Struct, frozen=True):
    web_search_requests: int = 0


class _Row(Struct):
    actor: _Actor
    starting_at: datetime
    ending_at: datetime
    uncached_input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation: _Written = _Written()
    server_tool_use: _Tools = _Tools()
    requests: int | None = None
    model: str | None = None
    product: str | None = None


class _Page(Struct):
    data: list[_Row]
    has_more: bool | None = None
    next_page: str | None = None


_page = decoder(_Page)


def place(key: str, base_url: str | None) -> Place:
    """Anthropic, or what stands in front of it."""
    return Place("Anthropic", base_url or BASE_URL, VARIABLE, {"Authorization": f"Bearer {key}", "anthropic-version": VERSION})


def reports(asker: Asker, stretch: Stretch, names: Names) -> Iterator[tuple[str, Iterator[Window]]]:
    """The windows of the one report there is."""
    yield "users", _windows(asker, stretch, names)


def _windows(asker: Asker, stretch: Stretch, names: Names) -> Iterator[Window]:
    for day in stretch.days():
        yield from by_hour(day, _lines(asker, day, names))


def _lines(asker: Asker, day: Stretch, names: Names) -> Iterator[tuple[int, Line]]:
    """The lines of a day, with the starts of their hours."""
    for number, row in enumerate(_rows(asker, day), 1):
        if row.starting_at.tzinfo is None or row.ending_at.tzinfo is None:
            raise asker.wrong("hours without a zone")
        start_us = days.instant_us(row.starting_at)
        if start_us not in day.hours or days.instant_us(row.ending_at) != start_us + HOUR_US:
            raise asker.wrong("other hours than those asked for")
        if number > ROWS_A_DAY_MAX:
            raise asker.wrong(f"more than {ROWS_A_DAY_MAX:,} rows a day")
        yield start_us, _line(row, names)


def _rows(asker: Asker, day: Stretch) -> Iterator[_Row]:
    asked: list[tuple[str, str | int]] = [
        ("starting_at", _text(day.start_us)),
        ("ending_at", _text(day.end_us)),
        ("bucket_width", "1h"),
        ("group_by[]", "model"),
        ("group_by[]", "product"),
        ("limit", ROWS_A_PAGE),
    ]
    following: str | None = None
    while True:
        more = [("page", following)] if following else []
        page = asker.get("/v1/organizations/analytics/user_usage_report", [*asked, *more], _page)
        yield from page.data
        if page.has_more is False or not page.next_page:
            return
        if page.next_page == following:
            raise asker.wrong("the same page again and again")
        following = page.next_page


def _line(row: _Row, names: Names) -> Line:
    """Anthropic states input apart from what was read from a cache and written to one."""
    written = row.cache_creation.ephemeral_5m_input_tokens + row.cache_creation.ephemeral_1h_input_tokens
    stated = Tokens(input=row.uncached_input_tokens, cache_read=row.cache_read_input_tokens, cache_write=written, output=row.output_tokens)
    counted = {"requests": row.requests, "web_searches": row.server_tool_use.web_search_requests}
    texts = {"model": row.model, "provider": "anthropic", "product": row.product}
    user = names.key(row.actor.email_address, row.actor.user_id)
    return Line(user, (row.model or "", row.product or ""), said(texts, counted, fields(stated, apart=True)))


def _text(us: int) -> str:
    return days.instant(us).isoformat().replace("+00:00", "Z")
