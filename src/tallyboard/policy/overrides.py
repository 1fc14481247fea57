"""Overrides: limits of single users, with a reason and perhaps an expiry. What was in force stays known with its dates.

Every key of a user means the user's one. That of a key that became an alias is kept, and not in force until that is undone.
"""

from collections.abc import Sequence

from msgspec import Struct, structs

from tallyboard import days
from tallyboard.errors import Invalid, NotFound, Stale
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.ledger import aliases, audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.policy.limits import Override, limit_text
from tallyboard.policy.policy import tag, touch

REASON_CHARACTERS_MAX = 500
PAGE_OVERRIDES_MAX = 200
BULK_MAX = 1_000
_READ_AT_ONCE = 2_000


class UserOverride(Struct, frozen=True):
    """One user's own limit in units, None for none; who set it when, why, and until when it counts.

    `email` and `name` are the user's, where they are known. While `user` is an alias of another, it is not in force.
    """

    user: str
    units: int | None
    reason: str
    expires_us: int | None
    set_us: int
    actor: str
    override_id: int
    email: str | None = None
    name: str | None = None
    alias_of: str | None = None

    @property
    def tag(self) -> str:
        """Stands for this state of the user's override: it is never used again."""
        return tag(self.override_id, self.set_us)

    @property
    def limit(self) -> Override:
        """What decides."""
        return Override(self.units, self.expires_us)


class Wanted(Struct, frozen=True):
    """An override to be set."""

    user: str
    units: int | None
    reason: str = ""
    expires_us: int | None = None


def of(session: Session, account_id: int, user: str) -> UserOverride | None:
    """The override of the user whom a key means, also one that has expired; None where there is none."""
    return kept(session, account_id, aliases.user_of(session, account_id, user))


def kept(session: Session, account_id: int, user: str) -> UserOverride | None:
    """What is kept under a key, whether or not it is an alias; None where nothing is."""
    lines = session.all(_SELECT + " AND user_key = :user", account_id=account_id, user=user)
    return UserOverride(*lines[0]) if lines else None


def listed(session: Session, account_id: int, search: str = "", after: str = "", most: int = PAGE_OVERRIDES_MAX) -> list[UserOverride]:
    """Overrides in the order of their users' keys, from after a key on, whose key, email, name or reason holds the searched text."""
    wanted = search.casefold()
    found: list[UserOverride] = []
    while len(found) < most:
        lines = session.all(
            _SELECT + " AND user_key > :after ORDER BY user_key LIMIT :most", account_id=account_id, after=after, most=_READ_AT_ONCE
        )
        read = [UserOverride(*line) for line in lines]
        found += [
            each for each in read if any(text and wanted in text.casefold() for text in (each.user, each.email, each.name, each.reason))
        ]
        if len(lines) < _READ_AT_ONCE:
            break
        after = lines[-1][0]
    found = found[:most]
    users = aliases.users_of(session, account_id, [each.user for each in found])
    return [structs.replace(each, alias_of=users.get(each.user)) for each in found]


def count(session: Session, account_id: int) -> int:
    """How many users have one."""
    (number,) = session.one(
        "SELECT count(*) FROM policy_override WHERE account_id = :account_id AND until_us IS NULL", account_id=account_id
    ) or (0,)
    return int(number)


def put(session: Session, account_id: int, wanted: Sequence[Wanted], actor: str, now_us: int, *, expected: str | None = None) -> None:
    """Set overrides, each in the place of the one its user had. All of them or none.

    Stale where `expected`, the tag the caller saw of the only one's predecessor (`none` for there being none), no longer holds.
    """
    if len(wanted) > BULK_MAX:
        raise Invalid(f"{BULK_MAX:,} overrides can be set at once; these are {len(wanted):,}")
    for each in wanted:
        _check(each, now_us)
    lock(session, account_id)
    users = aliases.users_of(session, account_id, list({each.user for each in wanted}))
    wanted = [structs.replace(each, user=users.get(each.user, each.user)) for each in wanted]
    if len({each.user for each in wanted}) < len(wanted):
        raise Invalid("a user is named twice")
    for each in wanted:
        before = kept(session, account_id, each.user)
        _check_expected(before, expected)
        if before and (before.units, before.reason, before.expires_us) == (each.units, each.reason, each.expires_us):
            continue
        _end(session, account_id, each.user, now_us)
        _insert(session, account_id, each, actor, now_us)
        audit.note(session, account_id, actor, "override.set", {"user": each.user, "before": _noted(before), "after": _noted(each)}, now_us)
    touch(session, account_id)


