"""Reads how users stand now: limit, used and held, from one snapshot or inside one transaction.

Used is what the day table says of the account's present day, or the quarter hours while the day table is rebuilt; there is no
second counter. Held is the sum of the holds of that day that have neither ended nor expired. All keys of a user have one allowance:
the user's limit, and what was used and is held under any of them.
"""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import encode

from tallyboard import days
from tallyboard.errors import NotFound
from tallyboard.ledger.aliases import keys_of
from tallyboard.ledger.contract import Line, Session
from tallyboard.policy.limits import Override, Standing, limit_of


class _Today(Struct, frozen=True):
    """The account's present day and what holds for all its users. `default` is the limit of who has none of their own."""

    account: str
    timezone: str
    version: int
    ready: bool
    default: int | None
    number: int
    starts_us: int
    ends_us: int
    aliases: int


def of_user(session: Session, account_id: int, user: str, now_us: int) -> Standing:
    """How one user stands; a user never seen has used nothing."""
    return of_users(session, account_id, [user], now_us)[user]


def of_users(session: Session, account_id: int, users: Sequence[str], now_us: int) -> dict[str, Standing]:
    """How each of some different users stands, by the key asked for; `Standing.user` is the user's own."""
    today = _today(session, account_id, now_us)
    owner = _owners(session, account_id, users) if today.aliases else dict(zip(users, users, strict=True))
    used: dict[str, int] = {}
    held: dict[str, int] = {}
    overrides: dict[str, Override] = {}
    ends: dict[str, int] = {}
    for kind, key, high, low, until_us in _lines(session, account_id, list(owner), today, now_us):
        user = owner[key]
        if kind == "used":
            used[user] = used.get(user, 0) + (high << 32) + low
        elif kind == "held":
            held[user], ends[user] = held.get(user, 0) + (high << 32) + low, min(until_us, ends.get(user, until_us))
        elif kind == "limit" and key == user:
            overrides[user] = Override(None if high < 0 else high, until_us or None)
    standings = {
        user: _standing(user, today, used.get(user, 0), held.get(user, 0), overrides.get(user), ends.get(user), now_us)
        for user in set(owner.values())
    }
    return {user: standings[owner[user]] for user in users}


def _owners(session: Session, account_id: int, users: Sequence[str]) -> dict[str, str]:
    """The users' keys by every key that means one of them."""
    return {key: keys.user for keys in keys_of(session, account_id, users).values() for key in keys.all}


def _standing(user: str, today: _Today, used: int, held: int, override: Override | None, ends_us: int | None, now_us: int) -> Standing:
    limit, origin = limit_of(today.default, override, now_us)
    changes_us = [today.ends_us, ends_us or today.ends_us]
    if override is not None and override.expires_us is not None and override.counts(now_us):
        changes_us.append(override.expires_us)
    return Standing(
        user=user,
        account=today.account,
        timezone=today.timezone,
        day=days.from_number(today.number),
        resets_us=today.ends_us,
        limit=limit,
        origin=origin,
        used=used,
        held=held,
        read_us=now_us,
        good_until_us=min(changes_us),
    )


def _today(session: Session, account_id: int, now_us: int) -> _Today:
    line = session.one(
        """
        SELECT name, timezone, zone_version, days_version, aliases,
               (SELECT default_units FROM policy WHERE policy.account_id = :account_id ORDER BY policy_id DESC LIMIT 1)
        FROM account WHERE account_id = :account_id
        """,
        account_id=account_id,
    )
    if line is None:
        raise NotFound("there is no such account")
    name, timezone, zone_version, days_version, aliases, default = line
    zone = days.zone(timezone)
    day = days.today(now_us, zone)
    starts_us, ends_us = days.starts_at_us(day, zone), days.ends_at_us(now_us, zone)
    return _Today(name, timezone, zone_version, zone_version == days_version, default, days.to_number(day), starts_us, ends_us, aliases)


def _lines(session: Session, account_id: int, users: Sequence[str], today: _Today, now_us: int) -> list[Line]:
    """What there is of each user: lines of kind, user, upper and lower half of an amount, and until when it is so."""
    values = {"account_id": account_id, "now_us": now_us, "starts_us": today.starts_us, "ends_us": today.ends_us}
    if today.ready:
        return session.among(_USED_BY_DAY + _LIMITS_AND_HOLDS, users, **values, version=today.version, day=today.number)
    return session.among(_USED_BY_SLOT + _LIMITS_AND_HOLDS, users, **values, edges=_slots_text(today, days.zone(today.timezone)))


_USED_BY_DAY = """
    SELECT 'used' AS kind, app_user.key, day_usage.units >> 32, day_usage.units & 4294967295, 0 FROM app_user
    $ordered_join day_usage ON day_usage.account_id = :account_id AND day_usage.zone_version = :version
        AND day_usage.user_id = app_user.user_id AND day_usage.day = :day
    WHERE app_user.account_id = :account_id AND app_user.key IN $keys
"""
_USED_BY_SLOT = """
    SELECT 'used' AS kind, app_user.key, sum(slot_usage.units >> 32), sum(slot_usage.units & 4294967295), 0 FROM app_user
    $ordered_join $day_edges AS edge ON edge.day >= 0
    $ordered_join slot_usage ON slot_usage.account_id = :account_id AND slot_usage.recent IN (0, 1)
        AND slot_usage.slot = edge.first_slot AND slot_usage.user_id = app_user.user_id
    WHERE app_user.account_id = :account_id AND app_user.key IN $keys
    GROUP BY app_user.key
"""
_LIMITS_AND_HOLDS = """
    UNION ALL
    SELECT 'limit', user_key, coalesce(limit_units, -1), 0, coalesce(expires_us, 0) FROM policy_override
    WHERE account_id = :account_id AND user_key IN $keys AND until_us IS NULL
    UNION ALL
    SELECT 'held', user_key, sum(units >> 32), sum(units & 4294967295), min(expires_us) FROM hold
    WHERE account_id = :account_id AND user_key IN $keys AND ended_us IS NULL
        AND granted_us >= :starts_us AND granted_us < :ends_us AND expires_us > :now_us
    GROUP BY user_key
"""


def _slots_text(today: _Today, zone: ZoneInfo) -> str:
    """The day's quarter hours one by one, for the fragment $day_edges: few look-ups by key instead of everybody's day."""
    edges = days.bounds(days.DayRange(days.from_number(today.number), days.from_number(today.number)), zone)
    return encode([(today.number, slot, slot + 1) for slot in range(edges[0], edges[1])]).decode()
