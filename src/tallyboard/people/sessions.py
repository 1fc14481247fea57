"""Sessions: who signed in stays signed in by a secret in a cookie, of which the server keeps the hash and when it was used.

A session ends by itself 14 days after the sign-in, and earlier where nobody has used it for a while. Its use is written down
every five minutes at most; a page that refreshes itself is no use.
"""

import re
from hashlib import sha256

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.people import secrets

DAYS = 14
IDLE_HOURS = 12
"""What holds where no setting says otherwise."""
_DAY_US = 86_400_000_000
_HOUR_US = 3_600_000_000
_SEEN_EVERY_US = 300_000_000
_BROWSER_CHARACTERS_MAX = 60
_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox/": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}
"""By a mark that only they, or those before them, carry."""
_SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "CrOS": "ChromeOS",
    "Windows": "Windows",
    "Mac OS X": "macOS",
    "Linux": "Linux",
}


class SignedIn(Struct, frozen=True):
    """A session as its member sees it. `id` names it and opens nothing."""

    id: str
    began_us: int
    seen_us: int
    browser: str
    current: bool


def begin(session: Session, member_id: int, browser: str, now_us: int) -> str:
    """A new session of a member: its secret. `browser` is in short words."""
    secret = secrets.make()
    session.run(
        """
        INSERT INTO session (secret_hash, member_id, created_us, expires_us, seen_us, browser)
        VALUES (:secret_hash, :member_id, :now_us, :expires_us, :now_us, :browser)
        """,
        secret_hash=secrets.hashed(secret),
        member_id=member_id,
        now_us=now_us,
        expires_us=now_us + DAYS * _DAY_US,
        browser=browser,
    )
    session.run("DELETE FROM session WHERE expires_us <= :now_us", now_us=now_us)
    return secret


def idle_since(now_us: int, idle_hours: int) -> int:
    """A session that was last used then or before has ended."""
    return now_us - idle_hours * _HOUR_US


def is_unseen(session: Session, secret: str, now_us: int) -> bool:
    """Whether it is time to write down that a session is in use."""
    return (
        session.one(
            "SELECT 1 FROM session WHERE secret_hash = :secret_hash AND coalesce(seen_us, created_us) <= :before_us",
            secret_hash=secrets.hashed(secret),
            before_us=now_us - _SEEN_EVERY_US,
        )
        is not None
    )


def see(session: Session, secret: str, now_us: int) -> None:
    """Write down that a session is in use."""
    session.run("UPDATE session SET seen_us = :now_us WHERE secret_hash = :secret_hash", now_us=now_us, secret_hash=secrets.hashed(secret))


def listed(session: Session, person_id: int, secret: str, now_us: int, idle_hours: int) -> list[SignedIn]:
    """The sessions a person has in all accounts, the one with this secret first, then by their last use."""
    lines = session.all(
        """
        SELECT secret_hash, created_us, coalesce(seen_us, created_us), coalesce(browser, '') FROM session
        WHERE member_id IN (SELECT member_id FROM member WHERE coalesce(person_id, member_id) = :person_id)
            AND expires_us > :now_us AND coalesce(seen_us, created_us) > :idle_since_us
        """,
        person_id=person_id,
        now_us=now_us,
        idle_since_us=idle_since(now_us, idle_hours),
    )
    own = secrets.hashed(secret)
    found = [SignedIn(_id(place), began_us, seen_us, browser, place == own) for place, began_us, seen_us, browser in lines]
    return sorted(found, key=lambda each: (not each.current, -each.seen_us, each.id))


def end_one(session: Session, person_id: int, id: str) -> bool:
    """End the session of a person that is listed with this id; whether there was one."""
    lines = session.all(
        """
        SELECT secret_hash FROM session
        WHERE member_id IN (SELECT member_id FROM member WHERE coalesce(person_id, member_id) = :person_id)
        """,
        person_id=person_id,
    )
    for (place,) in lines:
        if _id(place) == id:
            return session.run("DELETE FROM session WHERE secret_hash = :secret_hash", secret_hash=place) > 0
    return False


def end(session: Session, secret: str) -> None:
    """End a session."""
    session.run("DELETE FROM session WHERE secret_hash = :secret_hash", secret_hash=secrets.hashed(secret))


def end_all(session: Session, member_id: int, but: str = "") -> int:
    """End every session of a member in this account but one, and make open sign-in links useless; how many sessions were ended."""
    session.run("DELETE FROM sign_in_link WHERE member_id = :member_id AND used_us IS NULL", member_id=member_id)
    return session.run(
        "DELETE FROM session WHERE member_id = :member_id AND secret_hash <> :kept", member_id=member_id, kept=secrets.hashed(but)
    )


def end_everywhere(session: Session, person_id: int, but: str = "") -> int:
    """The same of a person, in all accounts."""
    session.run(
        """
        DELETE FROM sign_in_link
        WHERE member_id IN (SELECT member_id FROM member WHERE coalesce(person_id, member_id) = :person_id) AND used_us IS NULL
        """,
        person_id=person_id,
    )
    return session.run(
        """
        DELETE FROM session
        WHERE member_id IN (SELECT member_id FROM member WHERE coalesce(person_id, member_id) = :person_id) AND secret_hash <> :kept
        """,
        person_id=person_id,
        kept=secrets.hashed(but),
    )


def move(session: Session, secret: str, member_id: int, now_us: int) -> str | None:
    """Let a session go on as another member, no longer than it would have: its new secret, None where it has ended."""
    new = secrets.make()
    moved = session.run(
        """
        UPDATE session SET secret_hash = :new_hash, member_id = :member_id, seen_us = :now_us
        WHERE secret_hash = :secret_hash AND expires_us > :now_us
        """,
        new_hash=secrets.hashed(new),
        member_id=member_id,
        now_us=now_us,
        secret_hash=secrets.hashed(secret),
    )
    return new if moved else None


def sign_out_everywhere(session: Session, account_id: int, person_id: int, email: str, now_us: int) -> None:
    """End every session of a person, as they want it."""
    ended = end_everywhere(session, person_id)
    audit.note(session, account_id, email, "member.signed_out_everywhere", {"sessions_ended": ended}, now_us)


def browser_words(user_agent: str) -> str:
    """What a browser calls itself, in short words: `Firefox on Linux`; "" where it says nothing."""
    name = next((shown for mark, shown in _BROWSERS.items() if mark in user_agent), "")
    system = next((shown for mark, shown in _SYSTEMS.items() if mark in user_agent), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or re.sub(r"[^ -~]", "", user_agent)[:_BROWSER_CHARACTERS_MAX]


def _id(secret_hash: bytes) -> str:
    return sha256(b"listed\0" + secret_hash).hexdigest()[:16]
