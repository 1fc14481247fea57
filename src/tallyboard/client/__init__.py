"""The client: asks whether a user may go on, sets credits aside, records what was used. It stands alone and needs only httpx.

What happens when Tallyboard cannot answer is the caller's explicit choice: FAIL_OPEN lets requests through, FAIL_CLOSED turns
them away; either is counted (docs/clients.md).
"""

from tallyboard.client.answers import (
    Allowance,
    Amount,
    ClientError,
    Counts,
    LimitReached,
    NotSettled,
    Rejected,
    Settled,
    Unreachable,
)
from tallyboard.client.awaiting import AsyncClient, AsyncHold
from tallyboard.client.blocking import Client, Hold
from tallyboard.client.exchange import FAIL_CLOSED, FAIL_OPEN, WhenUnreachable

__all__ = [
    "FAIL_CLOSED",
    "FAIL_OPEN",
    "Allowance",
    "Amount",
    "AsyncClient",
    "AsyncHold",
    "Client",
    "ClientError",
    "Counts",
    "Hold",
    "LimitReached",
    "NotSettled",
    "Rejected",
    "Settled",
    "Unreachable",
    "WhenUnreachable",
]
