"""Overviews made by hand: what the page's functions are given, without a ledger."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from msgspec import structs

from tallyboard import days
from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.usage.overview import Overview, Person, Row, View
from tallyboard.usage.report import DayUsage, Others, Report, UserUsage

TODAY = date(2026, 11, 20)
ZONE = "America/New_York"
NOON_US = days.starts_at_us(TODAY, days.zone(ZONE)) + 12 * 3_600_000_000


def credit(*amounts: float) -> tuple[int, ...]:
    """Amounts of credits as units."""
    return tuple(round(amount * UNITS_PER_CREDIT) for amount in amounts)


def week(*amounts: float) -> tuple[int, ...]:
    """Units of the seven days up to today, from those of the last ones."""
    return credit(*[0.0] * (7 - len(amounts)), *amounts)


def overview(
    users: Mapping[str, Sequence[int]],
    *,
    view: View | None = None,
    drawn: int = 8,
    others: Sequence[int] | None = None,
    names: Mapping[str, str] | None = None,
    emails: Mapping[str, str] | None = None,
    previous_units: int | None = None,
    matches: int | None = None,
) -> Overview:
    """The overview of an account whose users used this much a day; the largest `drawn` have the colours 0, 1, …"""
    view = view or View(window=7)
    span = [TODAY - timedelta(days=view.window - 1 - index) for index in range(view.window)]
    rest = tuple(others or [0] * view.window)
    totals = [sum(amounts) for amounts in zip(*users.values(), rest, strict=True)]
    people = sorted(
        (UserUsage(key, (emails or {}).get(key), (names or {}).get(key), sum(amounts), tuple(amounts)) for key, amounts in users.items()),
        key=lambda user: -user.units,
    )
    found = [user for user in people if view.search in user.user]
    index = span.index(view.day) if view.day else None
    rows = [row(user, slot if slot < drawn else None, index) for slot, user in enumerate(people) if user in found]
    report = Report(
        "Northwind", ZONE, tuple(_days(span, totals)), tuple(people), Others(3 if any(rest) else 0, sum(rest), rest), sum(totals), NOON_US
    )
    return Overview(
        view=view,
        report=report,
        series=tuple(row(user, slot, None) for slot, user in enumerate(people[:drawn])),
        rows=tuple(sorted(rows, key=lambda one: -one.units)),
        rows_total=report.user_count,
        matches=len(found) + report.others.users * (not view.search) if matches is None else matches,
        rows_units=sum(totals) if index is None else totals[index],
        person=next((Person(user, rank, rank - 1) for rank, user in enumerate(people, 1) if user.user == view.user), None),
        complete_units=sum(totals[:-1]),
        previous_units=previous_units,
        users_seen=50,
        unrated=0,
        today=TODAY,
    )


def row(user: UserUsage, slot: int | None, index: int | None) -> Row:
    """A user's line, of the window or of one of its days."""
    units = user.units if index is None else user.days[index]
    return Row(user.user, user.label, user.name, user.email, units, user.days, slot)


def looking(shown: Overview, **changes: object) -> Overview:
    """The same overview with another view."""
    return structs.replace(shown, view=structs.replace(shown.view, **changes))


def _days(span: Sequence[date], totals: Sequence[int]) -> list[DayUsage]:
    zone = days.zone(ZONE)
    return [
        DayUsage(day, days.starts_at_us(day, zone), days.starts_at_us(day + timedelta(days=1), zone), units, day < TODAY)
        for day, units in zip(span, totals, strict=True)
    ]
