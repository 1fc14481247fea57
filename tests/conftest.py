"""What every test may ask for: a data folder, the command line, and a real server on a free port.

The cast is the same everywhere: Alice administers, Bob is a member, Charlie belongs to another account and must see nothing.
"""

import gzip
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings

from tests import engines, program
from tests.program import Process, environment

DATA = Path(__file__).parent / "data"
DEADLINE_SECONDS = 30.0
TESTERS_MAX = 8
LONGEST = (
    "tests/client/test_litellm.py",
    "tests/laws/test_aliases.py",
    "tests/laws/test_real_usage.py",
    "tests/laws/test_server_crashes.py",
    "tests/pulls/test_openai.py",
    "tests/web/test_document.py",
)
"""Files of tests that take a minute or so."""

settings.register_profile("tallyboard", deadline=None)  # No test asserts a time, whatever else the machine does.
settings.load_profile("tallyboard")

_CLUSTER = pytest.StashKey[Any]()

StartServer = Callable[[Path], "Server"]


def tallyboard(
    *arguments: object, data: Path | None = None, stdin: bytes = b"", check: bool = True, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. `more` are environment variables; with `check` it must exit with 0."""
    line = [*arguments, *(["--data", data] if data else [])]
    done = program.run(*line, stdin=stdin, env=environment(**{**engines.variables(data), **more}))
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert not check or result.returncode == 0, f"{' '.join(result.args)} exited with {result.returncode}:\n{result.stdout}{result.stderr}"
    return result


def refusal(*arguments: object, folder: Path) -> str:
    """What a command that cannot work says, in one sentence; never a stack trace."""
    done = tallyboard(*arguments, data=folder, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tallyboard: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def wait_until(holds: Callable[[], bool], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Return as soon as something holds; fail after a deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.01)


def read_json(name: str) -> Any:
    """A gzipped JSON file of tests/data."""
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


def event(id: str, user: str | None = "alice", *, time: str | None = "2026-11-01T12:00:00Z", **data: object) -> dict[str, Any]:
    """A usage event as it is sent; one conversation where `data` says nothing else."""
    attributes = {"specversion": "1.0", "id": id, "source": "/tests", "type": "ai.usage.recorded", "subject": user, "time": time}
    return {**{name: value for name, value in attributes.items() if value is not None}, "data": data or {"conversations": 1}}


class Keys(dict[str, str]):
    """API keys by their scopes, such as `keys["ingest,adjust"]`; made through the command line when first asked for."""

    def __init__(self, folder: Path, **more: str) -> None:
        super().__init__()
        self._folder = folder
        self._more = more

    def __missing__(self, scopes: str) -> str:
        self[scopes] = self.make(scopes)
        return self[scopes]

    def make(self, scopes: str, *options: object) -> str:
        """A new key with options of `tallyboard key create`."""
        made = tallyboard("key", "create", "--name", "test", "--scopes", scopes, "--json", *options, data=self._folder, **self._more)
        return str(json.loads(made.stdout)["key"])


class Server:
    """A running `tallyboard serve`: `url`, `folder`, `keys` by scopes, `process`. It may be killed and restarted."""

    def __init__(self, folder: Path, *, ready: bool = True, name: str = "", **more: str) -> None:
        self.folder = folder
        self.keys = Keys(folder, **more)
        self.url = ""
        self.client = httpx.Client(timeout=60)
        self.process: Process
        self.variables = more
        self._name = name
        self.start(ready=ready)

    def start(self, *, ready: bool = True, port: int = 0) -> None:
        """Start, on a free port where none is given, and wait until the ledger answers, or only until the server does."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self._log = self.folder.with_name(f"{self.folder.name}{self._name}.log")
        line = ["serve", "--port", port, "--data", self.folder]
        variables = environment(**{**engines.variables(self.folder), **self.variables})
        with self._log.open("wb") as log, Path(os.devnull).open("rb") as nothing:
            self.process = Process(*line, env=variables, stdin=nothing, stdout=log, stderr=log)
        try:
            wait_until(self._is_ready if ready else self._is_alive, "the server is ready")
        except BaseException:
            self.kill()
            raise

    @property
    def log(self) -> str:
        """What the server has said since it started."""
        return self._log.read_text()

    def request(self, method: str, path: str, scopes: str, **more: Any) -> httpx.Response:
        """One request with a key of these scopes."""
        headers = {"Authorization": f"Bearer {self.keys[scopes]}", **more.pop("headers", {})}
        return self.client.request(method, self.url + path, headers=headers, **more)

    def send(self, *events: Mapping[str, Any], scopes: str = "ingest") -> dict[str, Any]:
        """Send events in; what became of them."""
        headers = {"Prefer": "return=representation", "Content-Type": "application/cloudevents-batch+json"}
        answer = self.request("POST", "/api/v1/events", scopes, headers=headers, content=json.dumps(events))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def usage(self, **query: str) -> dict[str, Any]:
        """The answer of GET /api/v1/usage; `first` stands for `from` and `last` for `to`."""
        named = {{"first": "from", "last": "to"}.get(name, name): value for name, value in query.items()}
        answer = self.request("GET", "/api/v1/usage", "read", params=named)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def sign_in_link(self) -> str:
        """A new link that signs Alice in once."""
        port = str(httpx.URL(self.url).port)
        return str(
            json.loads(tallyboard("member", "link", "--json", data=self.folder, **{**self.variables, "TALLYBOARD_PORT": port}).stdout)[
                "link"
            ]
        )

    def kill(self) -> None:
        """End it as a power cut would: at once, without a word."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE_SECONDS)

    def _is_ready(self) -> bool:
        return self._is_alive() and self.client.get(f"{self.url}/readyz").status_code == 200

    def _is_alive(self) -> bool:
        assert self.process.poll() is None, f"the server has ended:\n{self.log}"
        _, found, rest = self.log.partition("listens on ")
        if not found or "\n" not in rest:
            return False
        self.url = rest.split()[0]
        try:
            return self.client.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def serving(folder: Path, **more: str) -> Iterator[Server]:
    """A server for the length of a with block. `more` are environment variables."""
    server = Server(folder, **more)
    try:
        yield server
    finally:
        server.kill()
        server.client.close()


def pytest_configure(config: pytest.Config) -> None:
    """Start the cluster of a run on PostgreSQL."""
    config.stash[_CLUSTER] = engines.start_cluster()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it, and what starts the program."""
    program.close()
    if cluster := config.stash.get(_CLUSTER, None):
        cluster.close()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, because tests wait as much as they compute; but one database server serves them all."""
    return min((os.cpu_count() or 1) + 1, TESTERS_MAX)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, so that none of them is left for the end, when everybody else has nothing to do."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_report_header() -> str:
    """Say what the tests run on."""
    return f"ledger engine: {engines.NAME}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder of one test; it does not exist yet."""
    yield tmp_path / "data"
    engines.drop(tmp_path / "data")


@pytest.fixture
def start_server() -> Iterator[StartServer]:
    """Starts servers on data folders; they are killed when the test ends."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serving(folder))


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    """A server of one test."""
    with serving(folder) as running:
        yield running


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of one module share, where none disturbs another."""
    with serving(tmp_path_factory.mktemp("shared") / "data") as running:
        yield running
