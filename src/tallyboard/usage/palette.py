"""The users' colours, kept: read with the page, settled in a transaction where a user has none yet."""

from collections.abc import Mapping, Sequence
from datetime import date

from tallyboard import days
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.usage.colours import Kept, assign


def of(session: Session, account_id: int) -> dict[str, Kept]:
    """Every user that has a colour."""
    lines = session.all(
        "SELECT key, colour, visible_day FROM app_user WHERE account_id = :account_id AND colour IS NOT NULL", account_id=account_id
    )
    return {key: Kept(colour, days.from_number(visible_day)) for key, colour, visible_day in lines}


def is_settled(kept: Mapping[str, Kept], visible: Sequence[str], today: date) -> bool:
    """Whether everyone visible has a colour that is known to be in use today."""
    return all(user in kept and kept[user].visible_on >= today for user in visible)


def settle(session: Session, account_id: int, rankings: Sequence[Sequence[str]], visible: Sequence[str], today: date) -> None:
    """Give the users of the rankings (30, 14, 7 days) their colours, and note that they were seen today.

    Where the windows show more users than there are colours, those `visible` in the present one come first.
    """
    lock(session, account_id)
    kept = of(session, account_id)
    assigned = assign(assign(kept, rankings, today), [visible], today)
    changed = [
        (kept_now.slot, days.to_number(kept_now.visible_on), user) for user, kept_now in assigned.items() if kept.get(user) != kept_now
    ]
    for slot, visible_day, user in changed:
        _set(session, account_id, user, slot, visible_day)
    for user in kept.keys() - assigned.keys():
        _set(session, account_id, user, None, None)


def _set(session: Session, account_id: int, user: str, slot: int | None, visible_day: int | None) -> None:
    session.run(
        "UPDATE app_user SET colour = :slot, visible_day = :visible_day WHERE account_id = :account_id AND key = :user",
        slot=slot,
        visible_day=visible_day,
        account_id=account_id,
        user=user,
    )
