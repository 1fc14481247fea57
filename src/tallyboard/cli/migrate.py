"""`tallyboard migrate`: bring the schema up to date, or say what that would do."""

from typing import Annotated

import typer

from tallyboard import settings
from tallyboard.app import open_engine
from tallyboard.cli.options import Data, Json, print_json
from tallyboard.errors import Invalid, Migrating, NotFound
from tallyboard.ledger import citus
from tallyboard.ledger import migrate as migrating
from tallyboard.ledger.contract import Engine
from tallyboard.ledger.sqlite import FILE_NAME


def migrate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit with 1 where migrations are pending.")] = False,
    distribute: Annotated[bool, typer.Option("--citus", help="Also distribute the tables over a Citus cluster, by account.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Bring the schema up to date. `serve` does the same when it starts."""
    chosen = settings.read({"data": data})
    if distribute and not chosen.database_url:
        raise Invalid("--citus distributes a PostgreSQL database; set TALLYBOARD_DATABASE_URL to its coordinator")
    if check and not chosen.database_url and not (chosen.data / FILE_NAME).exists():
        raise NotFound(f"there is no data in {chosen.data} yet; the first start makes it")
    engine = open_engine(chosen)
    try:
        waiting = _pending(engine)
        if not check:
            migrating.migrate(engine)
        tables = citus.distribute(engine) if distribute and not check else []
    finally:
        engine.close()
    if as_json:
        print_json({"pending" if check else "migrated": waiting, "distributed": tables})
    else:
        for name in waiting:
            print(f"{'pending ' if check else 'migrated'}  {name}")
        for table in tables:
            print(f"distributed  {table}")
        if not waiting and not tables:
            print("up to date")
    if check and waiting:
        raise typer.Exit(1)


def _pending(engine: Engine) -> list[str]:
    try:
        with engine.reading() as session:
            return [migration.name for migration in migrating.pending(session)]
    except Migrating:
        return [migration.name for migration in migrating.migrations()]
