"""Limits over HTTP: what is let through beyond them, how fast a check is answered, and what it waits for while events arrive.

Beside it: the look-compare-add of benchmarks/baseline/limits.py, and the same answer from memory by FastAPI and pydantic.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from secrets import token_hex
from statistics import median

import httpx
from msgspec import Struct
from rich.progress import Progress
from tests.cluster import Cluster

from benchmarks import asker, on_postgresql, sample, sender, servers
from benchmarks.asker import Asked, request
from benchmarks.servers import Service

CLIENTS = (1, 4, 16, 64)
CALLS = 100
"""How many calls a limit allows."""
CALL_UNITS = 1_000_000
CALL_SECONDS = 0.02
CHECKED_USERS = 200
ROUNDS = 7
CHECKS = 10_000
CONNECTIONS = 16
PACE_PER_SECOND, PACE_SECONDS = 200.0, 8.0
EVENTS_PER_SECOND, BATCH_EVENTS, BATCH_CONNECTIONS = 100_000, 10_000, 2
COMPUTING = 3
"""The sender, the worker and the keeper."""
PAIR_CLIENTS = (1, 16, 64)
PAIRS = 40
CHECK_BAR, P99_BAR_MS = 3.5, 4.0


class Overshoot(Struct, frozen=True):
    """Calls let through beyond the limit, by the way they ask."""

    clients: int
    holds: int
    checks: int
    baseline: int


class Limits(Struct, frozen=True):
    """All that is measured of limits. Checks are per second and microseconds of the server's processor time each, ours and the baseline's.

    `computing_p99` is of an idle server beside processes that only compute. `pairs` is hold-and-settle pairs per second and the milliseconds of 99 of 100, by engine and clients.
    """

    overshoot: list[Overshoot]
    per_second: tuple[float, float]
    times: float
    processor_us: tuple[float, float]
    asker_share: float
    idle_p99: float
    busy_p99: float
    busy_events: float
    computing_p99: float
    pairs: dict[str, dict[int, tuple[float, float]]]


def measure(folder: Path, progress: Progress) -> Limits:
    """Everything in turn."""
    task = progress.add_task("Limits", total=4)
    with (
        servers.tallyboard(folder / "tallyboard-limits") as ours,
        servers.baseline(folder / "baseline-limits") as theirs,
        ProcessPoolExecutor(2, mp_context=get_context("spawn")) as clients,
    ):
        overshoot = [_overshoot(clients, ours, theirs, number) for number in CLIENTS]
        progress.advance(task)
        checks = _checks(clients, ours, theirs)
        progress.advance(task)
        idle = clients.submit(_paced, ours).result()
        busy, events = _while_events_arrive(clients, ours)
        computing = _while_others_compute(clients, ours)
        progress.advance(task)
        pairs = {"SQLite": {number: _pairs(clients, [ours], number) for number in PAIR_CLIENTS}}
        pairs["PostgreSQL"] = _pairs_on_postgresql(clients, folder)
        progress.advance(task)
    return Limits(overshoot, *checks, idle.percentile(0.99), busy.percentile(0.99), events, computing.percentile(0.99), pairs)


def _overshoot(clients: ProcessPoolExecutor, ours: Service, theirs: Service, number: int) -> Overshoot:
    """Clients that call until they are refused, each call costing the same; how many calls were too many."""
    beyond: list[int] = []
    for service, way in ((ours, _by_holds), (ours, _by_checks), (theirs, _by_adding)):
        user = f"{way.__name__}-{number}-{token_hex(4)}"
        if service is ours:
            _set_limit(ours, user, CALLS * CALL_UNITS)
        clients.submit(_call_until_refused, service, way, user, number).result()
        beyond.append(_used(service, user) // CALL_UNITS - CALLS)
    return Overshoot(number, *beyond)


def _call_until_refused(service: Service, way: Callable[..., asyncio.Future[list[float]]], user: str, clients: int) -> None:
    asker.converse([service.port], clients, partial(way, service, user))


async def _by_holds(service: Service, user: str, line: asker.Line, number: int) -> list[float]:
    for call in range(CALLS + 1):
        name = f"{user}-{number}-{call}"
        status, _ = await line.ask(request(service, "POST", "/api/v1/holds", {"user": user, "units": CALL_UNITS, "id": name}))
        if status == 429:
            break
        await asyncio.sleep(CALL_SECONDS)
        await line.ask(request(service, "POST", f"/api/v1/holds/{name}/settle", {"data": {"conversations": 1}}))
    return []


async def _by_checks(service: Service, user: str, line: asker.Line, number: int) -> list[float]:
    for call in range(CALLS + 1):
        status, _ = await line.ask(request(service, "POST", "/api/v1/check", {"user": user}))
        if status == 429:
            break
        await asyncio.sleep(CALL_SECONDS)
        event = {"specversion": "1.0", "id": f"{user}-{number}-{call}", "source": "/benchmark", "type": sample.TYPE, "subject": user}
        await line.ask(request(service, "POST", "/api/v1/events", {**event, "data": {"conversations": 1}}))
    return []


async def _by_adding(service: Service, user: str, line: asker.Line, _number: int) -> list[float]:
    while True:
        _, used = await line.ask(request(service, "GET", f"/used?user={user}"))
        if int(str(used["units"])) >= CALLS * CALL_UNITS:
            return []
        await asyncio.sleep(CALL_SECONDS)
        await line.ask(request(service, "POST", "/used", {"user": user, "units": CALL_UNITS}))


def _set_limit(service: Service, user: str, units: int) -> None:
    where, said = f"{service.address}/api/v1/policy/overrides/{user}", {"limit": {"units": units}}
    if service.name == "baseline":
        where, said = f"{service.address}/limit", {"user": user, "units": units}
    httpx.put(where, headers={"authorization": service.headers["authorization"]}, json=said, timeout=60).raise_for_status()


def _used(service: Service, user: str) -> int:
    path = f"/used?user={user}" if service.name == "baseline" else f"/api/v1/users/{user}/allowance"
    found = httpx.get(service.address + path, headers={"authorization": service.headers["authorization"]}, timeout=60).json()
    return int(found["units"] if service.name == "baseline" else found["used"]["units"])


def _checks(clients: ProcessPoolExecutor, ours: Service, theirs: Service) -> tuple[tuple[float, float], float, tuple[float, float], float]:
    """Checks per second of both, the median of their ratios, processor time per check, and how busy the asking process was."""
    for service in (ours, theirs):
        for user in range(CHECKED_USERS):
            _set_limit(service, f"user-{user:06}", 10 * 600_000_000)
    _check_same(ours, theirs)
    found: dict[str, list[tuple[Asked, float]]] = {ours.name: [], theirs.name: []}
    for number in range(ROUNDS + 1):
        for service in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            before = _processor_seconds(service.process_id)
            asked = clients.submit(asker.flood, service.port, _check_requests(service), CONNECTIONS, CHECKS).result()
            if number:
                found[service.name].append((asked, _processor_seconds(service.process_id) - before))
    mine, other = found[ours.name], found[theirs.name]
    speeds = [[asked.per_second for asked, _ in each] for each in (mine, other)]
    return (
        (median(speeds[0]), median(speeds[1])),
        median(our / their for our, their in zip(*speeds, strict=True)),
        (median(seconds / CHECKS * 1e6 for _, seconds in mine), median(seconds / CHECKS * 1e6 for _, seconds in other)),
        median(asked.own_seconds / asked.seconds for asked, _ in mine),
    )


def _check_requests(service: Service) -> list[bytes]:
    path = "/check" if service.name == "baseline" else "/api/v1/check"
    return [request(service, "POST", path, {"user": f"user-{user:06}"}) for user in range(CHECKED_USERS)]


def _check_same(ours: Service, theirs: Service) -> None:
    """Both say the same, but for the day, else the race was not fair."""
    answers = []
    for service, path in ((ours, "/api/v1/check"), (theirs, "/check")):
        headers = {"authorization": service.headers["authorization"]}
        found = httpx.post(service.address + path, headers=headers, json={"user": "user-000007"}, timeout=60).raise_for_status().json()
        answers.append({**found, "allowance": {**found["allowance"], "day": "", "resets_at": ""}})
    assert answers[0] == answers[1], answers


def _processor_seconds(process_id: int) -> float:
    """What a process has used of the processors so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _paced(service: Service) -> Asked:
    return asker.pace(service.port, _check_requests(service), CONNECTIONS, PACE_PER_SECOND, PACE_SECONDS)


