"""Distributes the tables over the nodes of a Citus cluster, by account. The same schema, the same statements.

Source: Citus 13, create_distributed_table and create_reference_table. Every distributed table has account_id
first in its keys, so all that belongs to an account lies on one node and a transaction of one account stays there.
"""

from tallyboard.errors import Invalid
from tallyboard.ledger.contract import Engine, Session

DISTRIBUTED = (
    "account",
    "app_user",
    "user_alias",
    "event",
    "seen_filter",
    "slot_usage",
    "day_usage",
    "day_total",
    "rate_card",
    "audit",
    "policy",
    "policy_override",
    "hold",
    "scim_user",
    "arrival",
    "arrival_note",
    "call_told",
    "counter",
    "bucket",
)
"""The first one's places are everyone's: what belongs to one account lies together."""
REFERENCE = ("api_key", "member", "member_identity", "sign_in_link", "sign_in_spent", "session", "sign_in_attempt")
"""Copied to every node: they are looked up by a secret's hash or an email, before the account is known."""


def distribute(engine: Engine) -> list[str]:
    """Distribute what is not yet distributed, empty or filled, one table a transaction; the tables that were."""
    with engine.reading() as session:
        if session.one("SELECT 1 FROM pg_extension WHERE extname = 'citus'") is None:
            raise Invalid("this database has no Citus; `CREATE EXTENSION citus` on its coordinator makes it one")
    return [table for table in (*DISTRIBUTED, *REFERENCE) if _distribute(engine, table)]


def _distribute(engine: Engine, table: str) -> bool:
    with engine.writing() as session:
        if _is_distributed(session, table):
            return False
        if table in REFERENCE:
            session.all("SELECT create_reference_table(:name)", name=table)
        elif table == DISTRIBUTED[0]:
            session.all("SELECT create_distributed_table(:name, 'account_id', colocate_with => 'none')", name=table)
        else:
            session.all("SELECT create_distributed_table(:name, 'account_id', colocate_with => :first)", name=table, first=DISTRIBUTED[0])
        return True


def _is_distributed(session: Session, table: str) -> bool:
    return session.one("SELECT 1 FROM pg_dist_partition WHERE logicalrelid = CAST(:name AS regclass)", name=table) is not None
