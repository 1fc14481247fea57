"""What so many events a second and so many users need: a model on paper, from what was measured.

    python -m benchmarks.capacity                                              # the table of docs/scaling.md
    python -m benchmarks.capacity --events-per-second 500 --users 20000 --accounts 40

It measures nothing. Every part is planned for half of what it can do, and the events come day and night.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

DAY_SECONDS = 86_400
_UNITS = ("MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class Engine:
    """What an event costs on an engine: µs of the transaction for each, bytes for it and its quarter hour, bytes for a user's day."""

    name: str
    transaction_us: float
    event_bytes: int
    user_day_bytes: int


SQLITE = Engine("SQLite", 22.0, 280, 21)
"""45,731 events/s over HTTP (docs/benchmarks.md, "One run") are 22 µs each; another process decides them. Bytes: docs/scaling.md."""
POSTGRESQL = Engine("PostgreSQL", 26.6, 500, 170)
"""26.6 ms for 1,000 events: measured once on a 2-core machine, whole transaction. Bytes: docs/scaling.md."""
CITUS = Engine("Citus", 32.7, 500, 170)
"""32.7 ms for 1,000 events through the coordinator: measured once on a 2-core machine, whole transaction."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What does not depend on the engine. Where it was measured stands beside each."""

    request_us: float = 451.0  # docs/benchmarks.md, "One run": 2,217 requests of one event a second
    prepare_us: float = 7.0  # docs/benchmarks.md, "One run": 1 to decode, 6 to check and charge
    filters_us_a_million: float = 0.6  # docs/benchmarks.md, "A long history": 13 µs an event to ask 12 filters over 20,000,000
    filter_bytes: int = 5  # docs/deployment.md, "Memory": for each event of the history
    filters_held_bytes: int = 1 << 30  # ledger/seen.py: 128 filters of 8 MiB
    shelf_events: int = 25_000  # ledger/seen.py: the first filter is made when this many are there
    page_ms: float = 14.8  # docs/benchmarks.md, "One run": 19.8 ms for 1,000 users …
    page_ms_a_user: float = 0.00498  # … and 513.1 ms for 100,000


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What was not measured but chosen."""

    busy_share: float = 0.5
    server_cores: int = 32
    server_bytes: int = 10 * 10**12
    shards_min: int = 32  # What Citus makes where nothing is said.
    shards_a_node: int = 4  # So that a further node can take some over.


@dataclass(frozen=True, slots=True)
class Load:
    """Events all together, users all together, evenly over the accounts; the history that is kept, in days."""

    events_per_second: float
    users: int
    accounts: int = 1
    days: int = 365
    events_a_request: int = 100

    @property
    def history(self) -> float:
        """Events that are kept."""
        return self.events_per_second * DAY_SECONDS * self.days

    @property
    def account_history(self) -> float:
        """Those of one account."""
        return self.history / self.accounts


@dataclass(frozen=True, slots=True)
class Plan:
    """What carries a load.

    `accounts_min` is how many accounts it must be spread over at least. `processes_by_time` would do if each could hold
    the filters of all accounts. `nodes` are database servers with rows on them. `page_ms` is for the users of one account.
    """

    engine: Engine
    accounts_min: int
    processes: int
    processes_by_time: int
    database_cores: int
    nodes: int
    shards: int
    disk_bytes: float
    filter_bytes: float
    page_ms: float


FIGURES = Figures()
ASSUMED = Assumptions()


def plan(load: Load) -> Plan:
    """The smallest engine that carries a load, and how much of everything it takes."""
    engine = _engine(load)
    nodes = _nodes(load, engine)
    return Plan(
        engine=engine,
        accounts_min=max(_accounts_min(load), nodes),
        processes=_processes(load, engine),
        processes_by_time=_processes_by_time(load, engine),
        database_cores=0 if engine is SQLITE else _cores(load, engine),
        nodes=nodes,
        shards=max(ASSUMED.shards_min, 1 << (nodes * ASSUMED.shards_a_node - 1).bit_length()) if engine is CITUS else 0,
        disk_bytes=_disk_bytes(load, engine),
        filter_bytes=load.history * FIGURES.filter_bytes,
        page_ms=FIGURES.page_ms + FIGURES.page_ms_a_user * load.users / load.accounts,
    )


def _engine(load: Load) -> Engine:
    if _processes(load, SQLITE) == 1 and _disk_bytes(load, SQLITE) <= ASSUMED.server_bytes:
        return SQLITE
    one_server = _cores(load, POSTGRESQL) <= ASSUMED.server_cores and _disk_bytes(load, POSTGRESQL) <= ASSUMED.server_bytes
    return POSTGRESQL if one_server else CITUS


def _processes(load: Load, engine: Engine) -> int:
    """As many as it takes in time, and to hold the filters: each account goes to one process, so that no other holds them too."""
    by_time = _processes_by_time(load, engine)
    if load.account_history < FIGURES.shelf_events:
        return by_time
    accounts_held = max(1, int(FIGURES.filters_held_bytes / (load.account_history * FIGURES.filter_bytes)))
    return max(by_time, ceil(load.accounts / accounts_held))


def _processes_by_time(load: Load, engine: Engine) -> int:
    event_us = FIGURES.request_us / load.events_a_request + FIGURES.prepare_us + engine.transaction_us + _filters_us(load.account_history)
    return max(1, ceil(load.events_per_second * event_us / _busy_us()))


def _accounts_min(load: Load) -> int:
    """One account's transactions wait for each other at its row, and each asks the filters of all its history: x·(t + f·x) is bounded."""
    filters_us = _filters_us(DAY_SECONDS * load.days)  # What a rate of one event a second adds to each by the end.
    transaction_us = CITUS.transaction_us
    rate_max = (sqrt(transaction_us**2 + 4 * filters_us * _busy_us()) - transaction_us) / (2 * filters_us)
    return ceil(load.events_per_second / rate_max)


