"""The audit log: who changed what, and when. Only ever added to, in the transaction of the change itself."""

from msgspec.json import encode

from tallyboard.ledger.contract import Session
from tallyboard.ledger.locking import lock


def note(session: Session, account_id: int, actor: str, action: str, detail: object, now_us: int) -> None:
    """Add a line. `detail` is anything that msgspec writes as JSON; it holds no secret."""
    lock(session, account_id)
    (last,) = session.one("SELECT max(audit_id) FROM audit WHERE account_id = :account_id", account_id=account_id) or (None,)
    session.run(
        """
        INSERT INTO audit (account_id, audit_id, at_us, actor, action, detail)
        VALUES (:account_id, :audit_id, :at_us, :actor, :action, :detail)
        """,
        account_id=account_id,
        audit_id=int(last or 0) + 1,
        at_us=now_us,
        actor=actor,
        action=action,
        detail=encode(detail).decode(),
    )
