"""Merging users who are one person, and undoing it. What an alias means to readers is in ledger/aliases.py: nothing is moved here.

Whoever merges takes the account's row, so of two who merge the same user, or each into the other, the second sees what the first did.
An alias is always of a user, never of another alias: who becomes one takes their own aliases along, and back when that is undone.
"""

from msgspec import Struct

from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.intake.event import UNATTRIBUTED
from tallyboard.ledger import aliases, audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.people.erasure import is_pseudonym

ALIASES_MAX = 100


class Merged(Struct, frozen=True):
    """A user who is an alias now; `aliases` are the keys that became aliases of the same user along with this one, in order.

    `kept_limit` says that the alias has a limit of its own, which is not in force as long as it is an alias.
    """

    user: str
    alias_of: str
    aliases: tuple[str, ...] = ()
    kept_limit: bool = False


class Unmerged(Struct, frozen=True):
    """A user who is one again, and the aliases that came along. `kept_limit`: with a limit of their own, in force again."""

    user: str
    was_alias_of: str
    aliases: tuple[str, ...] = ()
    kept_limit: bool = False


class _Row(Struct, frozen=True):
    user_id: int
    key: str
    alias_of: int | None


def merge(session: Session, account_id: int, user: str, into: str, actor: str, now_us: int) -> Merged:
    """From now on a user is an alias of another, or of whom that one is an alias of. Said again, it changes nothing.

    NotFound for a key nobody has; Invalid for oneself, for usage that is nobody's and for who was erased; Taken where the user is an
    alias of somebody else.
    """
    lock(session, account_id)
    alias, target = (_find(session, account_id, key) for key in (user, into))
    if target.alias_of is not None:
        target = _of(session, account_id, target.alias_of)
    if alias.user_id == target.user_id:
        raise Invalid(f"{user[:80]!r} and {into[:80]!r} are one user already: {target.key[:80]!r}")
    if alias.alias_of is not None and alias.alias_of != target.user_id:
        of_whom = _of(session, account_id, alias.alias_of).key
        raise Taken(f"{user[:80]!r} is an alias of {of_whom[:80]!r}; undo that first, or merge {of_whom[:80]!r}")
    found = aliases.aliases(session, account_id, [alias.user_id, target.user_id])
    along = found.get(alias.user_id, [])
    merged = Merged(alias.key, target.key, tuple(key for _, key in along), _has_limit(session, account_id, alias.key))
    if alias.alias_of is not None:
        return merged
    if len(found.get(target.user_id, ())) + 1 + len(along) > ALIASES_MAX:
        raise Invalid(f"a user may have {ALIASES_MAX} aliases, and {target.key[:80]!r} would have more")
    for user_id, _ in along:
        _read_as(session, account_id, user_id, target.user_id, _merged_into(session, account_id, user_id), actor, now_us)
    _read_as(session, account_id, alias.user_id, target.user_id, target.user_id, actor, now_us)
    _count(session, account_id, 1)
    audit.note(session, account_id, actor, "user.merged", {"user": merged.user, "into": merged.alias_of, "aliases": merged.aliases}, now_us)
    return merged


def undo(session: Session, account_id: int, user: str, actor: str, now_us: int) -> Unmerged:
    """From now on an alias is a user again, with the aliases that were merged into it. NotFound where the user is none."""
    lock(session, account_id)
    alias = _find(session, account_id, user)
    if alias.alias_of is None:
        raise NotFound(f"{user[:80]!r} is no alias of anybody")
    of_whom = _of(session, account_id, alias.alias_of)
    along = coming_along(session, account_id, alias.user_id, alias.alias_of)
    _end(session, account_id, alias.user_id, now_us)
    _set(session, account_id, alias.user_id, None)
    for user_id, _ in along:
        _read_as(session, account_id, user_id, alias.user_id, _merged_into(session, account_id, user_id), actor, now_us)
    _count(session, account_id, -1)
    unmerged = Unmerged(alias.key, of_whom.key, tuple(key for _, key in along), _has_limit(session, account_id, alias.key))
    noted = {"user": unmerged.user, "was_alias_of": unmerged.was_alias_of, "aliases": unmerged.aliases}
    audit.note(session, account_id, actor, "user.unmerged", noted, now_us)
    return unmerged


