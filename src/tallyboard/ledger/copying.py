"""Copies a whole ledger to another engine, row by row, and proves that both are equal. Every account, as it is.

All of it is read from one snapshot. Until the copy is proved, a row of `schema_version` beyond every schema
marks the target: no program uses such a ledger. The row also says what is being copied, and in which state
that was, so that an interrupted copy goes on where it stopped, or starts over where the source has changed.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter

from msgspec import Struct
from msgspec.json import encode

from tallyboard.errors import Invalid, Migrating, NewerSchema, NotFound
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Engine, Line, Session
from tallyboard.ledger.migrate import UNFINISHED, migrate, migrations

LOOKED_AT_MAX = 1_000
_START_OVER = 0
_ROLLUPS = {"slot": "slot_usage", "day": "day_usage", "total": "day_total"}


class Table(Struct, frozen=True):
    """A table by its key and its other columns.

    `at_first` is how many rows the first start of a server may leave in it, None for any number. One that
    `follows` changes only in its number of rows, or together with the account's row.
    """

    name: str
    key: tuple[str, ...]
    others: tuple[str, ...]
    at_first: int | None = 0
    follows: bool = False
    rows_at_once: int = 2_000

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, the key first."""
        return self.key + self.others

    @property
    def of_account(self) -> bool:
        """Whether every row stands beside its account's."""
        return self.key[0] == "account_id" and len(self.key) > 1


ACCOUNT = Table(
    "account",
    ("account_id",),
    (
        "name",
        "timezone",
        "zone_version",
        "days_version",
        "days_through",
        "revision",
        "user_count",
        "shelf",
        "shelf_events",
        "created_us",
        "erasures",
        "record_source",
        "own_record_sources",
        "aliases",
    ),
    at_first=1,
)
TABLES = (
    ACCOUNT,  # First, because `$each` puts rows beside their account's.
    Table("app_user", ("account_id", "user_id"), ("key", "email", "name", "colour", "visible_day", "record_source", "alias_of")),
    Table("user_alias", ("account_id", "user_id", "alias_id"), ("alias_of", "merged_into", "from_us", "until_us", "actor")),
    Table("rate_card", ("account_id", "card_id"), ("text", "set_us"), at_first=1),
    Table("audit", ("account_id", "audit_id"), ("at_us", "actor", "action", "detail", "digest"), at_first=None),
    Table(
        "event",
        ("account_id", "shelf", "event_key"),
        ("content", "user_id", "at_us", "received_us", "units", "rated", "type", "model", "source", "id", "data"),
        follows=True,
    ),
    Table("seen_filter", ("account_id", "first_shelf"), ("bits",), follows=True, rows_at_once=4),
    Table("slot_usage", ("account_id", "recent", "slot", "user_id"), ("units", "events", "unrated"), follows=True),
    Table("day_usage", ("account_id", "zone_version", "user_id", "day"), ("units", "events"), follows=True),
    Table("day_total", ("account_id", "zone_version", "day"), ("units", "events", "unrated", "changed"), follows=True),
    Table("policy", ("account_id", "policy_id"), ("default_units", "from_us", "actor")),
    Table(
        "policy_override",
        ("account_id", "user_key", "override_id"),
        ("limit_units", "reason", "expires_us", "from_us", "until_us", "actor"),
    ),
    Table(
        "arrival",
        ("account_id", "hour", "sender", "source"),
        ("accepted", "duplicate", "conflict", "unattributed", "minute_late", "hour_late", "day_late", "set_aside", "last_us"),
    ),
    Table("arrival_note", ("account_id", "hour", "kind", "sender", "subject", "model"), ("events", "last_us", "example")),
    Table("call_told", ("account_id", "day", "call_key"), ("source",), follows=True),
    Table("counter", ("account_id", "series"), ("value", "at_us", "seen_us")),
    Table(
        "bucket",
        ("account_id", "window_key", "user_key", "line"),
        ("record", "at_us", "events", "counted", "read_us"),
    ),
    Table("hold", ("account_id", "hold_id"), ("user_key", "units", "granted_us", "expires_us", "ended_us", "ended_how", "actor")),
    Table(
        "scim_user",
        ("account_id", "scim_id"),
        ("user_name", "external_id", "member_id", "user_key", "document", "created_us", "changed_us", "version"),
    ),
    Table(
        "api_key",
        ("secret_hash",),
        ("key_id", "account_id", "name", "scopes", "user_key", "created_us", "expires_us", "revoked_us", "created_by", "used_us"),
    ),
    Table(
        "member", ("member_id",), ("account_id", "email", "role", "created_us", "password_hash", "deactivated_us", "person_id"), at_first=1
    ),
    Table("member_identity", ("issuer", "subject"), ("member_id", "created_us")),
    Table("sign_in_spent", ("state_hash",), ("expires_us",), at_first=None),
    Table("sign_in_link", ("secret_hash",), ("member_id", "expires_us", "used_us", "purpose"), at_first=None),
    Table("session", ("secret_hash",), ("member_id", "created_us", "expires_us", "seen_us", "browser"), at_first=None),
    Table("sign_in_attempt", ("place",), ("failures", "last_us", "free_us"), at_first=None),
)

