"""Who is whom: users that are aliases of others. An alias is a way of reading, never of writing.

Events, quarter hours, days, holds and limits stay under the key they came with, and whoever reads adds up what belongs to one user.
So merging users and undoing it move no row, and both are exact whatever came meanwhile (laws 3 and 5). `account.aliases` counts
them and is read with what every question reads anyway: where there are none, nothing more is asked.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tallyboard.ledger.contract import Session

DayLine = tuple[int, int, int]
"""user_id, day number and units."""


class Families(Struct, frozen=True):
    """The user of every alias of an account, and the aliases of every user that has some; by user_id."""

    user_of: Mapping[int, int] = {}
    aliases_of: Mapping[int, Sequence[int]] = {}

    def members(self, user_ids: Iterable[int]) -> list[int]:
        """Users, each with the aliases."""
        return [member for user_id in user_ids for member in (user_id, *self.aliases_of.get(user_id, ()))]

    @property
    def all_members(self) -> set[int]:
        """Everybody who is an alias or has one."""
        return {*self.user_of, *self.aliases_of}

    def add_up(self, sums: dict[int, int]) -> dict[int, int]:
        """Sums by user_id as those of users alone."""
        for alias, user_id in self.user_of.items():
            if alias in sums:
                sums[user_id] = sums.get(user_id, 0) + sums.pop(alias)
        return sums

    def add_up_days(self, lines: list[DayLine]) -> list[DayLine]:
        """Days of users and aliases as those of users alone."""
        if not self.user_of:
            return lines
        sums: dict[tuple[int, int], int] = {}
        for user_id, day, units in lines:
            place = (self.user_of.get(user_id, user_id), day)
            sums[place] = sums.get(place, 0) + units
        return [(user_id, day, units) for (user_id, day), units in sums.items()]


NOBODY = Families()


class Keys(Struct, frozen=True):
    """The key of a user, and all keys that mean this user: that one, then the aliases' in order."""

    user: str
    all: tuple[str, ...]


def families(session: Session, account_id: int) -> Families:
    """Every alias of the account as of this transaction."""
    lines = session.all(
        "SELECT user_id, alias_of FROM app_user WHERE account_id = :account_id AND alias_of IS NOT NULL", account_id=account_id
    )
    aliases_of: dict[int, list[int]] = {}
    for alias, user_id in sorted(lines):
        aliases_of.setdefault(user_id, []).append(alias)
    return Families(dict(lines), aliases_of) if lines else NOBODY


def users_of(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, str]:
    """The users' keys by those of some different keys that are aliases; what is no alias is left out."""
    lines = session.among(
        """
        SELECT app_user.key, person.key FROM app_user
        JOIN app_user AS person ON person.account_id = :account_id AND person.user_id = app_user.alias_of
        WHERE app_user.account_id = :account_id AND app_user.key IN $keys
        """,
        keys,
        account_id=account_id,
    )
    return dict(lines)


def user_of(session: Session, account_id: int, key: str) -> str:
    """The key of the user whom a key means."""
    return users_of(session, account_id, [key]).get(key, key)


def keys_of(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, Keys]:
    """Whom each of some different keys means; one never seen means itself."""
    known = session.among(
        "SELECT key, coalesce(alias_of, user_id) FROM app_user WHERE account_id = :account_id AND key IN $point_keys",
        keys,
        account_id=account_id,
    )
    lines = session.among(
        """
        SELECT user_id AS person, 0, key FROM app_user WHERE account_id = :account_id AND user_id IN $keys
        UNION ALL
        SELECT alias_of, 1, key FROM app_user WHERE account_id = :account_id AND alias_of IN $keys
        """,
        sorted({user_id for _, user_id in known}),
        account_id=account_id,
    )
    by_user: dict[int, list[str]] = {}
    for user_id, _, key in sorted(lines):
        by_user.setdefault(user_id, []).append(key)
    meant = {key: Keys(by_user[user_id][0], tuple(by_user[user_id])) for key, user_id in known}
    return {key: meant.get(key) or Keys(key, (key,)) for key in keys}


def aliases(session: Session, account_id: int, user_ids: Sequence[int]) -> dict[int, list[tuple[int, str]]]:
    """The user_ids and keys of the aliases of some different users, in the order of keys; users without any are left out."""
    lines = session.among(
        "SELECT alias_of, key, user_id FROM app_user WHERE account_id = :account_id AND alias_of IN $keys", user_ids, account_id=account_id
    )
    found: dict[int, list[tuple[int, str]]] = {}
    for user_id, key, alias in sorted(lines):
        found.setdefault(user_id, []).append((alias, key))
    return found


def alias_keys(session: Session, account_id: int) -> set[str]:
    """Every key that is an alias."""
    lines = session.all("SELECT key FROM app_user WHERE account_id = :account_id AND alias_of IS NOT NULL", account_id=account_id)
    return {key for (key,) in lines}


def user_at(session: Session, account_id: int, key: str, at_us: int) -> str:
    """The key of the user whom a key meant at an instant."""
    line = session.one(
        """
        SELECT person.key FROM app_user
        JOIN user_alias ON user_alias.account_id = :account_id AND user_alias.user_id = app_user.user_id
            AND user_alias.from_us <= :at_us AND (user_alias.until_us IS NULL OR user_alias.until_us > :at_us)
        JOIN app_user AS person ON person.account_id = :account_id AND person.user_id = user_alias.alias_of
        WHERE app_user.account_id = :account_id AND app_user.key = :key
        ORDER BY user_alias.alias_id DESC LIMIT 1
        """,
        account_id=account_id,
        key=key,
        at_us=at_us,
    )
    return str(line[0]) if line else key