def _cores(load: Load, engine: Engine) -> int:
    """All of a transaction's time is taken for the database's, though Tallyboard has a part in it."""
    return ceil(load.events_per_second * engine.transaction_us / _busy_us())


def _nodes(load: Load, engine: Engine) -> int:
    """A cluster has at least two, and a coordinator besides."""
    if engine is not CITUS:
        return 0 if engine is SQLITE else 1
    by_cores = ceil(_cores(load, engine) / ASSUMED.server_cores)
    return max(2, by_cores, ceil(_disk_bytes(load, engine) / ASSUMED.server_bytes))


def _disk_bytes(load: Load, engine: Engine) -> float:
    """Each event in a quarter hour of its own, each user active every day: at most so much."""
    user_days = min(load.users * load.days, load.history)
    return load.history * (engine.event_bytes + FIGURES.filter_bytes) + user_days * engine.user_day_bytes


def _filters_us(history: float) -> float:
    return FIGURES.filters_us_a_million * history / 1_000_000


def _busy_us() -> float:
    return ASSUMED.busy_share * 1_000_000


EXAMPLES = (
    Load(1, 200),
    Load(10, 1_000),
    Load(100, 20_000),
    Load(300, 50_000, 10),
    Load(1_000, 100_000, 100),
    Load(10_000, 1_000_000, 2_000),
    Load(100_000, 10_000_000, 100_000),
    Load(1_000_000, 100_000_000, 1_000_000),
)
HEADINGS = (
    "events/s",
    "users",
    "accounts",
    "at least",
    "engine",
    "processes",
    "by time",
    "database cores",
    "servers",
    "shards",
    "disk",
    "filters",
    "page",
)


def table(loads: Sequence[Load]) -> list[str]:
    """The lines of a Markdown table."""
    marks = ["---" if heading == "engine" else "--:" for heading in HEADINGS]
    return [_line(HEADINGS), _line(marks), *(_line(_cells(load, plan(load))) for load in loads)]


def _cells(load: Load, found: Plan) -> list[str]:
    numbers = (found.processes, found.processes_by_time, found.database_cores, found.nodes, found.shards)
    return [
        f"{load.events_per_second:,.12g}",
        f"{load.users:,}",
        f"{load.accounts:,}",
        f"{found.accounts_min:,}",
        found.engine.name,
        *(f"{number:,}" if number else "–" for number in numbers),
        _size(found.disk_bytes),
        _size(found.filter_bytes),
        f"{found.page_ms:,.0f} ms",
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _size(count: float) -> str:
    power = min(3, max(0, (len(str(int(count))) - 1) // 3 - 2))
    shown = count / 10 ** (6 + 3 * power)
    return f"{shown:,.1f} {_UNITS[power]}" if shown < 10 else f"{shown:,.0f} {_UNITS[power]}"


def main() -> None:
    """Print the plan for the load that the command line names, or the examples."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--events-per-second", type=float, help="events of all accounts together, day and night")
    parser.add_argument("--users", type=int, default=1_000, help="users of all accounts together (default: 1,000)")
    parser.add_argument("--accounts", type=int, default=1, help="accounts that these are spread over evenly (default: 1)")
    parser.add_argument("--days", type=int, default=365, help="days of history that are there (default: 365)")
    parser.add_argument("--events-a-request", type=int, default=100, help="events that one request brings (default: 100)")
    asked = parser.parse_args()
    if min(asked.events_per_second or 1, asked.users, asked.accounts, asked.days, asked.events_a_request) <= 0:
        parser.error("each of these is a number above 0")
    if asked.events_per_second is None:
        loads: Sequence[Load] = EXAMPLES
    else:
        loads = [Load(asked.events_per_second, asked.users, asked.accounts, asked.days, asked.events_a_request)]
    print("\n".join(table(loads)))


if __name__ == "__main__":
    main()
