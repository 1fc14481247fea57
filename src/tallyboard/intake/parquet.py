"""Reads Parquet in a process of its own, whose memory is bounded: a file that lies about itself ends that process, not the import.

The process is this module, run as a program with a file's path. It writes what the columns are, reads which of them are wanted,
and writes their rows, exact: decimals and floats as text, times in microseconds. pyarrow is loaded nowhere else.
"""

import os
import resource
import sys
from collections.abc import Iterator, Sequence
from itertools import starmap
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from tallyboard.intake.rows import COLUMNS_MAX, Cell
from tallyboard.intake.times import Moment

MEMORY_BYTES_MAX = 4 * 1024**3
"""Of address space, of which the libraries themselves take a tenth."""
FOOTER_BYTES_MAX = 64 * 1024**2
CELL_BYTES_MAX = 131_072
_THRIFT_STRING_MAX = 1_048_576
_THRIFT_ITEMS_MAX = 5_000_000
_BUFFER_BYTES = 1_048_576
_ROWS_AT_ONCE = 5_000
_PART_BYTES_MAX = 16 * 1024**2
_SAID_MAX = 300
_LENGTH_BYTES = 8
_MAGIC = b"PAR1"


class Opened(Struct, frozen=True, tag="opened"):
    """What is in a file. `unread` are the columns that cannot be read, and what they are."""

    columns: list[str]
    unread: dict[str, str]
    rows: int


class Part(Struct, frozen=True, tag="part"):
    """Rows, in order; a text in the place of one that cannot be read says why."""

    rows: list[list[Cell] | str]


class Failed(Struct, frozen=True, tag="failed"):
    """Why the file cannot be read, or not further."""

    detail: str


class Finished(Struct, frozen=True, tag="finished"):
    """There are no more rows."""


Told = Opened | Part | Failed | Finished
_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)
_encode = msgspec.msgpack.Encoder().encode


def told(file: IO[bytes]) -> Told:
    """What the process says next; Failed where it has ended without a word."""
    length = file.read(_LENGTH_BYTES)
    said = file.read(int.from_bytes(length)) if len(length) == _LENGTH_BYTES else b""
    try:
        return _told.decode(said)
    except (msgspec.MsgspecError, RecursionError):
        return Failed("it is damaged, or needs more memory than an import may take")


def main() -> None:
    """Read the file that the program is run with."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        _read(Path(sys.argv[1]))
    except BrokenPipeError:  # Nobody wants to know more.
        os._exit(0)
    except MemoryError:
        _tell(Failed(f"it needs more memory than the {MEMORY_BYTES_MAX // 1024**3} GiB that reading a file may take"))
    except Exception as error:  # noqa: BLE001  Whatever a library says of a damaged file: it is told, and the process ends.
        _tell(
            Failed(f"it is not Parquet that can be read: {str(error).splitlines()[0][:_SAID_MAX] if str(error) else type(error).__name__}")
        )
    os._exit(0)  # A library's threads may wait for ever on a damaged file.


def _read(path: Path) -> None:
    _check_footer(path)
    import pyarrow as pa  # noqa: PLC0415  An extra of the package.
    import pyarrow.compute  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    pa.set_memory_pool(pa.system_memory_pool())
    pa.set_cpu_count(1)
    limits = {
        "thrift_string_size_limit": _THRIFT_STRING_MAX,
        "thrift_container_size_limit": _THRIFT_ITEMS_MAX,
        "arrow_extensions_enabled": False,
    }
    file = parquet.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us", **limits)
    schema = file.schema_arrow
    if len(schema) > COLUMNS_MAX:
        _tell(Failed(f"it has more than {COLUMNS_MAX:,} columns"))
        return
    unread = {field.name: str(field.type)[:80] for field in schema if not _readable(pa.types, field.type)}
    _tell(Opened(schema.names, unread, file.metadata.num_rows))
    wanted = msgspec.json.decode(sys.stdin.buffer.readline() or b"null", type=list[str] | None)
    if wanted is None:
        return
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    file = parquet.ParquetFile(
        path, read_dictionary=texts, pre_buffer=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us", **limits
    )
    for batch in file.iter_batches(_ROWS_AT_ONCE, columns=wanted, use_threads=False):
        for rows in _parts(pa, batch, wanted):
            _tell(Part(rows))
    _tell(Finished())


def _check_footer(path: Path) -> None:
    """The size of the footer is looked at before anybody believes it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 8))
        end = file.read(8)
    if size < 12 or end[4:] != _MAGIC:
        raise ValueError("its end is not that of a Parquet file")
    if int.from_bytes(end[:4], "little") > min(FOOTER_BYTES_MAX, size - 12):
        raise ValueError(f"its footer is larger than it may be ({FOOTER_BYTES_MAX:,} bytes)")


