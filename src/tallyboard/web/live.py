"""Server-sent events that say «usage changed» and nothing else: the page then fetches itself by the normal way.

Every stream asks the ledger twice a second whether the account has a new revision. That takes
microseconds, needs no messages between processes, and a missed one cannot be lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from litestar.response.sse import ServerSentEventMessage

from tallyboard import clock
from tallyboard.app import App
from tallyboard.people import accounts

POLL_SECONDS = 0.5
HEARTBEAT_SECONDS = 15
STREAMS_MAX = 500


async def stream(app: App, account_id: int, known: str, still_allowed: Callable[[], bool]) -> AsyncIterator[ServerSentEventMessage]:
    """The events of one page; it ends when its reader may no longer read."""
    quiet = 0.0
    while True:
        if not still_allowed():
            yield ServerSentEventMessage(event="closed", data="{}")
            return
        with app.ledger.reading() as session:
            current = accounts.state(session, account_id, clock.now_us())
        if current != known:
            known, quiet = current, 0.0
            yield ServerSentEventMessage(event="usage", id=current, data="{}")
        elif quiet >= HEARTBEAT_SECONDS:
            quiet = 0.0
            yield ServerSentEventMessage(comment="still here")
        await asyncio.sleep(POLL_SECONDS)
        quiet += POLL_SECONDS
