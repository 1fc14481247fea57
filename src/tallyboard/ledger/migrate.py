"""Brings the schema up to date: numbered files, one a transaction, the same on every engine.

Who inserts a version's number first does its work; others who start at the same time wait for that
row, find it taken, and go on. No process is the leader beforehand, and no lock outlives a crash.
"""

import re
from importlib import resources

from msgspec import Struct

from tallyboard.errors import NewerSchema
from tallyboard.ledger.contract import Engine, Session

UNFINISHED = 1 << 62
"""Beyond every schema: a row with such a version marks a ledger that is still being copied into (copying.py)."""
UNFINISHED_TEXT = "a copy into this ledger has not finished; run the same `tallyboard copy` again"
_NEEDS = re.compile(r"^-- needs: (\d+)$", re.MULTILINE)


class Migration(Struct, frozen=True):
    """One numbered file. `needs` is the lowest number a program must know to go on writing afterwards."""

    version: int
    name: str
    text: str
    needs: int


def migrations() -> list[Migration]:
    """All of them, in order. A file says `-- needs: N` where older programs may not write any more; else they may."""
    folder = resources.files("tallyboard.ledger").joinpath("migrations")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    found: list[Migration] = []
    for version, entry in enumerate(files, 1):
        text = entry.read_text("utf-8")
        needs = _NEEDS.search(text)
        found.append(Migration(version, entry.name, text, int(needs[1]) if needs else found[-1].needs if found else 1))
    return found


def version_of(session: Session) -> int:
    """The number the ledger has reached; NewerSchema where this program is too old to write to it."""
    version, needs = session.one("SELECT max(version), max(needs) FROM schema_version") or (None, None)
    known = len(migrations())
    if (version or 0) >= UNFINISHED:
        raise NewerSchema(UNFINISHED_TEXT)
    if (needs or 0) > known:
        raise NewerSchema(f"the data was written by a newer Tallyboard (schema {version}, this one knows {known}); install that version")
    return version or 0


def pending(session: Session) -> list[Migration]:
    """What a migration of an existing ledger would do."""
    return migrations()[version_of(session) :]


def migrate(engine: Engine) -> int:
    """Do what is pending; the number reached, which may be beyond what this program knows."""
    engine.prepare()
    while True:
        with engine.reading() as session:
            waiting = pending(session)
            if not waiting:
                return version_of(session)
        with engine.writing() as session:
            _apply(session, waiting[0])


def _apply(session: Session, migration: Migration) -> None:
    taken = session.run(
        "INSERT INTO schema_version (version, needs) VALUES (:version, :needs) ON CONFLICT (version) DO NOTHING",
        version=migration.version,
        needs=migration.needs,
    )
    if taken:
        for statement in migration.text.split(";\n"):
            if statement.strip():
                session.run(statement)
