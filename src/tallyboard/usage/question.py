"""Asks the ledger one question about usage and puts the answer together.

Three reads in one snapshot: every user's sum, each day's total, and the days of the users shown. They
go to the day table of the account's zone, or to the slots for another zone or while days are rebuilt:
the lines are the same (law 5). SQL sums the upper and lower half of amounts apart, so that no sum can
overflow 64 bits; Python puts them together. Where many sums are made, that is done only if one did overflow.
What is kept under the keys of aliases is added up as their users' (ledger/aliases.py).
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from heapq import nlargest
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.errors import Invalid, NotFound, SumTooLarge
from tallyboard.ledger.aliases import NOBODY, families
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import Zone, edges_text, zone_of
from tallyboard.usage.past import past_sums
from tallyboard.usage.report import DayUsage, Others, Report, UserUsage

TOP_MAX = 200

UserDay = tuple[int, int, int]
"""user_id, day number and units of a day on which the user has an event."""


class Question(Struct, frozen=True):
    """Which usage: a range of account days, perhaps of one user, in the account's zone or a what-if one.

    `top` is how many users are shown one by one, None for all.
    """

    range: DayRange
    user: str | None = None
    top: int | None = TOP_MAX
    timezone: str | None = None


class Named(Struct, frozen=True):
    """Who a user is."""

    user_id: int
    key: str
    email: str | None
    name: str | None


class Ranked(Struct, frozen=True):
    """One user and the units ranked by."""

    who: Named
    units: int


class Sums(Struct, frozen=True):
    """Every user's units over a range, by user_id."""

    by_user: dict[int, int]

    @property
    def units(self) -> int:
        """Everyone's together."""
        return sum(self.by_user.values())


