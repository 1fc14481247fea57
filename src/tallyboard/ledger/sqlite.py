"""The embedded engine: SQLite in WAL mode with synchronous=FULL, so that a commit is on disk (law 1).

One connection writes at a time, within this process by a lock and across processes by SQLite's own;
readers have snapshots and never wait. Checkpoints run in a thread of their own, off the commit path.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from itertools import chain
from pathlib import Path
from queue import Empty, LifoQueue
from typing import Any

from msgspec import Struct

from tallyboard.errors import AlreadyKept, CellFull, Migrating, SumTooLarge, Unavailable
from tallyboard.ledger.contract import CELL_FULL, Line, Value

FILE_NAME = "tallyboard.db"
BUSY_SECONDS = 30
READERS_MAX = 8
CHECKPOINT_SECONDS = 1.0
CHECKPOINT_BYTES = 16 * 1024 * 1024
WAL_BYTES_MAX = 512 * 1024 * 1024
_KEYS_AT_ONCE = 500
_LINES_AT_ONCE = 50
_CONSTRAINT_DATATYPE = 3091  # SQLite's code for a value that does not fit a column of a STRICT table
_CONSTRAINT_PRIMARY_KEY = 1555

_DIALECT = {
    "$int": "integer",
    "$bytes": "blob",
    "$text": "text",
    "$clustered": "STRICT, WITHOUT ROWID",
    "$table": "STRICT",
    "$heap_index": "-- Not here, where tables are kept in the order of their key:",
    "$day_edges": "(SELECT value ->> 0 AS day, value ->> 1 AS first_slot, value ->> 2 AS end_slot FROM json_each(:edges))",
    # Take the left side first and look the right side up by its key: SQLite's planner may not turn it round.
    "$ordered_join": "CROSS JOIN",
    "$point_keys": "$keys",
    "$empty": "DELETE FROM",
    "$place": "(SELECT file FROM pragma_database_list WHERE name = 'main')",
}
_INSERT = re.compile(r"\bINSERT( INTO\b.*?\bVALUES )(\([^()]*\))", re.DOTALL)
_NAME = re.compile(r":[a-z_]+")
_EACH = re.compile(r"\$each \(([a-z_, ]+)\)")
_WORD = re.compile(r"[a-z_]+")
_NAME_OR_KEYS = re.compile(r":[a-z_]+|\$keys")


class SqliteSession:
    """One transaction on one connection (contract.Session)."""

    def __init__(self, connection: sqlite3.Connection, remembered: dict[Any, Any]) -> None:
        self._connection = connection
        self.remembered = remembered

    def all(self, sql: str, **values: Value) -> list[Line]:
        """Every line of the answer. SumTooLarge where an integer sum leaves 64 bits, if only on the way."""
        try:
            return self._connection.execute(dialect(sql), values).fetchall()
        except sqlite3.OperationalError as error:
            if str(error) == "integer overflow":
                raise SumTooLarge("a sum does not fit 64 bits") from error
            raise

    def one(self, sql: str, **values: Value) -> Line | None:
        """The first line of the answer."""
        found = self.all(sql, **values)
        return found[0] if found else None

    def run(self, sql: str, **values: Value) -> int:
        """Change something; how many rows were."""
        return self._connection.execute(dialect(sql), values).rowcount

    def many(self, sql: str, lines: Sequence[Sequence[Value]]) -> None:
        """Run a statement once for each line; an INSERT takes many lines at once."""
        text = _positional(dialect(sql))
        end = len(lines) - len(lines) % _LINES_AT_ONCE if text.lstrip().startswith("INSERT") else 0
        parts = (list(chain.from_iterable(lines[start : start + _LINES_AT_ONCE])) for start in range(0, end, _LINES_AT_ONCE))
        self._connection.executemany(_wide(text), parts)
        self._connection.executemany(text, lines[end:])

    def among(self, sql: str, keys: Sequence[Value], **values: Value) -> list[Line]:
        """Every line of a statement that reads `IN $keys`."""
        found: list[Line] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            part = keys[start : start + _KEYS_AT_ONCE]
            # Few distinct texts, so that SQLite's statement cache holds them: NULL matches nothing.
            size = min(1 << (len(part) - 1).bit_length(), _KEYS_AT_ONCE)
            text, names = _listed(dialect(sql), size)
            padded = [*part, *[None] * (size - len(part))]
            bound = [each for name in names for each in (padded if name == "$keys" else (values[name[1:]],))]
            found += self._connection.execute(text, bound).fetchall()
        return found


class SqliteEngine:
    """A data folder with one database file in it."""

    quick = True

    def __init__(self, folder: Path, *, synchronous: str = "FULL", checkpoints: bool = True) -> None:
        self.path = folder / FILE_NAME
        self._synchronous = synchronous
        self._write_lock = threading.Lock()
        self._watch_lock = threading.Lock()
        self._remembered: dict[Any, Any] = {}
        self._readers: LifoQueue[sqlite3.Connection] = LifoQueue(READERS_MAX)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._writer = self._connect()
            self._watcher = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise Unavailable(f"the data folder {folder} cannot be used: {error}") from error
        self._closing = threading.Event()
        self._checkpointer: threading.Thread | None = None
        if checkpoints:
            self._checkpointer = threading.Thread(target=self._checkpoint, name="checkpoint", daemon=True)
            self._checkpointer.start()

    def prepare(self) -> None:
        """Make the table that counts migrations."""
        with self.writing() as session:
            session.run("CREATE TABLE IF NOT EXISTS schema_version (version $int NOT NULL PRIMARY KEY, needs $int NOT NULL) $table")

    @contextmanager
    def reading(self) -> Iterator[SqliteSession]:
        """A snapshot that later commits do not change."""
        with _own_errors():
            try:
                connection = self._readers.get_nowait()
            except Empty:
                connection = self._connect()
            try:
                connection.execute("BEGIN")
                yield SqliteSession(connection, self._remembered)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._give_back(connection)

    @contextmanager
    def writing(self) -> Iterator[SqliteSession]:
        """A transaction that is on disk when the context ends without an exception."""
        with self._write_lock, _own_errors():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteSession(self._writer, {})  # What is undone must not be remembered.
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Nobody of this process writes meanwhile: whoever waits gets the next turn, where SQLite would have it look again and again."""
        with self._write_lock:
            yield

    def version(self) -> int:
        """SQLite's own count of the commits that this one connection, which never writes, has noticed: some 3 microseconds."""
        try:
            with self._watch_lock:
                ((version,),) = self._watcher.execute("PRAGMA data_version").fetchall()
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"the ledger cannot be used now: {error}") from error
        return int(version)

    def figures(self) -> dict[str, float]:
        """Nothing that the operating system does not know better."""
        return {}

    def close(self) -> None:
        """Close every connection; the last one writes the log back into the database file."""
        self._closing.set()
        if self._checkpointer:
            self._checkpointer.join()
        while True:
            try:
                self._readers.get_nowait().close()
            except Empty:
                break
        with self._watch_lock:
            self._watcher.close()
        with self._write_lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 1073741824")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closing.is_set() or self._readers.full():
            connection.close()
        else:
            self._readers.put_nowait(connection)

    def _checkpoint(self) -> None:
        """Copy the log back into the file; where writers leave no gap for long, make one."""
        log = self.path.with_name(self.path.name + "-wal")
        connection = self._connect()
        while not self._closing.wait(CHECKPOINT_SECONDS):
            try:
                size = log.stat().st_size
                if size > WAL_BYTES_MAX:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                elif size > CHECKPOINT_BYTES:
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                    # What was written meanwhile is little. Without it the log would never be done with and grow on and on;
                    # begun anew it is written over, which is twice as fast: it has its place on disk and in memory.
                    with self._write_lock:
                        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except (OSError, sqlite3.Error):
                continue  # Tried again in a second; what is acknowledged is safe in the log meanwhile.
        connection.close()


