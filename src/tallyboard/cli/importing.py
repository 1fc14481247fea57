"""`tallyboard import`: files of CloudEvents, one a line, of any size. Importing again changes nothing."""

import gzip
import os
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO, Protocol

import msgspec
import typer
from msgspec import Struct
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tallyboard import clock
from tallyboard.app import App
from tallyboard.cli.options import ACTOR, Data, Json, Of, account_id_of, open_app, talk
from tallyboard.errors import CellFull, Invalid
from tallyboard.intake import cloudevents
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Reason, Refusal, Refused
from tallyboard.ledger.contract import Batch, Outcome

LINES_AT_ONCE = 5_000
BATCHES_AHEAD = 4
LINE_BYTES_MAX = 262_144
REFUSALS_SHOWN = 20
_GZIP = b"\x1f\x8b"


class Tally(Struct):
    """What became of every line so far."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    refused: int = 0
    unrated: int = 0
    unattributed: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count a batch."""
        self.accepted += outcome.accepted
        self.duplicate += outcome.duplicate
        self.conflict += outcome.conflict
        self.unrated += outcome.unrated
        self.unattributed += outcome.unattributed


def import_files(
    files: Annotated[list[str], typer.Argument(help="NDJSON files of CloudEvents, plain or gzip; - reads standard input.")],
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first line that is refused.")] = False,
    account: Of = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Take usage in from files. What is in the ledger already is counted as duplicate and changes nothing."""
    _check_readable(files)
    tally = Tally()
    with open_app(data) as app:
        with app.ledger.reading() as session:
            account_id = account_id_of(session, account)
        importer = _Importer(app, account_id, tally, strict)
        with _progress(files) as advance:
            for name in files:
                importer.take(name, advance)
    if as_json:
        print(msgspec.json.encode(tally).decode())
    else:
        print("  ".join(f"{getattr(tally, field):,} {field}" for field in tally.__struct_fields__))


class _Importer:
    """Reads ahead of the ledger by a few batches, no more."""

    def __init__(self, app: App, account_id: int, tally: Tally, strict: bool) -> None:
        self._app = app
        self._account_id = account_id
        self._charger = app.charger(account_id)
        self._tally = tally
        self._strict = strict
        self._ahead: deque[tuple[int, Future[Outcome]]] = deque()

    def take(self, name: str, advance: "Advance") -> None:
        """Import one file."""
        shown = "standard input" if name == "-" else name
        first = 1
        with _open(name) as (raw, file):
            try:
                lines = _lines(file)
                while part := list(islice(lines, LINES_AT_ONCE)):
                    self._batch(shown, first, part)
                    first += len(part)
                    advance(name, raw)
            except (EOFError, OSError, zlib.error) as error:
                self._settle(0)
                raise Invalid(f"{shown} cannot be read after line {first - 1:,}: {error}; what came before is imported") from None
        self._settle(0)

    def _batch(self, name: str, first_line: int, lines: list[bytes]) -> None:
        now_us = clock.now_us()
        numbered = [(first_line + offset, line) for offset, line in enumerate(lines) if line.strip()]
        accepted = accept([_item(line) for _, line in numbered], Sender(may_adjust=True), self._charger, now_us)
        for refusal in accepted.refused:
            self._refuse(name, numbered[refusal.index][0], refusal)
        self._ahead.append((len(accepted.entries), self._app.ledger.append(Batch(self._account_id, accepted.entries, now_us, ACTOR))))
        self._settle(BATCHES_AHEAD)

    def _refuse(self, name: str, line: int, refusal: Refusal) -> None:
        if self._strict:
            self._settle(0)
            raise Invalid(f"{name} line {line:,}: {refusal.reason}: {refusal.detail}; the lines of earlier batches are imported")
        self._tally.refused += 1
        self._app.refused(self._account_id, ACTOR, refusal.reason, 1, refusal.detail)
        if self._tally.refused <= REFUSALS_SHOWN:
            talk.print(f"{name} line {line:,}: {refusal.reason}: {refusal.detail}", markup=False)
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


def _item(line: bytes) -> CloudEvent | Refused:
    if len(line) > LINE_BYTES_MAX:
        return Refused(Reason.EVENT_TOO_LARGE, f"the line is longer than {LINE_BYTES_MAX:,} bytes")
    return cloudevents.from_line(line)


def _lines(file: "Readable") -> Iterator[bytes]:
    """Lines, none held beyond its limit: of one that is longer, the beginning and one byte more."""
    while line := file.readline(LINE_BYTES_MAX + 1):
        rest = line
        while len(rest) > LINE_BYTES_MAX and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES_MAX + 1)
        yield line


@contextmanager
def _open(name: str) -> Iterator[tuple[BufferedReader, "Readable"]]:
    with nullcontext(_standard_input()) if name == "-" else Path(name).open("rb") as raw:
        if raw.peek(2)[:2] == _GZIP:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield raw, unpacked
        else:
            yield raw, raw


class Readable(Protocol):
    """A file that gives lines of bytes."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or the next `size` bytes of it."""


class Advance:
    """Moves the progress bar to where a file has been read."""

    def __init__(self, progress: Progress, task: TaskID, starts: dict[str, int]) -> None:
        self._progress = progress
        self._task = task
        self._starts = starts

    def __call__(self, name: str, raw: BinaryIO) -> None:
        """Note how far a file has been read."""
        if name in self._starts:
            self._progress.update(self._task, completed=self._starts[name] + raw.tell())


@contextmanager
def _progress(files: list[str]) -> Iterator[Advance]:
    starts: dict[str, int] = {}
    total = 0
    for name in files:
        if name != "-":
            starts[name] = total
            total += Path(name).stat().st_size
    columns = (TextColumn("Importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal) as progress:
        yield Advance(progress, progress.add_task("import", total=total or None), starts)


def _check_readable(files: list[str]) -> None:
    """All or none: a wrong name is told before anything is imported."""
    for name in files:
        if name != "-" and not (Path(name).is_file() and os.access(name, os.R_OK)):
            raise Invalid(f"there is no file {name} that can be read")


def _standard_input() -> BufferedReader:
    assert isinstance(sys.stdin.buffer, BufferedReader)
    return sys.stdin.buffer
