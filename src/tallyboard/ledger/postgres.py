"""The server engine: PostgreSQL, alone or distributed by Citus, through a pool of connections.

The same statements as on SQLite. Writers of one account wait for each other at the account's row;
READ COMMITTED then shows each statement what the one before has committed. Readers have snapshots.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from types import NoneType
from typing import Any

import psycopg
from psycopg import Connection, errors
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from tallyboard.errors import AlreadyKept, CellFull, Interrupted, Invalid, Migrating, Unavailable
from tallyboard.ledger.contract import CELL_FULL, Line, Value

POOL_SECONDS_MAX = 3.0
CONNECT_SECONDS = 3
RECONNECT_SECONDS = 1.0
WAITING_MAX = 256
STATEMENT_SECONDS = 300
LOCK_SECONDS = 10

_DIALECT = {
    "$int": "bigint",
    "$bytes": "bytea",
    "$text": 'text COLLATE "C"',  # Sorts by UTF-8 bytes, as SQLite does.
    "$clustered": "WITH (fillfactor = 80)",  # Room for the next sums of a line on its own page.
    "$table": "",
    "$heap_index": "CREATE INDEX",
    "$day_edges": """(SELECT (value ->> 0)::bigint AS day, (value ->> 1)::bigint AS first_slot, (value ->> 2)::bigint AS end_slot
                      FROM jsonb_array_elements(:edges::jsonb))""",
    "$ordered_join": "JOIN",
    "$empty": "TRUNCATE",
    # Which server since when, and which table there: two addresses of the same ledger give the same.
    "$place": "concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), current_database(), to_regclass('account')::oid)",
    "IN $keys": "= ANY(:keys)",
}
logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # What it has to say reaches people as errors of ours.

_NAME = re.compile(r"(?<!:):([a-z_]+)")
_EACH = re.compile(r"\$each \(account_id, ([a-z_, ]+)\)")
_ARRAYS: dict[type, str] = {int: "bigint[]", str: "text[]", bytes: "bytea[]"}


class PostgresSession:
    """One transaction on one connection (contract.Session)."""

    def __init__(self, connection: Connection[Line], remembered: dict[Any, Any]) -> None:
        self._connection = connection
        self.remembered = remembered

    def all(self, sql: str, **values: Value) -> list[Line]:
        """Every line of the answer."""
        return self._connection.execute(dialect(sql), values).fetchall()

    def one(self, sql: str, **values: Value) -> Line | None:
        """The first line of the answer."""
        return self._connection.execute(dialect(sql), values).fetchone()

    def run(self, sql: str, **values: Value) -> int:
        """Change something; how many rows were."""
        return self._connection.execute(dialect(sql), values).rowcount

    def many(self, sql: str, lines: Sequence[Sequence[Value]]) -> None:
        """Run a statement for every line: all in one where it reads `$each`."""
        if not lines:
            return
        if "$each" not in sql:
            with self._connection.cursor() as cursor:
                cursor.executemany(_positional(dialect(sql)), lines)
            return
        account_ids, *columns = zip(*lines, strict=True)
        if len(set(account_ids)) != 1:
            raise Invalid("the lines of one statement belong to one account")
        text, names = _unnested(sql, tuple(map(_kind, columns)))
        values = dict(zip(names, map(list, columns), strict=True))
        self._connection.execute(text, {"account_id": account_ids[0], **values})

    def among(self, sql: str, keys: Sequence[Value], **values: Value) -> list[Line]:
        """Every line of a statement that reads `IN $keys`."""
        if not keys:
            return []
        text = _pointed(sql, _ARRAYS[type(keys[0])]) if "IN $point_keys" in sql else dialect(sql)
        return self._connection.execute(text, {"keys": list(keys), **values}).fetchall()


class PostgresEngine:
    """A database server, known by its URL. Opening it reaches for nothing: the server may be away."""

    quick = False

    def __init__(self, url: str, connections_max: int) -> None:
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # Its text repeats the address, and with it a password.
            raise Invalid("the database URL cannot be read; it looks like postgresql://user@host:5432/database") from None
        self._address = make_conninfo(url, connect_timeout=CONNECT_SECONDS, application_name="tallyboard")
        self._remembered: dict[Any, Any] = {}
        self._pool = ConnectionPool(
            self._address,
            kwargs={"autocommit": True},
            configure=_configure,
            check=self._check,
            min_size=1,
            max_size=connections_max,
            timeout=POOL_SECONDS_MAX,
            max_waiting=WAITING_MAX,
            reconnect_timeout=RECONNECT_SECONDS,
            open=True,
        )

    def prepare(self) -> None:
        """Make the table that counts migrations, where it is missing: a role that only uses the ledger may make none."""
        with _own_errors(), psycopg.connect(self._address, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass('schema_version')").fetchone() != (None,):
                return
            with suppress(errors.UniqueViolation, errors.DuplicateTable):  # Another process is making it.
                connection.execute("CREATE TABLE schema_version (version bigint NOT NULL PRIMARY KEY, needs bigint NOT NULL)")

    @contextmanager
    def reading(self) -> Iterator[PostgresSession]:
        """A snapshot that later commits do not change."""
        with self._connection() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield PostgresSession(connection, self._remembered)
            finally:
                if not connection.closed:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[PostgresSession]:
        """A transaction that is on disk when the context ends without an exception."""
        with self._connection() as connection, connection.transaction():
            yield PostgresSession(connection, {})  # What is undone must not be remembered.

    def lent(self) -> AbstractContextManager[None]:
        """Nobody need wait here: the account's row is waited for there."""
        return nullcontext()

    def look(self) -> tuple[str, int]:
        """Its version, and its clock in microseconds since 1970: what people want to know when something is wrong."""
        with _own_errors(), psycopg.connect(self._address) as connection:
            line = connection.execute(
                "SELECT current_setting('server_version'), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
            ).fetchone()
        assert line is not None
        return line[0], line[1]

    def version(self) -> None:
        """Not to be had for less than what it would save."""

    def figures(self) -> dict[str, float]:
        """How the pool is doing, for operators."""
        stats = self._pool.get_stats()
        return {
            "database_connections": stats.get("pool_size", 0),
            "database_connections_idle": stats.get("pool_available", 0),
            "database_requests_waiting": stats.get("requests_waiting", 0),
        }

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def _check(self, connection: Connection[Line]) -> None:
        """Whether a connection still lives. Where it does not, the others of its time hardly do: all are made anew at once."""
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.Error:
            self._pool.drain()
            raise

    @contextmanager
    def _connection(self) -> Iterator[Connection[Line]]:
        with _own_errors(), self._pool.connection() as connection:
            yield connection


