"""The account's policy: the default daily limit and the timezone whose midnights end a day. Every change is dated and noted."""

from hashlib import sha256

from msgspec import Struct

from tallyboard import days
from tallyboard.errors import Invalid, NotFound, Stale
from tallyboard.ledger import audit
from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock
from tallyboard.ledger.rollups import change_zone
from tallyboard.policy.limits import limit_text

STALE_TEXT = "somebody else has changed the policy meanwhile; look at what it is now, then save again"


class Policy(Struct, frozen=True):
    """The default limit in units, None for none, and the zone. `tag` stands for this state of both: it is never used again."""

    default_units: int | None
    timezone: str
    tag: str


def of(session: Session, account_id: int) -> Policy:
    """The policy in force; an account begins without a limit."""
    line = session.one("SELECT timezone, zone_version FROM account WHERE account_id = :account_id", account_id=account_id)
    if line is None:
        raise NotFound("there is no such account")
    timezone, zone_version = line
    policy_id, default_units = session.one(
        "SELECT policy_id, default_units FROM policy WHERE account_id = :account_id ORDER BY policy_id DESC LIMIT 1", account_id=account_id
    ) or (0, None)
    return Policy(default_units, timezone, tag(policy_id, zone_version))


def change(
    session: Session,
    account_id: int,
    actor: str,
    now_us: int,
    *,
    default_units: int | None,
    timezone: str,
    expected: str | None = None,
) -> Policy:
    """Put a policy in force from now on. Stale where it no longer is what `expected`, the tag the caller saw, stands for."""
    lock(session, account_id)
    before = of(session, account_id)
    if expected is not None and expected != before.tag:
        raise Stale(STALE_TEXT)
    if default_units != before.default_units:
        (last,) = session.one("SELECT max(policy_id) FROM policy WHERE account_id = :account_id", account_id=account_id) or (None,)
        session.run(
            """
            INSERT INTO policy (account_id, policy_id, default_units, from_us, actor)
            VALUES (:account_id, :policy_id, :default_units, :now_us, :actor)
            """,
            account_id=account_id,
            policy_id=int(last or 0) + 1,
            default_units=default_units,
            now_us=now_us,
            actor=actor,
        )
    if timezone != before.timezone:
        try:
            change_zone(session, account_id, days.zone(timezone).key)
        except ValueError as error:
            raise Invalid(f"timezone: {error}") from None
    after = of(session, account_id)
    if after != before:
        touch(session, account_id)
        audit.note(session, account_id, actor, "policy.changed", {"before": _noted(before), "after": _noted(after)}, now_us)
    return after


def touch(session: Session, account_id: int) -> None:
    """Say that a page of the account may look different now."""
    session.run("UPDATE account SET revision = revision + 1 WHERE account_id = :account_id", account_id=account_id)


def tag(*numbers: int) -> str:
    """A short text that stands for a state."""
    return sha256(repr(numbers).encode()).hexdigest()[:16]


def _noted(policy: Policy) -> dict[str, str]:
    return {"default_limit": limit_text(policy.default_units), "timezone": policy.timezone}
