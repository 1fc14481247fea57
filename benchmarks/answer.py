"""The page's answer from a real ledger: by users, by raw events, beside the least that SQL could read and beside the baseline."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from random import Random
from statistics import median
from zoneinfo import ZoneInfo

from msgspec import Struct
from rich.progress import Progress

from benchmarks import sample, seed
from benchmarks.baseline import store
from tallyboard import clock, days
from tallyboard.days import DayRange
from tallyboard.ledger import sqlite
from tallyboard.ledger.contract import Engine
from tallyboard.ledger.sqlite import SqliteEngine
from tallyboard.ledger.writer import Writer
from tallyboard.usage.question import Question, answer

DAYS_ACTIVE = 24
"""Of 30: users have usage on four days of five."""
TIMES = 10
MONTHS_BEFORE = 11
BY_WRITER_USERS_MAX = 1_000
TIMES_USERS_MAX = 20_000
BASELINE_USERS = 20_000
ROUNDS = 7


class Answers(Struct, frozen=True):
    """Milliseconds for one number of users, medians. `first` is what a question takes that was not asked before, `again` one that was.

    `of_times` is the first with ten times the raw events, `of_year` with a year of days kept; `beside_baseline` has our first, ours asked
    again and the baseline's by events a user and day.
    """

    users: int
    events: int
    first: float
    again: float
    cold: float
    bare_sum: float
    of_times: float | None
    of_year: float | None
    beside_baseline: dict[int, tuple[float, float, float]]
    seeded_by: str


def measure(folder: Path, users: int, progress: Progress) -> Answers:
    """Fill ledgers for so many users and ask them in turn."""
    task = progress.add_task(f"Answer for {users:,} users", total=4)
    span = days.window(30, days.today(clock.now_us(), ZoneInfo("UTC")))
    once, often, year = folder / f"{users}", folder / f"{users}-often", folder / f"{users}-year"
    events = fill(once, users, span)
    progress.advance(task)
    folders = [once]
    if users <= TIMES_USERS_MAX:
        _copy(once, often, lambda connection: seed.repeat(connection, TIMES), rebuild=True)
        _copy(once, year, lambda connection: seed.keep_longer(connection, MONTHS_BEFORE), rebuild=False)
        folders += [often, year]
    progress.advance(task)
    cold = _cold(once, span)
    with _engines([*folders, once]) as (*engines, asked_before):
        contestants: list[Callable[[], object]] = [partial(ask_first, engine, span) for engine in engines]
        times = in_turn([*contestants, partial(ask, asked_before, span), partial(_bare_sum, engines[0], span)])
    progress.advance(task)
    beside = {number: _beside_baseline(path, span) for number, path in ((1, once), (TIMES, often)) if users == BASELINE_USERS}
    progress.advance(task)
    of_times, of_year = times[1:3] if len(folders) > 1 else (None, None)
    seeded_by = "the writer" if users <= BY_WRITER_USERS_MAX else "SQL"
    return Answers(users, events, times[0], times[-2], cold, times[-1], of_times, of_year, beside, seeded_by)


def fill(folder: Path, users: int, span: DayRange) -> int:
    """Make a ledger with so many users; how many events it has."""
    seed.make(folder)
    if users <= BY_WRITER_USERS_MAX:
        return _send_user_days(folder, users, span)
    with seed.loading(folder) as connection:
        seed.add_users(connection, users)
        seed.add_user_days(connection, users, DAYS_ACTIVE, days.starts_at_us(span.first, ZoneInfo("UTC")))
        seed.add_slots(connection)
        seed.add_days(connection)
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def _send_user_days(folder: Path, users: int, span: DayRange) -> int:
    """One event for each active user-day, the way intake brings them in."""
    random = Random()
    writer = Writer(SqliteEngine(folder))
    sent = 0
    for day in span.days():
        starts_at_us = days.starts_at_us(day, ZoneInfo("UTC"))
        latest_us = min(starts_at_us + sample.DAY_US, clock.now_us())
        active = [user for user in range(users) if (user * 7 + day.toordinal()) % 30 < DAYS_ACTIVE]
        batch = sample.batch_of(random, active, latest_us, latest_us - starts_at_us)
        sent += writer.append(batch).result().accepted
    writer.close()
    return sent


def _copy(source: Path, target: Path, change: Callable[[sqlite3.Connection], None], *, rebuild: bool) -> None:
    shutil.copytree(source, target)
    with seed.loading(target) as connection:
        change(connection)
        if rebuild:
            seed.add_days(connection)


def ask_first(engine: Engine, span: DayRange) -> int:
    """The page's answer when nothing of it is remembered; its units."""
    with engine.reading() as session:
        session.remembered.clear()
    return ask(engine, span)


