"""A client that costs next to nothing: requests built beforehand, raw bytes over keep-alive connections, in a process of its own."""

import asyncio
import time
from collections.abc import Iterator
from random import Random

import uvloop

from benchmarks import sample
from benchmarks.servers import Service
from tallyboard import clock


def send(service: Service, size: int, count: int, connections: int, spread_us: int) -> float:
    """Send `count` batches of new events over so many connections; seconds until the last is acknowledged."""
    random = Random()
    bodies = [sample.body(random, clock.now_us(), spread_us, size) for _ in range(count)]
    return uvloop.run(_send(service, [_request(service, body) for body in bodies], connections))


async def _send(service: Service, requests: list[bytes], connections: int) -> float:
    streams = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(connections)]
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
