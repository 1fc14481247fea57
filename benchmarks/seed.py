"""Ledgers with a history, filled by SQL with the rows that intake makes: far faster, the same shape.

Events get random ids; a full shelf goes into the filters by the ledger's own code, and the days are
made from the slots by the ledger's own rebuild.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tallyboard import clock
from tallyboard.ledger import rollups, seen, sqlite
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.sqlite import SqliteSession
from tallyboard.people import accounts

ACCOUNT_ID = 1
_ROWS_AT_ONCE = 250_000
_ROWID_FIRST = "SELECT coalesce(max(rowid), 0) FROM event"


def make(folder: Path) -> None:
    """A new ledger with one account."""
    engine = sqlite.SqliteEngine(folder)
    migrate(engine)
    with engine.writing() as session:
        accounts.ensure_first(session, clock.now_us())
    engine.close()


@contextmanager
def loading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes fast because nothing of it need survive a crash."""
    connection = sqlite3.connect(folder / sqlite.FILE_NAME, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "mmap_size = 1073741824"):
        connection.execute(f"PRAGMA {pragma}")
    try:
        yield connection
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def add_users(connection: sqlite3.Connection, users: int) -> None:
    """Users 1 to `users`."""
    connection.execute(_USERS, {"users": users})
    connection.execute("UPDATE account SET user_count = ?", (users,))


def add_history(connection: sqlite3.Connection, events: int, users: int, shelf_events: int, progress: Callable[[int], None]) -> list[float]:
    """Random events of the last 30 days; the seconds that taking each full shelf into the filters took."""
    shelf = on_shelf = done = 0
    filters, closings = seen.Seen(), []
    while done < events:
        size = min(_ROWS_AT_ONCE, events - done, shelf_events - on_shelf)
        connection.execute(_HISTORY, {"shelf": shelf, "count": size, "now_us": clock.now_us(), "users": users})
        done, on_shelf = done + size, on_shelf + size
        progress(done)
        if on_shelf == shelf_events:
            closings.append(_close_shelf(connection, filters, shelf))
            shelf, on_shelf = shelf + 1, 0
    connection.execute("UPDATE account SET shelf = ?, shelf_events = ?", (shelf, on_shelf))
    return closings


def add_user_days(connection: sqlite3.Connection, users: int, days_active: int, first_us: int) -> None:
    """One event for each user on `days_active` of 30 days, at most 250,000 on a shelf."""
    amounts = {"users": users, "active": days_active, "first_us": first_us, "now_us": clock.now_us(), "shelf_events": seen.SHELF_EVENTS}
    connection.execute(_USER_DAYS, amounts)
    _open_next_shelf(connection)


def repeat(connection: sqlite3.Connection, times: int) -> None:
    """Have every event happen `times` times in its quarter hour: more events, the same user-days."""
    (shelf,) = connection.execute("SELECT max(shelf) + 1 FROM event").fetchone()
    (last,) = connection.execute(_ROWID_FIRST).fetchone()
    for copy in range(times - 1):
        connection.execute(_REPEAT, {"shelf": shelf * (copy + 1), "last": last})
    _open_next_shelf(connection)
    connection.execute("UPDATE slot_usage SET units = units * ?, events = events * ?", (times, times))


def keep_longer(connection: sqlite3.Connection, months: int) -> None:
    """Let the same usage have happened in each of so many windows of 30 days before, in the day tables."""
    for statement in _LONGER:
        connection.execute(statement, {"months": months})


def add_slots(connection: sqlite3.Connection) -> None:
    """The quarter hours of all events."""
    connection.execute(_SLOTS)


def add_days(connection: sqlite3.Connection) -> None:
    """The days of all quarter hours, by the ledger's own rebuild after a change of zone."""
    connection.execute("UPDATE account SET zone_version = zone_version + 1, days_through = NULL")
    session = SqliteSession(connection, {})
    while rollups.rebuild_some(session, ACCOUNT_ID):
        pass


