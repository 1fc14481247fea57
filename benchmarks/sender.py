"""A client that costs next to nothing: requests built beforehand, raw bytes over keep-alive connections, in a process of its own."""

import asyncio
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
    return uvloop.run(_send(services, [_request(services[0], body) for body in bodies], connections))


async def _send(services: Sequence[Service], requests: list[bytes], connections: int) -> float:
    ports = [services[number % len(services)].port for number in range(connections)]
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
        if not answer.startswith(b"HTTP/1.1 204"):
            raise RuntimeError(f"expected 204: {answer.decode()}")


def _request(service: Service, body: bytes) -> bytes:
    lines = [f"POST {service.events_path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in service.headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
