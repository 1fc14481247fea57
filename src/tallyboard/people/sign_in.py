"""Signing in by email and password, in steps: count a failure, look, compare, then take it back or note it.

Whoever has no password, or does not exist, costs the same steps and gets the same answer as a wrong password.
"""

from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from tallyboard.ledger import audit
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import members, passwords, persons, sessions, throttle
from tallyboard.people.accounts import FIRST_ACCOUNT_ID
from tallyboard.people.members import Member

UNKNOWN = "unknown"


class Visitor(Struct, frozen=True):
    """Where a try comes from: an address of the network, a browser in short words."""

    address: str
    browser: str


def by_password(ledger: Ledger, email: str, password: str, visitor: Visitor, now_us: int) -> str | None:
    """The secret of a new session, None where email and password do not belong together; TooOften where it has to wait."""
    places = throttle.of_email(email), throttle.of_address(visitor.address)
    ledger.change(lambda session: throttle.take(session, places, now_us)).result()
    with ledger.reading() as session:
        found = members.with_password(session, email)
    opened = opened_by(password, found)
    renewed = passwords.hashed(password) if opened and passwords.outdated(opened[0][1]) else None

    def finish(session: Session) -> str | None:
        member = opened[0][0] if opened else found[0][0] if found else None
        lock(session, member.account_id if member else FIRST_ACCOUNT_ID)
        for one, _ in opened:
            members.lock_person(session, one)
        if not opened or not member or members.with_password(session, email) != found:  # Changed while it was being compared.
            _note_failure(session, member, now_us)
            return None
        throttle.forgive(session, *places)
        for other, _ in opened[1:]:
            persons.unite(session, member, other)
        if renewed:
            members.keep_password(session, member, renewed)
        audit.note(session, member.account_id, member.email, "member.signed_in", {"by": "password"}, now_us)
        return sessions.begin(session, member.member_id, visitor.browser, now_us)

    secret = ledger.change(finish).result()
    for other, _ in found[1:] if secret is None else ():  # A transaction is of one account.
        ledger.change(partial(_note_failure, member=other, now_us=now_us)).result()
    return secret


def opened_by(password: str, known: Sequence[tuple[Member, str]]) -> list[tuple[Member, str]]:
    """Those of some persons whose password this is. Each is compared; where there is none, the same work for nothing.

    So whoever measures well may learn that an email belongs to two persons, but never whether to one or to nobody.
    """
    if not known:
        passwords.matches(None, password)
    return [each for each in known if passwords.matches(each[1], password)]


def change_password(ledger: Ledger, member: Member, old: str, new: str, session_secret: str, now_us: int) -> bool:
    """Set a person's password, False where the old one is wrong; Invalid where the new one is easy to guess, TooOften as above.

    A member who has none yet needs no old one: the one-time link has shown who it is.
    """
    passwords.check(new, member.email)
    place = throttle.of_email(member.email)
    with ledger.reading() as session:
        kept = members.password_of(session, member)
    if kept is not None:
        ledger.change(lambda session: throttle.take(session, (place,), now_us)).result()
        if not passwords.matches(kept, old):
            ledger.change(lambda session: _note_failure(session, member, now_us)).result()
            return False
    hashed = passwords.hashed(new)

    def finish(session: Session) -> bool:
        lock(session, member.account_id)
        members.lock_person(session, member)
        if members.password_of(session, member) != kept:
            return False
        throttle.forget(session, place)
        members.set_password(session, member, hashed, now_us, session_secret)
        return True

    return ledger.change(finish).result()


def _note_failure(session: Session, member: Member | None, now_us: int) -> None:
    """Into the audit log. An email that nobody has is not repeated: it may be a password."""
    account_id, actor = (member.account_id, member.email) if member else (FIRST_ACCOUNT_ID, UNKNOWN)
    note_failure(session, account_id, actor, {}, now_us)


def note_failure(session: Session, account_id: int, actor: str, detail: dict[str, str], now_us: int) -> None:
    """A failure to sign in, into the audit log, not more than so many an hour."""
    noted, unnoted = throttle.may_note(session, account_id, now_us)
    if unnoted:
        audit.note(session, account_id, UNKNOWN, "member.sign_ins_failed", {"not_noted": unnoted}, now_us)
    if noted:
        audit.note(session, account_id, actor, "member.sign_in_failed", detail, now_us)
