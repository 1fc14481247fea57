"""The first run: whoever opens the printed link says who they are and what the organization is called, and chooses a password.

Where passwords are not used, the email is what the provider is to vouch for at the next sign-in.
"""

from collections.abc import Mapping

from msgspec import Struct

from tallyboard import days
from tallyboard.errors import Invalid
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.people import accounts, directory, members, passwords
from tallyboard.people.members import FIRST_EMAIL, Member, Role


class Wanted(Struct, frozen=True):
    """What was filled in; `password` is None where passwords are not used."""

    email: str
    name: str
    timezone: str
    password: str | None


def is_due(member: Member) -> bool:
    """Whether this is the first administrator, who has not said yet who it is."""
    return member.email == FIRST_EMAIL and member.role is Role.ADMIN


def problems(wanted: Wanted) -> Mapping[str, str]:
    """What is wrong with it, by field; nothing where all is well."""
    found: dict[str, str] = {}
    email = members.plain(wanted.email)
    if not directory.is_email(email):
        found["email"] = "this is not an email address"
    elif email == FIRST_EMAIL:
        found["email"] = "this is what the program calls who it does not know; write your own"
    for field, check in (
        ("name", lambda: accounts.check_name(wanted.name)),
        ("timezone", lambda: _check_zone(wanted.timezone)),
        ("password", lambda: passwords.check(wanted.password, email) if wanted.password is not None else None),
    ):
        try:
            check()
        except Invalid as refused:
            found[field] = str(refused)
    return found


def set_up(ledger: Ledger, member: Member, wanted: Wanted, session_secret: str, now_us: int) -> bool:
    """Do it, all or nothing; False where it has been done meanwhile. `wanted` has no problems."""
    kept = passwords.hashed(wanted.password) if wanted.password is not None else None
    email = members.plain(wanted.email)

    def finish(session: Session) -> bool:
        lock(session, member.account_id)
        if not is_due(members.of(session, member.member_id)) or not members.rename(session, member, email):
            return False
        accounts.change(session, member.account_id, email, now_us, name=wanted.name, timezone=wanted.timezone)
        audit.note(session, member.account_id, email, "member.renamed", {"before": member.email, "after": email}, now_us)
        if kept is not None:
            members.set_password(session, members.of(session, member.member_id), kept, now_us, session_secret)
        return True

    return ledger.change(finish).result()


def _check_zone(timezone: str) -> None:
    try:
        days.zone(timezone)
    except ValueError as error:
        raise Invalid(str(error)) from None