def coming_along(session: Session, account_id: int, alias: int, user_id: int) -> list[tuple[int, str]]:
    """The ids and keys of the other aliases of a user that were merged into this one, if only by way of others; in the order of keys."""
    others = aliases.aliases(session, account_id, [user_id]).get(user_id, [])
    into: dict[int, int] = dict(
        session.among(
            """
            SELECT user_id, merged_into FROM user_alias
            WHERE account_id = :account_id AND user_id IN $keys AND until_us IS NULL
            """,
            [other for other, _ in others],
            account_id=account_id,
        )
    )
    found, grown = {alias}, True
    while grown:
        more = {other for other, target in into.items() if target in found} - found
        found |= more
        grown = bool(more)
    return [(other, key) for other, key in others if other in found - {alias}]


def _find(session: Session, account_id: int, key: str) -> _Row:
    if key == UNATTRIBUTED:
        raise Invalid("usage without a user is nobody's, so nobody can be merged with it")
    if is_pseudonym(key):
        raise Invalid(f"{key!r} was erased: whose usage it was is not to be told any more")
    line = session.one(
        "SELECT user_id, key, alias_of FROM app_user WHERE account_id = :account_id AND key = :key", account_id=account_id, key=key
    )
    if line is None:
        raise NotFound(f"there is no user {key[:80]!r}; users are known once they have usage, or are given a name")
    return _Row(*line)


def _of(session: Session, account_id: int, user_id: int) -> _Row:
    line = session.one(
        "SELECT user_id, key, alias_of FROM app_user WHERE account_id = :account_id AND user_id = :user_id",
        account_id=account_id,
        user_id=user_id,
    )
    assert line is not None, "a user is never taken away"
    return _Row(*line)


def _read_as(session: Session, account_id: int, user_id: int, alias_of: int, merged_into: int, actor: str, now_us: int) -> None:
    """From now on a user is read as another; what held until now stays known with its dates."""
    _end(session, account_id, user_id, now_us)
    (last,) = session.one(
        "SELECT max(alias_id) FROM user_alias WHERE account_id = :account_id AND user_id = :user_id", account_id=account_id, user_id=user_id
    ) or (None,)
    session.run(
        """
        INSERT INTO user_alias (account_id, user_id, alias_id, alias_of, merged_into, from_us, actor)
        VALUES (:account_id, :user_id, :alias_id, :alias_of, :merged_into, :now_us, :actor)
        """,
        account_id=account_id,
        user_id=user_id,
        alias_id=int(last or 0) + 1,
        alias_of=alias_of,
        merged_into=merged_into,
        now_us=now_us,
        actor=actor,
    )
    _set(session, account_id, user_id, alias_of)


def _end(session: Session, account_id: int, user_id: int, now_us: int) -> None:
    session.run(
        "UPDATE user_alias SET until_us = :now_us WHERE account_id = :account_id AND user_id = :user_id AND until_us IS NULL",
        account_id=account_id,
        user_id=user_id,
        now_us=now_us,
    )


def _set(session: Session, account_id: int, user_id: int, alias_of: int | None) -> None:
    session.run(
        "UPDATE app_user SET alias_of = :alias_of WHERE account_id = :account_id AND user_id = :user_id",
        account_id=account_id,
        user_id=user_id,
        alias_of=alias_of,
    )


def _merged_into(session: Session, account_id: int, user_id: int) -> int:
    line = session.one(
        "SELECT merged_into FROM user_alias WHERE account_id = :account_id AND user_id = :user_id ORDER BY alias_id DESC LIMIT 1",
        account_id=account_id,
        user_id=user_id,
    )
    assert line is not None
    return int(line[0])


def _count(session: Session, account_id: int, more: int) -> None:
    session.run(
        "UPDATE account SET aliases = aliases + :more, revision = revision + 1 WHERE account_id = :account_id",
        account_id=account_id,
        more=more,
    )


def _has_limit(session: Session, account_id: int, key: str) -> bool:
    line = session.one(
        "SELECT 1 FROM policy_override WHERE account_id = :account_id AND user_key = :key AND until_us IS NULL",
        account_id=account_id,
        key=key,
    )
    return line is not None