class Source:
    """Where sums come from for one account and zone within one snapshot."""

    def __init__(self, session: Session, account_id: int, zone: Zone, timezone: str | None) -> None:
        self._session = session
        self._account_id = account_id
        self._from_days = zone.ready and timezone in {None, zone.name}
        self._version = zone.version
        self._families = families(session, account_id) if zone.aliases else NOBODY
        self.timezone = timezone or zone.name
        self.zone: ZoneInfo = days.zone(self.timezone)

    def user_sums(self, span: DayRange) -> Sums:
        """The sums of every user with an event in the range."""
        if self._from_days:
            return Sums(self._families.add_up(self._sums_of_days(span)))
        lines = self._session.all(
            """
            SELECT user_id, sum(units >> 32), sum(units & 4294967295) FROM slot_usage
            WHERE account_id = :account_id AND recent IN (0, 1) AND slot >= :first_slot AND slot < :end_slot GROUP BY user_id
            """,
            **self._slots(span),
        )
        return Sums(self._families.add_up({user_id: (high << 32) + low for user_id, high, low in lines}))

    def day_sums(self, span: DayRange) -> dict[int, int]:
        """Everyone's units by day number; days without an event are left out."""
        if self._from_days:
            lines = self._session.all(
                """
                SELECT day, units >> 32, units & 4294967295 FROM day_total
                WHERE account_id = :account_id AND zone_version = :version AND day BETWEEN :first AND :last
                """,
                **self._range(span),
            )
        else:
            lines = self._session.all(
                """
                SELECT edge.day, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295) FROM $day_edges AS edge
                $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
                    AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
                WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot
                GROUP BY edge.day
                """,
                **self._slots(span),
                edges=edges_text(span, self.zone),
            )
        return {day: (high << 32) + low for day, high, low in lines}

    def unrated(self, span: DayRange) -> int:
        """How many events no meter matched."""
        if self._from_days:
            line = self._session.one(
                """
                SELECT coalesce(sum(unrated), 0) FROM day_total
                WHERE account_id = :account_id AND zone_version = :version AND day BETWEEN :first AND :last
                """,
                **self._range(span),
            )
        else:
            line = self._session.one(
                """
                SELECT coalesce(sum(unrated), 0) FROM slot_usage
                WHERE account_id = :account_id AND recent IN (0, 1) AND slot >= :first_slot AND slot < :end_slot
                """,
                **self._slots(span),
            )
        return int(line[0]) if line else 0

    def user_days(self, span: DayRange, user_ids: Sequence[int]) -> dict[int, list[int]]:
        """Units of each day of the range by user; users without an event in it are left out."""
        first, length = days.to_number(span.first), len(span)
        by_user: dict[int, list[int]] = {}
        for user_id, day, units in self.days_of(span, user_ids):
            by_user.setdefault(user_id, [0] * length)[day - first] = units
        return by_user

    def days_of(self, span: DayRange, user_ids: Sequence[int]) -> list[UserDay]:
        """The days of the range on which those users have an event."""
        return self._families.add_up_days(self._kept_days(span, self._families.members(user_ids)))

    def days_reaching(self, span: DayRange, units: int) -> list[UserDay]:
        """Every user's days of the range with an event and with so many units or more."""
        several = self._families.all_members
        found = [line for line in self._kept_days_reaching(span, units) if line[0] not in several]
        return found + [line for line in self.days_of(span, list(self._families.aliases_of)) if line[2] >= units]

    def extent(self, span: DayRange) -> tuple[int, int]:
        """How many users have an event in the range, and on how many days all together."""
        if not self._from_days:
            lines = self.days_reaching(span, -(1 << 80))
            return len({user_id for user_id, _, _ in lines}), len(lines)
        users, user_days = self._session.one(
            """
            SELECT count(DISTINCT app_user.user_id), count(*) FROM app_user
            $ordered_join day_usage ON day_usage.account_id = :account_id AND zone_version = :version
                AND day_usage.user_id = app_user.user_id AND day BETWEEN :first AND :last
            WHERE app_user.account_id = :account_id
            """,
            **self._range(span),
        ) or (0, 0)
        kept = self._kept_days(span, sorted(self._families.all_members))
        added_up = self._families.add_up_days(kept)
        fewer = len({user_id for user_id, _, _ in kept}) - len({user_id for user_id, _, _ in added_up})
        return users - fewer, user_days - (len(kept) - len(added_up))

    def last_days(self, user_ids: Sequence[int]) -> dict[int, int] | None:
        """The last day of each of those users on which there is an event; None while days are rebuilt, when that would take long."""
        if not self._from_days:
            return None
        lines = self._session.among(
            """
            SELECT user_id, max(day) FROM day_usage
            WHERE account_id = :account_id AND zone_version = :version AND user_id IN $keys GROUP BY user_id
            """,
            self._families.members(user_ids),
            account_id=self._account_id,
            version=self._version,
        )
        found: dict[int, int] = {}
        for user_id, day in lines:
            user = self._families.user_of.get(user_id, user_id)
            found[user] = max(day, found.get(user, day))
        return found

    def units_by_key(self, span: DayRange, user_ids: Sequence[int]) -> dict[int, int]:
        """Units under single keys, whoever they are of; keys without an event in the range are left out."""
        found: dict[int, int] = {}
        for user_id, _, units in self._kept_days(span, user_ids):
            found[user_id] = found.get(user_id, 0) + units
        return found

    def _sums_of_days(self, span: DayRange) -> dict[int, int]:
        """Sums by user_id. All days but the last are over, or as good as: their sums may be remembered."""
        first, last = days.to_number(span.first), days.to_number(span.last)
        past = None
        if first < last:
            read = partial(self._read_days, DayRange(span.first, span.last - timedelta(days=1)))
            past = past_sums(self._session, self._account_id, self._version, first, last - 1, read)
        if past is None:
            return self._read_days(span)
        sums = dict(past)
        for user_id, units in self._read_days(DayRange(span.last, span.last)).items():
            sums[user_id] = sums.get(user_id, 0) + units
        return sums

    def _read_days(self, span: DayRange) -> dict[int, int]:
        try:
            return dict(self._session.all("SELECT app_user.user_id, sum(units)" + _DAYS_BY_USER, **self._range(span)))
        except SumTooLarge:
            halves = "SELECT app_user.user_id, sum(units >> 32), sum(units & 4294967295)" + _DAYS_BY_USER
            return {user_id: (high << 32) + low for user_id, high, low in self._session.all(halves, **self._range(span))}

    def _kept_days(self, span: DayRange, user_ids: Sequence[int]) -> list[UserDay]:
        """Days under the keys that were sent."""
        if self._from_days:
            return self._session.among(
                """
                SELECT user_id, day, units FROM day_usage
                WHERE account_id = :account_id AND zone_version = :version AND user_id IN $keys AND day BETWEEN :first AND :last
                """,
                user_ids,
                **self._range(span),
            )
        lines = self._session.among(
            """
            SELECT slot_usage.user_id, edge.day, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295) FROM $day_edges AS edge
            $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
                AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
            WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot AND slot_usage.user_id IN $keys
            GROUP BY slot_usage.user_id, edge.day
            """,
            user_ids,
            **self._slots(span),
            edges=edges_text(span, self.zone),
        )
        return [(user_id, day, (high << 32) + low) for user_id, day, high, low in lines]

    def _kept_days_reaching(self, span: DayRange, units: int) -> list[UserDay]:
        if self._from_days:
            return self._session.all(
                """
                SELECT app_user.user_id, day, units FROM app_user
                $ordered_join day_usage ON day_usage.account_id = :account_id AND zone_version = :version
                    AND day_usage.user_id = app_user.user_id AND day BETWEEN :first AND :last
                WHERE app_user.account_id = :account_id AND units >= :units
                """,
                **self._range(span),
                units=units,
            )
        lines = self._session.all(
            """
            SELECT slot_usage.user_id, edge.day, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295) FROM $day_edges AS edge
            $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
                AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
            WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot
            GROUP BY slot_usage.user_id, edge.day
            """,
            **self._slots(span),
            edges=edges_text(span, self.zone),
        )
        return [(user_id, day, (high << 32) + low) for user_id, day, high, low in lines if (high << 32) + low >= units]

    def _range(self, span: DayRange) -> dict[str, int]:
        numbers = {"first": days.to_number(span.first), "last": days.to_number(span.last)}
        return {"account_id": self._account_id, "version": self._version, **numbers}

    def _slots(self, span: DayRange) -> dict[str, int]:
        edges = days.bounds(span, self.zone)
        return {"account_id": self._account_id, "first_slot": edges[0], "end_slot": edges[-1]}


