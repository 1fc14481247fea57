"""Clients in a process of their own that cost next to nothing: the same small requests over and over, or a conversation of several.

Nothing is pipelined: a connection sends when the answer before has come.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from resource import RUSAGE_SELF, getrusage

import uvloop
from msgspec import Struct
from msgspec.json import decode, encode

from benchmarks.servers import Service


class Asked(Struct, frozen=True):
    """How it went: requests answered, seconds by the wall, this process's own seconds of processor time, and each answer's seconds."""

    answers: int
    seconds: float
    own_seconds: float
    latencies: list[float]

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def percentile(self, part: float) -> float:
        """Milliseconds within which this part of the answers came."""
        return sorted(self.latencies)[min(int(part * len(self.latencies)), len(self.latencies) - 1)] * 1000


def request(service: Service, method: str, path: str, said: object = None) -> bytes:
    """A request's bytes."""
    body = b"" if said is None else encode(said)
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", "content-type: application/json"]
    lines.append(f"authorization: {service.headers['authorization']}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def flood(port: int, requests: Sequence[bytes], connections: int, count: int) -> Asked:
    """So many requests as fast as they are answered."""
    return uvloop.run(_flood(port, requests, connections, count))


def pace(port: int, requests: Sequence[bytes], connections: int, per_second: float, seconds: float) -> Asked:
    """One request after another at fixed instants, whether or not the ones before were answered: latencies count from those instants."""
    return uvloop.run(_pace(port, requests, connections, per_second, seconds))


class _Flood(asyncio.Protocol):
    """A connection that sends the next request as soon as an answer is complete."""

    def __init__(self, take: Callable[[], bytes | None], done: asyncio.Event) -> None:
        self._take = take
        self._done = done
        self._size = 0
        self._got = b""
        self.sent_at = 0.0
        self.latencies: list[float] = []
        self.idle = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.WriteTransport = transport  # type: ignore[assignment]

    def send(self, data: bytes, at: float) -> None:
        self.idle = False
        self.sent_at = at
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        got = self._got = self._got + data if self._got else data
        head = got.find(b"\r\n\r\n")
        if head < 0 or len(got) < head + 4 + _length(got):
            return
        if not got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(got.decode())
        self._got = b""
        now = time.perf_counter()
        self.latencies.append(now - self.sent_at)
        following = self._take()
        if following is None:
            self.idle = True
            self._done.set()
        else:
            self.send(following, now)


def _length(got: bytes) -> int:
    start = got.lower().find(b"content-length:") + 15
    return int(got[start : got.find(b"\r", start)])


async def _flood(port: int, requests: Sequence[bytes], connections: int, count: int) -> Asked:
    left = count - connections
    done = asyncio.Event()

    def take() -> bytes | None:
        nonlocal left
        if left <= 0:
            return None
        left -= 1
        return requests[left % len(requests)]

    lines = [await _connect(port, take, done) for _ in range(connections)]
    own, started = _own_seconds(), time.perf_counter()
    for number, line in enumerate(lines):
        line.send(requests[number % len(requests)], started)
    while not all(line.idle for line in lines):
        done.clear()
        await done.wait()
    return _asked(lines, started, own)


async def _pace(port: int, requests: Sequence[bytes], connections: int, per_second: float, seconds: float) -> Asked:
    done = asyncio.Event()
    due: list[tuple[bytes, float]] = []
    lines = [await _connect(port, lambda: None, done) for _ in range(connections)]
    own, started = _own_seconds(), time.perf_counter()
    for number in range(int(per_second * seconds)):
        at = started + number / per_second
        await asyncio.sleep(max(at - time.perf_counter(), 0))
        due.append((requests[number % len(requests)], at))
        while due and (free := next((line for line in lines if line.idle), None)):
            free.send(*due.pop(0))
    while due or not all(line.idle for line in lines):
        done.clear()
        while due and (free := next((line for line in lines if line.idle), None)):
            free.send(*due.pop(0))
        await done.wait()
    return _asked(lines, started, own)


async def _connect(port: int, take: Callable[[], bytes | None], done: asyncio.Event) -> _Flood:
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: _Flood(take, done), "127.0.0.1", port)
    return protocol


def _asked(lines: Sequence[_Flood], started: float, own: float) -> Asked:
    seconds = time.perf_counter() - started
    latencies = [each for line in lines for each in line.latencies]
    for line in lines:
        line.transport.close()
    return Asked(len(latencies), seconds, _own_seconds() - own, latencies)


def _own_seconds() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Line:
    """A connection on which one asks and waits."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, data: bytes) -> tuple[int, dict[str, object]]:
        """Status and JSON of the answer."""
        self._writer.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 204:
            return status, {}
        return status, decode(await self._reader.readexactly(_length(head)))

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def converse(ports: Sequence[int], clients: int, talk: Callable[[Line, int], Awaitable[list[float]]]) -> Asked:
    """Clients that talk side by side, each on a connection of its own; `talk` gives the seconds that each exchange took."""

    async def run() -> Asked:
        lines = [Line(*await asyncio.open_connection("127.0.0.1", ports[number % len(ports)])) for number in range(clients)]
        own, started = _own_seconds(), time.perf_counter()
        found = await asyncio.gather(*(talk(line, number) for number, line in enumerate(lines)))
        seconds = time.perf_counter() - started
        for line in lines:
            line.close()
        latencies = [each for one in found for each in one]
        return Asked(len(latencies), seconds, _own_seconds() - own, latencies)

    return uvloop.run(run())