Watch = Callable[[str, int, int], object]
"""Told what is being done, and how many rows of how many are; 0 of 0 where they are not counted."""


class Copied(Struct, frozen=True):
    """A copy that was proved: its rows by table, and how many of them an earlier run had copied.

    `source_changed` is true where the source was written to meanwhile: the copy is what it was at the beginning.
    """

    rows: dict[str, int]
    rows_found: int
    source_changed: bool


class _Contents(Struct, frozen=True):
    """How many rows every table has, and digests of those tables that change otherwise than in their number."""

    rows: dict[str, int]
    digests: dict[str, int]


class _Mark(Struct, frozen=True):
    """What an unfinished copy is a copy of: which ledger, and in which state."""

    ledger: int
    state: int


def copy(source: Engine, target: Engine, watch: Watch) -> Copied:
    """Copy everything. Invalid, NotFound or NewerSchema where one of them cannot be used, or the copy is not equal."""
    watch("Checking the source", 0, 0)
    _check_source(source)
    with source.reading() as before:
        _prepare(target, before)
        contents = _contents(before)
        mark = _Mark(_identity(before), _digest([encode(contents)]))
        _claim(target, mark)
        sums = _sums(before)
        found = _copy_rows(before, target, mark, contents.rows, watch)
        watch("Checking the copy", 0, 0)
        _prove(target, mark, contents, sums)
        revisions = _revisions(before)
    with target.writing() as session:
        _check_ours(session, mark)
        _set_mark(session, None)
    with source.reading() as now:
        return Copied(contents.rows, found, _revisions(now) != revisions)


def _check_source(source: Engine) -> None:
    try:
        with source.reading() as session:
            version, mark = _version(session), _mark(session)
    except Migrating:
        raise NotFound("there is no ledger in the source") from None
    _check_schema("source", version)
    if mark:
        raise Invalid("the source is itself a copy that has not finished; copy from where it came from")


def _prepare(target: Engine, before: Session) -> None:
    """Give a new target its tables."""
    target.prepare()
    with target.reading() as session:
        version = _version(session)
    if version == 0:
        migrate(target)
    else:
        _check_schema("target", version)
    with target.reading() as session:
        if session.one("SELECT $place") == before.one("SELECT $place"):
            raise Invalid("the source and the target are the same ledger")


def _version(session: Session) -> int:
    (version,) = session.one("SELECT max(version) FROM schema_version WHERE version < :unfinished", unfinished=UNFINISHED) or (None,)
    return version or 0


