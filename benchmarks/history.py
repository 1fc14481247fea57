"""How fast is intake on a long history of random ids? Shelves with verified filters beside one plain unique index.

Both histories are filled with the rows that intake makes, then the same real Writer appends to each in
turn. The plain index is the same code with one shelf that never closes, so that it looks up and
inserts every id in one index over all events.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from unittest.mock import patch

from msgspec import Struct
from rich.progress import Progress

from benchmarks import sample, seed
from tallyboard import clock
from tallyboard.ledger import append, seen, sqlite
from tallyboard.ledger.writer import Writer

BATCHES = {100: 60, 1_000: 30, 10_000: 6}
"""How many batches of a size make one round."""
ROUNDS = 3
NEVER = 1 << 60


class Shelving(Struct, frozen=True):
    """One way to find what was seen: how many events a shelf holds, and at how many places a filter has a word."""

    name: str
    shelf_events: int
    places: int


class Opened(Struct, frozen=True):
    """What it costs to open a long history: seconds to the first acknowledged batch, and megabytes held then."""

    seconds: float
    megabytes: float


class Found(Struct, frozen=True):
    """What was measured of one shelving: seconds to close a shelf, events/s by batch size between closings, opening."""

    shelving: Shelving
    closing_seconds: float
    speeds: dict[int, float]
    opened: Opened

    def sustained(self, size: int) -> float:
        """Events/s with the closing of a shelf spread over the events it holds."""
        return 1 / (1 / self.speeds[size] + self.closing_seconds / self.shelving.shelf_events)


def shelves(shelf_events: int = seen.SHELF_EVENTS) -> Shelving:
    """Shelves of a size, with 32 places or more for each event as the ledger has them."""
    places = max(1 << (shelf_events * 32 - 1).bit_length(), 1 << 12)
    return Shelving(f"shelves of {shelf_events:,}", shelf_events, places)


PLAIN = Shelving("plain unique index", NEVER, 1 << 12)


@contextmanager
def using(shelving: Shelving) -> Iterator[None]:
    """The ledger's code with this shelf size, and filters in proportion."""
    with patch.object(append, "SHELF_EVENTS", shelving.shelf_events), patch.object(seen, "_PLACES", shelving.places):
        yield


def fill(folder: Path, shelving: Shelving, events: int, progress: Progress) -> float:
    """Make a ledger with a history; the median seconds that taking a full shelf into the filters took, 0 without."""
    seed.make(folder)
    task = progress.add_task(f"Filling {shelving.name}", total=events)
    with using(shelving), seed.loading(folder) as connection:
        seed.add_users(connection, sample.USERS)
        closings = seed.add_history(
            connection, events, sample.USERS, shelving.shelf_events, lambda done: progress.update(task, completed=done)
        )
        seed.add_slots(connection)
        seed.add_days(connection)
    return median(closings) if closings else 0.0


def opened(folder: Path, shelving: Shelving) -> Opened:
    """Open a ledger in a process of its own and append one event."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_open, folder, shelving).result()


def speeds(ledgers: dict[Path, Shelving]) -> dict[Path, dict[int, float]]:
    """Durable events/s by batch size for each ledger, taking turns. Every batch counts but those that closed a shelf."""
    writers = {folder: Writer(sqlite.SqliteEngine(folder)) for folder in ledgers}
    random = Random()
    spent: dict[Path, dict[int, list[float]]] = {folder: {size: [] for size in BATCHES} for folder in ledgers}
    for folder, shelving in ledgers.items():
        with using(shelving):
            writers[folder].append(sample.batch(random, clock.now_us(), sample.HOUR_US, 1_000)).result()
    for _ in range(ROUNDS):
        for size, count in BATCHES.items():
            for folder, shelving in ledgers.items():
                with using(shelving):
                    spent[folder][size] += _append(writers[folder], random, size, count)
    for writer in writers.values():
        writer.close()
    return {folder: {size: len(took) * size / sum(took) for size, took in by.items()} for folder, by in spent.items()}


def _append(writer: Writer, random: Random, size: int, count: int) -> list[float]:
    batches = [sample.batch(random, clock.now_us(), sample.HOUR_US, size) for _ in range(count)]
    took = []
    for batch in batches:
        before = _shelf(writer)
        started = time.perf_counter()
        outcome = writer.append(batch).result()
        seconds = time.perf_counter() - started
        assert outcome.accepted == size
        if _shelf(writer) == before:
            took.append(seconds)
    return took


def _shelf(writer: Writer) -> int:
    with writer.reading() as session:
        line = session.one("SELECT shelf FROM account WHERE account_id = 1")
    assert line is not None
    return int(line[0])


def _open(folder: Path, shelving: Shelving) -> Opened:
    with using(shelving):
        before = _private_megabytes()
        batch = sample.batch(Random(), clock.now_us(), sample.HOUR_US, 1)
        started = time.perf_counter()
        writer = Writer(sqlite.SqliteEngine(folder))
        writer.append(batch).result()
        took = time.perf_counter() - started
        held = _private_megabytes() - before
        writer.close()
        return Opened(took, held)


def _private_megabytes() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def run(events: int, shelf_sizes: Sequence[int], folder: Path, progress: Progress) -> list[Found]:
    """Fill and measure the plain index and each size of shelf; the plain index comes last."""
    ledgers = {folder / str(number): shelving for number, shelving in enumerate([*map(shelves, shelf_sizes), PLAIN])}
    closings = {path: fill(path, shelving, events, progress) for path, shelving in ledgers.items()}
    costs = {path: opened(path, shelving) for path, shelving in ledgers.items()}
    measured = speeds(ledgers)
    return [Found(shelving, closings[path], measured[path], costs[path]) for path, shelving in ledgers.items()]
