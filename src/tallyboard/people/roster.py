"""The members of an account as its administrators manage them. One administrator at least is always left.

Every change takes the account's row first: of two administrators who demote each other at the same time, the second is refused.
"""

from msgspec import Struct

from tallyboard.errors import Invalid, Needed, NotFound, Taken
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.people import directory, members, sessions, welcome
from tallyboard.people.directory import User
from tallyboard.people.members import Member, Role
from tallyboard.people.welcome import Purpose


class Entry(Struct, frozen=True):
    """A line of the list. `joined` is false as long as the member has never signed in; `user` is who has the same email."""

    member: Member
    joined: bool
    deactivated_us: int | None
    has_password: bool
    user: User | None

    @property
    def state(self) -> str:
        """`active`, `invited` or `deactivated`."""
        return "deactivated" if self.deactivated_us is not None else "active" if self.joined else "invited"


def listed(session: Session, account_id: int) -> list[Entry]:
    """Every member of the account, by email."""
    lines = session.all(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id), deactivated_us, password_hash IS NOT NULL
        FROM member
        WHERE account_id = :account_id ORDER BY email
        """,
        account_id=account_id,
    )
    came = {
        member_id
        for (member_id,) in session.all(
            "SELECT member_id FROM sign_in_link WHERE used_us IS NOT NULL UNION SELECT member_id FROM member_identity"
        )
    }
    users = directory.by_emails(session, account_id, [line[2] for line in lines])
    return [Entry(members.read(line[:5]), bool(line[6]) or line[0] in came, line[5], bool(line[6]), users.get(line[2])) for line in lines]


def find(session: Session, account_id: int, email: str) -> Member:
    """The member with an email; NotFound where there is none."""
    line = session.one(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id) FROM member
        WHERE account_id = :account_id AND email = :email
        """,
        account_id=account_id,
        email=members.plain(email),
    )
    if line is None:
        raise NotFound(f"{email.strip()[:80]!r} is no member of this account")
    return members.read(line)


def invite(session: Session, account_id: int, email: str, role: Role, actor: str, now_us: int) -> tuple[Member, str]:
    """A new member and the secret of the invitation; Invalid, or Taken where there is such a member already."""
    email = members.plain(email)
    if not directory.is_email(email):
        raise Invalid(f"{email[:80]!r} is not an email address")
    lock(session, account_id)
    if session.one("SELECT 1 FROM member WHERE account_id = :account_id AND email = :email", account_id=account_id, email=email):
        raise Taken(f"{email} is a member already")
    member = members.add(session, account_id, email, role, actor, now_us)
    return member, welcome.make(session, member, Purpose.INVITATION, now_us)


def invite_again(session: Session, account_id: int, member_id: int, actor: str, now_us: int) -> tuple[Member, str]:
    """A new invitation for a member who lost the first one, or forgot the password; Invalid for a deactivated one."""
    member, deactivated = _take(session, account_id, member_id)
    if deactivated:
        raise Invalid(f"{member.email} is deactivated; reactivate the member first")
    audit.note(session, account_id, actor, "member.invited_again", {"email": member.email}, now_us)
    return member, welcome.make(session, member, Purpose.INVITATION, now_us)


def change_role(session: Session, account_id: int, member_id: int, role: Role, actor: str, now_us: int, own_session: str = "") -> Member:
    """Give a member another role, and end the member's sessions but one's own; Invalid for the last administrator."""
    member, _ = _take(session, account_id, member_id)
    if member.role is role:
        return member
    if role is not Role.ADMIN:
        _check_not_last(session, account_id, member)
    session.run("UPDATE member SET role = :role WHERE member_id = :member_id", role=role.value, member_id=member_id)
    sessions.end_all(session, member_id, but=own_session)
    audit.note(session, account_id, actor, "member.role_changed", {"email": member.email, "before": member.role, "after": role}, now_us)
    return members.of(session, member_id)


def deactivate(session: Session, account_id: int, member_id: int, actor: str, now_us: int) -> Member:
    """Let a member in no more: sessions and links end now, what the member did stays. Invalid for the last administrator.

    What the person may do in other accounts is not touched.
    """
    member, deactivated = _take(session, account_id, member_id)
    if deactivated:
        return member
    _check_not_last(session, account_id, member)
    session.run("UPDATE member SET deactivated_us = :now_us WHERE member_id = :member_id", now_us=now_us, member_id=member_id)
    sessions.end_all(session, member_id)
    audit.note(session, account_id, actor, "member.deactivated", {"email": member.email}, now_us)
    return member


def reactivate(session: Session, account_id: int, member_id: int, actor: str, now_us: int) -> Member:
    """Let a member in again, by the password as before or a new invitation."""
    member, deactivated = _take(session, account_id, member_id)
    if deactivated:
        session.run("UPDATE member SET deactivated_us = NULL WHERE member_id = :member_id", member_id=member_id)
        audit.note(session, account_id, actor, "member.reactivated", {"email": member.email}, now_us)
    return member


def deactivated(session: Session, account_id: int) -> set[int]:
    """The numbers of the members who are let in no more."""
    lines = session.all("SELECT member_id FROM member WHERE account_id = :account_id AND deactivated_us IS NOT NULL", account_id=account_id)
    return {member_id for (member_id,) in lines}


def check_active(session: Session, member: Member) -> None:
    """Invalid where a member is deactivated: no link would lead in."""
    _, deactivated = _take(session, member.account_id, member.member_id)
    if deactivated:
        raise Invalid(f"{member.email} is deactivated; reactivate the member first")


def _take(session: Session, account_id: int, member_id: int) -> tuple[Member, bool]:
    """A member of this account, and whether deactivated; nobody else changes the account's members meanwhile."""
    lock(session, account_id)
    line = session.one(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id), deactivated_us IS NOT NULL FROM member
        WHERE account_id = :account_id AND member_id = :member_id
        """,
        account_id=account_id,
        member_id=member_id,
    )
    if line is None:
        raise NotFound("there is no such member")
    return members.read(line[:5]), bool(line[5])


def _check_not_last(session: Session, account_id: int, member: Member) -> None:
    """Invalid where no administrator would be left who is known to come: one who is only invited may never do so."""
    lines = session.all(
        """
        SELECT member_id, password_hash IS NOT NULL OR member_id IN (SELECT member_id FROM sign_in_link WHERE used_us IS NOT NULL)
            OR member_id IN (SELECT member_id FROM member_identity)
        FROM member WHERE account_id = :account_id AND role = 'admin' AND deactivated_us IS NULL
        """,
        account_id=account_id,
    )
    came = {member_id for member_id, has_come in lines if has_come}
    needed = came if member.member_id in came else {member_id for member_id, _ in lines}
    if member.role is Role.ADMIN and not needed - {member.member_id}:
        raise Needed(f"{member.email} is the last administrator; there must always be one who has signed in")
