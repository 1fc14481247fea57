"""Holds: credits set aside for a request that is under way (law 6).

A hold is granted only if used + held + estimate does not exceed the limit, and ends exactly once: settled, released or expired.
All of that is decided by `decide`, inside the transaction that also adds the events of its group: whoever asks, one after the
other, on every engine, because the account's row is taken first. A hold belongs to the account day of the instant it was
granted, and its usage counts at that instant: so nothing moves when midnight passes or the zone changes meanwhile.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from msgspec import Struct, structs

from tallyboard.ledger.contract import Outcome, Session
from tallyboard.ledger.locking import lock
from tallyboard.policy import allowance
from tallyboard.policy.limits import Standing

TTL_SECONDS = 900
TTL_SECONDS_MAX = 86_400
REMEMBERED_DAYS = 7
"""How long a hold that has ended is known, so that a request sent again is answered the same."""
_SWEPT_AT_ONCE = 5_000
_DAY_US = 86_400_000_000


class Ending(StrEnum):
    """How a hold ended."""

    SETTLED = "settled"
    RELEASED = "released"
    EXPIRED = "expired"


class Hold(Struct, frozen=True):
    """Units set aside for a user from `granted_us` until it ends or expires. `ending` is None while it is outstanding.

    `user` is the key that was sent; it may be an alias of whom the hold counts for.
    """

    hold_id: str
    user: str
    units: int
    granted_us: int
    expires_us: int
    ending: Ending | None = None

    def state(self, now_us: int) -> str:
        """`held`, `settled`, `released` or `expired`."""
        return self.ending or (Ending.EXPIRED if self.expires_us <= now_us else "held")


class Grant(Struct, frozen=True):
    """Asks for a hold. The same id again gets the same hold."""

    hold_id: str
    user: str
    units: int
    ttl_us: int
    actor: str


class End(Struct, frozen=True):
    """Ends a hold: settled, together with the batch it is queued with, or released. What has ended stays as it ended."""

    hold_id: str
    how: Ending


class Decision(Struct, frozen=True):
    """What became of a request: the hold, None where it is refused or unknown; how its user stands afterwards.

    `fresh` is true where the hold was granted now. `outcome` is what became of the events that came with it. `others` is true where
    the hold that was asked for is another user's; keys that mean the same user do not make it that.
    """

    hold: Hold | None
    standing: Standing | None
    fresh: bool = False
    outcome: Outcome | None = None
    others: bool = False


Request = Grant | End


def decide(
    session: Session, account_id: int, requests: Sequence[tuple[Request, Outcome | None]], now: Callable[[], int]
) -> tuple[list[Decision], int]:
    """Decide requests of one account: first holds that end, then grants in order. Also how many holds were found expired.

    `now` is asked once it is our turn: a hold lives from then on, however long another process has kept us waiting.
    """
    lock(session, account_id)
    now_us = now()
    expired = expire(session, account_id, now_us)
    holds = _known(session, account_id, {request.hold_id for request, _ in requests})
    _end(session, account_id, [request for request, _ in requests if isinstance(request, End)], holds, now_us)
    users = {hold.user for hold in holds.values()} | {request.user for request, _ in requests if isinstance(request, Grant)}
    by_key = allowance.of_users(session, account_id, sorted(users), now_us)
    owner = {key: standing.user for key, standing in by_key.items()}
    standings = {standing.user: standing for standing in by_key.values()}  # One for all keys of a user, so that grants add up.
    granted: list[tuple[Hold, Grant]] = []
    for request, _ in requests:
        if isinstance(request, Grant) and request.hold_id not in holds and standings[owner[request.user]].fits(request.units):
            hold = Hold(request.hold_id, request.user, request.units, now_us, now_us + request.ttl_us)
            holds[hold.hold_id] = hold
            granted.append((hold, request))
            standing = standings[owner[hold.user]]
            good_until_us = min(standing.good_until_us, hold.expires_us)
            standings[standing.user] = structs.replace(standing, held=standing.held + hold.units, good_until_us=good_until_us)
    _insert(session, account_id, granted)
    fresh = {id(request) for _, request in granted}
    return [_decision(request, outcome, holds, owner, standings, id(request) in fresh) for request, outcome in requests], expired


def of(session: Session, account_id: int, hold_id: str) -> Hold | None:
    """The hold with this id, None where there is none any more."""
    return _known(session, account_id, [hold_id]).get(hold_id)


def outstanding(session: Session, account_id: int, now_us: int, limit: int = 100) -> list[Hold]:
    """The holds that have neither ended nor expired, oldest first: at most `limit`."""
    lines = session.all(
        """
        SELECT hold_id, user_key, units, granted_us, expires_us, ended_how FROM hold
        WHERE account_id = :account_id AND ended_us IS NULL AND expires_us > :now_us ORDER BY granted_us, hold_id LIMIT :most
        """,
        account_id=account_id,
        now_us=now_us,
        most=limit,
    )
    return [_read(line) for line in lines]


def total(session: Session, account_id: int, now_us: int) -> tuple[int, int]:
    """How many holds are outstanding, and the units of all together."""
    count, high, low = session.one(
        """
        SELECT count(*), coalesce(sum(units >> 32), 0), coalesce(sum(units & 4294967295), 0) FROM hold
        WHERE account_id = :account_id AND ended_us IS NULL AND expires_us > :now_us
        """,
        account_id=account_id,
        now_us=now_us,
    ) or (0, 0, 0)
    return int(count), (int(high) << 32) + int(low)


def expire(session: Session, account_id: int, now_us: int) -> int:
    """Note that holds have expired; how many."""
    return session.run(
        """
        UPDATE hold SET ended_us = expires_us, ended_how = 'expired'
        WHERE account_id = :account_id AND ended_us IS NULL AND expires_us <= :now_us
        """,
        account_id=account_id,
        now_us=now_us,
    )


def sweep(session: Session, account_id: int, now_us: int) -> tuple[int, bool]:
    """Note what has expired and forget what ended long ago; how many have expired, and whether there is more to forget."""
    lock(session, account_id)
    expired = expire(session, account_id, now_us)
    forgotten = session.all(
        "SELECT hold_id FROM hold WHERE account_id = :account_id AND ended_us < :before ORDER BY ended_us LIMIT 5000",
        account_id=account_id,
        before=now_us - REMEMBERED_DAYS * _DAY_US,
    )
    session.many(
        "DELETE FROM hold WHERE account_id = :account_id AND hold_id = :hold_id", [(account_id, hold_id) for (hold_id,) in forgotten]
    )
    return expired, len(forgotten) == _SWEPT_AT_ONCE


def left_to_sweep(session: Session, now_us: int) -> list[int]:
    """The accounts with holds that have expired and are not noted, or that ended long ago."""
    lines = session.all(
        """
        SELECT account_id FROM account
        WHERE EXISTS (SELECT 1 FROM hold WHERE hold.account_id = account.account_id AND ended_us IS NULL AND expires_us <= :now_us)
           OR EXISTS (SELECT 1 FROM hold WHERE hold.account_id = account.account_id AND ended_us < :before)
        """,
        now_us=now_us,
        before=now_us - REMEMBERED_DAYS * _DAY_US,
    )
    return [account_id for (account_id,) in lines]


def _known(session: Session, account_id: int, hold_ids: Iterable[str]) -> dict[str, Hold]:
    lines = session.among(
        """
        SELECT hold_id, user_key, units, granted_us, expires_us, ended_how FROM hold
        WHERE account_id = :account_id AND hold_id IN $point_keys
        """,
        list(hold_ids),
        account_id=account_id,
    )
    return {line[0]: _read(line) for line in lines}


def _end(session: Session, account_id: int, ends: Sequence[End], holds: dict[str, Hold], now_us: int) -> None:
    """End what is outstanding; of two that end one hold, the first does."""
    ended: list[Hold] = []
    for end in ends:
        hold = holds.get(end.hold_id)
        if hold is not None and hold.ending is None:
            holds[end.hold_id] = structs.replace(hold, ending=end.how)
            ended.append(holds[end.hold_id])
    session.many(
        "UPDATE hold SET ended_us = :ended_us, ended_how = :how WHERE account_id = :account_id AND hold_id = :hold_id",
        [(now_us, hold.ending.value, account_id, hold.hold_id) for hold in ended if hold.ending],
    )


def _insert(session: Session, account_id: int, granted: Sequence[tuple[Hold, Grant]]) -> None:
    session.many(
        """
        INSERT INTO hold (account_id, hold_id, user_key, units, granted_us, expires_us, actor)
        $each (account_id, hold_id, user_key, units, granted_us, expires_us, actor)
        """,
        [(account_id, hold.hold_id, hold.user, hold.units, hold.granted_us, hold.expires_us, request.actor) for hold, request in granted],
    )


def _decision(
    request: Request, outcome: Outcome | None, holds: dict[str, Hold], owner: dict[str, str], standings: dict[str, Standing], fresh: bool
) -> Decision:
    hold = holds.get(request.hold_id)
    user = request.user if isinstance(request, Grant) else hold.user if hold else None
    others = hold is not None and user is not None and owner[hold.user] != owner[user]
    return Decision(hold, standings[owner[user]] if user else None, fresh, outcome, others)


def _read(line: tuple[str, str, int, int, int, str | None]) -> Hold:
    hold_id, user, units, granted_us, expires_us, how = line
    return Hold(hold_id, user, units, granted_us, expires_us, Ending(how) if how else None)
