"""Parquet files: rows, each an event by a mapping or the reason it is none. What reads them is another process (intake/parquet.py)."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec

import msgspec

from tallyboard.cli.importing.opening import Advance, Input, Placed, digest
from tallyboard.cli.importing.sample import Sample
from tallyboard.errors import Invalid
from tallyboard.intake import parquet
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.mapping import FIELDS_MAX, RowMapping
from tallyboard.intake.parquet import Failed, Opened, Part, told
from tallyboard.intake.rows import Cell, RowReader, needed


class Parquet:
    """A Parquet file and the mapping that says what its columns are; Invalid where one does not fit the other."""

    def __init__(self, file: Input, mapping: RowMapping) -> None:
        self._file = file
        self._mapping = mapping
        self.shown = file.shown
        self._hashed = "id" not in mapping.columns
        self.size = file.size * (2 if self._hashed else 1)
        self._names = list(needed(mapping))
        with _opened(file) as (_, found):
            self._columns = _wanted(file.shown, found, mapping)
            self._rows = found.rows

    def batches(self, advance: Advance) -> Iterator[list[Placed]]:
        """Its rows, numbered from 1. Where they have no id, the file is read once before, to know which one it is."""
        identity = digest(self._file, advance) if self._hashed else ""
        reader = RowReader(self._mapping, self._names, identity)
        already, row = self._file.size if self._hashed else 0, 0
        with _opened(self._file) as (process, _):
            for part in _parts(process, self._columns):
                yield [(f"row {row + offset:,}", reader.event(row + offset, _cells(cells))) for offset, cells in enumerate(part, 1)]
                row += len(part)
                advance(already + self._file.size * row // max(self._rows, row))


def sample(file: Input) -> Sample:
    """What a file's columns are called, and its first row, for whoever has to make a mapping."""
    with _opened(file) as (process, found):
        columns = [name for name in found.columns if name not in found.unread][:FIELDS_MAX]
        rows = next(_parts(process, columns), [])
    first = rows[0] if rows and isinstance(rows[0], list) else []
    return Sample(file.shown, tuple(columns), tuple(first))


def _wanted(shown: str, found: Opened, mapping: RowMapping) -> list[str]:
    """The columns to read, by their exact names."""
    names = [name.strip() for name in found.columns]
    try:
        RowReader(mapping, names, "")
    except Invalid as error:
        raise Invalid(f"{shown}: {error}") from None
    exact = [found.columns[names.index(name)] for name in needed(mapping)]
    for name, use in zip(exact, needed(mapping).values(), strict=True):
        if name in found.unread:
            raise Invalid(f"{shown}: {use}: the column {name!r} is {found.unread[name]}; choose one of texts, numbers or times")
    return exact


def _cells(cells: list[Cell] | str) -> list[Cell] | Refused:
    return Refused(Reason.BAD_TEXT, cells) if isinstance(cells, str) else cells


@contextmanager
def _opened(file: Input) -> Iterator[tuple["subprocess.Popen[bytes]", Opened]]:
    """The process that reads a file, and what it says is in it."""
    if find_spec("pyarrow") is None:
        raise Invalid(f"{file.shown}: reading Parquet needs pyarrow; install it beside Tallyboard: pip install 'tallyboard[parquet]'")
    line = (sys.executable, "-P", "-m", parquet.__name__, str(file.path))
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, process_group=0)  # noqa: S603
    try:
        assert process.stdout is not None
        found = told(process.stdout)
        if not isinstance(found, Opened):
            raise Invalid(f"{file.shown} cannot be read: {found.detail if isinstance(found, Failed) else 'it is damaged'}")
        yield process, found
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()  # type: ignore[union-attr]


def _parts(process: "subprocess.Popen[bytes]", columns: list[str]) -> Iterator[list[list[Cell] | str]]:
    """Rows with these columns; OSError where the file cannot be read further."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(OSError):  # The process has ended; what it said last tells why.
        process.stdin.write(msgspec.json.encode(columns) + b"\n")
        process.stdin.flush()
    while isinstance(said := told(process.stdout), Part):
        yield said.rows
    if isinstance(said, Failed):
        raise OSError(said.detail)