def _readable(types: Any, found: Any) -> bool:
    if types.is_dictionary(found):
        return bool(types.is_string(found.value_type) or types.is_large_string(found.value_type))
    kinds = "string large_string boolean integer float32 float64 decimal timestamp date null".split()
    return any(getattr(types, f"is_{kind}")(found) for kind in kinds)


def _parts(pa: Any, batch: Any, wanted: Sequence[str]) -> Iterator[list[list[Cell] | str]]:
    """The rows of a batch, as many at a time as are certainly small. A text that stands in a dictionary once may be in every row."""
    columns, widest = [], 0
    for name in wanted:
        column, longest = _as_bytes(pa, batch.column(name))
        columns.append(column)
        widest += max(64, longest)
    step = max(1, _PART_BYTES_MAX // widest)
    for start in range(0, len(batch), step):
        cells = [_cells(pa, column.slice(start, step)) for column in columns]
        yield list(starmap(_row, zip(*cells, strict=True)))


def _as_bytes(pa: Any, column: Any) -> tuple[Any, int]:
    """A column of texts as bytes, which nobody has looked at yet, and how long the longest is; none is longer than its limit and one byte."""
    if pa.types.is_dictionary(column.type):
        values, longest = _as_bytes(pa, column.dictionary)
        return pa.DictionaryArray.from_arrays(column.indices, values), longest
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column, 0
    values = column.cast(pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary())
    longest = pa.compute.max(pa.compute.binary_length(values)).as_py() or 0
    if longest > CELL_BYTES_MAX:
        return pa.compute.binary_slice(values, 0, CELL_BYTES_MAX + 1), CELL_BYTES_MAX + 1
    return values, longest


def _row(*cells: Cell | bytes) -> list[Cell] | str:
    read: list[Cell] = []
    for cell in cells:
        if not isinstance(cell, bytes):
            read.append(cell)
        elif len(cell) > CELL_BYTES_MAX:
            return f"a text is longer than {CELL_BYTES_MAX:,} bytes"
        else:
            try:
                read.append(cell.decode())
            except UnicodeDecodeError:
                return "a text is not UTF-8"
    return read


def _cells(pa: Any, column: Any) -> list[Cell | bytes]:
    """A column's cells. Texts are still bytes."""
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        return list(column.dictionary.take(column.indices).to_pylist())
    if types.is_timestamp(kind):
        return [
            None if count is None else Moment(_microseconds(count, kind.unit), kind.tz is None)
            for count in column.cast(pa.int64()).to_pylist()
        ]
    if types.is_decimal(kind):
        return [None if text is None else _shortest(text) for text in column.cast(pa.string()).to_pylist()]
    if types.is_floating(kind) or types.is_date(kind):
        return list(column.cast(pa.string()).to_pylist())
    return list(column.to_pylist())


def _shortest(text: str) -> str:
    """A decimal without the zeros that only its column's type put there."""
    return text.rstrip("0").rstrip(".") if "." in text and "E" not in text else text


def _microseconds(count: int, unit: str) -> int:
    """Whole microseconds; further digits are cut off, so that no time leaves its day."""
    return count // 1_000 if unit == "ns" else count * {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]


def _tell(said: Told) -> None:
    message = _encode(said)
    sys.stdout.buffer.write(len(message).to_bytes(_LENGTH_BYTES) + message)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
