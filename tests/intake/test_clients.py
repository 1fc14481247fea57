"""Real client packages, unmodified, and requests recorded from them, are taken."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudevents.v1.http
import pytest
import requests
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from tests.conftest import DATA, Server, environment
from tests.environments import python_of

CONVERSATION = 1_000_000
RECORDED = sorted((DATA / "captures").glob("*/*.request.json"))


@pytest.mark.parametrize("write", [http.to_structured_event, http.to_binary_event], ids=["structured", "binary"])
def test_the_cloudevents_package_gets_its_events_in(shared_server: Server, write: Callable[[CloudEvent], Any]) -> None:
    user = f"zoë of {write.__name__}"
    attributes = {
        "id": "core",
        "source": f"/core/{write.__name__}",
        "type": "ai.usage.recorded",
        "specversion": "1.0",
        "subject": user,
        "time": datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC),
        "tenantid": "t1",
    }
    message = write(CloudEvent(attributes, {"conversations": 3, "model": "gpt-4o"}))
    assert _post(shared_server, message.headers, message.body) == 204
    assert _post(shared_server, message.headers, message.body) == 204
    assert _units_of(shared_server, user) == 3 * CONVERSATION


@pytest.mark.filterwarnings("ignore:to_.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("write", [cloudevents.v1.http.to_structured, cloudevents.v1.http.to_binary], ids=["structured", "binary"])
def test_the_older_cloudevents_interface_gets_its_events_in(shared_server: Server, write: Callable[[Any], Any]) -> None:
    """In binary mode it sends no Content-Type at all."""
    user = f"bob of {write.__name__}"
    attributes = {"type": "ai.usage.recorded", "source": f"/v1/{write.__name__}", "subject": user, "time": "2026-11-01T12:00:00.5+00:00"}
    headers, body = write(cloudevents.v1.http.CloudEvent(attributes, {"conversations": 2}))
    assert _post(shared_server, headers, body) == 204
    assert _units_of(shared_server, user) == 2 * CONVERSATION


def test_the_openmeter_client_gets_its_events_in(shared_server: Server, openmeter_python: Path) -> None:
    """It takes nothing but 204 for success, and must see a refusal as an error that it does not repeat."""
    script = Path(__file__).with_name("openmeter_client.py")
    line = [openmeter_python, script, shared_server.url, shared_server.keys["ingest"]]
    done = subprocess.run(line, capture_output=True, timeout=60, check=False, env=environment())
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout) == {"event": None, "events": None, "json": None, "again": None, "refused": 400}
    assert _units_of(shared_server, "alice@example.com") == 6 * CONVERSATION


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda path: f"{path.parent.name}/{path.name[:3]}")
def test_recorded_requests_are_taken_byte_by_byte(shared_server: Server, recorded: Path) -> None:
    request = json.loads(recorded.read_text())
    dropped = {"authorization", "host", "content-length", "connection", "accept-encoding"}
    headers = {name: value for name, value in request["headers"] if name.lower() not in dropped}
    body = recorded.with_name(recorded.name.replace(".request.json", ".body")).read_bytes()
    assert (request["method"], request["path"]) == ("POST", "/api/v1/events")
    assert _post(shared_server, headers, body) == 204
    again = {**headers, "Authorization": f"Bearer {shared_server.keys['ingest']}", "Prefer": "return=representation"}
    told = shared_server.client.post(f"{shared_server.url}/api/v1/events", headers=again, content=body).json()
    assert (told["accepted"], told["conflict"], told["refused"]) == (0, 0, [])
    assert told["duplicate"] >= 1


def test_there_are_recordings() -> None:
    assert len(RECORDED) == 10


@pytest.fixture(scope="session")
def openmeter_python() -> Path:
    """The Python of an environment that has the openmeter client."""
    return python_of("openmeter")


def _post(server: Server, headers: Any, body: Any) -> int:
    lines = {**headers, "Authorization": f"Bearer {server.keys['ingest']}"}
    return requests.post(f"{server.url}/api/v1/events", headers=lines, data=body, timeout=30).status_code


def _units_of(server: Server, user: str) -> int:
    return int(server.usage(first="2026-11-01", last="2026-11-01", user=user)["total"]["units"])
