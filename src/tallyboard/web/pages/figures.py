"""Figures and dates as a person reads them: shares, ratios, axis labels, days.

Pure: no clock, no locale. Credits themselves are written by `credits.shown`.
"""

from datetime import date, datetime
from decimal import Decimal, localcontext
from fractions import Fraction
from zoneinfo import ZoneInfo

from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.days import instant

NOTHING = "–"
"""What stands where a figure cannot be computed, such as a share of nothing."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_SCALES = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def share(part: int, whole: int) -> str:
    """A part of a whole: `15%`, `9.8%`, `<0.1%` for a trace, `0%`; `–` where there is no whole."""
    if whole <= 0:
        return NOTHING
    if part <= 0:
        return "0%"
    if part * 1000 < whole:
        return "<0.1%"
    tenths = round(Fraction(part * 1000, whole))
    return f"{tenths // 10}.{tenths % 10}%" if tenths < 100 else f"{round(Fraction(part * 100, whole))}%"


def ratio(units: int, against: int) -> str:
    """How many times `against` there is: `2.2×`, `14×`; `–` where `against` is nothing."""
    if against <= 0:
        return NOTHING
    if units <= 0:
        return "0×"
    tenths = round(Fraction(units * 10, against))
    return f"{tenths // 10}.{tenths % 10}×" if tenths < 100 else f"{round(Fraction(units, against)):,}×"


def change(now: int, before: int) -> tuple[str, str]:
    """The change from a sum before, which is not 0: its direction (`up`, `down`, `same`) and its size, `20%`."""
    percent = round(Fraction((now - before) * 100, before))
    direction = "up" if percent > 0 else "down" if percent < 0 else "same"
    return direction, f"{abs(percent):,}%"


def axis_label(units: int) -> str:
    """A tick of the axis, in credits: `0`, `0.25`, `7.5k`, `1.2M`."""
    with localcontext(prec=60):
        amount = Decimal(units) / UNITS_PER_CREDIT
        scale, letter = next(((size, letter) for size, letter in _SCALES if amount >= size), (1, ""))
        text = f"{amount / scale:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + letter


def count(number: int, noun: str) -> str:
    """A number of things: `1 user`, `1,204 users`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def wait(seconds: int) -> str:
    """How long to wait: `1 second`, `40 seconds`, `2 minutes`, rounded up."""
    return count(seconds, "second") if seconds < 90 else count(-(-seconds // 60), "minute")


def sentence(text: str) -> str:
    """What an error says, as a sentence."""
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def ordinal(number: int) -> str:
    """A place in an order: `1st`, `2nd`, `13th`."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{suffix}"


def full_date(day: date) -> str:
    """`Tue, 10 Nov 2026`."""
    return f"{weekday_date(day)} {day.year}"


def weekday_date(day: date) -> str:
    """`Tue, 10 Nov`."""
    return f"{_WEEKDAYS[day.weekday()][:3]}, {short_date(day)}"


def short_date(day: date) -> str:
    """`10 Nov`."""
    return f"{day.day} {_MONTHS[day.month - 1][:3]}"


def spoken_date(day: date) -> str:
    """`Tuesday 10 November`, for a screen reader."""
    return f"{_WEEKDAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]}"


def clock(at_us: int, in_zone: ZoneInfo, today: date) -> str:
    """An instant on the account's clock: `15:40:12`, with its date where that is not today."""
    local: datetime = instant(at_us).astimezone(in_zone)
    time = f"{local:%H:%M:%S}"
    return time if local.date() == today else f"{weekday_date(local.date())}, {time}"


def moment(at_us: int, in_zone: ZoneInfo) -> str:
    """An instant with its date: `Wed, 25 Nov 2026 00:00`."""
    local = instant(at_us).astimezone(in_zone)
    return f"{full_date(local.date())} {local:%H:%M}"


def span(seconds: int) -> str:
    """A length of time in two of its parts: `3 d 4 h`, `5 h 12 min`, `12 min`, `40 s`."""
    days, hours, minutes = seconds // 86_400, seconds % 86_400 // 3600, seconds % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{max(seconds, 0)} s"


def lately(at_us: int, in_zone: ZoneInfo, now_us: int) -> str:
    """An instant to the minute: `today, 15:40`, `Tue, 10 Nov, 09:05`, with its year where that is not this one."""
    local, now = (instant(each).astimezone(in_zone) for each in (at_us, now_us))
    day = "today" if local.date() == now.date() else weekday_date(local.date()) if local.year == now.year else full_date(local.date())
    return f"{day}, {local:%H:%M}"


def zone_name(timezone: str) -> str:
    """A zone as it is written for people: `America/New York`."""
    return timezone.replace("_", " ")
