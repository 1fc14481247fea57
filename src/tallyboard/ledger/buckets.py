"""What was counted of the lines of reports, so that a later report of the same window replaces it (laws 2, 3 and 7).

A record is read, changed and kept in the transaction that keeps the events made of it: each event counts once because its record
says that it was made. Everything an account was told otherwise is *live*: told by clients as it happened.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence

from msgspec import Struct
from msgspec.json import encode

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.errors import Invalid
from tallyboard.ledger import aliases
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import LockedAccount, lock

BUCKETS_MAX = 2_000_000
"""Records of one account; room is made for some at once, so there may be a few more."""
ROOM_FOR = 50_000
KEPT_DAYS = 400
"""Records of windows further back may be forgotten. No report reaches back as far, so none of them is counted anew."""
DAY_US = 86_400_000_000

UserDay = tuple[str, int]
"""A user's key and an account day's number."""


class Bucket(Struct, frozen=True, gc=False):
    """A line of a report: whose it is, what tells it from the others, what was counted of it so far and since which report."""

    window_key: bytes
    user: str
    line: bytes
    record: bytes
    at_us: int
    events: int
    counted: str
    read_us: int


def known(session: Session, account_id: int, window_key: bytes, users: Collection[str]) -> dict[tuple[str, bytes], Bucket]:
    """What was counted of a window for some users, by user and line."""
    lines = session.among(
        """
        SELECT window_key, user_key, line, record, at_us, events, counted, read_us FROM bucket
        WHERE account_id = :account_id AND window_key = :window_key AND user_key IN $keys
        """,
        sorted(users),
        account_id=account_id,
        window_key=window_key,
    )
    return {(line[1], bytes(line[2])): _bucket(*line) for line in lines}


def left(session: Session, account_id: int, window_key: bytes, read_us: int, most: int) -> list[Bucket]:
    """Up to so many records of a window of which the report that was read at an instant says nothing any more."""
    lines = session.all(
        """
        SELECT window_key, user_key, line, record, at_us, events, counted, read_us FROM bucket
        WHERE account_id = :account_id AND window_key = :window_key AND read_us < :read_us LIMIT :most
        """,
        account_id=account_id,
        window_key=window_key,
        read_us=read_us,
        most=most,
    )
    return [_bucket(*line) for line in lines]


def keep(session: Session, account_id: int, records: Sequence[Bucket]) -> None:
    """Keep records as they are now."""
    session.many(
        """
        INSERT INTO bucket (account_id, window_key, user_key, line, record, at_us, events, counted, read_us)
        $each (account_id, window_key, user_key, line, record, at_us, events, counted, read_us)
        ON CONFLICT (account_id, window_key, user_key, line)
        DO UPDATE SET events = EXCLUDED.events, counted = EXCLUDED.counted, read_us = EXCLUDED.read_us
        """,
        [
            (account_id, each.window_key, each.user, each.line, each.record, each.at_us, each.events, each.counted, each.read_us)
            for each in records
        ],
    )


def told_live(session: Session, account_id: int, account: LockedAccount, places: Collection[UserDay]) -> set[UserDay]:
    """The users' days of which anything was told live, under whichever of their keys: where there are more events than were made of reports."""
    meant = aliases.keys_of(session, account_id, sorted({user for user, _ in places}))
    users: defaultdict[int, list[str]] = defaultdict(list)
    for user, day in sorted(set(places)):
        users[day].append(user)
    found: set[UserDay] = set()
    for day, of_day in users.items():
        keys = sorted({key for user in of_day for key in meant[user].all})
        told, made = _told(session, account_id, account, day, keys), _made(session, account_id, account, day, keys)
        found.update((user, day) for user in of_day if any(told.get(key, 0) > made.get(key, 0) for key in meant[user].all))
    return found


def make_room(session: Session, account_id: int, now_us: int) -> None:
    """See that the account may have ROOM_FOR records more, forgetting old ones where there is no room; Invalid where there is none left."""
    lock(session, account_id)
    if _held(session, account_id) + ROOM_FOR <= BUCKETS_MAX:
        return
    before_us = now_us - KEPT_DAYS * DAY_US
    session.run("DELETE FROM bucket WHERE account_id = :account_id AND at_us < :before_us", account_id=account_id, before_us=before_us)
    if _held(session, account_id) + ROOM_FOR > BUCKETS_MAX:
        raise Invalid(f"the account has {BUCKETS_MAX:,} lines of reports, which is as many as there may be")


def _told(session: Session, account_id: int, account: LockedAccount, day: int, users: Sequence[str]) -> dict[str, int]:
    """How many events of each user there are on a day; from the quarter hours where the day is not rebuilt yet after a zone change."""
    if account.days_end is None or day < account.days_end:
        lines = session.among(_TOLD_BY_DAY, users, account_id=account_id, version=account.zone_version, day=day)
    else:
        first, end = _slots(account, day)
        edges = encode([(day, slot, slot + 1) for slot in range(first, end)]).decode()
        lines = session.among(_TOLD_BY_SLOT, users, account_id=account_id, edges=edges)
    return {user: int(events) for user, events in lines}


def _made(session: Session, account_id: int, account: LockedAccount, day: int, users: Sequence[str]) -> dict[str, int]:
    """How many of them were made of reports."""
    first, end = _slots(account, day)
    lines = session.among(
        """
        SELECT user_key, sum(events) FROM bucket
        WHERE account_id = :account_id AND user_key IN $keys AND at_us >= :start_us AND at_us < :end_us GROUP BY user_key
        """,
        users,
        account_id=account_id,
        start_us=first * days.SLOT_US,
        end_us=end * days.SLOT_US,
    )
    return {user: int(events) for user, events in lines}


_TOLD_BY_DAY = """
    SELECT app_user.key, day_usage.events FROM app_user
    $ordered_join day_usage ON day_usage.account_id = :account_id AND day_usage.zone_version = :version
        AND day_usage.user_id = app_user.user_id AND day_usage.day = :day
    WHERE app_user.account_id = :account_id AND app_user.key IN $keys
"""
_TOLD_BY_SLOT = """
    SELECT app_user.key, sum(slot_usage.events) FROM app_user
    $ordered_join $day_edges AS edge ON edge.day >= 0
    $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
        AND slot_usage.slot = edge.first_slot AND slot_usage.user_id = app_user.user_id
    WHERE app_user.account_id = :account_id AND app_user.key IN $keys
    GROUP BY app_user.key
"""


def _slots(account: LockedAccount, day: int) -> tuple[int, int]:
    date = days.from_number(day)
    first, end = days.bounds(DayRange(date, date), days.zone(account.timezone))
    return first, end


def _held(session: Session, account_id: int) -> int:
    (held,) = session.one("SELECT count(*) FROM bucket WHERE account_id = :account_id", account_id=account_id) or (0,)
    return int(held)


def _bucket(window_key: bytes, user: str, line: bytes, record: bytes, at_us: int, events: int, counted: str, read_us: int) -> Bucket:
    return Bucket(bytes(window_key), user, bytes(line), bytes(record), at_us, events, counted, read_us)
