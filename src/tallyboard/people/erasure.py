"""Erasing a person: email, name and reasons go, and the key where it tells who it was. Usage stays, under what is left.

In one transaction, with the account's row taken. Events hold no key, only the user's number, so no event changes. What processes
remember of users' keys is dropped, because `account.erasures` has grown: the same subject then is a new user. A person is all keys
that mean one user: who is erased under one of them is erased under all.
"""

import re
from secrets import token_hex

from msgspec import Struct

from tallyboard.errors import Invalid, NotFound
from tallyboard.intake.event import UNATTRIBUTED
from tallyboard.ledger import audit
from tallyboard.ledger.aliases import keys_of
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock

PSEUDONYM = "erased-"
_PSEUDONYM_CHARACTERS = len(PSEUDONYM) + 16
_WORD = re.compile(r"[^\W\d_]{3,}")


class Erased(Struct, frozen=True, omit_defaults=True):
    """What the user is known by from then on, and whether that is another key than before; what the aliases are known by, where there are."""

    user: str
    replaced: bool
    aliases: tuple[str, ...] = ()


def erase(session: Session, account_id: int, user: str, actor: str, now_us: int, *, replace_key: bool | None = None) -> Erased:
    """Forget who a user is. NotFound where nothing is kept under the key.

    `replace_key` None replaces it where it may tell who it was (`tells_who`): by a random one, wherever it is kept. API keys that are
    bound to it are then revoked, since their holders would go on under the name.
    """
    if user == UNATTRIBUTED:
        raise Invalid("usage without a user is nobody's; there is nothing to erase")
    lock(session, account_id)
    person = keys_of(session, account_id, [user])[user]
    known = session.among(
        "SELECT email, name FROM app_user WHERE account_id = :account_id AND key IN $point_keys", person.all, account_id=account_id
    )
    later: dict[str, str] = {}
    for key in person.all:
        replaces = any(tells_who(key, *line) for line in [(None, None), *known]) if replace_key is None else replace_key
        later[key] = PSEUDONYM + token_hex(8) if replaces else key
        if _forget(session, account_id, key, later[key]) == 0:
            raise NotFound(f"nothing is kept of a user {user[:80]!r}")
        if later[key] != key:
            _revoke_bound(session, account_id, key, later[key], now_us)
    erased = Erased(later[person.user], later[person.user] != person.user, tuple(later[key] for key in person.all[1:]))
    session.run("UPDATE account SET revision = revision + 1, erasures = erasures + 1 WHERE account_id = :account_id", account_id=account_id)
    audit.note(session, account_id, actor, "user.erased", erased, now_us)
    return erased


def is_pseudonym(key: str) -> bool:
    """Whether a key is what an erased one was replaced by."""
    return key.startswith(PSEUDONYM) and len(key) == _PSEUDONYM_CHARACTERS and not key[len(PSEUDONYM) :].strip("0123456789abcdef")


def tells_who(key: str, email: str | None, name: str | None) -> bool:
    """Whether a key may be a person's email or name: an address, words alone, or a word of the email or name in it.

    It errs towards yes: `u-81f3` and a UUID are taken for nobody's name, `alice` and `Alice Smith 2` are not.
    """
    folded = key.casefold()
    if "@" in key or any(letter.isspace() for letter in key) or not any(letter.isdigit() for letter in key):
        return True
    known = f"{(email or '').partition('@')[0]} {name or ''}".casefold()
    return any(word in folded for word in _WORD.findall(known))


def _forget(session: Session, account_id: int, user: str, erased: str) -> int:
    """Take out what tells who it was; how many rows there were."""
    names: dict[str, str | int] = {"account_id": account_id, "user": user, "erased": erased}
    return (
        session.run("UPDATE app_user SET key = :erased, email = NULL, name = NULL WHERE account_id = :account_id AND key = :user", **names)
        + session.run(
            "UPDATE policy_override SET user_key = :erased, reason = '' WHERE account_id = :account_id AND user_key = :user", **names
        )
        + session.run("DELETE FROM scim_user WHERE account_id = :account_id AND user_key = :user", account_id=account_id, user=user)
        + session.run("UPDATE bucket SET user_key = :erased WHERE account_id = :account_id AND user_key = :user", **names)
        + session.run("UPDATE hold SET user_key = :erased WHERE account_id = :account_id AND user_key = :user", **names)
    )


def _revoke_bound(session: Session, account_id: int, user: str, erased: str, now_us: int) -> None:
    session.run(
        """
        UPDATE api_key SET user_key = :erased, revoked_us = coalesce(revoked_us, :now_us)
        WHERE account_id = :account_id AND user_key = :user
        """,
        account_id=account_id,
        user=user,
        erased=erased,
        now_us=now_us,
    )
