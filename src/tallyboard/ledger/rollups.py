"""Days in the account's zone: changing the zone, rebuilding the day table, proving it against the events.

A zone change takes effect at once: from then on answers come from the slots until the day table of the
new zone is complete. The rebuild goes through the days in short transactions, one a day. Intake goes on
meanwhile: it adds to the days already rebuilt, and the others get their sum from the slots in their turn.
"""

from datetime import date
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import encode

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.errors import NotFound
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock

SWEEP_USERS_AT_ONCE = 1_000
_SLOT = "(at_us / 900000000)"


class Zone(Struct, frozen=True):
    """The account's zone, and whether the day table of it is complete. `aliases` is how many users are another one."""

    name: str
    version: int
    ready: bool
    aliases: int = 0

    @property
    def info(self) -> ZoneInfo:
        """The zone itself."""
        return days.zone(self.name)


class Difference(Struct, frozen=True):
    """A place where a rollup is not what the events say; units, events and unrated are rollup less events."""

    rollup: str
    user_id: int
    place: int
    units: int
    events: int
    unrated: int


def zone_of(session: Session, account_id: int) -> Zone:
    """The account's zone as of this transaction."""
    line = session.one(
        "SELECT timezone, zone_version, days_version = zone_version, aliases FROM account WHERE account_id = :account_id",
        account_id=account_id,
    )
    if line is None:
        raise NotFound("there is no such account")
    return Zone(line[0], line[1], bool(line[2]), line[3])


def change_zone(session: Session, account_id: int, name: str) -> bool:
    """Give the account another zone; False where it has that one already. ValueError where there is none such."""
    days.zone(name)
    changed = session.run(
        """
        UPDATE account SET timezone = :name, zone_version = zone_version + 1, days_through = NULL, revision = revision + 1
        WHERE account_id = :account_id AND timezone <> :name
        """,
        account_id=account_id,
        name=name,
    )
    return changed > 0


def rebuild_some(session: Session, account_id: int) -> bool:
    """Rebuild the next day of an account whose zone was changed; whether there is more to do."""
    lock(session, account_id)
    zone = zone_of(session, account_id)
    if zone.ready:
        return _sweep(session, account_id, zone.version)
    span = _span(session, account_id, zone.info)
    (through,) = session.one("SELECT days_through FROM account WHERE account_id = :account_id", account_id=account_id) or (None,)
    if span is not None:
        following = days.to_number(span.first) if through is None else max(days.to_number(span.first), through + 1)
        if following <= days.to_number(span.last):
            _rebuild(session, account_id, zone, days.from_number(following))
            return True
    session.run("UPDATE account SET days_version = zone_version WHERE account_id = :account_id", account_id=account_id)
    return True


def reconcile(session: Session, account_id: int) -> list[Difference]:
    """Where slots differ from events or days from slots: nothing, by law 3. At most 100 lines."""
    found = _compare(
        session,
        account_id,
        "slot",
        f"""
        SELECT user_id, place, sum(units >> 32), sum(units & 4294967295), sum(events), sum(unrated) FROM (
            SELECT user_id, slot AS place, units, events, unrated FROM slot_usage WHERE account_id = :account_id
            UNION ALL
            SELECT user_id, {_SLOT}, -units, -1, rated - 1 FROM event WHERE account_id = :account_id
        ) AS both_sides GROUP BY user_id, place
        HAVING sum(units >> 32) * 4294967296 + sum(units & 4294967295) <> 0 OR sum(events) <> 0 OR sum(unrated) <> 0
        ORDER BY 1, 2 LIMIT 100
        """,
    )
    zone = zone_of(session, account_id)
    span = _span(session, account_id, zone.info)
    if not zone.ready or span is None:
        return found
    edges = edges_text(span, zone.info)
    for rollup, statement in (("day", _DAYS_AGAINST_SLOTS), ("total", _TOTALS_AGAINST_SLOTS)):
        found += _compare(session, account_id, rollup, statement, zone_version=zone.version, edges=edges)
    return found


def totals(session: Session, account_id: int) -> tuple[int, int]:
    """How many events there are and the units of all together, summed in two halves that cannot overflow."""
    line = session.one(
        """
        SELECT count(*), coalesce(sum(units >> 32), 0), coalesce(sum(units & 4294967295), 0) FROM event
        WHERE account_id = :account_id
        """,
        account_id=account_id,
    )
    events, high, low = line or (0, 0, 0)
    return events, (high << 32) + low


def left_to_do(session: Session) -> list[int]:
    """The accounts whose days are to be rebuilt, or were and left the old ones to sweep."""
    lines = session.all(
        """
        SELECT account_id FROM account WHERE days_version < zone_version
        OR EXISTS (SELECT 1 FROM day_total WHERE day_total.account_id = account.account_id
                   AND day_total.zone_version < account.zone_version)
        """
    )
    return [account_id for (account_id,) in lines]


