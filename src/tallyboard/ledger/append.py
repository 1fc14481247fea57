"""The intake transaction: events, rollups and users change together (laws 2, 3, 7).

One account a transaction. Its account row is changed first, which on every engine keeps a second
writer of the same account waiting until this one has committed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain

from tallyboard import days
from tallyboard.ledger import arrivals, audit, told
from tallyboard.ledger.arrivals import Arrival
from tallyboard.ledger.contract import Batch, Outcome, Session
from tallyboard.ledger.locking import LockedAccount, lock
from tallyboard.ledger.seen import SHELF_EVENTS, Seen, find_on

USERS_REMEMBERED_MAX = 500_000
_NO_SUM = (0, 0, 0)
_USER_BITS = 40
_USER_MASK = (1 << _USER_BITS) - 1

EventLine = tuple[int | str | bytes, ...]
SlotSum = tuple[int, int, int, int, int]
"""Slot, user_id, units, events and unrated: what is to be added to a user's quarter hour, negative where something is taken away."""


class Appender:
    """Writes groups of batches. Remembers users' ids and which events may have been seen: cache only."""

    def __init__(self) -> None:
        self._seen = Seen()
        self._user_ids: dict[tuple[int, str], int] = {}
        self._erasures: dict[int, int] = {}
        self._look_first = False
        self.shelf_closed = False
        """Whether a shelf was filled: then `add_recent_slots` has something to do. For the caller to see to, and to take back."""

    def append(self, session: Session, batches: Sequence[Batch], *, look_first: bool = False) -> list[Outcome]:
        """Keep what is new of some batches of one account; one outcome for each.

        Most groups hold only what is new. So the open shelf is not asked before the insert, which its primary key
        guards: AlreadyKept says that something was there. The caller then tries again with `look_first`, in another
        transaction. After a group that did hold something seen, the next one looks first without being told. So does one of an
        account with a source of record: what is there already is a duplicate, whoever counts now.
        """
        account_id = batches[0].account_id
        account = lock(session, account_id)
        self._forget_erased(account_id, account.erasures)
        keys = list({entry.event.key for batch in batches for entry in batch.entries})
        seen = self._seen.find_on_full(session, account_id, account.shelf, keys)
        if look_first or self._look_first or told.has_source_of_record(account):
            seen.update(find_on(session, account_id, account.shelf, keys))
        self._look_first = look_first or bool(seen)
        arrived = [_sort_out(batch, seen) for batch in batches]
        told.set_aside(session, account_id, account, arrived)
        if any(each.fresh for each in arrived):
            self._keep(session, account_id, account, arrived)
        arrivals.count(session, account_id, arrived)
        return [each.outcome for each in arrived]

    def forget(self) -> None:
        """Drop what is remembered, after a transaction that may not have been kept."""
        self._seen.forget()

    def _forget_erased(self, account_id: int, erasures: int) -> None:
        """A user who was erased may have another key now, and the key be nobody's."""
        if self._erasures.get(account_id, erasures) != erasures:
            self._user_ids = {place: user_id for place, user_id in self._user_ids.items() if place[0] != account_id}
        self._erasures[account_id] = erasures

    def _keep(self, session: Session, account_id: int, account: LockedAccount, arrived: Sequence[Arrival]) -> None:
        user_ids = self._users(session, account_id, account.user_count, {entry.event.user for each in arrived for entry in each.fresh})
        lines = _event_lines(account_id, account.shelf, arrived, user_ids)
        session.many(
            """
            INSERT INTO event (account_id, shelf, event_key, content, user_id, at_us, received_us,
                               units, rated, type, model, source, id, data)
            $each (account_id, shelf, event_key, content, user_id, at_us, received_us, units, rated, type, model, source, id, data)
            """,
            lines,
        )
        for each in arrived:
            _note_corrections(session, account_id, each)
        slots = _slot_sums(arrived, user_ids)
        add_to_slots(session, account_id, slots)
        add_to_days(session, account_id, account, slots)
        shelf, shelf_events = account.shelf, account.shelf_events + len(lines)
        if shelf_events >= SHELF_EVENTS:
            self._seen.close_shelf(session, account_id, shelf)
            self.shelf_closed = True
            shelf, shelf_events = shelf + 1, 0
        session.run(
            """
            UPDATE account SET revision = revision + 1, user_count = :user_count, shelf = :shelf, shelf_events = :shelf_events
            WHERE account_id = :account_id
            """,
            account_id=account_id,
            user_count=max(account.user_count, *user_ids.values()),
            shelf=shelf,
            shelf_events=shelf_events,
        )

    def _users(self, session: Session, account_id: int, user_count: int, keys: set[str]) -> dict[str, int]:
        """The ids of users by key; a user seen for the first time gets the next one, remembered once it is kept."""
        if len(self._user_ids) > USERS_REMEMBERED_MAX:
            self._user_ids.clear()
        remembered = self._user_ids
        new: dict[str, int] = {}
        unknown = [key for key in keys if (account_id, key) not in remembered]
        if unknown:
            lines = session.among(
                "SELECT key, user_id FROM app_user WHERE account_id = :account_id AND key IN $point_keys", unknown, account_id=account_id
            )
            remembered.update(((account_id, key), user_id) for key, user_id in lines)
            unknown = sorted(key for key in unknown if (account_id, key) not in remembered)
            new = {key: user_count + position for position, key in enumerate(unknown, 1)}
            session.many(
                "INSERT INTO app_user (account_id, user_id, key) $each (account_id, user_id, key)",
                [(account_id, user_id, key) for key, user_id in new.items()],
            )
        return {key: new.get(key) or remembered[account_id, key] for key in keys}


