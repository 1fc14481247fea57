"""`tallyboard copy`: a whole ledger from a data folder to a database server, or any other way round."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tallyboard import settings
from tallyboard.app import open_engine
from tallyboard.cli.options import Json, print_json, talk
from tallyboard.errors import NotFound
from tallyboard.ledger import copying
from tallyboard.ledger.copying import Copied, Watch
from tallyboard.ledger.sqlite import FILE_NAME
from tallyboard.settings import Settings

# Stricter than the driver, which takes parts of a password with such a character in it for a host or a port, and names them.
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[^@/?#\[\]:,]*)(?::\d*)?"
_SERVER = re.compile(rf"postgres(?:ql)?://(?:[^@/?#]*@)?{_HOST}(?:,{_HOST})*(?:/[^@/?#]*)?(?:\?[^@#]*)?")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def copy(
    source: Annotated[str, typer.Option("--from", metavar="PLACE", help="Where the ledger is: sqlite:FOLDER or postgresql://….")],
    target: Annotated[str, typer.Option("--to", metavar="PLACE", help="Where it shall be: a new folder or an empty database.")],
    as_json: Json = False,
) -> None:
    """Copy a whole ledger to another place and prove that both are equal. Stop the servers of both before."""
    places = _place("--from", source), _place("--to", target)
    if not places[0].database_url and not (places[0].data / FILE_NAME).exists():
        raise NotFound(f"there is no data in {places[0].data}")
    with closing(open_engine(places[0])) as before, closing(open_engine(places[1])) as after, _progress() as watch:
        copied = copying.copy(before, after, watch)
    if as_json:
        print_json(copied)
    else:
        print("  ".join(f"{rows:,} {table}" for table, rows in copied.rows.items()))
    _tell(copied, *places)


def _tell(copied: Copied, source: Settings, target: Settings) -> None:
    rows = sum(copied.rows.values())
    earlier = f", {copied.rows_found:,} of them by an earlier run" if copied.rows_found else ""
    talk.print(f"{rows:,} rows copied from {source.place} to {target.place}{earlier}; both are equal.", markup=False)
    if copied.source_changed:
        talk.print(f"Meanwhile something was written to {source.place}; that is not in the copy.", markup=False)


def _place(option: str, text: str) -> Settings:
    """Where a ledger lies. What is wrong is never repeated: there may be a password in it."""
    kind, _, folder = text.partition(":")
    if kind == "sqlite" and folder:
        return settings.read({"data": Path(folder).expanduser().resolve()}, {})
    if kind not in {"postgresql", "postgres"}:
        raise typer.BadParameter(f"{option} takes sqlite:FOLDER or postgresql://USER:PASSWORD@HOST/DATABASE")
    if not _SERVER.fullmatch(text) or _BAD_PERCENT.search(text):
        raise typer.BadParameter(
            f"{option} cannot be read as an address; in a name or password write % as %25, @ as %40, / as %2F, ? as %3F, # as %23"
        )
    return settings.read({"database_url": text}, {})


@contextmanager
def _progress() -> Iterator[Watch]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def watch(doing: str, done: int, of: int) -> None:
            if doing not in tasks:
                for before in tasks.values():
                    progress.update(before, visible=False)
                tasks[doing] = progress.add_task(doing, total=of or None)
            progress.update(tasks[doing], completed=done)

        yield watch
