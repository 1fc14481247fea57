"""What a meter counted, by windows of time, users and models: the question that OpenMeter's clients ask.

Credits come from the quarter hours, which know users alone. What only events know, models and single meters, is added up
from them, newest shelf first: the quarter hours say how many events there are to be found, so that none is ever missed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import Decoder, encode

from tallyboard import days
from tallyboard.days import RANGE_DAYS_MAX, SLOT_US
from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.cloudevents import exact
from tallyboard.ledger.aliases import Families, families
from tallyboard.ledger.contract import Line, Session
from tallyboard.rates.card import Card, Meter
from tallyboard.rates.charge import BadQuantity, Charger
from tallyboard.usage.question import users_by_id, users_by_key

CREDITS, UNITS = "credits", "units"
ROWS_MAX = 100_000
EVENTS_MAX = 100_000
SHELVES_MAX = 20
"""How many events may be added up, and on how many shelves they may lie: 500,000 events are looked through at most."""
_DAY_SLOTS = 96
_data = Decoder(dict[str, Any], float_hook=exact).decode


class Window(StrEnum):
    """How long the windows are that sums are made of. Quarter hours tell no minutes apart."""

    HOUR = "HOUR"
    DAY = "DAY"
    MONTH = "MONTH"


class Asked(Struct, frozen=True):
    """Which sums: from an instant until before another, both quarter hours; None for the beginning and for now.

    `users` and `models` are the only ones that count, where they are said. Without a window there is one sum over all of the time.
    """

    from_us: int | None = None
    to_us: int | None = None
    window: Window | None = None
    zone: ZoneInfo = ZoneInfo("UTC")
    users: tuple[str, ...] | None = None
    models: tuple[str, ...] | None = None
    by_user: bool = False
    by_model: bool = False


class Row(Struct, frozen=True):
    """One sum. The window is whole, also where the question begins or ends within it."""

    starts_us: int
    ends_us: int
    user: str | None
    model: str | None
    quantity: int | Fraction


class Answer(Struct, frozen=True):
    """The sums above nothing, in the order of time, and the time that they are of."""

    from_us: int
    to_us: int
    rows: tuple[Row, ...]


class _Window(Struct, frozen=True):
    """Slots of a window: as a whole, and what of it is asked for."""

    starts: int
    ends: int
    first: int
    end: int


_Sums = dict[tuple[int, int | None, str | None], int | Fraction]
"""By number of the window, user_id and model."""


def slugs(card: Card) -> dict[str, Meter]:
    """The card's meters by a name that OpenMeter allows: letters, digits and underscores."""
    found: dict[str, Meter] = {}
    for meter in card.meters:
        plain = re.sub(r"[^a-z0-9]+", "_", meter.name.lower()).strip("_") or "meter"
        number, slug = 1, plain
        while slug in found or slug in {CREDITS, UNITS}:
            number += 1
            slug = f"{plain}_{number}"
        found[slug] = meter
    return found


def answer(session: Session, account_id: int, charger: Charger, slug: str, asked: Asked, now_us: int) -> Answer:
    """The sums of a meter, from one snapshot; NotFound where there is no such meter, Invalid where they would be too many."""
    meter = None if slug in {CREDITS, UNITS} else slugs(charger.card).get(slug)
    if meter is None and slug not in {CREDITS, UNITS}:
        raise NotFound(f"there is no meter {slug[:80]!r}")
    first, end = _range(session, account_id, asked, now_us)
    windows = _windows(asked, first, end)
    named = None if asked.users is None else users_by_key(session, account_id, asked.users)
    who_is_whom = families(session, account_id)
    user_ids = None if named is None else who_is_whom.members(who.user_id for who in named)
    if meter is None and not asked.by_model and asked.models is None:
        sums = _of_slots(session, account_id, windows, user_ids, by_user=asked.by_user)
    else:
        sums = _of_events(session, account_id, windows, user_ids, asked, charger, meter)
    sums = _added_up(sums, who_is_whom)
    keys = {
        who.user_id: who.key for who in users_by_id(session, account_id, list({user_id for _, user_id, _ in sums if user_id is not None}))
    }
    rows = [
        Row(windows[number].starts * SLOT_US, windows[number].ends * SLOT_US, None if user_id is None else keys[user_id], model, quantity)
        for (number, user_id, model), quantity in sums.items()
    ]
    return Answer(first * SLOT_US, end * SLOT_US, tuple(sorted(rows, key=lambda row: (row.starts_us, row.user or "", row.model or ""))))