def add_to_slots(session: Session, account_id: int, sums: Sequence[SlotSum]) -> None:
    """Add sums to the recent quarter hours, which know no zone."""
    session.many(
        """
        INSERT INTO slot_usage AS kept (account_id, recent, slot, user_id, units, events, unrated)
        $each (account_id, recent, slot, user_id, units, events, unrated)
        ON CONFLICT (account_id, recent, slot, user_id) DO UPDATE SET
            units = kept.units + EXCLUDED.units, events = kept.events + EXCLUDED.events, unrated = kept.unrated + EXCLUDED.unrated
        """,
        [(account_id, 1, *each) for each in sums],
    )


def add_recent_slots(session: Session, account_id: int) -> None:
    """Add the recent quarter hours to the others, in the order of their key: what was random by event is one pass over the table.

    A transaction of its own. It changes no figure, so nothing depends on when it is done: where it cannot be, for a sum
    that no cell would hold, both parts stay as they are.
    """
    lock(session, account_id)
    session.run(
        """
        INSERT INTO slot_usage AS kept (account_id, recent, slot, user_id, units, events, unrated)
        SELECT account_id, 0, slot, user_id, units, events, unrated FROM slot_usage WHERE account_id = :account_id AND recent = 1
        ON CONFLICT (account_id, recent, slot, user_id) DO UPDATE SET
            units = kept.units + EXCLUDED.units, events = kept.events + EXCLUDED.events, unrated = kept.unrated + EXCLUDED.unrated
        """,
        account_id=account_id,
    )
    session.run("DELETE FROM slot_usage WHERE account_id = :account_id AND recent = 1", account_id=account_id)
    session.run("UPDATE account SET revision = revision + 1 WHERE account_id = :account_id", account_id=account_id)