def _check_schema(which: str, version: int) -> None:
    known = len(migrations())
    if version > known:
        raise NewerSchema(f"the {which} was written by a newer Tallyboard (schema {version}, this one knows {known}); install that version")
    if version < known:
        raise Invalid(f"the schema of the {which} is old ({version} of {known}); `tallyboard migrate` brings it up to date")


def _claim(target: Engine, mark: _Mark) -> None:
    """Mark the target, empty unless an earlier copy of the same is in it; Invalid where it holds anything else."""
    with target.writing() as session:
        held = _mark(session)
        if held == mark:
            return
        # Whoever writes takes the account's row first: from here on it waits, and what it wrote before is seen.
        accounts = session.run("DELETE FROM account")
        if held is None:
            _refuse_used(session, accounts)
        elif held.ledger != mark.ledger:
            raise Invalid("the target holds an unfinished copy of another ledger; choose an empty folder or database")
        for table in TABLES[1:]:
            session.run(f"$empty {table.name}")
        _set_mark(session, mark)


def _refuse_used(session: Session, accounts: int) -> None:
    """Invalid where the target holds more than the first start of a server leaves; `accounts` it had."""
    held = {table.name: _rows(session, table, LOOKED_AT_MAX) for table in TABLES} | {ACCOUNT.name: accounts}
    more = [table for table in TABLES if table.at_first is not None and held[table.name] > table.at_first]
    people = session.one("SELECT 1 FROM audit WHERE account_id > 0 AND actor <> 'setup' AND action <> 'member.signed_in' LIMIT 1")
    if more or people:
        counts = ", ".join(f"{name} {rows:,}{'+' * (rows == LOOKED_AT_MAX)}" for name, rows in held.items() if rows)
        raise Invalid(f"the target is in use (rows: {counts}); only an empty ledger is copied over: choose another folder or database")


def _check_ours(session: Session, mark: _Mark) -> None:
    if _mark(session) != mark:
        raise Invalid("another copy into the target has begun or ended meanwhile; this one stops")


def _copy_rows(before: Session, target: Engine, mark: _Mark, rows: dict[str, int], watch: Watch) -> int:
    """Copy what is not in the target yet; how many rows were."""
    done = found = 0
    for table in TABLES:
        with target.reading() as session:
            there, last = _rows(session, table), _last_key(session, table)
        found += there
        done += there
        for lines in _pages(before, table, last):
            with target.writing() as session:
                _check_ours(session, mark)
                _insert(session, table, lines)
            done += len(lines)
            watch("Copying", done, sum(rows.values()))
    return found


def _pages(session: Session, table: Table, last: Line | None = None) -> Iterator[list[Line]]:
    """Rows in the order of their key, after one key or from the first on."""
    columns, key = ", ".join(table.columns), ", ".join(table.key)
    following = f"WHERE ({key}) > ({', '.join(f':{name}' for name in table.key)})"
    while True:
        lines = session.all(
            f"SELECT {columns} FROM {table.name} {following if last else ''} ORDER BY {key} LIMIT {table.rows_at_once}",
            **dict(zip(table.key, last or (), strict=last is not None)),
        )
        if lines:
            yield lines
            last = lines[-1][: len(table.key)]
        if len(lines) < table.rows_at_once:
            return


def _insert(session: Session, table: Table, lines: list[Line]) -> None:
    """Add rows. One that is in the way stays: the proof at the end finds it, and names its table."""
    columns = ", ".join(table.columns)
    if not table.of_account:
        values = ", ".join(f":{name}" for name in table.columns)
        session.many(f"INSERT INTO {table.name} ({columns}) VALUES ({values}) ON CONFLICT DO NOTHING", lines)
        return
    for _, part in groupby(lines, key=itemgetter(0)):
        session.many(f"INSERT INTO {table.name} ({columns}) $each ({columns}) ON CONFLICT DO NOTHING", list(part))


