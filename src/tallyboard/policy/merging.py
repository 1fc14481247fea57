"""What merging two users would do, and undoing it: for whoever is about to decide."""

from collections.abc import Sequence
from datetime import date

from msgspec import Struct

from tallyboard import days
from tallyboard.ledger import aliases as kept_aliases
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.people import aliases, directory
from tallyboard.people.directory import Entry
from tallyboard.policy import overrides
from tallyboard.policy.overrides import UserOverride
from tallyboard.usage.question import Source, users_by_key

DAYS = 30


class Side(Struct, frozen=True):
    """A user as one looks at them before deciding: units of the last 30 account days, on how many of them, and the last of all time.

    `own` is the user's own limit, also one that is kept and not in force.
    """

    who: Entry
    units: int
    active_days: int
    last_on: date | None
    own: UserOverride | None


class Apart(Struct, frozen=True):
    """What would be taken apart: the alias, those that would come along, and the units of the last 30 days of them and of who stays."""

    alias: Entry
    along: tuple[str, ...]
    units: int
    stays_units: int
    own: UserOverride | None


def side(session: Session, account_id: int, user: str, now_us: int) -> Side | None:
    """The user whom a key means, with all aliases; None where there is none."""
    source = Source(session, account_id, zone_of(session, account_id), None)
    known = users_by_key(session, account_id, [user])
    if not known:
        return None
    (who,) = known
    span = days.window(DAYS, days.today(now_us, source.zone))
    of_days = source.days_of(span, [who.user_id])
    last = (source.last_days([who.user_id]) or {}).get(who.user_id)
    (entry,) = directory.entries(session, account_id, [who.key])
    return Side(
        entry,
        sum(units for _, _, units in of_days),
        len(of_days),
        None if last is None else days.from_number(last),
        overrides.kept(session, account_id, who.key),
    )


def apart(session: Session, account_id: int, alias: str, now_us: int) -> Apart | None:
    """What undoing would take apart; None where the key is no alias."""
    found = directory.entries(session, account_id, [alias])
    if not found or found[0].alias_of is None:
        return None
    entry, of_whom = found[0], found[0].alias_of
    source = Source(session, account_id, zone_of(session, account_id), None)
    span = days.window(DAYS, days.today(now_us, source.zone))
    (user,) = users_by_key(session, account_id, [of_whom])
    ids = {key: user_id for user_id, key in kept_aliases.aliases(session, account_id, [user.user_id])[user.user_id]}
    along = aliases.coming_along(session, account_id, ids[alias], user.user_id)
    by_key = source.units_by_key(span, [user.user_id, *ids.values()])
    taken = sum(by_key.get(user_id, 0) for user_id in (ids[alias], *(user_id for user_id, _ in along)))
    return Apart(entry, tuple(key for _, key in along), taken, sum(by_key.values()) - taken, overrides.kept(session, account_id, alias))


def last_days(session: Session, account_id: int, users: Sequence[str]) -> dict[str, date] | None:
    """The last account day on which each of some users, no aliases, has usage; None while days are rebuilt after a change of the zone."""
    source = Source(session, account_id, zone_of(session, account_id), None)
    known = {named.user_id: named.key for named in users_by_key(session, account_id, users)}
    found = source.last_days(list(known))
    return None if found is None else {known[user_id]: days.from_number(day) for user_id, day in found.items()}