def remove(session: Session, account_id: int, user: str, actor: str, now_us: int, *, expected: str | None = None) -> None:
    """From now on the default counts for the user again. NotFound where there is no override."""
    lock(session, account_id)
    user = aliases.user_of(session, account_id, user)
    before = kept(session, account_id, user)
    if before is None:
        raise NotFound(f"{user[:80]!r} has no limit of their own")
    _check_expected(before, expected)
    _end(session, account_id, user, now_us)
    audit.note(session, account_id, actor, "override.removed", {"user": user, "before": _noted(before)}, now_us)
    touch(session, account_id)


def expire(session: Session, account_id: int, now_us: int) -> None:
    """End the overrides that have expired, and note it: they count no more already; now pages and the history say so."""
    lock(session, account_id)
    lines = session.all(_SELECT + " AND expires_us <= :now_us ORDER BY user_key LIMIT 1000", account_id=account_id, now_us=now_us)
    for each in (UserOverride(*line) for line in lines):
        assert each.expires_us is not None
        _end(session, account_id, each.user, each.expires_us)
        audit.note(session, account_id, "expiry", "override.expired", {"user": each.user, "before": _noted(each)}, now_us)
    touch(session, account_id)


def left_to_expire(session: Session, now_us: int) -> list[int]:
    """The accounts with overrides that have expired and not been ended."""
    lines = session.all(
        """
        SELECT account_id FROM account
        WHERE EXISTS (SELECT 1 FROM policy_override WHERE policy_override.account_id = account.account_id
                      AND until_us IS NULL AND expires_us <= :now_us)
        """,
        now_us=now_us,
    )
    return [account_id for (account_id,) in lines]


def in_force(session: Session, account_id: int, now_us: int) -> dict[str, int | None]:
    """The limits of everybody who has one of their own now."""
    lines = session.all(
        """
        SELECT user_key, limit_units FROM policy_override
        WHERE account_id = :account_id AND until_us IS NULL AND (expires_us IS NULL OR expires_us > :now_us)
        """,
        account_id=account_id,
        now_us=now_us,
    )
    not_now = aliases.alias_keys(session, account_id)
    return {user: units for user, units in lines if user not in not_now}


_SELECT = """
    SELECT user_key, limit_units, reason, expires_us, from_us, actor, override_id,
           (SELECT email FROM app_user WHERE app_user.account_id = :account_id AND app_user.key = user_key),
           (SELECT name FROM app_user WHERE app_user.account_id = :account_id AND app_user.key = user_key)
    FROM policy_override WHERE account_id = :account_id AND until_us IS NULL
"""


def _check(wanted: Wanted, now_us: int) -> None:
    if not is_key(wanted.user):
        raise Invalid(f"a user key has 1 to {KEY_CHARACTERS_MAX} printable characters")
    if len(wanted.reason) > REASON_CHARACTERS_MAX or (wanted.reason and not wanted.reason.isprintable()):
        raise Invalid(f"a reason has at most {REASON_CHARACTERS_MAX} printable characters")
    if wanted.expires_us is not None and wanted.expires_us <= now_us:
        raise Invalid(f"an override cannot expire in the past ({days.instant_text(wanted.expires_us)})")


def _check_expected(before: UserOverride | None, expected: str | None) -> None:
    if expected is not None and expected != (before.tag if before else "none"):
        raise Stale("somebody else has changed this user's limit meanwhile; look at what it is now, then save again")


def _end(session: Session, account_id: int, user: str, until_us: int) -> None:
    session.run(
        "UPDATE policy_override SET until_us = :until_us WHERE account_id = :account_id AND user_key = :user AND until_us IS NULL",
        account_id=account_id,
        user=user,
        until_us=until_us,
    )


def _insert(session: Session, account_id: int, wanted: Wanted, actor: str, now_us: int) -> None:
    (last,) = session.one(
        "SELECT max(override_id) FROM policy_override WHERE account_id = :account_id AND user_key = :user",
        account_id=account_id,
        user=wanted.user,
    ) or (None,)
    session.run(
        """
        INSERT INTO policy_override (account_id, user_key, override_id, limit_units, reason, expires_us, from_us, actor)
        VALUES (:account_id, :user, :override_id, :units, :reason, :expires_us, :now_us, :actor)
        """,
        account_id=account_id,
        user=wanted.user,
        override_id=int(last or 0) + 1,
        units=wanted.units,
        reason=wanted.reason,
        expires_us=wanted.expires_us,
        now_us=now_us,
        actor=actor,
    )


def _noted(override: UserOverride | Wanted | None) -> dict[str, str | None] | None:
    if override is None:
        return None
    expires = None if override.expires_us is None else days.instant_text(override.expires_us)
    return {"limit": limit_text(override.units), "reason": override.reason, "expires_at": expires}
