"""Members: who signs in to an account. They get in by a one-time link (here) or a password (sign_in.py).

Several may be one person, each in another account (persons.py): a password and what ends all sessions are the person's.
"""

from enum import StrEnum
from secrets import randbelow

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Line, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import secrets, sessions, throttle

LINK_MINUTES = 30
FIRST_EMAIL = "admin@localhost"
PERSONS_MAX = 5
ID_MAX = 1 << 53
"""Ids are drawn by lot, so that no process need ask another, from as many as every program can hold exactly."""
_MINUTE_US = 60_000_000


class Role(StrEnum):
    """What a member may see."""

    ADMIN = "admin"
    MEMBER = "member"


class Member(Struct, frozen=True):
    """A person as a member of one account."""

    member_id: int
    account_id: int
    email: str
    role: Role
    person_id: int


def ensure_admin(session: Session, account_id: int, now_us: int, email: str = FIRST_EMAIL) -> Member:
    """The account's first administrator, made where there is none."""
    lock(session, account_id)
    line = session.one(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id) FROM member
        WHERE account_id = :account_id AND role = 'admin' AND deactivated_us IS NULL ORDER BY created_us, member_id LIMIT 1
        """,
        account_id=account_id,
    )
    return read(line) if line else add(session, account_id, email, Role.ADMIN, "setup", now_us)


def add(session: Session, account_id: int, email: str, role: Role, actor: str, now_us: int) -> Member:
    """A new member."""
    email = plain(email)
    number = draw_id()
    member = Member(number, account_id, email, role, number)
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


def sign_in(session: Session, link_secret: str, now_us: int, browser: str = "") -> str | None:
    """Use a link up and begin a session: its secret, or None where the link is unknown, used or expired."""
    line = session.one(
        """
        UPDATE sign_in_link SET used_us = :now_us
        WHERE secret_hash = :secret_hash AND used_us IS NULL AND expires_us > :now_us AND purpose IS NULL RETURNING member_id
        """,
        now_us=now_us,
        secret_hash=secrets.hashed(link_secret),
    )
    if line is None:
        return None
    member = of(session, line[0])
    secret = sessions.begin(session, member.member_id, browser, now_us)
    throttle.forget(session, throttle.of_email(member.email))
    audit.note(session, member.account_id, member.email, "member.signed_in", {"by": "link"}, now_us)
    return secret


def recognize(session: Session, session_secret: str, now_us: int, idle_hours: int = sessions.IDLE_HOURS) -> Member | None:
    """The member whose session this is, None where it has ended."""
    line = session.one(
        """
        SELECT member.member_id, member.account_id, member.email, member.role, coalesce(member.person_id, member.member_id)
        FROM session JOIN member ON member.member_id = session.member_id
        WHERE session.secret_hash = :secret_hash AND session.expires_us > :now_us AND member.deactivated_us IS NULL
            AND coalesce(session.seen_us, session.created_us) > :idle_since_us
        """,
        secret_hash=secrets.hashed(session_secret),
        now_us=now_us,
        idle_since_us=sessions.idle_since(now_us, idle_hours),
    )
    return read(line) if line else None


def anybody_signed_in(session: Session) -> bool:
    """Whether a sign-in link has ever been used."""
    return session.one("SELECT 1 FROM sign_in_link WHERE used_us IS NOT NULL LIMIT 1") is not None


def of(session: Session, member_id: int) -> Member:
    """The member with this number."""
    line = session.one(
        "SELECT member_id, account_id, email, role, coalesce(person_id, member_id) FROM member WHERE member_id = :member_id",
        member_id=member_id,
    )
    assert line is not None
    return read(line)


def with_password(session: Session, email: str) -> list[tuple[Member, str]]:
    """Who may sign in by this email and a password, and what is kept of the password: each person once, the oldest first.

    Several have the same email where invitations of different accounts were answered with different passwords. No more than
    PERSONS_MAX are looked at: whoever runs the installation makes accounts, so nobody else can push anybody out.
    """
    lines = session.all(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id), password_hash FROM member
        WHERE email = :email AND password_hash IS NOT NULL AND deactivated_us IS NULL ORDER BY created_us, member_id
        """,
        email=plain(email),
    )
    persons: dict[int, tuple[Member, str]] = {}
    for *member, kept in lines:
        persons.setdefault(member[4], (read(tuple(member)), kept))
    return list(persons.values())[:PERSONS_MAX]


def password_of(session: Session, member: Member) -> str | None:
    """What is kept of a member's password, None where there is none."""
    line = session.one("SELECT password_hash FROM member WHERE member_id = :member_id", member_id=member.member_id)
    return line[0] if line else None


def set_password(session: Session, member: Member, kept: str, now_us: int, session_secret: str) -> None:
    """Replace a person's password by one that was hashed before; every other session of the person ends, in all accounts."""
    keep_password(session, member, kept)
    ended = sessions.end_everywhere(session, member.person_id, but=session_secret)
    audit.note(session, member.account_id, member.email, "member.password_set", {"sessions_ended": ended}, now_us)


def rename(session: Session, member: Member, email: str) -> bool:
    """Give a member another email, which is plain; False where it is another member's. The account's row is taken."""
    if session.one("SELECT 1 FROM member WHERE account_id = :account_id AND email = :email", account_id=member.account_id, email=email):
        return False
    session.run("UPDATE member SET email = :email WHERE member_id = :member_id", email=email, member_id=member.member_id)
    return True


def keep_password(session: Session, member: Member, kept: str) -> None:
    """Write down what is kept of a person's password, without a word."""
    session.run(
        "UPDATE member SET password_hash = :kept WHERE coalesce(person_id, member_id) = :person_id", kept=kept, person_id=member.person_id
    )


def lock_person(session: Session, member: Member) -> None:
    """Let nobody change the person's password before this transaction ends, from whichever account."""
    session.run("UPDATE member SET person_id = person_id WHERE coalesce(person_id, member_id) = :person_id", person_id=member.person_id)


def draw_id() -> int:
    """A number for a member or a person."""
    return randbelow(ID_MAX)


def plain(email: str) -> str:
    """An email as it is kept and looked up: however it is written, it is the same."""
    return email.strip().casefold()


def read(line: Line) -> Member:
    """A member from a line of id, account, email, role and person."""
    member_id, account_id, email, role, person_id = line
    return Member(member_id, account_id, email, Role(role), person_id)
