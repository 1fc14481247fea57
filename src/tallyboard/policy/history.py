"""Who changed limits and the zone, when; and which limit applied to a user at a time."""

from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from tallyboard.ledger.aliases import user_at
from tallyboard.ledger.contract import Session
from tallyboard.policy.limits import Origin, Override, limit_of

PAGE_CHANGES_MAX = 50
_detail = Decoder(dict[str, Any])


class Change(Struct, frozen=True):
    """A line of the audit log that is about limits or the zone: `detail` holds `before` and `after`, and perhaps `user`."""

    audit_id: int
    at_us: int
    actor: str
    action: str
    detail: dict[str, Any]


class Applied(Struct, frozen=True):
    """The limit of a user at an instant, in units or None for none, and where it came from."""

    units: int | None
    origin: Origin


def changes(session: Session, account_id: int, before: int | None = None, most: int = PAGE_CHANGES_MAX) -> list[Change]:
    """Up to `most` changes, newest first, from before a number on."""
    lines = session.all(
        """
        SELECT audit_id, at_us, actor, action, detail FROM audit
        WHERE account_id = :account_id AND action IN ('policy.changed', 'account.changed', 'override.set', 'override.removed', 'override.expired')
            AND audit_id < :before
        ORDER BY audit_id DESC LIMIT :most
        """,
        account_id=account_id,
        before=before or 1 << 62,
        most=most,
    )
    return [Change(audit_id, at_us, actor, action, _detail.decode(detail)) for audit_id, at_us, actor, action, detail in lines]


def limit_at(session: Session, account_id: int, user: str, at_us: int) -> Applied:
    """Which limit applied to a user at an instant, under the key of whom that one meant then."""
    user = user_at(session, account_id, user, at_us)
    own = session.one(
        """
        SELECT limit_units, expires_us FROM policy_override
        WHERE account_id = :account_id AND user_key = :user AND from_us <= :at_us AND (until_us IS NULL OR until_us > :at_us)
        ORDER BY override_id DESC LIMIT 1
        """,
        account_id=account_id,
        user=user,
        at_us=at_us,
    )
    (default,) = session.one(
        "SELECT default_units FROM policy WHERE account_id = :account_id AND from_us <= :at_us ORDER BY policy_id DESC LIMIT 1",
        account_id=account_id,
        at_us=at_us,
    ) or (None,)
    return Applied(*limit_of(default, Override(*own) if own else None, at_us))