def _while_events_arrive(clients: ProcessPoolExecutor, ours: Service) -> tuple[Asked, float]:
    """The same while large batches come in, as many as the ledger takes but no more than 100,000 events a second."""
    batches = int(PACE_SECONDS * EVENTS_PER_SECOND / BATCH_EVENTS)
    sending = clients.submit(_send_until, ours, batches, PACE_SECONDS + 1)
    asked = clients.submit(_paced, ours).result()
    return asked, sending.result()


def _while_others_compute(clients: ProcessPoolExecutor, ours: Service) -> Asked:
    """The same while nothing arrives, but as many processes compute as are busy when events do: what the machine makes of it."""
    with ProcessPoolExecutor(COMPUTING, mp_context=get_context("spawn")) as others:
        computing = [others.submit(_compute, PACE_SECONDS) for _ in range(COMPUTING)]
        asked = clients.submit(_paced, ours).result()
        for each in computing:
            each.result()
    return asked


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(100_000))


def _send_until(service: Service, batches: int, seconds: float) -> float:
    """Send events in rounds until the time is over; events per second that were acknowledged."""
    started, sent, taken = time.perf_counter(), 0, 0.0
    while sent < batches and time.perf_counter() - started < seconds:
        taken += sender.send([service], BATCH_EVENTS, 2 * BATCH_CONNECTIONS, BATCH_CONNECTIONS, sample.HOUR_US)
        sent += 2 * BATCH_CONNECTIONS
    return sent * BATCH_EVENTS / taken


