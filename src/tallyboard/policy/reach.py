"""How far users are with their limits on the days that a page of usage shows."""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from tallyboard.days import DayRange
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.policy import overrides, policy, preview
from tallyboard.usage.question import Source


class Reach(Struct, frozen=True):
    """Limits in force now: of the users shown by key, in units or None for none, and everybody else's default.

    `reached` is how many users, shown or not, are at or over their limit on the day shown.
    """

    limits: Mapping[str, int | None]
    default_units: int | None
    reached: int


def reach(session: Session, account_id: int, users: Sequence[str], day: date, now_us: int) -> Reach | None:
    """What a page that shows those users and, of their days, that one needs; None where nobody has a limit."""
    default_units = policy.of(session, account_id).default_units
    own = overrides.in_force(session, account_id, now_us)
    if default_units is None and not any(units is not None for units in own.values()):
        return None
    source = Source(session, account_id, zone_of(session, account_id), None)
    found = preview.reached(session, account_id, source, DayRange(day, day), default_units, own)
    return Reach({user: own.get(user, default_units) for user in users}, default_units, len(found))
