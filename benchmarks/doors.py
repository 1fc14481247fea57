"""The same calls of models through three doors over HTTP, acknowledged when on disk: OTLP in both encodings beside CloudEvents."""

import json
import random
from pathlib import Path
from statistics import median

import httpx
from msgspec import Struct
from rich.progress import Progress

from benchmarks import otlp, sender, servers
from benchmarks.servers import Service
from tallyboard import clock
from tallyboard.intake.otlp import typed_json
from tallyboard.intake.otlp.usage import of_spans

ROUNDS = 5
SIZE, REQUESTS, CONNECTIONS = 1_000, 12, 4
CLOUDEVENTS = "CloudEvents"


class Door(Struct, frozen=True):
    """Acknowledged calls/s through a door, median of the rounds; `times` is the median of each round's ratio to CloudEvents."""

    name: str
    calls: float
    times: float


def measure(folder: Path, progress: Progress) -> list[Door]:
    """All doors in turn, on one server."""
    task = progress.add_task("OTLP over HTTP", total=ROUNDS)
    chance = random.Random(1)
    seconds: dict[str, list[float]] = {}
    with servers.tallyboard(folder / "doors") as service:
        for number in range(-1, ROUNDS):  # The first one only warms up.
            doors = [CLOUDEVENTS, "OTLP, protobuf", "OTLP, JSON"]
            for door in doors if number % 2 else reversed(doors):
                took = sender.post(service.port, [_request(service, door, chance) for _ in range(REQUESTS)], CONNECTIONS)
                if number >= 0:
                    seconds.setdefault(door, []).append(took)
            progress.advance(task)
        _check_kept(service)
    return [_door(name, each, seconds[CLOUDEVENTS]) for name, each in seconds.items()]


def _door(name: str, seconds: list[float], beside: list[float]) -> Door:
    times = median(other / own for own, other in zip(seconds, beside, strict=True))
    return Door(name, SIZE * REQUESTS / median(seconds), times)


def _request(service: Service, door: str, chance: random.Random) -> bytes:
    """One request of calls that are told for the first time."""
    spans = otlp.request(chance, SIZE, clock.now_us() * 1_000)
    if door == CLOUDEVENTS:
        return sender.request(service, json.dumps(_as_events(spans)).encode())
    as_json = json.dumps(spans).encode()
    if door == "OTLP, JSON":
        return sender.request(service, as_json, "/v1/traces", "application/json")
    return sender.request(service, otlp.message(as_json).SerializeToString(), "/v1/traces", "application/x-protobuf")


def _as_events(spans: dict[str, object]) -> list[dict[str, object]]:
    """What those spans come to, as CloudEvents."""
    events = []
    for event in of_spans(typed_json.spans(json.dumps(spans).encode())):
        assert not isinstance(event, Exception)
        told = {
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.subject,
            "time": event.time,
            "data": event.data,
        }
        events.append({"specversion": "1.0", **told})
    return events


def _check_kept(service: Service) -> None:
    """Every call was kept, else the race was not fair."""
    told = httpx.get(f"{service.address}/metrics", timeout=60).raise_for_status().text
    expected = SIZE * REQUESTS * (ROUNDS + 1) * 3
    assert f'tallyboard_events_total{{outcome="accepted"}} {expected:.1f}' in told, told
