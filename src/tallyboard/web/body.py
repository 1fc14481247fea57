"""Request bodies: read in full or refused, never beyond their limits, plain or gzip."""

import asyncio
import zlib
from collections.abc import Mapping
from types import TracebackType

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPRequestEvent, Receive, ReceiveMessage, Scope, Send

from tallyboard.web import raw
from tallyboard.web.problems import Problem, with_status

BODY_BYTES_MAX = 10 * 1024 * 1024
BODY_SECONDS_MAX = 60
INLINE_BYTES_MAX = 65_536
"""A body of events up to here is worked off on the event loop; of a larger one everybody else would feel it."""
_LOOK_SECONDS = 1.0
_WITH_BODY = {"POST", "PUT", "PATCH", "DELETE"}


async def read(headers: Mapping[str, str], receive: Receive) -> bytes:
    """The whole body, decompressed; Problem 400, 408, 413 or 415."""
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
        raise _too_large()
    return await unpacked(headers, await received(receive, BODY_BYTES_MAX))


async def received(receive: Receive, bytes_max: int) -> bytes:
    """The whole body as it came; Problem 400, 408 or 413."""
    with _watch:
        return await _receive(receive, bytes_max)


def with_whole_bodies(app: ASGIApp, bytes_max: int) -> ASGIApp:
    """The application, which gets a body when all of it is there; those that are too large or too slow do not reach it."""

    async def entry(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["method"] in _WITH_BODY:
            try:
                content = await received(receive, bytes_max)
            except Exception as error:  # noqa: BLE001  The framework's net is behind us here.
                await raw.answer_problem(send, error)
                return
            receive = _again(content, receive)
        await app(scope, receive, send)

    return entry


def _again(content: bytes, receive: Receive) -> Receive:
    """What gives a body that has been read, and after it whatever comes."""
    parts = [HTTPRequestEvent(type="http.request", body=content, more_body=False)]

    async def entry() -> ReceiveMessage:
        return parts.pop() if parts else await receive()

    return entry


class _Watch:
    """Cancels the tasks that have waited for a body for too long: one timer for all of them, since one each is felt at every request."""

    def __init__(self) -> None:
        self._since: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._looks_on: asyncio.AbstractEventLoop | None = None

    def __enter__(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._since[task] = loop.time()
        if self._looks_on is not loop:
            self._looks_on = loop
            loop.call_later(_LOOK_SECONDS, self._look, loop)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        del self._since[task]
        if task in self._late:
            self._late.remove(task)
            task.uncancel()
            raise Problem(408, "too-slow", "Too slow", f"the body did not arrive within {BODY_SECONDS_MAX} seconds") from None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        for task, since in self._since.items():
            if loop.time() - since < BODY_SECONDS_MAX:
                break  # The others came later.
            self._late.add(task)
            task.cancel()
        self._looks_on = loop if self._since else None
        if self._since:
            loop.call_later(_LOOK_SECONDS, self._look, loop)


_watch = _Watch()


async def unpacked(headers: Mapping[str, str], raw: bytes) -> bytes:
    """A body, decompressed; Problem 400, 413 or 415."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding in {"", "identity"}:
        return raw
    if encoding not in {"gzip", "x-gzip"}:
        raise with_status(415, f"Content-Encoding {encoding[:40]!r} is not taken; send gzip or none")
    return await asyncio.to_thread(gunzip, raw) if len(raw) > 65_536 else gunzip(raw)


def gunzip(raw: bytes) -> bytes:
    """Decompress, stopping at the limit: a bomb costs no more than an honest body."""
    unpacked = bytearray()
    while raw:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            unpacked += unpacker.decompress(raw, BODY_BYTES_MAX + 1 - len(unpacked))
        except zlib.error:
            raise with_status(400, "the body is not gzip, though Content-Encoding says so") from None
        if len(unpacked) > BODY_BYTES_MAX:
            raise _too_large()
        if not unpacker.eof:
            raise with_status(400, "the gzip body ends too early")
        raw = unpacker.unused_data
    return bytes(unpacked)


async def _receive(receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise with_status(400, "the connection closed before the body was complete")
        part = message["body"]
        size += len(part)
        if size > bytes_max:
            raise _too_large(bytes_max)
        parts.append(part)
        if not message["more_body"]:
            return b"".join(parts)


def _too_large(bytes_max: int = BODY_BYTES_MAX) -> Problem:
    return with_status(413, f"a body may hold {bytes_max:,} bytes, after decompression; send what is in it in several requests")