def add_to_days(session: Session, account_id: int, account: LockedAccount, sums: Sequence[SlotSum]) -> None:
    """Add sums, in the order of slots, to the users' days and the days' totals; while days are rebuilt, only to those already done.

    The caller's transaction raises the account's revision by one: that is when those days changed.
    """
    zone = days.zone(account.timezone)
    of_users: dict[int, list[tuple[int, ...]]] = {}
    of_all: list[tuple[int, ...]] = []
    end = 0
    while end < len(sums):
        start, day = end, days.day_number(sums[end][0], zone)
        if account.days_end is not None and day >= account.days_end:
            break
        following_us = days.starts_at_us(days.from_number(day + 1), zone)
        end = bisect_left(sums, following_us, start, key=lambda each: each[0] * days.SLOT_US)
        by_user: dict[int, tuple[int, int]] = {}
        for _, user_id, units, events, _ in sums[start:end]:
            before = by_user.get(user_id)
            by_user[user_id] = (before[0] + units, before[1] + events) if before else (units, events)
        for user_id, added in by_user.items():
            of_users.setdefault(user_id, []).append((account_id, account.zone_version, user_id, day, *added))
        all_units, all_events = map(sum, zip(*by_user.values(), strict=True))
        unrated = sum(each[4] for each in sums[start:end])
        of_all.append((account_id, account.zone_version, day, all_units, all_events, unrated, account.revision + 1))
    session.many(
        """
        INSERT INTO day_usage AS kept (account_id, zone_version, user_id, day, units, events)
        $each (account_id, zone_version, user_id, day, units, events)
        ON CONFLICT (account_id, zone_version, user_id, day)
        DO UPDATE SET units = kept.units + EXCLUDED.units, events = kept.events + EXCLUDED.events
        """,
        list(chain.from_iterable(of_users[user_id] for user_id in sorted(of_users))),
    )
    session.many(
        """
        INSERT INTO day_total AS kept (account_id, zone_version, day, units, events, unrated, changed)
        $each (account_id, zone_version, day, units, events, unrated, changed)
        ON CONFLICT (account_id, zone_version, day) DO UPDATE SET
            units = kept.units + EXCLUDED.units, events = kept.events + EXCLUDED.events, unrated = kept.unrated + EXCLUDED.unrated,
            changed = EXCLUDED.changed
        """,
        of_all,
    )


def _sort_out(batch: Batch, seen: dict[bytes, int]) -> Arrival:
    """Tell what is new from what was seen, in order; what is new is seen from then on."""
    arrival = Arrival(batch.actor, batch.received_us, [], [], [], settles=batch.settles)
    for entry in batch.entries:
        content = seen.get(entry.event.key)
        if content is None:
            seen[entry.event.key] = entry.event.content
            arrival.fresh.append(entry)
        else:
            (arrival.known if content == entry.event.content else arrival.conflicts).append(entry)
    return arrival


def _event_lines(account_id: int, shelf: int, arrived: Sequence[Arrival], user_ids: dict[str, int]) -> list[EventLine]:
    """What is new as it stands in the table of events."""
    return [
        (
            account_id,
            shelf,
            event.key,
            event.content,
            user_ids[event.user],
            event.at_us,
            each.received_us,
            entry.units,
            int(entry.rated),
            event.type,
            event.model,
            event.source,
            event.id,
            event.document,
        )
        for each in arrived
        for entry in each.fresh
        for event in (entry.event,)
    ]


def _slot_sums(arrived: Sequence[Arrival], user_ids: dict[str, int]) -> list[SlotSum]:
    """The sums of what is new, in the order of their keys, which are one number each meanwhile: that is sorted three times as fast as a pair."""
    sums: dict[int, tuple[int, int, int]] = {}
    slot_us = days.SLOT_US
    for entry in chain.from_iterable(each.fresh for each in arrived):
        event = entry.event
        place = (event.at_us // slot_us << _USER_BITS) + user_ids[event.user]
        units, events, unrated = sums.get(place, _NO_SUM)
        sums[place] = (units + entry.units, events + 1, unrated + 1 - entry.rated)
    return [(place >> _USER_BITS, place & _USER_MASK, *sums[place]) for place in sorted(sums)]


def _note_corrections(session: Session, account_id: int, arrival: Arrival) -> None:
    for entry in arrival.fresh:
        if entry.correction is not None:
            detail = {
                "source": entry.event.source,
                "id": entry.event.id,
                "user": entry.event.user,
                "at": days.instant_text(entry.event.at_us),
                "units": entry.units,
                "reason": entry.correction,
            }
            audit.note(session, account_id, arrival.sender, "usage.corrected", detail, arrival.received_us)