def _last_key(session: Session, table: Table) -> Line | None:
    backwards = ", ".join(f"{name} DESC" for name in table.key)
    return session.one(f"SELECT {', '.join(table.key)} FROM {table.name} ORDER BY {backwards} LIMIT 1")


def _rows(session: Session, table: Table, most: int | None = None) -> int:
    """How many rows a table has, not counted beyond `most`."""
    counted = f"(SELECT 1 FROM {table.name} LIMIT {most}) AS few" if most else table.name
    (rows,) = session.one(f"SELECT count(*) FROM {counted}") or (0,)
    return int(rows)


def _contents(session: Session) -> _Contents:
    return _Contents(
        {table.name: _rows(session, table) for table in TABLES},
        {table.name: _digest(map(encode, _pages(session, table))) for table in TABLES if not table.follows},
    )


def _identity(session: Session) -> int:
    """A number that tells one ledger from another, wherever it lies: when its first account was made."""
    return _digest([encode(session.one("SELECT account_id, created_us FROM account ORDER BY account_id LIMIT 1"))])


def _digest(parts: Iterable[bytes]) -> int:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return int.from_bytes(digest.digest()) % UNFINISHED


def _sums(session: Session) -> dict[int, tuple[int, int]]:
    """Events and units by account; Invalid where a rollup is not what the events say."""
    accounts = [account_id for account_id, _ in _revisions(session)]
    for account_id in accounts:
        for wrong in rollups.reconcile(session, account_id):
            raise Invalid(
                f"in the source {_ROLLUPS[wrong.rollup]} of account {account_id} is not what its events say; see `tallyboard reconcile`"
            )
    return {account_id: rollups.totals(session, account_id) for account_id in accounts}


def _prove(target: Engine, mark: _Mark, contents: _Contents, sums: dict[int, tuple[int, int]]) -> None:
    """Invalid where the target is not what was read from the source; the next run then starts over."""
    with target.reading() as session:
        wrong = next(_differences(session, contents, sums), None)
    if wrong:
        with target.writing() as session:
            _check_ours(session, mark)
            _set_mark(session, _Mark(mark.ledger, _START_OVER))
        raise Invalid(
            f"the copy is not equal: {wrong}; nothing can use it. Stop what writes to the target and start over by the same command"
        )


def _differences(session: Session, contents: _Contents, sums: dict[int, tuple[int, int]]) -> Iterator[str]:
    copied = _contents(session)
    for name, rows in contents.rows.items():
        if copied.rows[name] != rows:
            yield f"{name} has {copied.rows[name]:,} rows instead of {rows:,}"
    yield from (f"{name} holds other rows" for name, digest in contents.digests.items() if copied.digests[name] != digest)
    for account_id, (events, units) in sums.items():
        there = rollups.totals(session, account_id)
        if there != (events, units):
            yield f"event has {there[0]:,} events and {there[1]:,} units of account {account_id} instead of {events:,} and {units:,}"
        yield from (f"{_ROLLUPS[wrong.rollup]} of account {account_id}" for wrong in rollups.reconcile(session, account_id))


def _revisions(session: Session) -> list[Line]:
    return session.all("SELECT account_id, revision FROM account ORDER BY account_id")


def _mark(session: Session) -> _Mark | None:
    line = session.one("SELECT version, needs FROM schema_version WHERE version >= :unfinished", unfinished=UNFINISHED)
    return _Mark(line[0] - UNFINISHED, line[1] - UNFINISHED) if line else None


def _set_mark(session: Session, mark: _Mark | None) -> None:
    """Put this mark in the place of any other, or none."""
    session.run("DELETE FROM schema_version WHERE version >= :unfinished", unfinished=UNFINISHED)
    if mark:
        session.run(
            "INSERT INTO schema_version (version, needs) VALUES (:version, :needs)",
            version=UNFINISHED + mark.ledger,
            needs=UNFINISHED + mark.state,
        )