class Condition(Struct, frozen=True):
    """What a database file looks like from outside: schema, least program, when a command last wrote to it, SQLite's verdict."""

    schema: int
    needs: int
    latest_us: int | None
    verdict: str


def inspect(folder: Path) -> Condition | None:
    """Look at a data folder's file without changing it; None where there is none, Unavailable where it cannot be read."""
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            schema, needs = connection.execute("SELECT max(version), max(needs) FROM schema_version").fetchone()
            (latest_us,) = connection.execute("SELECT max(set_us) FROM rate_card WHERE account_id > 0").fetchone()
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            return Condition(schema or 0, needs or 0, latest_us, verdict)
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be read ({error})") from error


@lru_cache(maxsize=512)
def dialect(sql: str) -> str:
    """A statement with the engine's own fragments in place."""
    for fragment, text in _DIALECT.items():
        sql = sql.replace(fragment, text)
    return _EACH.sub(lambda found: "VALUES (" + _WORD.sub(r":\g<0>", found[1]) + ")", sql)


@lru_cache(maxsize=128)
def _positional(sql: str) -> str:
    return _NAME.sub("?", sql)


@lru_cache(maxsize=128)
def _wide(text: str) -> str:
    """An INSERT of one line as one of many: what a statement costs is paid once for all of them.

    OR ROLLBACK, because SQLite would else note every change, to be able to undo the statement alone. Nobody asks for that.
    """
    return _INSERT.sub(lambda found: f"INSERT OR ROLLBACK{found[1]}{', '.join([found[2]] * _LINES_AT_ONCE)}", text)


@lru_cache(maxsize=512)
def _listed(sql: str, size: int) -> tuple[str, list[str]]:
    """A statement with `$keys` written out as a list of places, and what goes where: binding by place is twice as fast."""
    names = _NAME_OR_KEYS.findall(sql)
    return _NAME.sub("?", sql.replace("$keys", "(" + ",".join("?" * size) + ")")), names


@contextmanager
def _own_errors() -> Iterator[None]:
    """SQLite's errors as ours: Unavailable where another try may mend it, CellFull, AlreadyKept for a primary key taken."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode == _CONSTRAINT_DATATYPE:
            raise CellFull(CELL_FULL) from error
        if error.sqlite_errorcode == _CONSTRAINT_PRIMARY_KEY:
            raise AlreadyKept(f"a row is there already: {error}") from error
        raise
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.DatabaseError as error:
        if str(error).startswith("no such table"):
            raise Migrating("the schema is not up to date yet; `tallyboard migrate` brings it there") from error
        raise Unavailable(f"the ledger cannot be used now: {error}") from error
    except OverflowError as error:
        raise CellFull(CELL_FULL) from error
