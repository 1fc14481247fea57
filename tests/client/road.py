"""The road between a client and Tallyboard, on which things go wrong: answers get lost, something else answers, nobody does."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


@dataclass(frozen=True)
class Says:
    """Something on the road answers instead of Tallyboard."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Lost:
    """The request arrives and is answered; the answer does not."""


class Road:
    """Passes requests on to `target`, but for the next ones, for which `mishaps` says what happens (None: nothing). `seen` are their paths."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.mishaps: deque[Says | type[Lost] | None] = deque()
        self.always: Says | None = None
        self.seen: list[str] = []
        self.url = ""
        self.client = httpx.Client(timeout=30)  # To make one for each request takes longer than the request, which somebody waits for.

    def close(self, status: int = 503) -> None:
        """From now on nobody gets through."""
        self.always = Says(status)

    def open(self) -> None:
        """From now on everybody does."""
        self.always = None

    def travel(self, method: str, path: str, headers: Any, body: bytes) -> Says | None:
        """One request's way; None where no answer comes back."""
        self.seen.append(f"{method} {path}")
        mishap = self.mishaps.popleft() if self.mishaps else self.always
        if isinstance(mishap, Says):
            return mishap
        passed = {name: value for name, value in headers.items() if name.lower() not in {"host", "content-length"}}
        came = self.client.request(method, self.target + path, headers=passed, content=body)
        if mishap is Lost:
            return None
        kept = {name: value for name, value in came.headers.items() if name not in {"content-length", "date", "server", "connection"}}
        return Says(came.status_code, kept, came.content)


@contextmanager
def road_to(target: str) -> Iterator[Road]:
    """A road that listens on a free port."""
    road = Road(target)

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            came = road.travel(self.command, self.path, self.headers, body)
            self.close_connection = True
            if came is None:
                return
            self.send_response(came.status)
            for name, value in {**came.headers, "Content-Length": str(len(came.body)), "Connection": "close"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(came.body)

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815  The names are the server's.

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        road.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield road
        finally:
            server.shutdown()
            thread.join()
            road.client.close()