def _added_up(sums: _Sums, who_is_whom: Families) -> _Sums:
    """What is of aliases as their users'."""
    if not who_is_whom.user_of:
        return sums
    found: _Sums = {}
    for (number, user_id, model), quantity in sums.items():
        place = (number, None if user_id is None else who_is_whom.user_of.get(user_id, user_id), model)
        found[place] = found.get(place, 0) + quantity
    return found


def _range(session: Session, account_id: int, asked: Asked, now_us: int) -> tuple[int, int]:
    """The slots asked for. What is ahead of the clock lies in the next slot at most."""
    end = now_us // SLOT_US + 2 if asked.to_us is None else asked.to_us // SLOT_US
    if asked.from_us is None:
        line = session.one("SELECT min(slot) FROM slot_usage WHERE account_id = :account_id", account_id=account_id)
        first = end if line is None or line[0] is None else min(int(line[0]), end)
    else:
        first = asked.from_us // SLOT_US
    if end < first:
        raise Invalid("to is before from")
    if end - first > (RANGE_DAYS_MAX + 1) * _DAY_SLOTS:
        raise Invalid(f"from and to may be {RANGE_DAYS_MAX} days apart; say from where the answer shall begin")
    return first, end


def _windows(asked: Asked, first: int, end: int) -> list[_Window]:
    if first == end:
        return []
    if asked.window is None:
        return [_Window(first, end, first, end)]
    found: list[_Window] = []
    edges = _edges(asked.window, asked.zone, first)
    starts = next(edges)
    for ends in edges:
        if ends > starts:  # A date that a zone skipped has no length.
            found.append(_Window(starts, ends, max(starts, first), min(ends, end)))
        if ends >= end:
            return found
        starts = ends
    raise AssertionError


def _edges(window: Window, zone: ZoneInfo, first: int) -> Iterator[int]:
    """The slots at which windows begin, from the one that has the slot `first`."""
    if window is Window.HOUR:
        slot = first - next((back for back in range(4) if _begins_hour(first - back, zone)), 0)
        while True:
            yield slot
            slot += next((ahead for ahead in range(1, 4) if _begins_hour(slot + ahead, zone)), 4)
    day = days.from_number(days.day_number(first, zone))
    day = day.replace(day=1) if window is Window.MONTH else day
    while True:
        yield days.starts_at_us(day, zone) // SLOT_US
        day = (day.replace(day=1) + timedelta(days=32)).replace(day=1) if window is Window.MONTH else day + timedelta(days=1)


def _begins_hour(slot: int, zone: ZoneInfo) -> bool:
    return days.instant(slot * SLOT_US).astimezone(zone).minute == 0


def _of_slots(session: Session, account_id: int, windows: Sequence[_Window], user_ids: Sequence[int] | None, *, by_user: bool) -> _Sums:
    """Units by window, and by user where that is asked."""
    sums: _Sums = {}
    for number, user_id, high, low, _ in _slot_sums(session, account_id, windows, user_ids, by_user=by_user):
        place = (number, user_id if by_user else None, None)
        sums[place] = sums.get(place, 0) + (high << 32) + low
    return sums


def _slot_sums(
    session: Session, account_id: int, windows: Sequence[_Window], user_ids: Sequence[int] | None, *, by_user: bool
) -> list[Line]:
    """Window, user_id, the two halves of the units, events. Of some users always by user, of all of them only where that is asked."""
    if not windows or user_ids == []:
        return []
    edges = encode([(number, window.first, window.end) for number, window in enumerate(windows)]).decode()
    if user_ids is not None:
        return session.among(
            """
            SELECT edge.day, slot_usage.user_id, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295), sum(slot_usage.events)
            FROM $day_edges AS edge
            $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
                AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
            WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot AND slot_usage.user_id IN $keys
            GROUP BY edge.day, slot_usage.user_id
            """,
            user_ids,
            account_id=account_id,
            first_slot=windows[0].first,
            end_slot=windows[-1].end,
            edges=edges,
        )
    if not by_user:
        return session.all(
            """
            SELECT edge.day, 0, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295), sum(slot_usage.events)
            FROM $day_edges AS edge
            $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
                AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
            WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot
            GROUP BY edge.day
            """,
            account_id=account_id,
            first_slot=windows[0].first,
            end_slot=windows[-1].end,
            edges=edges,
        )
    lines = session.all(
        """
        SELECT edge.day, slot_usage.user_id, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295), sum(slot_usage.events)
        FROM $day_edges AS edge
        $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
            AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
        WHERE slot_usage.slot >= :first_slot AND slot_usage.slot < :end_slot
        GROUP BY edge.day, slot_usage.user_id LIMIT :rows
        """,
        account_id=account_id,
        first_slot=windows[0].first,
        end_slot=windows[-1].end,
        edges=edges,
        rows=ROWS_MAX + 1,
    )
    if len(lines) > ROWS_MAX:
        raise Invalid(f"these are more than {ROWS_MAX:,} rows; ask for a shorter time, longer windows or single subjects")
    return lines


