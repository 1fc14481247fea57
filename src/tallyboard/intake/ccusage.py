"""ccusage's daily report: what Claude Code's own logs of one machine come to, by date of that machine and model.

Source: ccusage 18.0.11, `ccusage daily --json`. It names neither a user nor a call, so its dates are replaced like any report's.
"""

from datetime import date
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import DecodeError, Struct, ValidationError
from msgspec.json import Decoder

from tallyboard import days
from tallyboard.errors import Invalid
from tallyboard.intake.cloudevents import exact
from tallyboard.intake.replacing import Line, Window, said
from tallyboard.intake.tokens import Tokens, fields

SOURCE = "ccusage"
BYTES_MAX = 64 * 1_048_576
_COST_PLACES = Decimal("0.000000001")
_COST_MAX = 1_000_000


class _Model(Struct):
    modelName: str  # noqa: N815  ccusage's names.
    inputTokens: int  # noqa: N815
    outputTokens: int  # noqa: N815
    cacheCreationTokens: int = 0  # noqa: N815
    cacheReadTokens: int = 0  # noqa: N815
    cost: Decimal | int | None = None


class _Day(Struct):
    date: str
    modelBreakdowns: list[_Model]  # noqa: N815


class _Report(Struct):
    daily: list[_Day]


_report = Decoder(_Report, float_hook=exact)
_any = Decoder(dict[str, Any])


def windows(text: bytes, user: str, zone: ZoneInfo) -> list[Window]:
    """The dates of a report, each from its midnight on the machine's clock to the next. Invalid where it is none that can be counted."""
    try:
        report = _report.decode(text)
    except (DecodeError, ValueError, RecursionError) as error:
        raise Invalid(_why_not(text, error)) from None
    return [_window(day, user, zone) for day in sorted(report.daily, key=lambda each: each.date)]


def _why_not(text: bytes, error: Exception) -> str:
    """Why something is no daily report."""
    try:
        found = _any.decode(text)
    except (DecodeError, ValueError, RecursionError):
        return f"it is not ccusage's JSON: {error}"
    if "sessions" in found:
        return "this is a report by sessions, which repeats the usage of the daily one; import what `ccusage daily --json` prints"
    if "daily" not in found:
        return "this is another report of ccusage, which repeats the usage of the daily one; import what `ccusage daily --json` prints"
    return f"it is not ccusage's daily report: {error}" if isinstance(error, ValidationError) else f"it is not JSON: {error}"


def _window(day: _Day, user: str, zone: ZoneInfo) -> Window:
    """A date. Its models' figures add up to its totals, which are passed over."""
    try:
        on = date.fromisoformat(day.date)
        start_us, end_us = (days.starts_at_us(days.from_number(days.to_number(on) + more), zone) for more in (0, 1))
    except (ValueError, OverflowError):
        raise Invalid(f"there is no such date: {day.date[:40]!r}") from None
    return Window(start_us, end_us, [_line(each, user) for each in day.modelBreakdowns], on.isoformat())


def _line(model: _Model, user: str) -> Line:
    stated = Tokens(model.inputTokens, model.cacheReadTokens, model.cacheCreationTokens, model.outputTokens)
    cost = Decimal(model.cost or 0)
    dollars = {"cost_usd": cost.quantize(_COST_PLACES).normalize() if 0 <= cost < _COST_MAX else None}
    texts = {"model": model.modelName, "provider": "anthropic", "product": "claude_code"}
    return Line(user, (model.modelName,), said(texts, fields(stated, apart=True), dollars))
