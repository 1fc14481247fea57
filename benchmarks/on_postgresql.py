"""The same work on PostgreSQL beside SQLite: intake by one, two and three processes, and the page's answer.

The server is a throw-away cluster on this machine with PostgreSQL's own defaults, so all of them share its processors.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

import psycopg
from msgspec import Struct
from rich.progress import Progress
from tests.cluster import Cluster

from benchmarks import answer, sample, sender, servers
from benchmarks.servers import Service
from tallyboard import clock, days
from tallyboard.ledger import copying
from tallyboard.ledger.postgres import PostgresEngine
from tallyboard.ledger.sqlite import SqliteEngine

ROUNDS = 5
PROCESSES = (1, 2, 3)
SIZES = {1: (600, 32), 100: (60, 12), 1_000: (24, 12)}
"""By events a request: how many requests a round, over how many connections."""
USERS = 20_000


class OnPostgresql(Struct, frozen=True):
    """Events/s on PostgreSQL and on SQLite by events a request, on PostgreSQL by processes, and milliseconds of both answers."""

    intake: dict[int, tuple[float, float]]
    by_processes: dict[int, float]
    answer: tuple[float, float]


def measure(folder: Path, progress: Progress) -> OnPostgresql:
    """Everything in turn, on one cluster."""
    task = progress.add_task("PostgreSQL", total=3)
    with closing(Cluster()) as cluster, ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client, ExitStack() as stack:
        there = {"TALLYBOARD_DATABASE_URL": schema(cluster, "intake")}
        several = [stack.enter_context(servers.tallyboard(folder / f"process-{number}", there)) for number in PROCESSES]
        embedded = stack.enter_context(servers.tallyboard(folder / "embedded"))
        intake = {
            size: _in_turn(
                *(partial(_speed, client, services, size, *load) for services in (several[:1], [embedded])),
            )
            for size, load in SIZES.items()
        }
        progress.advance(task)
        by_processes = dict(
            zip(
                PROCESSES,
                _in_turn(*(partial(_speed, client, several[:number], 1_000, *SIZES[1_000]) for number in PROCESSES)),
                strict=True,
            )
        )
        progress.advance(task)
        asked = _answers(folder, schema(cluster, "answer"))
        progress.advance(task)
    return OnPostgresql({size: (found[0], found[1]) for size, found in intake.items()}, by_processes, asked)


def _speed(client: ProcessPoolExecutor, services: list[Service], size: int, requests: int, connections: int) -> float:
    seconds = client.submit(sender.send, services, size, requests, connections, sample.HOUR_US).result()
    return size * requests / seconds


def _in_turn(*contestants: Callable[[], float]) -> list[float]:
    """The median of each, taking turns after one round to warm up."""
    found = [[contestant() for contestant in contestants] for _ in range(ROUNDS + 1)][1:]
    return [median(column) for column in zip(*found, strict=True)]


def _answers(folder: Path, url: str) -> tuple[float, float]:
    span = days.window(30, days.today(clock.now_us(), ZoneInfo("UTC")))
    answer.fill(folder / "answers", USERS, span)
    with _engines(folder / "answers", url) as (ours, theirs):
        copying.copy(ours, theirs, lambda *_: None)
        with theirs.writing() as session:
            session.run("ANALYZE")
        there, here = answer.in_turn([partial(answer.ask_first, theirs, span), partial(answer.ask_first, ours, span)])
        return there, here


@contextmanager
def _engines(folder: Path, url: str) -> Iterator[tuple[SqliteEngine, PostgresEngine]]:
    with closing(SqliteEngine(folder)) as ours, closing(PostgresEngine(url, 4)) as theirs:
        yield ours, theirs


def schema(cluster: Cluster, name: str) -> str:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{cluster.url}?options=-csearch_path%3D{name}"
