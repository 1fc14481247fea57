"""Opens a ledger's engine. The only place that chooses one."""

from pathlib import Path

from msgspec import Struct

from tallyboard.ledger.contract import Engine
from tallyboard.ledger.sqlite import SqliteEngine


class Place(Struct, frozen=True):
    """Where a ledger is: a data folder or, where its URL is named, a database server, to which `connections` are held at most."""

    folder: str
    database_url: str
    connections: int


def open_engine(place: Place, *, checkpoints: bool = True) -> Engine:
    """The engine for a place. Without `checkpoints`, somebody else must see to the log of a data folder."""
    if not place.database_url:
        return SqliteEngine(Path(place.folder), checkpoints=checkpoints)
    from tallyboard.ledger.postgres import PostgresEngine  # noqa: PLC0415  Its driver loads slowly, and most have no server.

    return PostgresEngine(place.database_url, place.connections)