def edges_text(span: DayRange, zone: ZoneInfo) -> str:
    """The days of a range with the slots they begin and end at, for the fragment $day_edges."""
    numbers = [days.to_number(day) for day in span.days()]
    edges = days.bounds(span, zone)
    return encode(list(zip(numbers, edges, edges[1:], strict=False))).decode()


def _compare(session: Session, account_id: int, rollup: str, statement: str, **values: int | str) -> list[Difference]:
    lines = session.all(statement, account_id=account_id, **values)
    return [Difference(rollup, user_id, place, (high << 32) + low, *counts) for user_id, place, high, low, *counts in lines]


_DAYS_AGAINST_SLOTS = """
    SELECT user_id, place, sum(units >> 32), sum(units & 4294967295), sum(events), 0 FROM (
        SELECT user_id, day AS place, units, events FROM day_usage
        WHERE account_id = :account_id AND zone_version = :zone_version
        UNION ALL
        SELECT slot_usage.user_id, edge.day, -slot_usage.units, -slot_usage.events FROM $day_edges AS edge
        $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
            AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
    ) AS both_sides GROUP BY user_id, place
    HAVING sum(units >> 32) * 4294967296 + sum(units & 4294967295) <> 0 OR sum(events) <> 0 ORDER BY 1, 2 LIMIT 100
"""

_TOTALS_AGAINST_SLOTS = """
    SELECT 0, place, sum(units >> 32), sum(units & 4294967295), sum(events), sum(unrated) FROM (
        SELECT day AS place, units, events, unrated FROM day_total
        WHERE account_id = :account_id AND zone_version = :zone_version
        UNION ALL
        SELECT edge.day, -slot_usage.units, -slot_usage.events, -slot_usage.unrated FROM $day_edges AS edge
        $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
            AND slot_usage.slot >= edge.first_slot AND slot_usage.slot < edge.end_slot
    ) AS both_sides GROUP BY place
    HAVING sum(units >> 32) * 4294967296 + sum(units & 4294967295) <> 0 OR sum(events) <> 0 OR sum(unrated) <> 0
    ORDER BY 2 LIMIT 100
"""


def _span(session: Session, account_id: int, zone: ZoneInfo) -> DayRange | None:
    """The account days on which there is any usage."""
    line = session.one("SELECT min(slot), max(slot) FROM slot_usage WHERE account_id = :account_id", account_id=account_id)
    if line is None or line[0] is None:
        return None
    return DayRange(days.from_number(days.day_number(line[0], zone)), days.from_number(days.day_number(line[1], zone)))


def _rebuild(session: Session, account_id: int, zone: Zone, day: date) -> None:
    first_slot, end_slot = days.bounds(DayRange(day, day), zone.info)
    interval = {
        "account_id": account_id,
        "version": zone.version,
        "day": days.to_number(day),
        "first_slot": first_slot,
        "end_slot": end_slot,
    }
    session.run(
        """
        INSERT INTO day_usage (account_id, zone_version, user_id, day, units, events)
        SELECT :account_id, :version, user_id, :day, sum(units), sum(events) FROM slot_usage
        WHERE account_id = :account_id AND recent IN (0, 1) AND slot >= :first_slot AND slot < :end_slot GROUP BY user_id
        """,
        **interval,
    )
    session.run(
        """
        INSERT INTO day_total (account_id, zone_version, day, units, events, unrated, changed)
        SELECT :account_id, :version, :day, sum(units), sum(events), sum(unrated), 0 FROM slot_usage
        WHERE account_id = :account_id AND recent IN (0, 1) AND slot >= :first_slot AND slot < :end_slot HAVING count(*) > 0
        """,
        **interval,
    )
    session.run("UPDATE account SET days_through = :day WHERE account_id = :account_id", account_id=account_id, day=days.to_number(day))


def _sweep(session: Session, account_id: int, version: int) -> bool:
    """Delete some users' days of a zone the account no longer has; whether there may be more."""
    line = session.one(
        """
        SELECT zone_version, user_id FROM day_usage WHERE account_id = :account_id AND zone_version < :version
        ORDER BY zone_version, user_id LIMIT 1
        """,
        account_id=account_id,
        version=version,
    )
    if line is None:
        session.run(
            "DELETE FROM day_total WHERE account_id = :account_id AND zone_version < :version", account_id=account_id, version=version
        )
        return False
    session.run(
        "DELETE FROM day_usage WHERE account_id = :account_id AND zone_version = :old AND user_id < :end_user",
        account_id=account_id,
        old=line[0],
        end_user=line[1] + SWEEP_USERS_AT_ONCE,
    )
    return True
