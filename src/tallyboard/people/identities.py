"""Which member somebody is whom the provider has named: found by (issuer, subject), at first by email, perhaps made just in time.

An email leads to a member once, and only where the provider vouches for it; afterwards the provider's own name for the person does, and
the email follows. So whoever is given the address of somebody who left is not taken for them.
"""

from hashlib import sha256

from tallyboard.errors import Invalid
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Line, Session
from tallyboard.people import members, roster
from tallyboard.people.accounts import FIRST_ACCOUNT_ID
from tallyboard.people.identity import Identity, NotLetIn, Why
from tallyboard.people.journey import Journey
from tallyboard.people.members import Member, Role
from tallyboard.settings import OpenId

ACTOR = "single sign-on"
"""Who changes roles and makes members at a sign-in."""


def account_of(session: Session, identity: Identity) -> int:
    """The account that a sign-in of this identity is about. Its row is taken before anything is decided."""
    line = _by_subject(session, identity) or _by_email(session, identity.email)
    return line[1] if line else FIRST_ACCOUNT_ID


def spend(session: Session, journey: Journey, now_us: int) -> None:
    """Use a journey up; NotLetIn where it has led in already."""
    session.run("DELETE FROM sign_in_spent WHERE expires_us <= :now_us", now_us=now_us)
    spent = session.run(
        "INSERT INTO sign_in_spent (state_hash, expires_us) VALUES (:state_hash, :expires_us) ON CONFLICT (state_hash) DO NOTHING",
        state_hash=sha256(journey.state.encode()).digest(),
        expires_us=journey.ends_us,
    )
    if not spent:
        raise NotLetIn(Why.USED)


def member_of(session: Session, identity: Identity, wanted: OpenId, now_us: int) -> Member:
    """The member that an identity is, with the email and the role that it has now; NotLetIn where it is nobody's. The account's row is taken."""
    _check_domain(identity, wanted)
    line = _by_subject(session, identity)
    member = _follow_email(session, _active(line), identity, now_us) if line else _first_time(session, identity, wanted, now_us)
    return _follow_role(session, member, identity, now_us)


def _check_domain(identity: Identity, wanted: OpenId) -> None:
    """NotLetIn where somebody has no email of the domains that are let in. An email that nobody vouches for is none of them."""
    if not wanted.domains:
        return
    if not identity.email:
        raise NotLetIn(Why.NO_EMAIL)
    if not identity.email_verified:
        raise NotLetIn(Why.UNVERIFIED_EMAIL)
    if identity.email.rpartition("@")[2] not in wanted.domains:
        raise NotLetIn(Why.DOMAIN, email=identity.email)


def _first_time(session: Session, identity: Identity, wanted: OpenId, now_us: int) -> Member:
    """The member with an email that the provider vouches for, from now on known by its own name; made where that is wanted."""
    if not identity.email:
        raise NotLetIn(Why.NO_EMAIL)
    if not identity.email_verified:
        raise NotLetIn(Why.UNVERIFIED_EMAIL)
    line = _by_email(session, identity.email)
    if line is None and not wanted.new_members:
        raise NotLetIn(Why.NO_MEMBER, email=identity.email)
    if line is None:
        member = members.add(session, FIRST_ACCOUNT_ID, identity.email, Role.MEMBER, ACTOR, now_us)
    else:
        member = _active(line)
        _check_free(session, member, identity)
    session.run(
        """
        INSERT INTO member_identity (issuer, subject, member_id, created_us) VALUES (:issuer, :subject, :member_id, :now_us)
        """,
        issuer=identity.issuer,
        subject=identity.subject,
        member_id=member.member_id,
        now_us=now_us,
    )
    detail = {"email": member.email, "issuer": identity.issuer, "subject": identity.subject}
    audit.note(session, member.account_id, ACTOR, "member.linked", detail, now_us)
    return member


def _by_subject(session: Session, identity: Identity) -> Line | None:
    """Whom the provider has named before: id, account, email, role, person, whether deactivated."""
    return session.one(
        """
        SELECT member.member_id, member.account_id, member.email, member.role, coalesce(member.person_id, member.member_id),
            member.deactivated_us IS NOT NULL
        FROM member_identity JOIN member ON member.member_id = member_identity.member_id
        WHERE member_identity.issuer = :issuer AND member_identity.subject = :subject
        """,
        issuer=identity.issuer,
        subject=identity.subject,
    )


def _by_email(session: Session, email: str) -> Line | None:
    """The oldest member with an email: id, account, email, role, person, whether deactivated."""
    return session.one(
        """
        SELECT member_id, account_id, email, role, coalesce(person_id, member_id), deactivated_us IS NOT NULL FROM member
        WHERE email = :email ORDER BY created_us, member_id LIMIT 1
        """,
        email=email,
    )


def _active(line: Line) -> Member:
    member = members.read(line[:5])
    if line[5]:
        raise NotLetIn(Why.DEACTIVATED, email=member.email, account_id=member.account_id)
    return member


def _check_free(session: Session, member: Member, identity: Identity) -> None:
    """NotLetIn where the provider knows this member by another name: the email has been given to somebody else since."""
    taken = session.one(
        "SELECT 1 FROM member_identity WHERE member_id = :member_id AND issuer = :issuer",
        member_id=member.member_id,
        issuer=identity.issuer,
    )
    if taken:
        raise NotLetIn(Why.SOMEBODY_ELSES, email=member.email, account_id=member.account_id)


def _follow_email(session: Session, member: Member, identity: Identity, now_us: int) -> Member:
    """The member under the email that the provider vouches for now. Where another member has it, the old one stays."""
    if not identity.email_verified or identity.email in {"", member.email}:
        return member
    if not members.rename(session, member, identity.email):
        return member
    detail = {"before": member.email, "after": identity.email}
    audit.note(session, member.account_id, ACTOR, "member.renamed", detail, now_us)
    return members.of(session, member.member_id)


def _follow_role(session: Session, member: Member, identity: Identity, now_us: int) -> Member:
    """The member with the role that the claim gives. The last administrator stays one, or nobody could mend the claim."""
    if identity.is_admin is None:
        return member
    role = Role.ADMIN if identity.is_admin else Role.MEMBER
    try:
        return roster.change_role(session, member.account_id, member.member_id, role, ACTOR, now_us)
    except Invalid:
        return member
