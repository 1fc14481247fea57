"""The directory of users: who they are beside their key. Any user with usage is in it; a name may come first."""

import re
from collections.abc import Sequence

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.intake.event import KEY_CHARACTERS_MAX, UNATTRIBUTED, is_key
from tallyboard.ledger import aliases
from tallyboard.ledger.contract import Line, Session

PAGE_USERS_MAX = 200
LIKELY_MAX = 5
_READ_AT_ONCE = 5_000
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


class User(Struct, frozen=True):
    """A user of the account."""

    user: str
    email: str | None
    name: str | None


class Entry(Struct, frozen=True):
    """A line of the directory: `alias_of` is the user whom this one is an alias of, None for none; `aliases` are the user's, by key."""

    user: str
    email: str | None
    name: str | None
    alias_of: str | None = None
    aliases: tuple[str, ...] = ()


def is_email(text: str) -> bool:
    """Whether it is written as an email address is."""
    return _EMAIL.fullmatch(text) is not None


def name_user(session: Session, account_id: int, user: User) -> None:
    """Set a user's email and name, None for none; a user not seen yet is added."""
    if not is_key(user.user):
        raise Invalid(f"a user key has 1 to {KEY_CHARACTERS_MAX} printable characters")
    if user.email is not None and not is_email(user.email):
        raise Invalid(f"{user.email[:80]!r} is not an email address")
    if user.name is not None and not is_key(user.name):
        raise Invalid(f"a name has 1 to {KEY_CHARACTERS_MAX} printable characters")
    taken = session.one(
        "UPDATE account SET revision = revision + 1 WHERE account_id = :account_id RETURNING user_count", account_id=account_id
    )
    assert taken is not None
    known = session.run(
        "UPDATE app_user SET email = :email, name = :name WHERE account_id = :account_id AND key = :key",
        email=user.email,
        name=user.name,
        account_id=account_id,
        key=user.user,
    )
    if not known:
        session.run(
            "INSERT INTO app_user (account_id, user_id, key, email, name) VALUES (:account_id, :user_id, :key, :email, :name)",
            account_id=account_id,
            user_id=taken[0] + 1,
            key=user.user,
            email=user.email,
            name=user.name,
        )
        session.run("UPDATE account SET user_count = user_count + 1 WHERE account_id = :account_id", account_id=account_id)


def of(session: Session, account_id: int, keys: Sequence[str]) -> dict[str, User]:
    """The users with these different keys; a key never seen is left out."""
    lines = session.among(
        "SELECT key, email, name FROM app_user WHERE account_id = :account_id AND key IN $point_keys", keys, account_id=account_id
    )
    return {line[0]: User(*line) for line in lines}


def meant(session: Session, account_id: int, texts: Sequence[str]) -> dict[str, User]:
    """Whom each of some different texts means: the user with that key, else the only one with that email. Others are left out.

    An alias means the user it is one of.
    """
    lines = session.among(
        """
        SELECT user_id, key, email, name, alias_of FROM app_user WHERE account_id = :account_id AND email IN $keys
        UNION ALL
        SELECT user_id, key, email, name, alias_of FROM app_user WHERE account_id = :account_id AND key IN $keys
        """,
        texts,
        account_id=account_id,
    )
    users = _users(session, account_id, lines)
    by_email: dict[str, set[User]] = {}
    for user_id, _, email, *_ in lines:
        by_email.setdefault(email or "", set()).add(users[user_id])
    only = {email: next(iter(found)) for email, found in by_email.items() if len(found) == 1}
    named = {**only, **{key: users[user_id] for user_id, key, *_ in lines}}
    return {text: named[text] for text in texts if text in named}


def by_emails(session: Session, account_id: int, emails: Sequence[str]) -> dict[str, User]:
    """The users with these emails, which are in small letters; an email that several users have means none of them.

    The email of an alias is its user's.
    """
    lines = session.among(
        """
        SELECT user_id, key, email, name, alias_of, lower(email) FROM app_user
        WHERE account_id = :account_id AND lower(email) IN $keys
        """,
        sorted(set(emails)),
        account_id=account_id,
    )
    users = _users(session, account_id, lines)
    by_email: dict[str, set[User]] = {}
    for line in lines:
        by_email.setdefault(line[5], set()).add(users[line[0]])
    return {email: next(iter(found)) for email, found in by_email.items() if len(found) == 1}


