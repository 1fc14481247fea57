"""What a limit would have done: which users would have been paused on which of the last 30 account days.

A user would have been paused on a day if what the day table says of it reaches the limit: the rule of `Standing.may_go_on`,
seen from the end of the day. Users with a limit of their own keep it. Only days on which a user has an event are looked at.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date

from msgspec import Struct

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.policy import overrides
from tallyboard.usage.question import Source, UserDay, users_by_id, users_by_key
from tallyboard.usage.report import short_identifier

DAYS = 30
WHO_MAX = 200


class PausedUser(Struct, frozen=True):
    """A user who would have been paused on `days`, and the most units used on one of them."""

    user: str
    label: str
    name: str | None
    days: tuple[date, ...]
    most_units: int


class Preview(Struct, frozen=True):
    """How many users would have been paused on how many user-days, of how many; on which days how many; and who.

    `who` is at most 200, those paused most often first, then by key.
    """

    users: int
    user_days: int
    all_users: int
    all_user_days: int
    by_day: tuple[tuple[date, int], ...]
    who: tuple[PausedUser, ...]


def preview(session: Session, account_id: int, default_units: int | None, now_us: int, skip: int = 0) -> Preview:
    """What a default limit would have done in the last 30 account days, today included; `who` begins after the first `skip`."""
    source = Source(session, account_id, zone_of(session, account_id), None)
    span = days.window(DAYS, days.today(now_us, source.zone))
    found = reached(session, account_id, source, span, default_units, overrides.in_force(session, account_id, now_us))
    all_users, all_user_days = source.extent(span)
    by_user: dict[int, list[UserDay]] = {}
    for line in found:
        by_user.setdefault(line[0], []).append(line)
    by_day = Counter(day for _, day, _ in found)
    return Preview(
        users=len(by_user),
        user_days=len(found),
        all_users=all_users,
        all_user_days=all_user_days,
        by_day=tuple((day, by_day[days.to_number(day)]) for day in span.days()),
        who=_who(session, account_id, by_user, skip),
    )


def reached(
    session: Session, account_id: int, source: Source, span: DayRange, default_units: int | None, own: Mapping[str, int | None]
) -> list[UserDay]:
    """The days of a range on which users reached their limit, were it that default and, for some, their own."""
    limits = {named.user_id: own[named.key] for named in users_by_key(session, account_id, list(own))}
    found = [] if default_units is None else [line for line in source.days_reaching(span, default_units) if line[0] not in limits]
    limited = [user_id for user_id, units in limits.items() if units is not None]
    return found + [line for line in source.days_of(span, limited) if line[2] >= (limits[line[0]] or 0)]


def _who(session: Session, account_id: int, by_user: dict[int, list[UserDay]], skip: int) -> tuple[PausedUser, ...]:
    """Those paused most often, then by key: named are all who may be among the 200 after the skipped."""
    counts = sorted((len(lines) for lines in by_user.values()), reverse=True)[: skip + WHO_MAX]
    named = users_by_id(session, account_id, [user_id for user_id, lines in by_user.items() if counts and len(lines) >= counts[-1]])
    paused = [
        PausedUser(
            each.key,
            each.email or short_identifier(each.key),
            each.name,
            tuple(days.from_number(day) for _, day, _ in sorted(by_user[each.user_id])),
            max(units for _, _, units in by_user[each.user_id]),
        )
        for each in named
    ]
    return tuple(sorted(paused, key=lambda one: (-len(one.days), one.user))[skip : skip + WHO_MAX])
