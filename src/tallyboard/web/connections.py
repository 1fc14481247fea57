"""Connections of clients that do not come to the point: a request's head has a limited time and size; bodies are watched in body.py.

The server's own limits begin when a head is complete. One timer watches all connections, since one each is felt at every request.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES_MAX = 32_768
"""What is kept of a head that has not ended; one that ends within one read of the socket may be longer."""
HEAD_SECONDS_MAX = 20.0
LOOK_SECONDS = 1.0
_REFUSALS = {
    408: b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    431: b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
}


class Connection(HttpToolsProtocol):
    """One client's connection, as uvicorn makes it for each."""

    head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It has that long to say what it wants."""
        super().connection_made(transport)
        _waiting.begin(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        _waiting.end(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; whoever sends behind an answer has begun another."""
        super().data_received(data)
        if self in _waiting.since:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES_MAX:
                self.refuse(431)
        elif self.cycle is None or self.cycle.response_complete:
            _waiting.begin(self)

    def on_message_begin(self) -> None:
        """A head begins."""
        _waiting.begin(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has ended in time."""
        self.head_bytes = 0
        _waiting.end(self)
        super().on_headers_complete()

    def refuse(self, status: int) -> None:
        """Say why, and close."""
        _waiting.end(self)
        if not self.transport.is_closing():
            self.transport.write(_REFUSALS[status])
            self.transport.close()


class _Waiting:
    """The connections whose head is not complete, those that began first at the front."""

    def __init__(self) -> None:
        self.since: dict[Connection, float] = {}
        self._looks_on: asyncio.AbstractEventLoop | None = None

    def begin(self, connection: Connection) -> None:
        loop = connection.loop
        self.since.setdefault(connection, loop.time())
        if self._looks_on is not loop:
            self._looks_on = loop
            loop.call_later(LOOK_SECONDS, self._look, loop)

    def end(self, connection: Connection) -> None:
        self.since.pop(connection, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        oldest = loop.time() - HEAD_SECONDS_MAX
        for connection in [connection for connection, since in self.since.items() if since < oldest]:
            connection.refuse(408)
        loop.call_later(LOOK_SECONDS, self._look, loop)


_waiting = _Waiting()
