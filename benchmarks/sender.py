"""A client that costs next to nothing: requests built beforehand, raw bytes over keep-alive connections, in a process of its own."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from random import Random

import uvloop

from benchmarks import sample
from benchmarks.servers import Service
from tallyboard import clock


def send(services: Sequence[Service], size: int, count: int, connections: int, spread_us: int) -> float:
    """Send `count` batches of new events over so many connections to services of one ledger; seconds until the last is acknowledged."""
    random = Random()
    bodies = [sample.body(random, clock.now_us(), spread_us, size) for _ in range(count)]
    ports = [service.port for service in services]
    return uvloop.run(_send(ports, [request(services[0], body) for body in bodies], connections))


def post(port: int, requests: list[bytes], connections: int) -> float:
    """Send requests as they are over so many connections; seconds until the last is answered 200 or 204."""
    return uvloop.run(_send([port], requests, connections))


async def _send(to: Sequence[int], requests: list[bytes], connections: int) -> float:
    ports = [to[number % len(to)] for number in range(connections)]
    streams = [await asyncio.open_connection("127.0.0.1", port) for port in ports]
    waiting = iter(requests)
    started = time.perf_counter()
    await asyncio.gather(*(_work(waiting, reader, writer) for reader, writer in streams))
    took = time.perf_counter() - started
    for _, writer in streams:
        writer.close()
    return took


async def _work(waiting: Iterator[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for request in waiting:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")):
            raise RuntimeError(f"expected 204 or 200: {answer.decode()}")
        if length := re.search(rb"content-length: (\d+)", answer, re.IGNORECASE):
            await reader.readexactly(int(length[1]))


def request(service: Service, body: bytes, path: str = "", content_type: str = "") -> bytes:
    """A request with a key of a service, to where it takes events unless said otherwise."""
    lines = [f"POST {path or service.events_path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    headers = {**service.headers, "content-type": content_type or service.headers["content-type"]}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
