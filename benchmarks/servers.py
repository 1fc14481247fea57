"""Both services as processes of their own, each on a new data folder, and what a client needs to call them."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from msgspec import Struct

from benchmarks.baseline.names import DATA_VARIABLE, KEY_VARIABLE

START_SECONDS_MAX = 20
TALLYBOARD = str(Path(sys.executable).with_name("tallyboard"))
KEY = "baseline-key"


class Service(Struct, frozen=True):
    """A running service: where events go in, with which headers, and what it printed when it started."""

    name: str
    port: int
    events_path: str
    headers: dict[str, str]
    printed: str = ""
    process_id: int = 0

    @property
    def address(self) -> str:
        """The address to call."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def tallyboard(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[Service]:
    """`tallyboard serve` with a key that may do what is measured. `variables` are further settings."""
    given = variables or {}
    made = subprocess.run(
        [TALLYBOARD, "key", "create", "--name", "benchmark", "--scopes", "ingest,read,check,admin", "--data", str(folder), "--json"],
        check=True,
        capture_output=True,
        env={**os.environ, **given},
    )
    port = _free_port()
    with _running([TALLYBOARD, "serve", "--port", str(port), "--data", str(folder)], given) as process:
        assert process.stdout is not None
        link = process.stdout.readline().strip()
        _wait(f"http://127.0.0.1:{port}/healthz")
        headers = {"authorization": f"Bearer {json.loads(made.stdout)['key']}", "content-type": "application/cloudevents-batch+json"}
        yield Service("Tallyboard", port, "/api/v1/events", headers, link, process.pid)


@contextmanager
def baseline(folder: Path) -> Iterator[Service]:
    """The baseline with its one key."""
    port = _free_port()
    folder.mkdir(parents=True, exist_ok=True)
    with _running([sys.executable, "-m", "benchmarks.baseline", str(port)], {DATA_VARIABLE: str(folder), KEY_VARIABLE: KEY}) as process:
        _wait(f"http://127.0.0.1:{port}/openapi.json")
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        yield Service("baseline", port, "/events", headers, process_id=process.pid)


@contextmanager
def _running(command: list[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **variables}
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait(url: str) -> None:
    ends_at = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            httpx.get(url).raise_for_status()
        except httpx.HTTPError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
