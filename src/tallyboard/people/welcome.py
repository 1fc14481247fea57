"""The way in for who has no password yet, or no longer: a link that works once, at which one chooses a password.

Opening such a link uses nothing up: programs that look at links in messages before people do would use it up for them.
"""

from enum import StrEnum

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import members, passwords, secrets, sessions, throttle
from tallyboard.people.members import Member

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
        SELECT member.member_id, member.account_id, member.email, member.role
        FROM sign_in_link JOIN member ON member.member_id = sign_in_link.member_id
        WHERE sign_in_link.secret_hash = :secret_hash AND sign_in_link.used_us IS NULL AND sign_in_link.expires_us > :now_us
            AND sign_in_link.purpose = :purpose AND member.deactivated_us IS NULL
        """,
        secret_hash=secrets.hashed(secret),
        now_us=now_us,
        purpose=purpose.value,
    )
    return members.read(line) if line else None


def accept(ledger: Ledger, secret: str, password: str, browser: str, now_us: int) -> str | None:
    """Choose a password by an invitation: the secret of a new session, the member's only one; None where the link is no good.

    Invalid where the password is easy to guess: the link then still works.
    """
    with ledger.reading() as session:
        invited = holder(session, secret, Purpose.INVITATION, now_us)
    if invited is None:
        return None
    passwords.check(password, invited.email)
    kept = passwords.hashed(password)

    def finish(session: Session) -> str | None:
        lock(session, invited.account_id)
        if holder(session, secret, Purpose.INVITATION, now_us) != invited:
            return None
        use(session, secret, now_us)
        throttle.forget(session, throttle.of_email(invited.email))
        members.set_password(session, invited, kept, now_us, "")
        audit.note(session, invited.account_id, invited.email, "member.signed_in", {"by": "invitation"}, now_us)
        return sessions.begin(session, invited.member_id, browser, now_us)

    return ledger.change(finish).result()


def use(session: Session, secret: str, now_us: int) -> None:
    """Use a link up."""
    session.run(
        "UPDATE sign_in_link SET used_us = :now_us WHERE secret_hash = :secret_hash", now_us=now_us, secret_hash=secrets.hashed(secret)
    )