def ask(engine: Engine, span: DayRange) -> int:
    """The page's answer; its units."""
    with engine.reading() as session:
        report = answer(session, seed.ACCOUNT_ID, Question(span), clock.now_us())
    assert len(report.users) == min(report.user_count, 200)
    return report.units


def _bare_sum(engine: SqliteEngine, span: DayRange) -> int:
    """The least work that reads the same lines."""
    with engine.reading() as session:
        line = session.one(
            """
            SELECT sum(units) FROM day_usage WHERE account_id = 1
            AND zone_version = (SELECT zone_version FROM account WHERE account_id = 1) AND day BETWEEN :first AND :last
            """,
            first=days.to_number(span.first),
            last=days.to_number(span.last),
        )
    assert line is not None
    return int(line[0])


def _cold(folder: Path, span: DayRange) -> float:
    """The first answer after opening, with the file dropped from the page cache as far as the system obliges."""
    with (folder / sqlite.FILE_NAME).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with _engines([folder]) as (engine,):
        return _milliseconds(lambda: ask(engine, span))


def _beside_baseline(folder: Path, span: DayRange) -> tuple[float, float, float]:
    """Our first answer, ours asked again and the baseline's to the same question over the same events, which must come to the same."""
    kept = folder.with_name(f"{folder.name}-baseline")
    kept.mkdir()
    engine = store.open_store(kept)
    engine.dispose()
    with closing(sqlite3.connect(kept / store.FILE_NAME, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS ledger", (str(folder / sqlite.FILE_NAME),))
        for statement in _COPY:
            connection.execute(statement)
    with engine.connect() as connection, _engines([folder, folder]) as (ledger, asked_before):
        theirs = partial(store.usage, connection, span.first, span.last, ZoneInfo("UTC"))
        again_and_again = [ask(asked_before, span) for _ in range(3)]  # From the third on days that are over are remembered.
        assert {theirs()["units"], ask(ledger, span), *again_and_again} == {again_and_again[0]}
        first, again, other = in_turn([partial(ask_first, ledger, span), partial(ask, asked_before, span), theirs], rounds=3)
        return first, again, other


def in_turn(contestants: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Median milliseconds of each, taking turns after one round to warm up."""
    times: list[list[float]] = [[] for _ in contestants]
    for number in range(rounds + 1):
        for place, contestant in enumerate(contestants):
            took = _milliseconds(contestant)
            if number:
                times[place].append(took)
    return [median(found) for found in times]


def _milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


@contextmanager
def _engines(folders: Sequence[Path]) -> Iterator[list[SqliteEngine]]:
    engines = [SqliteEngine(folder) for folder in folders]
    try:
        yield engines
    finally:
        for engine in engines:
            engine.close()


_COPY = (
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -1000000",
    "DROP INDEX event_usage",
    """
    INSERT INTO main.event (source, id, type, user, at_us, units, model, data)
    SELECT source, id, type, key, at_us, units, model, data
    FROM ledger.event JOIN ledger.app_user USING (account_id, user_id) ORDER BY id
    """,
    "CREATE INDEX event_usage ON event (at_us, user, units)",
    "ANALYZE",
    "PRAGMA wal_checkpoint(TRUNCATE)",
)
"""The table is filled in the order of its largest index, and its other index made afterwards: the same rows, sooner."""