_DAYS_BY_USER = """
    FROM app_user
    $ordered_join day_usage ON day_usage.account_id = :account_id AND zone_version = :version
        AND day_usage.user_id = app_user.user_id AND day BETWEEN :first AND :last
    WHERE app_user.account_id = :account_id
    GROUP BY app_user.user_id
"""


def answer(session: Session, account_id: int, question: Question, now_us: int) -> Report:
    """The answer, from one snapshot begun at `now_us` or after."""
    if len(question.range) > days.RANGE_DAYS_MAX:
        raise Invalid(f"a range may hold {days.RANGE_DAYS_MAX} days; this one holds {len(question.range)}")
    source = Source(session, account_id, zone_of(session, account_id), question.timezone)
    if question.user is None:
        sums = source.user_sums(question.range)
        best = rank(session, account_id, sums.by_user, question.top)
        totals = source.day_sums(question.range)
        return report(session, account_id, source, question.range, best, sums, totals, now_us)
    who = users_by_key(session, account_id, [question.user])
    of_user = source.user_days(question.range, [named.user_id for named in who])
    sums = Sums({user_id: sum(units) for user_id, units in of_user.items()})
    best = [Ranked(named, sums.by_user[named.user_id]) for named in who if named.user_id in of_user][: question.top]
    first = days.to_number(question.range.first)
    totals = {first + index: units for found in of_user.values() for index, units in enumerate(found)}
    return report(session, account_id, source, question.range, best, sums, totals, now_us)


