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

ROUNDS = 3
SPREAD_US = 30 * sample.DAY_US - sample.HOUR_US


class Load(Struct, frozen=True):
    """Batches of a size: how many in one round, over how many connections."""

    size: int
    batches: int
    connections: int


LOADS = (Load(1, 1_500, 32), Load(100, 150, 8), Load(1_000, 30, 4), Load(10_000, 6, 2))
BAR_SIZE, BAR_TIMES = 1_000, 5.0


class Speed(Struct, frozen=True):
    """Acknowledged events/s at one batch size, medians of the rounds."""

    size: int
    tallyboard: float
    baseline: float

    @property
    def times(self) -> float:
        """How many times as fast Tallyboard is."""
        return self.tallyboard / self.baseline


def measure(folder: Path, progress: Progress) -> list[Speed]:
    """Both services side by side; they end with the same number of events."""
    task = progress.add_task("Intake", total=ROUNDS * len(LOADS))
    seconds: dict[tuple[str, int], list[float]] = {}
    with (
        servers.tallyboard(folder / "tallyboard") as ours,
        servers.baseline(folder / "baseline") as theirs,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client,
    ):
        for service in (ours, theirs):
            client.submit(sender.send, service, 100, 10, 4, SPREAD_US).result()
        for number in range(ROUNDS):
            for load in LOADS:
                for service in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    took = client.submit(sender.send, service, load.size, load.batches, load.connections, SPREAD_US).result()
                    seconds.setdefault((service.name, load.size), []).append(took)
                progress.advance(task)
        _check_same(ours, theirs)
    return [
        Speed(load.size, *(load.size * load.batches / median(seconds[name, load.size]) for name in ("Tallyboard", "baseline")))
        for load in LOADS
    ]


def _check_same(ours: Service, theirs: Service) -> None:
    """Both took in every event, else the race was not fair. The events differ, their charge does not."""
    mine = httpx.get(f"{ours.address}/api/v1/usage?window=30", headers=ours.headers, timeout=60).raise_for_status().json()
    other = httpx.get(f"{theirs.address}/usage?window=30", headers=theirs.headers, timeout=60).raise_for_status().json()
    sent = 1_000 + ROUNDS * sum(load.size * load.batches for load in LOADS)
    expected = sent * 200_000
    assert mine["total"]["units"] == other["units"] == expected, (mine["total"]["units"], other["units"], expected)
