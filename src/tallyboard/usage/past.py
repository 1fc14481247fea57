"""Every user's sums over days that are over, remembered as long as nothing comes in for those days.

A page that is open asks for the same window again and again, and only its last day changes: the others' sums are most of the work
of an answer and come to the same each time. `day_total.changed` tells whether they still do, whichever process wrote.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from tallyboard.ledger.contract import Session

USERS_MAX = 400_000
"""How many users' sums are remembered of one ledger, of all its accounts and windows together: 120 bytes each."""
STRETCHES_MAX = 1_000

Place = tuple[int, int, int, int]
"""Account, version of the zone, first and last day."""
Stamp = tuple[int, ...]
"""Differs as soon as the sums do."""


class _Kept(Struct, frozen=True):
    """Sums by user_id as they were at a stamp; None where they were not asked for again since, or are `too_many`."""

    stamp: Stamp
    sums: Mapping[int, int] | None
    too_many: bool = False


def past_sums(
    session: Session, account_id: int, version: int, first: int, last: int, read: Callable[[], Mapping[int, int]]
) -> Mapping[int, int] | None:
    """The sums of those days, which `read` gives; None where they have changed since they were last asked for, or never were.

    So what is asked for once, or changes all the time, costs nothing more: the caller reads it together with the day that follows.
    """
    place = (account_id, version, first, last)
    stamp = _stamp(session, account_id, version, first, last)
    found: _Kept | None = session.remembered.get(place)
    if found is None or found.stamp != stamp:
        _remember(session, place, _Kept(stamp, None))
        return None
    if found.sums is None and not found.too_many:
        sums = read()
        found = _Kept(stamp, sums) if len(sums) <= USERS_MAX else _Kept(stamp, None, too_many=True)
        _remember(session, place, found)
        return sums
    return found.sums


def _stamp(session: Session, account_id: int, version: int, first: int, last: int) -> Stamp:
    line = session.one(
        """
        SELECT count(*), coalesce(sum(events), 0), coalesce(max(changed), 0) FROM day_total
        WHERE account_id = :account_id AND zone_version = :version AND day BETWEEN :first AND :last
        """,
        account_id=account_id,
        version=version,
        first=first,
        last=last,
    )
    assert line is not None
    return line


def _remember(session: Session, place: Place, kept: _Kept) -> None:
    """Keep it; where that is too much together, forget the rest."""
    others = [each for where, each in list(session.remembered.items()) if where != place]
    if len(others) >= STRETCHES_MAX or sum(len(each.sums or ()) for each in [*others, kept]) > USERS_MAX:
        session.remembered.clear()
    session.remembered[place] = kept