def _of_events(
    session: Session,
    account_id: int,
    windows: Sequence[_Window],
    user_ids: Sequence[int] | None,
    asked: Asked,
    charger: Charger,
    meter: Meter | None,
) -> _Sums:
    """Quantities of a meter, or units where there is none, by window, user and model."""
    number_of = {slot: number for number, window in enumerate(windows) for slot in range(window.first, window.end)}
    sums: _Sums = {}
    for user_id, at_us, kind, model, units, data in _events(session, account_id, windows, user_ids):
        if asked.models is not None and model not in asked.models:
            continue
        quantity = units if meter is None else _quantity(charger, meter, kind, model, data)
        if quantity is not None:
            place = (number_of[at_us // SLOT_US], user_id if asked.by_user else None, model if asked.by_model else None)
            sums[place] = sums.get(place, 0) + quantity
    return sums


def _quantity(charger: Charger, meter: Meter, kind: str, model: str, data: str) -> int | Fraction | None:
    """What the meter counts of an event by the card in force; None where it does not count it, or cannot since the card was changed."""
    try:
        return charger.quantities(kind, model, _data(data)).get(meter.name)
    except BadQuantity:
        return None


def _events(session: Session, account_id: int, windows: Sequence[_Window], user_ids: Sequence[int] | None) -> Iterator[Line]:
    """Every event of the windows: user_id, at_us, type, model, units, data."""
    missing = sum(line[4] for line in _slot_sums(session, account_id, windows, user_ids, by_user=False))
    if missing > EVENTS_MAX:
        raise Invalid(
            f"models and single meters are added up from events, {EVENTS_MAX:,} at most, and here are {missing:,}; "
            "ask for a shorter time or fewer subjects, or for credits by subject"
        )
    wanted = None if user_ids is None else set(user_ids)
    line = session.one("SELECT shelf FROM account WHERE account_id = :account_id", account_id=account_id)
    newest = int(line[0]) if line else 0
    for shelf in range(newest, max(newest - SHELVES_MAX, -1), -1):
        if not missing:
            return
        lines = session.all(
            """
            SELECT user_id, at_us, type, model, units, data FROM event
            WHERE account_id = :account_id AND shelf = :shelf AND at_us >= :from_us AND at_us < :to_us
            """,
            account_id=account_id,
            shelf=shelf,
            from_us=windows[0].first * SLOT_US,
            to_us=windows[-1].end * SLOT_US,
        )
        found = [each for each in lines if wanted is None or each[0] in wanted]
        missing -= len(found)
        yield from found
    if missing:
        raise Invalid("models and single meters are added up from events, and these lie too far back; ask for credits by subject")


def number(quantity: int | Fraction) -> str:
    """A quantity as a JSON number: exact where it can be written so, else with 15 decimals."""
    if isinstance(quantity, int) or quantity.denominator == 1:
        return str(int(quantity))
    rest = quantity.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    places = next((places for places in range(1, 16) if rest == 1 and 10**places % quantity.denominator == 0), 15)
    whole = round(abs(quantity) * 10**places)
    return f"{'-' if quantity < 0 else ''}{whole // 10**places}.{whole % 10**places:0{places}}"


def since_us(session: Session, account_id: int) -> int:
    """When counting began: with the account."""
    line = session.one("SELECT created_us FROM account WHERE account_id = :account_id", account_id=account_id)
    return int(line[0]) if line else 0


def described(card: Card) -> Mapping[str, tuple[str, str, str]]:
    """Every meter by its slug: name, type of events, field of `data`."""
    totals = {CREDITS: ("Credits", "", ""), UNITS: ("Units of credit", "", "")}
    return {**totals, **{slug: (meter.name, meter.type, meter.value) for slug, meter in slugs(card).items()}}
