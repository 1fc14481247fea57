"""What a member sees of their own usage: one user's, from reads of that user alone. Nobody else's figures are in it."""

from msgspec import Struct

from tallyboard import days
from tallyboard.ledger import aliases
from tallyboard.ledger.contract import Session
from tallyboard.ledger.rollups import zone_of
from tallyboard.people import directory
from tallyboard.people.directory import User
from tallyboard.people.members import Member
from tallyboard.policy import allowance
from tallyboard.policy.limits import Standing
from tallyboard.usage.question import Question, answer
from tallyboard.usage.report import Report, UserUsage


class Own(Struct, frozen=True):
    """A user's usage over some days, the last of them today, and how the user stands now. `report` is of this user alone.

    `also_keys` are those under which usage of this user comes in, too.
    """

    usage: UserUsage
    report: Report
    standing: Standing
    also_keys: tuple[str, ...]


def user_of(session: Session, member: Member) -> User | None:
    """Whose usage is the member's own: the only user with the same email; None where there is none, or are several."""
    return directory.by_emails(session, member.account_id, [member.email]).get(member.email)


def own(session: Session, account_id: int, user: User, window: int, now_us: int) -> Own:
    """A user's last so many days, and the allowance."""
    today = days.today(now_us, zone_of(session, account_id).info)
    report = answer(session, account_id, Question(days.window(window, today), user.user), now_us)
    nothing = UserUsage(user.user, user.email, user.name, 0, (0,) * len(report.days))
    standing = allowance.of_user(session, account_id, user.user, now_us)
    _, *also_keys = aliases.keys_of(session, account_id, [user.user])[user.user].all
    return Own(report.users[0] if report.users else nothing, report, standing, tuple(also_keys))
