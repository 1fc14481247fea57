"""The account's row, taken first by every transaction that changes something of the account.

On every engine that makes a second writer of the same account wait until the first has committed, so
what is read after it, such as the highest number given, cannot be given again by somebody else.
"""

from msgspec import Struct

from tallyboard.errors import NotFound
from tallyboard.ledger.contract import Session


class LockedAccount(Struct, frozen=True):
    """An account row that no other transaction can change before this one ends.

    `days_end` is the first day that the rebuild after a zone change has not reached, None where all days are complete. `erasures`
    tells how often a user's key may have changed. `record_source` is the only source that counts, None for every one; of `own_record_sources`
    users another is set.
    """

    revision: int
    timezone: str
    zone_version: int
    days_end: int | None
    user_count: int
    shelf: int
    shelf_events: int
    erasures: int
    record_source: str | None
    own_record_sources: int


def lock(session: Session, account_id: int) -> LockedAccount:
    """Take the account row for this transaction; NotFound where there is no such account."""
    line = session.one(
        """
        UPDATE account SET revision = revision WHERE account_id = :account_id
        RETURNING revision, timezone, zone_version,
                  CASE WHEN days_version < zone_version THEN coalesce(days_through + 1, -1000000) END,
                  user_count, shelf, shelf_events, erasures, record_source, own_record_sources
        """,
        account_id=account_id,
    )
    if line is None:
        raise NotFound("there is no such account")
    return LockedAccount(*line)
