"""Persons: who signs in once and may be a member of several accounts. They have one password and one list of sessions.

Members become one person only where somebody has shown to be both: by a password that opens both, or signed in as one with the
invitation of the other. An email alone joins nothing, because administrators of one account write it and must gain nothing in another.
Whatever adds a member to a person, or takes one away, ends that member's sessions: what was open leads to no more than before.
"""

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.people import accounts, members, sessions
from tallyboard.people.members import Member


class Membership(Struct, frozen=True):
    """An account that a person may enter."""

    member_id: int
    account: str
    current: bool


def memberships(session: Session, member: Member) -> list[Membership]:
    """Every account that the person who is this member may enter, by name."""
    lines = session.all(
        """
        SELECT member_id, account_id FROM member
        WHERE coalesce(person_id, member_id) = :person_id AND deactivated_us IS NULL ORDER BY member_id
        """,
        person_id=member.person_id,
    )
    found = [Membership(number, accounts.of(session, account_id).name, number == member.member_id) for number, account_id in lines]
    return sorted(found, key=lambda each: (each.account.casefold(), each.member_id))


def switch(session: Session, member: Member, to_member_id: int, session_secret: str, now_us: int) -> str | None:
    """Go on in another account of the same person: the session's new secret, None where it is not open to them.

    The old secret opens nothing from then on, so that a form of the one account cannot be taken for one of the other.
    """
    wanted = _open_to(session, member, to_member_id)
    if wanted is None:
        return None
    lock(session, wanted.account_id)
    if _open_to(session, member, to_member_id) != wanted:
        return None
    secret = sessions.move(session, session_secret, wanted.member_id, now_us)
    if secret is not None:
        audit.note(session, wanted.account_id, wanted.email, "member.signed_in", {}, now_us)
    return secret


def join(session: Session, member: Member, to: Member) -> int:
    """Make a member one person with another, whose password counts for both; how many sessions of the member ended."""
    ended = sessions.end_all(session, member.member_id)
    session.run(
        "UPDATE member SET person_id = :person_id, password_hash = :kept WHERE member_id = :member_id",
        person_id=to.person_id,
        kept=members.password_of(session, to),
        member_id=member.member_id,
    )
    return ended


def part(session: Session, member: Member, kept: str) -> int:
    """Make a member a person of their own, with a password that was hashed before; how many sessions of the member ended."""
    ended = sessions.end_all(session, member.member_id)
    session.run(
        "UPDATE member SET person_id = :person_id, password_hash = :kept WHERE member_id = :member_id",
        person_id=members.draw_id(),
        kept=kept,
        member_id=member.member_id,
    )
    return ended


def unite(session: Session, one: Member, other: Member) -> None:
    """Make all members that are the other person the one person's, after a password has opened both."""
    lines = session.all(
        "SELECT member_id, account_id, email, role, coalesce(person_id, member_id) FROM member WHERE coalesce(person_id, member_id) = :other",
        other=other.person_id,
    )
    for line in lines:
        join(session, members.read(line), one)


def _open_to(session: Session, member: Member, member_id: int) -> Member | None:
    line = session.one(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id) FROM member
        WHERE member_id = :member_id AND coalesce(person_id, member_id) = :person_id AND deactivated_us IS NULL
        """,
        member_id=member_id,
        person_id=member.person_id,
    )
    return members.read(line) if line else None
