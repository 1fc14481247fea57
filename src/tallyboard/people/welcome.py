"""The way in for who has no password yet, or no longer: a link that works once, at which one chooses a password.

Opening such a link uses nothing up: programs that look at links in messages before people do would use it up for them.

Who is a member of another account already types the password they have, or is signed in: then it is the same person (persons.py).
Any other password makes a person of their own. An administrator who opens the link learns nothing and gains nothing by it.
"""

from enum import StrEnum

from tallyboard.errors import TooOften
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import members, passwords, persons, secrets, sessions, sign_in, throttle
from tallyboard.people.members import Member
from tallyboard.people.sign_in import Visitor

INVITATION_DAYS = 7
_MINUTE_US = 60_000_000


class Purpose(StrEnum):
    """Where a link leads that is more than a way in."""

    INVITATION = "invitation"


_MINUTES = {Purpose.INVITATION: INVITATION_DAYS * 24 * 60}


def make(session: Session, member: Member, purpose: Purpose, now_us: int) -> str:
    """The secret of a new link; earlier ones of the member for the same purpose no longer work."""
    session.run(
        "DELETE FROM sign_in_link WHERE member_id = :member_id AND used_us IS NULL AND purpose = :purpose",
        member_id=member.member_id,
        purpose=purpose.value,
    )
    secret = secrets.make()
    session.run(
        """
        INSERT INTO sign_in_link (secret_hash, member_id, expires_us, purpose)
        VALUES (:secret_hash, :member_id, :expires_us, :purpose)
        """,
        secret_hash=secrets.hashed(secret),
        member_id=member.member_id,
        expires_us=now_us + _MINUTES[purpose] * _MINUTE_US,
        purpose=purpose.value,
    )
    return secret


def holder(session: Session, secret: str, purpose: Purpose, now_us: int) -> Member | None:
    """Whom a link is for, None where it is unknown, used, replaced or expired."""
    line = session.one(
        """
        SELECT member.member_id, member.account_id, member.email, member.role, coalesce(member.person_id, member.member_id)
        FROM sign_in_link JOIN member ON member.member_id = sign_in_link.member_id
        WHERE sign_in_link.secret_hash = :secret_hash AND sign_in_link.used_us IS NULL AND sign_in_link.expires_us > :now_us
            AND sign_in_link.purpose = :purpose AND member.deactivated_us IS NULL
        """,
        secret_hash=secrets.hashed(secret),
        now_us=now_us,
        purpose=purpose.value,
    )
    return members.read(line) if line else None


def accept(ledger: Ledger, secret: str, password: str, visitor: Visitor, now_us: int) -> str | None:
    """Give a password by an invitation: the secret of a new session, None where the link is no good.

    Invalid where the password is easy to guess: the link then still works. The password that opens another account under this
    email makes this member the same person; any other becomes this member's own.
    """
    with ledger.reading() as session:
        invited = holder(session, secret, Purpose.INVITATION, now_us)
    if invited is None:
        return None
    passwords.check(password, invited.email)
    opened = _try(ledger, invited, password, visitor, now_us)
    kept = passwords.hashed(password)

    def finish(session: Session) -> str | None:
        lock(session, invited.account_id)
        if holder(session, secret, Purpose.INVITATION, now_us) != invited:
            return None
        use(session, secret, now_us)
        same = opened is not None and _is_still(session, *opened)
        ended = persons.join(session, invited, opened[0]) if opened and same else persons.part(session, invited, kept)
        _note(session, invited, ended, now_us)
        return sessions.begin(session, invited.member_id, visitor.browser, now_us)

    return ledger.change(finish).result()


def join(ledger: Ledger, secret: str, viewer: Member, session_secret: str, now_us: int) -> str | None:
    """Take an invitation as who is signed in with the same email: the session's new secret, None where that is not possible."""

    def finish(session: Session) -> str | None:
        invited = holder(session, secret, Purpose.INVITATION, now_us)
        if invited is None or not may_join(viewer, invited):
            return None
        lock(session, invited.account_id)
        members.lock_person(session, viewer)
        still_here = members.recognize(session, session_secret, now_us, sessions.DAYS * 24) == viewer
        if not still_here or holder(session, secret, Purpose.INVITATION, now_us) != invited:
            return None
        use(session, secret, now_us)
        _note(session, invited, persons.join(session, invited, viewer), now_us)
        return sessions.move(session, session_secret, invited.member_id, now_us)

    return ledger.change(finish).result()


def may_join(viewer: Member, invited: Member) -> bool:
    """Whether who is signed in may take the invitation as the person they are."""
    return viewer.email == invited.email and viewer.person_id != invited.person_id


def use(session: Session, secret: str, now_us: int) -> None:
    """Use a link up."""
    session.run(
        "UPDATE sign_in_link SET used_us = :now_us WHERE secret_hash = :secret_hash", now_us=now_us, secret_hash=secrets.hashed(secret)
    )


def _try(ledger: Ledger, invited: Member, password: str, visitor: Visitor, now_us: int) -> tuple[Member, str] | None:
    """Whose password it is, by the email invited; None too where it must not be tried now.

    It counts as a failed sign-in like any other: who invites somebody again and again must not guess more often than at the door.
    """
    places = throttle.of_email(invited.email), throttle.of_address(visitor.address)
    try:
        ledger.change(lambda session: throttle.take(session, places, now_us)).result()
    except TooOften:
        return None
    with ledger.reading() as session:
        known = members.with_password(session, invited.email)
    opened = sign_in.opened_by(password, known)
    if opened:
        ledger.change(lambda session: throttle.forgive(session, *places)).result()
        return opened[0]
    ledger.change(lambda session: throttle.take_back(session, places[1])).result()  # Many may be invited to one office.
    return None


def _note(session: Session, invited: Member, sessions_ended: int, now_us: int) -> None:
    """The same lines whoever it turned out to be: the log of one account tells nothing of another."""
    audit.note(session, invited.account_id, invited.email, "member.invitation_accepted", {"sessions_ended": sessions_ended}, now_us)
    audit.note(session, invited.account_id, invited.email, "member.signed_in", {"by": "invitation"}, now_us)


def _is_still(session: Session, member: Member, kept: str) -> bool:
    """Whether nobody has changed the person's password meanwhile."""
    members.lock_person(session, member)
    return members.of(session, member.member_id) == member and members.password_of(session, member) == kept
