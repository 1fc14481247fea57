"""What the Credit Usage page shows for one URL: the window, the focused day, the selected user, the searched table."""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.ledger import aliases
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.usage.question import Named, Ranked, Source, Sums, rank, report, user_lines, users_by_key
from tallyboard.usage.report import Report, UserUsage

SERIES_MAX = 8
"""Users the chart draws individually."""
ROWS_MAX = 200


class View(Struct, frozen=True):
    """The state of the page, which is the state of its URL: `?window=&day=&user=&q=`."""

    window: int = 30
    day: date | None = None
    user: str | None = None
    search: str = ""


class Row(Struct, frozen=True):
    """One line of the table.

    `units` is of the window, or of the focused day; `days` are the units of each day of the window;
    `slot` is the user's colour 0..9 where the chart draws the user individually, else None.
    """

    user: str
    label: str
    name: str | None
    email: str | None
    units: int
    days: tuple[int, ...]
    slot: int | None


class Person(Struct, frozen=True):
    """The selected user: usage in the window, rank (from 1) among `Overview.report.user_count`, colour 0..9; the keys of aliases."""

    usage: UserUsage
    rank: int
    slot: int
    aliases: tuple[str, ...] = ()


class Overview(Struct, frozen=True):
    """Everything the page needs, from one read.

    `series` are the users the chart draws individually, largest first, with their colours; what is
    left of each day is Others. `rows` are at most 200, highest first; `rows_total` is how many users
    had usage in the period shown (window or focused day) and `matches` how many of them the search found
    (equal without one). `rows_units` is everyone's usage in the period shown. `previous_units` sums the complete days
    before the window that answer to its complete days, None where there was no usage before;
    `complete_units` is their counterpart. `users_seen` is how many users the account has ever seen.
    `unrated` is how many events of the period shown matched no meter: they count 0.
    """

    view: View
    report: Report
    series: tuple[Row, ...]
    rows: tuple[Row, ...]
    rows_total: int
    matches: int
    rows_units: int
    person: Person | None
    complete_units: int
    previous_units: int | None
    users_seen: int
    unrated: int
    today: date


def overview(session: Session, account_id: int, view: View, colours: Mapping[str, int], now_us: int) -> Overview:
    """What the page shows, from one snapshot. `colours` are the users' places in the palette (`palette.of`)."""
    source = Source(session, account_id, zone_of(session, account_id), None)
    today = days.today(now_us, source.zone)
    span = days.window(view.window, today)
    day = view.day if view.day and view.day in span else None
    sums = source.user_sums(span)
    totals = source.day_sums(DayRange(span.before().first, today))
    best = rank(session, account_id, sums.by_user, SERIES_MAX)
    answer = report(session, account_id, source, span, best, sums, totals, now_us)
    person = _person(session, account_id, source, span, view.user, sums, colours)
    period = source.user_sums(DayRange(day, day)) if day else sums
    found = _matching(session, account_id, period, view.search)
    listed = rank(session, account_id, found, ROWS_MAX)
    return Overview(
        view=View(view.window, day, person.usage.user if person else view.user, view.search),
        report=answer,
        series=tuple(_row(usage, colours) for usage in answer.users),
        rows=_rows(source, span, listed, {usage.user: colours.get(usage.user) for usage in answer.users}),
        rows_total=len(period.by_user),
        matches=len(found),
        rows_units=period.units,
        person=person,
        complete_units=sum(line.units for line in answer.days if line.complete),
        previous_units=_previous(span, totals),
        users_seen=_users_seen(session, account_id),
        unrated=source.unrated(DayRange(day, day) if day else span),
        today=today,
    )


def ranking(session: Session, account_id: int, window: int, now_us: int) -> list[str]:
    """The keys of the users the chart of a window draws individually, in order."""
    source = Source(session, account_id, zone_of(session, account_id), None)
    sums = source.user_sums(days.window(window, days.today(now_us, source.zone)))
    return [line.who.key for line in rank(session, account_id, sums.by_user, SERIES_MAX)]


def _matching(session: Session, account_id: int, sums: Sums, search: str) -> dict[int, int]:
    """The sums of the users of whom a key, email or name, or that of an alias, holds the searched text, whatever its case."""
    if not search:
        return sums.by_user
    wanted = search.casefold()
    lines = session.all(
        "SELECT coalesce(alias_of, user_id), key, email, name FROM app_user WHERE account_id = :account_id", account_id=account_id
    )
    return {
        user_id: sums.by_user[user_id]
        for user_id, *texts in lines
        if user_id in sums.by_user and any(text and wanted in text.casefold() for text in texts)
    }


def _rows(source: Source, span: DayRange, listed: Sequence[Ranked], slots: Mapping[str, int | None]) -> tuple[Row, ...]:
    return tuple(_row(usage, slots) for usage in user_lines(source, span, listed))


def _row(usage: UserUsage, slots: Mapping[str, int | None] | Mapping[str, int]) -> Row:
    return Row(usage.user, usage.label, usage.name, usage.email, usage.units, usage.days, slots.get(usage.user))


def _person(
    session: Session, account_id: int, source: Source, span: DayRange, key: str | None, sums: Sums, colours: Mapping[str, int]
) -> Person | None:
    found: list[Named] = users_by_key(session, account_id, [key]) if key else []
    if not found:
        return None
    who = found[0]
    units = sums.by_user.get(who.user_id, 0)
    (usage,) = user_lines(source, span, [Ranked(who, units)])
    above = sum(1 for other in sums.by_user.values() if other > units)
    also = aliases.aliases(session, account_id, [who.user_id]).get(who.user_id, ())
    return Person(usage, above + 1, colours.get(who.key, 0), tuple(key for _, key in also))


def _previous(span: DayRange, totals: Mapping[int, int]) -> int | None:
    """The sum of the days before the window that answer to its complete days: all but its last, today."""
    before = [days.to_number(day) for day in span.before().days()[:-1]]
    return sum(totals[number] for number in before if number in totals) if any(number in totals for number in before) else None


def _users_seen(session: Session, account_id: int) -> int:
    (count,) = session.one("SELECT user_count - aliases FROM account WHERE account_id = :account_id", account_id=account_id) or (0,)
    return int(count)
