"""Server-sent events that say «usage changed» and nothing else: the page then fetches itself by the normal way.

Every stream asks twice a second whether the account has a new revision; the streams of one account share
the answer for a quarter of a second. That needs no messages between processes, and a missed one cannot be lost.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from itertools import count

from litestar.response.sse import ServerSentEventMessage

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import Overloaded, Unavailable
from tallyboard.web.security import off_loop

POLL_SECONDS = 0.5
POLLS_PER_ADMISSION = 4
HEARTBEAT_SECONDS = 15
STREAMS_MAX = 1_000


class Streams:
    """The streams of one process: no more than STREAMS_MAX are open at a time."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open = 0

    def check_room(self) -> None:
        """Overloaded where there is no room for another."""
        if self._open >= STREAMS_MAX:
            raise Overloaded("as many pages are open as this process serves live; the page tries again", retry_seconds=30)

    async def follow(self, account_id: int, known: str, still_allowed: Callable[[], bool]) -> AsyncIterator[ServerSentEventMessage]:
        """The events of a page that shows the state `known`.

        They end when the reader may no longer read, and when the ledger is away: then the page connects again.
        """
        self._open += 1
        try:
            async for message in self._follow(account_id, known, still_allowed):
                yield message
        except Unavailable:
            return
        finally:
            self._open -= 1

    async def _follow(self, account_id: int, known: str, still_allowed: Callable[[], bool]) -> AsyncIterator[ServerSentEventMessage]:
        quiet = 0.0
        for poll in count():
            if poll % POLLS_PER_ADMISSION == 0 and not await off_loop(self._app, still_allowed):
                yield ServerSentEventMessage(event="closed", data="{}")
                return
            # The page may be newer than what is remembered; from then on what is remembered is newer than the page.
            current = await off_loop(self._app, partial(self._app.page_state, account_id, clock.now_us(), fresh=poll == 0))
            if current != known:
                known, quiet = current, 0.0
                yield ServerSentEventMessage(event="usage", id=current, data="{}")
            elif quiet >= HEARTBEAT_SECONDS:
                quiet = 0.0
                yield ServerSentEventMessage(comment="still here")
            await asyncio.sleep(POLL_SECONDS)
            quiet += POLL_SECONDS
