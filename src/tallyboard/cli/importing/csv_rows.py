"""CSV files: a header, then rows, each an event by a mapping or the reason it is none. Nothing is held beyond its limit."""

import csv
from collections.abc import Iterator
from itertools import islice

from tallyboard.cli.importing.opening import BROKEN, LINE_BYTES_MAX, Advance, Input, Placed, Readable, digest, in_batches, lines, opened
from tallyboard.cli.importing.sample import Sample
from tallyboard.errors import Invalid
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.mapping import ENCODINGS, RowMapping
from tallyboard.intake.rows import COLUMNS_MAX, RowReader

ROW_BYTES_MAX = 1_048_576
DELIMITERS = ",;\t|"
_BYTE_ORDER_MARK = "\ufeff"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Csv:
    """A CSV file and the mapping that says what its columns are; Invalid where one does not fit the other."""

    def __init__(self, file: Input, mapping: RowMapping) -> None:
        self._file = file
        self._mapping = mapping
        self._delimiter = mapping.delimiter or _by_name(file.shown)
        self.shown = file.shown
        self._hashed = "id" not in mapping.columns
        self.size = file.size * (2 if self._hashed else 1)
        self._reader("")

    def batches(self, advance: Advance) -> Iterator[list[Placed]]:
        """Its rows. Where they have no id, the file is read once before, to know which one it is."""
        reader = self._reader(digest(self._file, advance) if self._hashed else "")
        already = self._file.size if self._hashed else 0
        with opened(self._file) as (raw, content):
            numbered = rows(content, self._delimiter, self._mapping.encoding)
            next(numbered)
            for part in in_batches(numbered, lambda each: 0 if isinstance(each[2], Refused) else sum(map(len, each[2]))):
                yield [(f"row {row:,} (line {line:,})", reader.event(row, cells)) for row, line, cells in part]
                advance(already + raw.tell())

    def _reader(self, identity: str) -> RowReader:
        columns = _header(self._file, self._delimiter, self._mapping.encoding)
        try:
            return RowReader(self._mapping, columns, identity)
        except Invalid as error:
            raise Invalid(f"{self.shown}: {error}") from None


def sample(file: Input) -> Sample:
    """What a file's columns are called, and its first row, for whoever has to make a mapping."""
    encoding = _encoding(file)
    with opened(file) as (_, content):
        first = next(lines(content), b"").decode(encoding, "replace")
    delimiter = max(DELIMITERS, key=first.count) if any(each in first for each in DELIMITERS) else ","
    columns = _header(file, delimiter, encoding)
    with opened(file) as (_, content):
        numbered = rows(content, delimiter, encoding)
        next(numbered)
        cells = next((each for _, _, each in numbered if not isinstance(each, Refused)), [])
    told = None if delimiter == _by_name(file.shown) else delimiter
    return Sample(file.shown, columns, tuple(cells), told, encoding)


def _encoding(file: Input) -> str:
    """UTF-8, unless the first lines are not."""
    with opened(file) as (_, content):
        first = b"".join(islice(lines(content), 100))
    for encoding in ENCODINGS:
        try:
            first.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return ENCODINGS[0]


def _by_name(name: str) -> str:
    return "\t" if name.removesuffix(".gz").lower().endswith(".tsv") else ","


def _header(file: Input, delimiter: str, encoding: str) -> tuple[str, ...]:
    try:
        with opened(file) as (raw, content):
            if raw is content and raw.peek(2)[:2] in _UTF_16:
                raise Invalid(f"{file.shown} is UTF-16; save it as CSV in UTF-8")
            _, _, cells = next(rows(content, delimiter, encoding), (1, 1, []))
    except BROKEN as error:
        raise Invalid(f"{file.shown} cannot be read: {error}") from None
    if isinstance(cells, Refused):
        raise Invalid(f"{file.shown} line 1, the header: {cells.detail}")
    if not any(cells):
        raise Invalid(f"{file.shown} has no header: its first line must name the columns")
    if len(cells) > COLUMNS_MAX:
        raise Invalid(f"{file.shown} has more than {COLUMNS_MAX:,} columns")
    return tuple(cell.strip() for cell in cells)


def rows(content: Readable, delimiter: str, encoding: str) -> Iterator[tuple[int, int, list[str] | Refused]]:
    """Rows with their number and the line they begin on, both from 1; the header is row 1, as in a spreadsheet."""
    text = _Lines(content, encoding)
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    row = 0
    while True:
        begins = text.begin()
        row += 1
        cells: list[str] | Refused
        try:
            cells = next(reader)
        except StopIteration:
            return
        except Refused as refused:
            cells = refused
        except csv.Error as error:
            cells = Refused(Reason.NOT_AN_EVENT, f"the row is not CSV: {error}; is a quote left open, or one within a text not doubled?")
        if cells != []:
            yield row, begins, cells


class _Lines:
    """Lines as text, for a reader of CSV. It goes on after a line that was refused."""

    def __init__(self, content: Readable, encoding: str) -> None:
        self._lines = lines(content)
        self._encoding = encoding
        self._number = 0
        self._row_bytes = 0

    def begin(self) -> int:
        """Begin a row; the line it begins on."""
        self._row_bytes = 0
        return self._number + 1

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self._row_bytes += len(line)
        if len(line) > LINE_BYTES_MAX:
            raise Refused(Reason.EVENT_TOO_LARGE, f"line {self._number:,} is longer than {LINE_BYTES_MAX:,} bytes")
        if self._row_bytes > ROW_BYTES_MAX:
            raise Refused(Reason.EVENT_TOO_LARGE, f"the row is longer than {ROW_BYTES_MAX:,} bytes; is a quote left open?")
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError as error:
            raise Refused(Reason.BAD_TEXT, _not_decoded(self._number, self._encoding, error)) from None
        return text.removeprefix(_BYTE_ORDER_MARK) if self._number == 1 else text


def _not_decoded(line: int, encoding: str, error: UnicodeDecodeError) -> str:
    mend = 'save the file as UTF-8, or say encoding = "windows-1252" in the mapping' if encoding == "utf-8" else "choose another encoding"
    return f"byte {error.start + 1} of line {line:,} is not {encoding.upper()}; {mend}"
