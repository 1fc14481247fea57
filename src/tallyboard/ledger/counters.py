"""Cumulative counters: what came since the last value that was counted, in the transaction that counts it (laws 2 and 7)."""

from collections.abc import Sequence

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock

COUNTERS_MAX = 50_000
"""Of one account."""
UNSEEN_US_MAX = 30 * 86_400 * 1_000_000
"""A counter unseen for longer may be forgotten; one that began before then and is not known counts from its first value on."""


class Reading(Struct, frozen=True, gc=False):
    """What a counter showed at an instant. `series` tells it from all others, its start included."""

    series: bytes
    start_us: int
    at_us: int
    value: int


def advance(session: Session, account_id: int, readings: Sequence[Reading], now_us: int) -> list[int]:
    """What each reading adds to those before it, and keep the last ones. Invalid where there are too many counters.

    A value below the last one is a restart and counts in full. A reading that is not later than the last one adds nothing:
    it was sent again, or overtaken.
    """
    lock(session, account_id)
    series = list({reading.series for reading in readings})
    lines = session.among(
        "SELECT series, value, at_us FROM counter WHERE account_id = :account_id AND series IN $point_keys", series, account_id=account_id
    )
    known = {bytes(key): (value, at_us) for key, value, at_us in lines}
    _make_room(session, account_id, len(series) - len(known), now_us)
    added: dict[int, int] = {}
    for place, reading in sorted(enumerate(readings), key=lambda each: each[1].at_us):
        added[place] = _since(known.get(reading.series), reading, now_us)
        if reading.at_us >= known.get(reading.series, (0, 0))[1]:
            known[reading.series] = (reading.value, reading.at_us)
    session.many(
        """
        INSERT INTO counter (account_id, series, value, at_us, seen_us) $each (account_id, series, value, at_us, seen_us)
        ON CONFLICT (account_id, series) DO UPDATE SET value = EXCLUDED.value, at_us = EXCLUDED.at_us, seen_us = EXCLUDED.seen_us
        """,
        [(account_id, key, *known[key], now_us) for key in sorted(series)],
    )
    return [added[place] for place in range(len(readings))]


def _since(last: tuple[int, int] | None, reading: Reading, now_us: int) -> int:
    if last is None:
        return reading.value if reading.start_us >= now_us - UNSEEN_US_MAX else 0
    value, at_us = last
    if reading.at_us <= at_us:
        return 0
    return reading.value - value if reading.value >= value else reading.value


def _make_room(session: Session, account_id: int, new: int, now_us: int) -> None:
    """Forget counters that are long unseen, where there are as many as there may be."""
    if not new or _held(session, account_id) + new <= COUNTERS_MAX:
        return
    session.run(
        "DELETE FROM counter WHERE account_id = :account_id AND seen_us < :before", account_id=account_id, before=now_us - UNSEEN_US_MAX
    )
    if _held(session, account_id) + new > COUNTERS_MAX:
        raise Invalid(
            f"the account has {COUNTERS_MAX:,} cumulative counters; use delta temporality, or metrics with fewer different attributes"
        )


def _held(session: Session, account_id: int) -> int:
    (held,) = session.one("SELECT count(*) FROM counter WHERE account_id = :account_id", account_id=account_id) or (0,)
    return int(held)
