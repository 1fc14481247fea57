"""Clients that do not come to the point are cut off, others are not; and who calls is believed of nobody but a trusted proxy."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from tallyboard import settings
from tallyboard.web import connections, server
from tests.conftest import wait_until

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def tells_who_calls(scope: Any, _: Any, send: Any) -> None:
    """An application that answers with what the server believes of the caller."""
    if scope["type"] == "lifespan":
        return
    told = json.dumps({"client": scope["client"][0], "scheme": scope["scheme"]}).encode()
    headers = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told})


@contextmanager
def running(**given: str) -> Iterator[int]:
    """A server as `tallyboard serve` runs it, with some settings; its port."""
    listener = server.bind("127.0.0.1", 0)
    running = uvicorn.Server(server.configured(tells_who_calls, settings.read({"host": "127.0.0.1", **given}, {})))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
    thread.start()
    wait_until(lambda: running.started, "the server runs")
    port: int = listener.getsockname()[1]
    yield port
    running.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a server that waits for a tenth of a second."""
    monkeypatch.setattr(connections, "HEAD_SECONDS_MAX", 0.1)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.02)
    with running() as port:
        yield port


def ask(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(30)
    return client


def everything(client: socket.socket) -> bytes:
    """What comes until the other side closes."""
    parts = []
    try:
        while part := client.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"GET", HEAD, HEAD + b"X-Long: " + b"x" * 1_000, b"\r\n\r\n"], ids=len)
def test_a_head_that_does_not_end_is_given_up(impatient: int, sent: bytes) -> None:
    with ask(impatient) as client:
        client.sendall(sent)
        assert everything(client).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("second", [b"G", HEAD, b"\r\n"], ids=len)
def test_a_second_head_on_the_same_connection_has_no_more_time(impatient: int, second: bytes) -> None:
    with ask(impatient) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
        client.sendall(second)
        assert b"HTTP/1.1 408 " in everything(client)


def test_a_connection_between_two_requests_may_rest(impatient: int) -> None:
    """Others are cut off meanwhile: then the watch has looked several times."""
    with ask(impatient) as resting:
        resting.sendall(HEAD + b"\r\n")
        assert resting.recv(65_536).startswith(b"HTTP/1.1 200 ")
        with ask(impatient) as slow:
            assert everything(slow).startswith(b"HTTP/1.1 408 ")
        resting.sendall(HEAD + b"Connection: close\r\n\r\n")
        assert everything(resting).startswith(b"HTTP/1.1 200 ")


def test_a_head_without_end_is_given_up_long_before_it_fills_the_memory() -> None:
    with running() as port, ask(port) as client:
        client.sendall(HEAD)
        sent = 0
        try:
            for number in range(10_000):
                client.sendall(b"X-%05d: " % number + b"x" * 8_000 + b"\r\n")
                sent += 8_000
        except OSError:
            pass
        assert sent < 80_000_000, "everything was taken"


def test_ordinary_requests_are_answered_however_many_come_at_once() -> None:
    with running() as port, ask(port) as client:
        client.sendall((HEAD + b"\r\n") * 99 + HEAD + b"Connection: close\r\n\r\n")
        assert everything(client).count(b"HTTP/1.1 200 ") == 100


FORWARDED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
ITSELF, FORWARDED_FOR = {"client": "127.0.0.1", "scheme": "http"}, {"client": "203.0.113.9", "scheme": "https"}


@pytest.mark.parametrize(
    ("trusted", "headers", "believed"),
    [
        ("", FORWARDED, ITSELF),
        ("10.0.0.0/24", FORWARDED, ITSELF),
        ("127.0.0.1", FORWARDED, FORWARDED_FOR),
        ("10.0.0.5, 127.0.0.0/8", FORWARDED, FORWARDED_FOR),
        ("127.0.0.1", {"X-Forwarded-For": "6.6.6.6, 203.0.113.9", "X-Forwarded-Proto": "https"}, FORWARDED_FOR),
        ("127.0.0.1", {}, ITSELF),
    ],
)
def test_who_calls_is_believed_of_a_trusted_proxy_alone(trusted: str, headers: dict[str, str], believed: dict[str, str]) -> None:
    with running(trusted_proxies=trusted) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/", headers=headers).json() == believed
