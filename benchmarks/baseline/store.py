"""The table of raw events, and usage counted from it."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    column,
    create_engine,
    event,
    func,
    insert,
    select,
    values,
)

TOP = 200
FILE_NAME = "baseline.db"

_metadata = MetaData()
events = Table(
    "event",
    _metadata,
    Column("row_id", Integer, primary_key=True),
    Column("source", String(256), nullable=False),
    Column("id", String(256), nullable=False),
    Column("type", String(256), nullable=False),
    Column("user", String(256), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("model", String(256), nullable=False),
    Column("data", JSON, nullable=False),
    UniqueConstraint("source", "id"),
    Index("event_usage", "at_us", "user", "units"),
)


def open_store(folder: Path) -> Engine:
    """The engine on a data folder, with the table in it."""
    engine = create_engine(f"sqlite:///{folder / FILE_NAME}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA mmap_size = 1073741824")

    _metadata.create_all(engine)
    return engine


def add(connection: Connection, rows: Sequence[dict[str, object]]) -> int:
    """Insert what is not there yet; how many events were new."""
    return connection.execute(insert(events).prefix_with("OR IGNORE"), rows).rowcount


def usage(connection: Connection, first: date, last: date, zone: ZoneInfo) -> dict[str, Any]:
    """Units by user and local day: the 200 largest users one by one, the rest together."""
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    edges = [int(datetime.combine(day, time(), zone).astimezone(UTC).timestamp()) * 1_000_000 for day in [*days, last + timedelta(days=1)]]
    intervals = [(number, edges[number], edges[number + 1]) for number in range(len(days))]
    day = values(column("number", BigInteger), column("starts", BigInteger), column("ends", BigInteger)).data(intervals).cte("day")
    counted = (
        select(events.c.user, day.c.number, func.sum(events.c.units))
        .join_from(day, events, (events.c.at_us >= day.c.starts) & (events.c.at_us < day.c.ends))
        .group_by(events.c.user, day.c.number)
    )
    by_user: dict[str, list[int]] = {}
    for user, number, units in connection.execute(counted):
        by_user.setdefault(user, [0] * len(days))[number] = units
    ranked = sorted(by_user.items(), key=lambda line: (-sum(line[1]), line[0]))
    totals = [sum(column) for column in zip(*by_user.values(), strict=True)] or [0] * len(days)
    shown = [sum(column) for column in zip(*(found for _, found in ranked[:TOP]), strict=True)] or [0] * len(days)
    return {
        "days": [{"day": day.isoformat(), "units": units} for day, units in zip(days, totals, strict=True)],
        "users": [{"user": user, "units": sum(found), "days": found} for user, found in ranked[:TOP]],
        "others": {"users": max(len(ranked) - TOP, 0), "days": [total - part for total, part in zip(totals, shown, strict=True)]},
        "units": sum(totals),
    }
