"""OpenTelemetry's own SDK and exporters, unmodified; and how they take an overload."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import httpx
import pytest
from tests.conftest import Server, environment
from tests.environments import python_of
from tests.intake.telemetry import CACHE_READ, INPUT, OUTPUT

ENVIRONMENTS = {"proto": "otlp", "json": "otlp-json"}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_the_sdks_spans_and_metrics_count_once(priced: Server, encoding: str) -> None:
    run(encoding, priced.url, priced.keys["ingest"])
    calls = 20 * (6 * INPUT + 4 * CACHE_READ) + sum(range(20)) * OUTPUT
    assert charged(priced, f"{encoding}@example.com") == calls
    assert charged(priced, "meter@example.com") == (30 * INPUT if encoding == "proto" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["proto", "json"])
def test_an_answer_that_is_lost_and_one_that_is_503_are_sent_again_and_count_once(priced: Server, encoding: str) -> None:
    """In front of the server stands what passes the first request on and answers 503, as if the answer had been lost."""
    with Losing(priced.url) as losing:
        run(encoding, losing.url, priced.keys["ingest"])
        assert losing.lost
    calls = 20 * (6 * INPUT + 4 * CACHE_READ) + sum(range(20)) * OUTPUT
    assert charged(priced, f"{encoding}@example.com") == calls
    assert charged(priced, "meter@example.com") == (30 * INPUT if encoding == "proto" else 0)


def run(encoding: str, url: str, key: str) -> None:
    line = [python_of(ENVIRONMENTS[encoding]), Path(__file__).with_name("otlp_client.py"), url, key, encoding]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, done.stderr.decode()


def charged(server: Server, user: str) -> int:
    return int(server.usage(window="7", user=user)["total"]["units"])


class Losing:
    """Passes requests on, and loses the first answer of each path: it answers 503 with Retry-After, as Tallyboard does."""

    def __init__(self, to: str) -> None:
        self.lost: set[str] = set()
        losing, client = self, httpx.Client()
        self._client = client

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                told = client.post(to + self.path, content=body, headers={n: v for n, v in self.headers.items() if n.lower() != "host"})
                assert told.status_code == 200
                status, content = (told.status_code, told.content) if self.path in losing.lost else (503, b"")
                losing.lost.add(self.path)
                self.send_response(status)
                if status == 503:
                    self.send_header("Retry-After", "1")
                self.send_header("Content-Type", told.headers["Content-Type"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()