def _pairs(clients: ProcessPoolExecutor, services: list[Service], number: int) -> tuple[float, float]:
    asked = clients.submit(_hold_and_settle, services, number).result()
    return asked.per_second, asked.percentile(0.99)


def _hold_and_settle(services: list[Service], clients: int) -> Asked:
    return asker.converse([service.port for service in services], clients, partial(_pair_after_pair, services[0]))


async def _pair_after_pair(service: Service, line: asker.Line, number: int) -> list[float]:
    """One client's pairs: hold, settle, and again."""
    took: list[float] = []
    for _ in range(PAIRS):
        started, name = time.perf_counter(), token_hex(8)
        held, _ = await line.ask(request(service, "POST", "/api/v1/holds", {"user": f"pair-{number % 8}", "units": 5, "id": name}))
        settled, _ = await line.ask(request(service, "POST", f"/api/v1/holds/{name}/settle", {"data": {"conversations": 0.000002}}))
        assert (held, settled) == (201, 200), (held, settled)
        took.append(time.perf_counter() - started)
    return took


def _pairs_on_postgresql(clients: ProcessPoolExecutor, folder: Path) -> dict[int, tuple[float, float]]:
    with closing(Cluster()) as cluster, ExitStack() as stack:
        there = {"TALLYBOARD_DATABASE_URL": on_postgresql.schema(cluster, "limits")}
        service = stack.enter_context(servers.tallyboard(folder / "limits-postgresql", there))
        return {number: _pairs(clients, [service], number) for number in PAIR_CLIENTS}
