"""`tallyboard import`: usage out of files of any size. Importing again changes nothing.

Each kind of file has a module that reads it; what they give goes one way in, the same as what comes over HTTP.
"""

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli import ccusage
from tallyboard.cli.importing.choosing import Format, Mappings, sources
from tallyboard.cli.importing.opening import BROKEN, Advance, Placed, Source
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, talk
from tallyboard.cli.pulling import BesideLive
from tallyboard.errors import CellFull, Invalid
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.event import Refusal
from tallyboard.ledger.contract import Batch, Outcome

BATCHES_AHEAD = 4
REFUSALS_SHOWN = 20

Files = Annotated[list[str], typer.Argument(help="Files, plain or gzip; - reads standard input. Folders only for claude-code.")]
FormatOption = Annotated[
    Format | None,
    typer.Option(
        "--format", help="What the files are. Otherwise their names say it: .csv, .tsv, .parquet; all else is NDJSON.", show_default=False
    ),
]
MapOption = Annotated[
    Path | None, typer.Option("--map", help="A TOML file that says which column of a table is what (docs/import.md).", show_default=False)
]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--timezone", help="Whose clock times without an offset or ccusage's dates are, such as Europe/Berlin.", show_default=False
    ),
]
UserOption = Annotated[
    str | None, typer.Option("--user", help="Whose transcripts of Claude Code, or report of ccusage, these are.", show_default=False)
]
MachineOption = Annotated[
    str | None, typer.Option("--machine", help="Tells the machines of a user of ccusage apart, such as laptop.", show_default=False)
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Stop at the first line or row that is refused.")]


class Tally(Struct):
    """What became of every line so far."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0
    unrated: int = 0
    unattributed: int = 0
    set_aside: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a batch."""
        self.accepted += outcome.accepted
        self.duplicate += outcome.duplicate
        self.conflict += outcome.conflict
        self.unrated += outcome.unrated
        self.unattributed += outcome.unattributed
        self.set_aside += outcome.set_aside

    def told(self) -> dict[str, int]:
        """The counts by name; what other sources told before is among them only where there is any."""
        return {name: count for name, count in msgspec.structs.asdict(self).items() if count or name != "set_aside"}


def import_files(
    files: Files,
    format_: FormatOption = None,
    map_: MapOption = None,
    timezone: ZoneOption = None,
    user: UserOption = None,
    machine: MachineOption = None,
    beside_live: BesideLive = False,
    strict: StrictOption = False,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take usage in from files: CloudEvents as NDJSON, tables as CSV or Parquet, transcripts of Claude Code, ccusage.

    What is in the ledger already changes nothing. docs/import.md tells about mappings and limits.
    """
    if format_ is Format.CCUSAGE:
        ccusage.import_reports(files, ccusage.Whose(user, machine, timezone, beside_live), account, data, as_json=as_json)
        return
    if machine is not None or beside_live:
        raise typer.BadParameter("--machine and --beside-live are for --format ccusage")
    tally = Tally()
    with ExitStack() as stack:
        found = sources(files, format_, Mappings(map_, timezone, may_ask=sys.stdin.isatty()), user, stack)
        app = stack.enter_context(open_app(data))
        with app.ledger.reading() as session:
            account_id = account_id_of(session, account)
        importer = _Importer(app, account_id, tally, strict)
        with _progress(found) as advances:
            for source, advance in zip(found, advances, strict=True):
                importer.take(source, advance)
    if as_json:
        print(msgspec.json.encode(tally.told()).decode())
    else:
        print("  ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in tally.told().items()))


class _Importer:
    """Reads ahead of the ledger by a few batches, no more."""

    def __init__(self, app: App, account_id: int, tally: Tally, strict: bool) -> None:
        self._app = app
        self._account_id = account_id
        self._charger = app.charger(account_id)
        self._tally = tally
        self._strict = strict
        self._ahead: deque[tuple[int, Future[Outcome]]] = deque()

    def take(self, source: Source, advance: Advance) -> None:
        """Import one source."""
        reached = "its beginning"
        try:
            for part in source.batches(advance):
                self._batch(source.shown, part)
                reached = part[-1][0] if part else reached
        except BROKEN as error:
            self._settle(0)
            raise Invalid(f"{source.shown} cannot be read after {reached}: {error}; what came before is imported") from None
        self._settle(0)

    def _batch(self, shown: str, part: list[Placed]) -> None:
        now_us = clock.now_us()
        accepted = accept([item for _, item in part], Sender(may_adjust=True), self._charger, now_us)
        for refusal in accepted.refused:
            self._refuse(f"{shown} {part[refusal.index][0]}", refusal)
        self._ahead.append((len(accepted.entries), self._app.ledger.append(Batch(self._account_id, accepted.entries, now_us, ACTOR))))
        self._settle(BATCHES_AHEAD)

    def _refuse(self, place: str, refusal: Refusal) -> None:
        if self._strict:
            self._settle(0)
            raise Invalid(f"{place}: {refusal.reason}: {refusal.detail}; what stands in earlier batches is imported")
        self._tally.refused += 1
        self._app.refused(self._account_id, ACTOR, refusal.reason, 1, refusal.detail)
        if self._tally.refused <= REFUSALS_SHOWN:
            talk.print(f"{place}: {refusal.reason}: {refusal.detail}", markup=False)
        elif self._tally.refused == REFUSALS_SHOWN + 1:
            talk.print("… further refusals are only counted")

    def _settle(self, leave: int) -> None:
        while len(self._ahead) > leave:
            size, future = self._ahead.popleft()
            try:
                self._tally.add(future.result())
            except CellFull as error:
                self._tally.refused += size
                talk.print(f"{size:,} lines refused: {error}", markup=False)


@contextmanager
def _progress(found: list[Source]) -> Iterator[list[Advance]]:
    """One bar for all sources; for each, what moves it to where the source has been read."""
    *starts, total = accumulate((source.size for source in found), initial=0)
    columns = (TextColumn("Importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        task = progress.add_task("import", total=total or None)
        yield [partial(_move, progress, task, start) for start in starts]


def _move(progress: Progress, task: TaskID, start: int, done: int) -> None:
    progress.update(task, completed=start + done)
