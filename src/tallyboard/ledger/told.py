"""One truth, where several sources tell the same: each call of a model counts once, and of a user only the source of record.

A call that has an id from its provider is the same call whoever tells it. The first source to tell it is counted; what others tell
of it is set aside: not kept, but counted among what came in. Within one source it is the event's own id that tells one from another:
some senders give many calls one response id.

Both are decided in the transaction of intake, with the account's row taken.
"""

from collections.abc import Sequence
from hashlib import blake2b

from tallyboard.ledger.arrivals import Arrival
from tallyboard.ledger.contract import Entry, Session
from tallyboard.ledger.locking import LockedAccount

EVERY_SOURCE = ""
"""What is set for a user of whom every source counts, whatever the account says."""
DAY_US = 86_400_000_000
_APART_US = 3_600_000_000
"""By how much the times may differ that two sources state of one call."""

Place = tuple[int, bytes]
"""A day and a call's key."""


def set_aside(session: Session, account_id: int, account: LockedAccount, arrived: Sequence[Arrival]) -> None:
    """Take out of what is new whatever another source tells, and note which calls are told now. A settled hold always counts."""
    if has_source_of_record(account):
        _by_source_of_record(session, account_id, account, arrived)
    calls = [(each, entry) for each in arrived for entry in each.fresh if entry.event.calls]
    if calls:
        _by_call(session, account_id, calls)


def has_source_of_record(account: LockedAccount) -> bool:
    """Whether there is any user of whom not every source counts."""
    return account.record_source is not None or account.own_record_sources > 0


def _by_source_of_record(session: Session, account_id: int, account: LockedAccount, arrived: Sequence[Arrival]) -> None:
    users = {entry.event.user for each in arrived for entry in each.fresh}
    own = of_users(session, account_id, sorted(users)) if account.own_record_sources else {}
    for each in arrived:
        if not each.settles:
            of_record = [own.get(entry.event.user, account.record_source) for entry in each.fresh]
            places = zip(each.fresh, of_record, strict=True)
            _move(each, [entry for entry, source in places if source not in {None, EVERY_SOURCE, entry.event.source}])


def of_users(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, str]:
    """The sources of record of those different users who have one of their own; that of an alias is its user's."""
    lines = session.among(
        """
        SELECT app_user.key, CASE WHEN app_user.alias_of IS NULL THEN app_user.record_source ELSE person.record_source END
        FROM app_user LEFT JOIN app_user AS person ON person.account_id = :account_id AND person.user_id = app_user.alias_of
        WHERE app_user.account_id = :account_id AND app_user.key IN $point_keys
        """,
        keys,
        account_id=account_id,
    )
    return {key: source for key, source in lines if source is not None}


def _by_call(session: Session, account_id: int, calls: Sequence[tuple[Arrival, Entry]]) -> None:
    told = _told(session, account_id, {place for _, entry in calls for place in _places(entry)})
    new: dict[Place, int] = {}
    others: dict[int, tuple[Arrival, list[Entry]]] = {}
    for each, entry in calls:
        source = _digest(entry.event.source)
        if not each.settles and any(told.get(place, source) != source for place in _places(entry)):
            others.setdefault(id(each), (each, []))[1].append(entry)
            continue
        for key in entry.event.calls:
            place = entry.event.at_us // DAY_US, key
            new[place] = told[place] = told.get(place, source)
    for each, entries in others.values():
        _move(each, entries)
    session.many(
        """
        INSERT INTO call_told (account_id, day, call_key, source) $each (account_id, day, call_key, source)
        ON CONFLICT (account_id, day, call_key) DO NOTHING
        """,
        [(account_id, *place, new[place]) for place in sorted(new)],
    )


def _told(session: Session, account_id: int, places: set[Place]) -> dict[Place, int]:
    """Who told the calls at those places that were told."""
    by_day: dict[int, list[bytes]] = {}
    for day, key in sorted(places):
        by_day.setdefault(day, []).append(key)
    found: dict[Place, int] = {}
    for day, keys in by_day.items():
        lines = session.among(
            "SELECT call_key, source FROM call_told WHERE account_id = :account_id AND day = :day AND call_key IN $point_keys",
            keys,
            account_id=account_id,
            day=day,
        )
        found.update({(day, bytes(key)): source for key, source in lines})
    return found


def _places(entry: Entry) -> set[Place]:
    """Where a call would have been noted, near midnight on either day."""
    at_us = entry.event.at_us
    days = {(at_us - _APART_US) // DAY_US, (at_us + _APART_US) // DAY_US}
    return {(day, key) for day in days for key in entry.event.calls}


def _move(arrival: Arrival, entries: Sequence[Entry]) -> None:
    """From what is new to what is set aside."""
    moved = {id(entry) for entry in entries}
    arrival.aside.extend(entries)
    arrival.fresh[:] = [entry for entry in arrival.fresh if id(entry) not in moved]


def _digest(source: str) -> int:
    return int.from_bytes(blake2b(source.encode(), digest_size=8).digest(), signed=True)
