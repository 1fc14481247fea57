"""The directory of users: who they are beside their key. Any user with usage is in it; a name may come first."""

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.intake.event import KEY_CHARACTERS_MAX, is_key
from tallyboard.ledger.contract import Session

PAGE_USERS_MAX = 200
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")


class User(Struct, frozen=True):
    """A user of the account."""

    user: str
    email: str | None
    name: str | None


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
    """Whom each of some different texts means: the user with that key, else the only one with that email. Others are left out."""
    lines = session.among(
        """
        SELECT key, email, name FROM app_user WHERE account_id = :account_id AND email IN $keys
        UNION ALL
        SELECT key, email, name FROM app_user WHERE account_id = :account_id AND key IN $keys
        """,
        texts,
        account_id=account_id,
    )
    found = {User(*line) for line in lines}
    by_email: dict[str, list[User]] = {}
    for user in found:
        by_email.setdefault(user.email or "", []).append(user)
    only = {email: users[0] for email, users in by_email.items() if len(users) == 1}
    named = {**only, **{user.user: user for user in found}}
    return {text: named[text] for text in texts if text in named}


def by_emails(session: Session, account_id: int, emails: Sequence[str]) -> dict[str, User]:
    """The users with these emails, which are in small letters; an email that several users have means none of them."""
    lines = session.among(
        "SELECT lower(email), key, email, name FROM app_user WHERE account_id = :account_id AND lower(email) IN $keys",
        sorted(set(emails)),
        account_id=account_id,
    )
    times = Counter(line[0] for line in lines)
    return {line[0]: User(*line[1:]) for line in lines if times[line[0]] == 1}


def find(session: Session, account_id: int, search: str = "", after: str = "") -> list[User]:
    """Up to 200 users in the order of their keys, from after a key on, that hold the searched text."""
    wanted = search.casefold()
    found: list[User] = []
    while len(found) < PAGE_USERS_MAX:
        lines = session.all(
            """
            SELECT key, email, name FROM app_user WHERE account_id = :account_id AND key > :after ORDER BY key LIMIT 5000
            """,
            account_id=account_id,
            after=after,
        )
        found += [User(*line) for line in lines if not wanted or any(text and wanted in text.casefold() for text in line)]
        if len(lines) < 5000:
            break
        after = lines[-1][0]
    return found[:PAGE_USERS_MAX]
