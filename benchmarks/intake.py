"""Intake through HTTP, acknowledged when on disk: Tallyboard and the baseline in turn, by batch size."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import httpx
from msgspec import Struct
from rich.progress import Progress

from benchmarks import sample, sender, servers
from benchmarks.servers import Service

ROUNDS = 5
LAST_MONTH = "times of the last 29 days"
LAST_HOUR = "times of the last hour"
SPREADS_US = {LAST_MONTH: 29 * sample.DAY_US, LAST_HOUR: sample.HOUR_US}
"""Live usage is of the last hour and touches few quarter hours; usage of a month touches as many as there are events."""


class Load(Struct, frozen=True):
    """Batches of a size: how many in one round, over how many connections, and how old the events are."""

    spread: str
    size: int
    batches: int
    connections: int


LOADS = (
    Load(LAST_MONTH, 1, 1_000, 32),
    Load(LAST_MONTH, 100, 100, 8),
    Load(LAST_MONTH, 1_000, 20, 4),
    Load(LAST_MONTH, 1_000, 40, 8),
    Load(LAST_MONTH, 10_000, 4, 2),
    Load(LAST_HOUR, 1_000, 20, 4),
    Load(LAST_HOUR, 1_000, 40, 8),
)
WARM_UP = Load(LAST_MONTH, 100, 10, 4)
UNITS_AN_EVENT = 200_000
BAR_SIZE, BAR_TIMES = 1_000, 5.0


class Speed(Struct, frozen=True):
    """Acknowledged events/s under one load, medians of the rounds; `times` is the median of each round's ratio."""

    load: Load
    tallyboard: float
    baseline: float
    times: float


def measure(folder: Path, progress: Progress) -> list[Speed]:
    """Both services side by side; they end with the same number of events."""
    task = progress.add_task("Intake", total=ROUNDS * len(LOADS))
    seconds: dict[tuple[str, Load], list[float]] = {}
    with (
        servers.tallyboard(folder / "tallyboard") as ours,
        servers.baseline(folder / "baseline") as theirs,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client,
    ):
        for service in (ours, theirs):
            client.submit(_send, service, WARM_UP).result()
        for number in range(ROUNDS):
            for load in LOADS:
                for service in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    seconds.setdefault((service.name, load), []).append(client.submit(_send, service, load).result())
                progress.advance(task)
        _check_same(ours, theirs)
    return [_speed(load, seconds["Tallyboard", load], seconds["baseline", load]) for load in LOADS]


def _send(service: Service, load: Load) -> float:
    return sender.send([service], load.size, load.batches, load.connections, SPREADS_US[load.spread])


def _speed(load: Load, ours: list[float], theirs: list[float]) -> Speed:
    events = load.size * load.batches
    times = median(their / our for our, their in zip(ours, theirs, strict=True))
    return Speed(load, events / median(ours), events / median(theirs), times)


def _check_same(ours: Service, theirs: Service) -> None:
    """Both charged every event, else the race was not fair."""
    mine = httpx.get(f"{ours.address}/api/v1/usage?window=30", headers=ours.headers, timeout=60).raise_for_status().json()
    other = httpx.get(f"{theirs.address}/usage?window=30", headers=theirs.headers, timeout=60).raise_for_status().json()
    sent = WARM_UP.size * WARM_UP.batches + ROUNDS * sum(load.size * load.batches for load in LOADS)
    expected = sent * UNITS_AN_EVENT
    assert mine["total"]["units"] == other["units"] == expected, (mine["total"]["units"], other["units"], expected)