def find(session: Session, account_id: int, search: str = "", after: str = "", most: int = PAGE_USERS_MAX) -> list[Entry]:
    """Up to 200 users in the order of their keys, aliases among them, from after a key on, that hold the searched text."""
    wanted = search.casefold()
    found: list[Line] = []
    while len(found) < most:
        lines = session.all(
            """
            SELECT user_id, key, email, name, alias_of FROM app_user
            WHERE account_id = :account_id AND key > :after ORDER BY key LIMIT :most
            """,
            account_id=account_id,
            after=after,
            most=_READ_AT_ONCE,
        )
        found += [line for line in lines if _holds(line[1:4], wanted)]
        if len(lines) < _READ_AT_ONCE:
            break
        after = lines[-1][1]
    return _entries(session, account_id, found[:most])


def persons(session: Session, account_id: int, search: str = "", after: str = "", most: int = PAGE_USERS_MAX) -> list[Entry]:
    """Likewise, aliases only with their users: who or of whom an alias holds the searched text."""
    wanted = search.casefold()
    by_alias = _by_alias(session, account_id, wanted) if wanted else set()
    found: list[Line] = []
    while len(found) < most:
        lines = session.all(
            """
            SELECT user_id, key, email, name, alias_of FROM app_user
            WHERE account_id = :account_id AND alias_of IS NULL AND key > :after ORDER BY key LIMIT :most
            """,
            account_id=account_id,
            after=after,
            most=_READ_AT_ONCE if wanted else most,
        )
        found += [line for line in lines if line[0] in by_alias or _holds(line[1:4], wanted)]
        if len(lines) < (_READ_AT_ONCE if wanted else most):
            break
        after = lines[-1][1]
    return _entries(session, account_id, found[:most])


def entries(session: Session, account_id: int, keys: Sequence[str]) -> list[Entry]:
    """The lines of some different keys; a key never seen is left out."""
    lines = session.among(
        "SELECT user_id, key, email, name, alias_of FROM app_user WHERE account_id = :account_id AND key IN $point_keys",
        keys,
        account_id=account_id,
    )
    return _entries(session, account_id, lines)


def alike(session: Session, account_id: int, who: Entry) -> list[Entry]:
    """Who is likely the same person as a user, because an email is the same or is the other's key, whatever the case; at most 5."""
    texts = {text.lower() for text in (who.email, who.user) if text}
    lines = session.among(
        """
        SELECT key FROM app_user WHERE account_id = :account_id AND lower(email) IN $keys
        UNION
        SELECT key FROM app_user WHERE account_id = :account_id AND lower(key) IN $keys
        """,
        sorted(texts),
        account_id=account_id,
    )
    users = aliases.users_of(session, account_id, [key for (key,) in lines])
    found = {str(users.get(key, key)) for (key,) in lines} - {who.user, UNATTRIBUTED}
    return entries(session, account_id, sorted(found)[:LIKELY_MAX])


def count(session: Session, account_id: int) -> int:
    """How many users there are, aliases not counted."""
    line = session.one("SELECT user_count - aliases FROM account WHERE account_id = :account_id", account_id=account_id)
    return int(line[0]) if line else 0


def _holds(texts: Sequence[str | None], wanted: str) -> bool:
    return not wanted or any(text and wanted in text.casefold() for text in texts)


def _by_alias(session: Session, account_id: int, wanted: str) -> set[int]:
    """The users of whom an alias holds the searched text."""
    lines = session.all(
        "SELECT alias_of, key, email, name FROM app_user WHERE account_id = :account_id AND alias_of IS NOT NULL", account_id=account_id
    )
    return {line[0] for line in lines if _holds(line[1:], wanted)}


def _users(session: Session, account_id: int, lines: Sequence[Line]) -> dict[int, User]:
    """Whom lines of user_id, key, email, name and alias_of mean, by user_id."""
    of_aliases = sorted({line[4] for line in lines if line[4] is not None})
    known = {user_id: User(key, email, name) for user_id, key, email, name in _by_ids(session, account_id, of_aliases)}
    return {line[0]: User(*line[1:4]) if line[4] is None else known[line[4]] for line in lines}


def _entries(session: Session, account_id: int, lines: Sequence[Line]) -> list[Entry]:
    """Lines of user_id, key, email, name and alias_of with what belongs together."""
    users = {line[0]: line[1] for line in _by_ids(session, account_id, sorted({line[4] for line in lines if line[4] is not None}))}
    known = aliases.aliases(session, account_id, [line[0] for line in lines])
    return [
        Entry(key, email, name, users.get(alias_of), tuple(alias for _, alias in known.get(user_id, ())))
        for user_id, key, email, name, alias_of in lines
    ]


def _by_ids(session: Session, account_id: int, user_ids: Sequence[int]) -> list[Line]:
    return session.among(
        "SELECT user_id, key, email, name FROM app_user WHERE account_id = :account_id AND user_id IN $point_keys",
        user_ids,
        account_id=account_id,
    )