@lru_cache(maxsize=512)
def dialect(sql: str) -> str:
    """A statement with the engine's own fragments and parameters in place."""
    sql = sql.replace("%", "%%")
    for fragment, text in _DIALECT.items():
        sql = sql.replace(fragment, text)
    return _NAME.sub(r"%(\1)s", sql)


@lru_cache(maxsize=128)
def _positional(sql: str) -> str:
    return re.sub(r"%\([a-z_]+\)s", "%s", sql)


@lru_cache(maxsize=128)
def _unnested(sql: str, types: tuple[type, ...]) -> tuple[str, list[str]]:
    """A statement whose lines come as arrays beside the account's row: a distributed database sends it whole to one node."""
    found = _EACH.search(sql)
    assert found is not None, "a statement with $each names account_id first"
    names = found[1].split(", ")
    known = {name: kind for name, kind in zip(names, types, strict=True) if kind is not NoneType}
    arrays = ", ".join(f":{name}::{_ARRAYS[kind]}" for name, kind in known.items())
    source = (
        f"SELECT account.account_id, {', '.join(f'line.{name}' if name in known else 'NULL' for name in names)} FROM account, "
        f"unnest({arrays}) AS line ({', '.join(known)}) WHERE account.account_id = :account_id"
    )
    return dialect(sql.replace(found[0], source)), names


def _kind(column: Sequence[Value]) -> type:
    """What a column's values are; NoneType where it has none, which fits a column of any type."""
    return next((type(value) for value in column if value is not None), NoneType)


@lru_cache(maxsize=128)
def _pointed(sql: str, array: str) -> str:
    """A statement run once a key, whatever the planner believes: of a table that grows faster than its statistics it believes too little.

    OFFSET 0 keeps the planner from making one condition of all keys, beside which it would read all rows of an account.
    """
    one = sql.replace("IN $point_keys", "= each.key")
    return dialect(f"SELECT found.* FROM unnest(:keys::{array}) AS each (key) CROSS JOIN LATERAL ({one} OFFSET 0) AS found")


class _WholeNumber(Loader):
    """Sums of bigint are numeric; ours have no decimals, and one that had would be a mistake worth an error."""

    def load(self, data: Buffer) -> int:
        return int(bytes(data))


def _configure(connection: Connection[Line]) -> None:
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_loader("numeric", _WholeNumber)
    connection.execute(f"SET statement_timeout = '{STATEMENT_SECONDS}s'")
    connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")


@contextmanager
def _own_errors() -> Iterator[None]:
    """PostgreSQL's errors as ours, told apart by SQLSTATE: what passes by itself, what a cell cannot hold, what is not there yet."""
    try:
        yield
    except errors.NumericValueOutOfRange as error:
        raise CellFull(CELL_FULL) from error
    except psycopg.DataError as error:
        if "NUL" not in str(error):
            raise
        raise Invalid("a text holds a zero byte, which no text may") from error
    except errors.UniqueViolation as error:
        raise AlreadyKept(f"a row is there already: {error.diag.message_detail}") from error
    except (errors.UndefinedTable, errors.UndefinedColumn) as error:
        raise Migrating("the database's schema is not up to date yet; `tallyboard migrate` brings it there") from error
    except errors.InsufficientPrivilege as error:
        raise Unavailable(f"the database role may not do this: {error.diag.message_primary}") from error
    except (PoolTimeout, TooManyRequests) as error:
        raise Unavailable("the database cannot be reached, or all connections to it are busy") from error
    except (psycopg.OperationalError, errors.InternalError_, errors.ReadOnlySqlTransaction) as error:
        raise Interrupted(f"the database went away or gave up: {_first_line(error)}") from error


def _first_line(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error) or type(error).__name__).splitlines()[0]