def _open_next_shelf(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE account SET shelf = (SELECT max(shelf) + 1 FROM event), shelf_events = 0")


def _close_shelf(connection: sqlite3.Connection, filters: seen.Seen, shelf: int) -> float:
    started = time.perf_counter()
    filters.close_shelf(SqliteSession(connection, {}), ACCOUNT_ID, shelf)
    return time.perf_counter() - started


_USERS = """
    WITH RECURSIVE counted (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM counted WHERE number < :users)
    INSERT INTO app_user (account_id, user_id, key) SELECT 1, number, printf('user-%06d', number) FROM counted
"""

_COLUMNS = "account_id, shelf, event_key, content, user_id, at_us, received_us, units, rated, type, model, source, id, data"

_HISTORY = f"""
    WITH RECURSIVE counted (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM counted WHERE number < :count),
    made AS MATERIALIZED (SELECT randomblob(16) AS key, lower(hex(randomblob(18))) AS id, abs(random()) AS luck FROM counted ORDER BY key)
    INSERT INTO event ({_COLUMNS})
    SELECT 1, :shelf, key, random(), 1 + luck % :users, :now_us - luck % 2592000000000, :now_us, 200000, 1, 'ai.usage.recorded',
           'claude-sonnet-5', '/gateway/eu-1', id,
           '{{"input_tokens":' || luck % 20000 || ',"model":"claude-sonnet-5","output_tokens":' || luck % 2000 || ',"requests":1}}'
    FROM made
"""

_USER_DAYS = f"""
    WITH RECURSIVE users (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM users WHERE number < :users),
    days (day) AS (SELECT 0 UNION ALL SELECT day + 1 FROM days WHERE day < 29),
    made AS MATERIALIZED (
        SELECT randomblob(16) AS key, lower(hex(randomblob(18))) AS id, abs(random()) AS luck, number, day,
               (row_number() OVER () - 1) / :shelf_events AS shelf
        FROM days CROSS JOIN users WHERE (number * 7 + day) % 30 < :active ORDER BY shelf, key
    )
    INSERT INTO event ({_COLUMNS})
    SELECT 1, shelf, key, random(), number, :first_us + day * 86400000000 + luck % 86400000000, :now_us, 200000 * (1 + luck % 9), 1,
           'ai.usage.recorded', 'claude-sonnet-5', '/gateway/eu-1', id,
           '{{"input_tokens":' || luck % 20000 || ',"model":"claude-sonnet-5","output_tokens":' || luck % 2000 || ',"requests":1}}'
    FROM made
"""

_REPEAT = f"""
    INSERT INTO event ({_COLUMNS})
    SELECT 1, shelf + :shelf, randomblob(16), random(), user_id, at_us, received_us, units, rated, type, model, source,
           lower(hex(randomblob(18))), data
    FROM event WHERE rowid <= :last
"""

_SLOTS = """
    INSERT INTO slot_usage (account_id, recent, slot, user_id, units, events, unrated)
    SELECT 1, 0, at_us / 900000000 AS slot, user_id, sum(units), count(*), sum(1 - rated) FROM event GROUP BY slot, user_id
"""

_MONTHS = (
    "(WITH RECURSIVE counted (month) AS (SELECT 1 UNION ALL SELECT month + 1 FROM counted WHERE month < :months) SELECT month FROM counted)"
)

_LONGER = (
    f"""
    INSERT INTO day_usage (account_id, zone_version, user_id, day, units, events)
    SELECT account_id, zone_version, user_id, day - 30 * month, units, events FROM day_usage CROSS JOIN {_MONTHS} ORDER BY 1, 2, 3, 4
    """,
    f"""
    INSERT INTO day_total (account_id, zone_version, day, units, events, unrated)
    SELECT account_id, zone_version, day - 30 * month, units, events, unrated FROM day_total CROSS JOIN {_MONTHS}
    """,
)
