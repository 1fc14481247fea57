"""Sessions: who signed in stays signed in by a secret in a cookie, of which the server keeps the hash and when it was used.

A session ends by itself 14 days after the sign-in, and earlier where nobody has used it for a while.
"""

import re

from tallyboard.ledger.contract import Session
from tallyboard.people import secrets

DAYS = 14
_DAY_US = 86_400_000_000
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


def end(session: Session, secret: str) -> None:
    """End a session."""
    session.run("DELETE FROM session WHERE secret_hash = :secret_hash", secret_hash=secrets.hashed(secret))


def end_all(session: Session, member_id: int, but: str = "") -> int:
    """End every session of a member but one, and make open sign-in links useless; how many sessions were ended."""
    session.run("DELETE FROM sign_in_link WHERE member_id = :member_id AND used_us IS NULL", member_id=member_id)
    return session.run(
        "DELETE FROM session WHERE member_id = :member_id AND secret_hash <> :kept", member_id=member_id, kept=secrets.hashed(but)
    )


def browser_words(user_agent: str) -> str:
    """What a browser calls itself, in short words: `Firefox on Linux`; "" where it says nothing."""
    name = next((shown for mark, shown in _BROWSERS.items() if mark in user_agent), "")
    system = next((shown for mark, shown in _SYSTEMS.items() if mark in user_agent), "")
    if name and system:
        return f"{name} on {system}"
    return name or system or re.sub(r"[^ -~]", "", user_agent)[:_BROWSER_CHARACTERS_MAX]