def report(
    session: Session,
    account_id: int,
    source: Source,
    span: DayRange,
    best: Sequence[Ranked],
    sums: Sums,
    totals: Mapping[int, int],
    now_us: int,
) -> Report:
    """Put an answer together: the users shown with their days, and Others as what is left of the totals."""
    users = user_lines(source, span, best)
    day_units = [totals.get(days.to_number(day), 0) for day in span.days()]
    shown_days = [sum(column) for column in zip(*(user.days for user in users), strict=True)] or [0] * len(span)
    units = sum(day_units)
    return Report(
        account=account_name(session, account_id),
        timezone=source.timezone,
        days=_day_lines(span, source.zone, day_units, now_us),
        users=users,
        others=Others(
            users=len(sums.by_user) - len(users),
            units=units - sum(user.units for user in users),
            days=tuple(total - shown for total, shown in zip(day_units, shown_days, strict=True)),
        ),
        units=units,
        complete_through_us=now_us,
    )


def rank(session: Session, account_id: int, sums: Mapping[int, int], top: int | None) -> list[Ranked]:
    """The `top` users, or all, by units, highest first, then by key (code points order as UTF-8 bytes do)."""
    if top == 0 or not sums:
        return []
    least = None if top is None else nlargest(top, sums.values())[-1]
    candidates = [user_id for user_id, units in sums.items() if least is None or units >= least]
    ranked = [Ranked(who, sums[who.user_id]) for who in users_by_id(session, account_id, candidates)]
    return sorted(ranked, key=lambda line: (-line.units, line.who.key))[:top]


def user_lines(source: Source, span: DayRange, best: Sequence[Ranked]) -> tuple[UserUsage, ...]:
    """Ranked users with their days."""
    of_user = source.user_days(span, [line.who.user_id for line in best])
    none = [0] * len(span)
    return tuple(
        UserUsage(line.who.key, line.who.email, line.who.name, line.units, tuple(of_user.get(line.who.user_id, none))) for line in best
    )


def users_by_id(session: Session, account_id: int, user_ids: Sequence[int]) -> list[Named]:
    """Who the users with these ids are."""
    lines = session.among(
        "SELECT user_id, key, email, name FROM app_user WHERE account_id = :account_id AND user_id IN $point_keys",
        user_ids,
        account_id=account_id,
    )
    return [Named(*line) for line in lines]


def users_by_key(session: Session, account_id: int, keys: Sequence[str]) -> list[Named]:
    """The users whom these different keys mean, each once; a key never seen is left out."""
    lines = session.among(
        "SELECT user_id, key, email, name, alias_of FROM app_user WHERE account_id = :account_id AND key IN $point_keys",
        keys,
        account_id=account_id,
    )
    found = {line[0]: Named(*line[:4]) for line in lines if line[4] is None}
    of_aliases = {line[4] for line in lines if line[4] is not None} - found.keys()
    return [*found.values(), *(users_by_id(session, account_id, sorted(of_aliases)) if of_aliases else ())]


def account_name(session: Session, account_id: int) -> str:
    """What the account is called."""
    line = session.one("SELECT name FROM account WHERE account_id = :account_id", account_id=account_id)
    if line is None:
        raise NotFound("there is no such account")
    return str(line[0])


def _day_lines(span: DayRange, zone: ZoneInfo, day_units: Sequence[int], now_us: int) -> tuple[DayUsage, ...]:
    lines = []
    for day, units in zip(span.days(), day_units, strict=True):
        ends_at_us = days.starts_at_us(day + timedelta(days=1), zone)
        lines.append(DayUsage(day, days.starts_at_us(day, zone), ends_at_us, units, complete=ends_at_us <= now_us))
    return tuple(lines)
