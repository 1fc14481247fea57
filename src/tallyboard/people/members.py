"""Members sign in: by a one-time link now, and stay signed in by a session kept on the server."""

from enum import StrEnum
from secrets import randbelow

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.people import secrets

LINK_MINUTES = 30
SESSION_DAYS = 14
FIRST_EMAIL = "admin@localhost"
ID_MAX = 1 << 53
"""Ids are drawn by lot, so that no process need ask another, from as many as every program can hold exactly."""
_MINUTE_US = 60_000_000
_DAY_US = 86_400_000_000


class Role(StrEnum):
    """What a member may see."""

    ADMIN = "admin"
    MEMBER = "member"


class Member(Struct, frozen=True):
    """A person who signs in to one account."""

    member_id: int
    account_id: int
    email: str
    role: Role


def ensure_admin(session: Session, account_id: int, now_us: int, email: str = FIRST_EMAIL) -> Member:
    """The account's first administrator, made where there is none."""
    lock(session, account_id)
    line = session.one(
        """
        SELECT member_id, account_id, email, role FROM member
        WHERE account_id = :account_id AND role = 'admin' ORDER BY created_us, member_id LIMIT 1
        """,
        account_id=account_id,
    )
    return _read(line) if line else add(session, account_id, email, Role.ADMIN, "setup", now_us)


def add(session: Session, account_id: int, email: str, role: Role, actor: str, now_us: int) -> Member:
    """A new member."""
    member = Member(randbelow(ID_MAX), account_id, email, role)
    session.run(
        """
        INSERT INTO member (member_id, account_id, email, role, created_us)
        VALUES (:member_id, :account_id, :email, :role, :now_us)
        """,
        member_id=member.member_id,
        account_id=account_id,
        email=email,
        role=role.value,
        now_us=now_us,
    )
    audit.note(session, account_id, actor, "member.added", {"email": email, "role": role}, now_us)
    return member


def invite(session: Session, member: Member, now_us: int) -> str:
    """The secret of a sign-in link that works once, for half an hour."""
    secret = secrets.make()
    session.run(
        "INSERT INTO sign_in_link (secret_hash, member_id, expires_us) VALUES (:secret_hash, :member_id, :expires_us)",
        secret_hash=secrets.hashed(secret),
        member_id=member.member_id,
        expires_us=now_us + LINK_MINUTES * _MINUTE_US,
    )
    return secret


def sign_in(session: Session, link_secret: str, now_us: int) -> str | None:
    """Use a link up and begin a session: its secret, or None where the link is unknown, used or expired."""
    line = session.one(
        """
        UPDATE sign_in_link SET used_us = :now_us
        WHERE secret_hash = :secret_hash AND used_us IS NULL AND expires_us > :now_us RETURNING member_id
        """,
        now_us=now_us,
        secret_hash=secrets.hashed(link_secret),
    )
    if line is None:
        return None
    secret = secrets.make()
    session.run(
        """
        INSERT INTO session (secret_hash, member_id, created_us, expires_us)
        VALUES (:secret_hash, :member_id, :now_us, :expires_us)
        """,
        secret_hash=secrets.hashed(secret),
        member_id=line[0],
        now_us=now_us,
        expires_us=now_us + SESSION_DAYS * _DAY_US,
    )
    session.run("DELETE FROM session WHERE expires_us <= :now_us", now_us=now_us)
    member = recognize(session, secret, now_us)
    assert member is not None
    audit.note(session, member.account_id, member.email, "member.signed_in", {}, now_us)
    return secret


def recognize(session: Session, session_secret: str, now_us: int) -> Member | None:
    """The member whose session this is, None where it has ended."""
    line = session.one(
        """
        SELECT member.member_id, member.account_id, member.email, member.role
        FROM session JOIN member ON member.member_id = session.member_id
        WHERE session.secret_hash = :secret_hash AND session.expires_us > :now_us
        """,
        secret_hash=secrets.hashed(session_secret),
        now_us=now_us,
    )
    return _read(line) if line else None


def anybody_signed_in(session: Session) -> bool:
    """Whether a sign-in link has ever been used."""
    return session.one("SELECT 1 FROM sign_in_link WHERE used_us IS NOT NULL LIMIT 1") is not None


def sign_out(session: Session, session_secret: str) -> None:
    """End a session."""
    session.run("DELETE FROM session WHERE secret_hash = :secret_hash", secret_hash=secrets.hashed(session_secret))


def _read(line: tuple[int, int, str, str]) -> Member:
    member_id, account_id, email, role = line
    return Member(member_id, account_id, email, Role(role))
