"""Reads a question about usage from texts: the query of a URL or the options of a command. One code path for both."""

from datetime import date

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.errors import Invalid
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.usage.question import TOP_MAX, Question, answer
from tallyboard.usage.report import Report


def read(
    session: Session,
    account_id: int,
    now_us: int,
    *,
    window: str | None = None,
    first: str | None = None,
    last: str | None = None,
    user: str | None = None,
    top: str | None = None,
    timezone: str | None = None,
) -> Question:
    """The question those texts ask; Invalid says which of them is wrong. No range means 30 days."""
    try:
        zone = days.zone(timezone) if timezone else zone_of(session, account_id).info
    except ValueError as error:
        raise Invalid(f"timezone: {error}") from None
    if window and (first or last):
        raise Invalid("ask for a window or for from and to, not for both")
    span = _range(first, last) if first or last else days.window(_window(window), days.today(now_us, zone))
    return Question(span, user or None, _top(top), timezone or None)


def ask(session: Session, account_id: int, now_us: int, **texts: str | None) -> Report:
    """Read a question and answer it."""
    return answer(session, account_id, read(session, account_id, now_us, **texts), now_us)


def _range(first: str | None, last: str | None) -> DayRange:
    if not first or not last:
        raise Invalid("from and to go together, as days such as 2026-11-22")
    begins, ends = _day("from", first), _day("to", last)
    if ends < begins:
        raise Invalid(f"to ({last}) is before from ({first})")
    span = DayRange(begins, ends)
    if len(span) > days.RANGE_DAYS_MAX:
        raise Invalid(f"a range may hold {days.RANGE_DAYS_MAX} days; {first} to {last} holds {len(span):,}")
    return span


def _day(name: str, text: str) -> date:
    try:
        if len(text) != len("2026-11-22"):
            raise ValueError
        day = date.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name} must be a day such as 2026-11-22, not {text[:40]!r}") from None
    if not 1972 <= day.year <= 9000:
        raise Invalid(f"{name} must lie between the years 1972 and 9000")
    return day


def _window(text: str | None) -> int:
    if text is None or text == "":
        return days.WINDOWS[-1]
    if text not in {str(length) for length in days.WINDOWS}:
        raise Invalid(f"window must be 7, 14 or 30, not {text[:40]!r}")
    return int(text)


def _top(text: str | None) -> int:
    if text is None or text == "":
        return TOP_MAX
    if not (text.isascii() and text.isdecimal()) or len(text) > 3 or int(text) > TOP_MAX:
        raise Invalid(f"top must be a number from 0 to {TOP_MAX}, not {text[:40]!r}")
    return int(text)
