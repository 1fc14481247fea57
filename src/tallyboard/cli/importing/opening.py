"""Opening what is imported: a file or standard input, plain or gzip, read by lines of which none is held beyond its limit."""

import gzip
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import sha256
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol, TypeVar

from msgspec import Struct

from tallyboard.errors import Invalid
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Refused

LINE_BYTES_MAX = 262_144
ROWS_AT_ONCE = 5_000
BYTES_AT_ONCE = 16_777_216
BROKEN = (EOFError, OSError, zlib.error)
"""What reading raises where a file is cut short, or no longer there."""
_T = TypeVar("_T")
_PIECE_BYTES = 1_048_576
_GZIP = b"\x1f\x8b"

Advance = Callable[[int], None]
"""Told how many bytes of a source have been read."""
Placed = tuple[str, CloudEvent | Refused]
"""What stands at a place of a file, such as `line 7`."""


class Source(Protocol):
    """Something that gives events in batches. `shown` is its name, `size` how many bytes are to be read, 0 where nobody knows."""

    @property
    def shown(self) -> str:
        """What it is called in messages."""

    @property
    def size(self) -> int:
        """How many bytes are to be read."""

    def batches(self, advance: Advance) -> Iterator[list[Placed]]:
        """Its events, a few thousand at a time."""


class Input(Struct, frozen=True):
    """A file to be read. `path` is None for standard input as it comes."""

    shown: str
    path: Path | None

    @property
    def size(self) -> int:
        """Its bytes as they lie there; 0 for standard input."""
        return self.path.stat().st_size if self.path else 0


class Readable(Protocol):
    """A file that gives bytes."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or the next `size` bytes of it."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`."""


def check_readable(names: list[str]) -> None:
    """All or none: a wrong name is told before anything is imported."""
    for name in names:
        if name != "-" and not (Path(name).is_file() and os.access(name, os.R_OK)):
            raise Invalid(f"there is no file {name} that can be read")


@contextmanager
def opened(file: Input) -> Iterator[tuple[BufferedReader, Readable]]:
    """The file as it lies there, and what is in it."""
    with file.path.open("rb") if file.path else nullcontext(_standard_input()) as raw:
        if raw.peek(2)[:2] == _GZIP:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield raw, unpacked
        else:
            yield raw, raw


def lines(file: Readable, bytes_max: int = LINE_BYTES_MAX) -> Iterator[bytes]:
    """Lines, none held beyond its limit: of one that is longer, the beginning and one byte more."""
    while line := file.readline(bytes_max + 1):
        rest = line
        while len(rest) > bytes_max and not rest.endswith(b"\n"):
            rest = file.readline(bytes_max + 1)
        yield line


def in_batches(found: Iterable[_T], size: Callable[[_T], int]) -> Iterator[list[_T]]:
    """A few thousand at a time, fewer where they are large."""
    batch: list[_T] = []
    bytes_ = 0
    for each in found:
        batch.append(each)
        bytes_ += size(each)
        if len(batch) >= ROWS_AT_ONCE or bytes_ >= BYTES_AT_ONCE:
            yield batch
            batch, bytes_ = [], 0
    if batch:
        yield batch


@contextmanager
def spooled() -> Iterator[Input]:
    """Standard input, kept in a temporary file for as long as it is read more than once."""
    with NamedTemporaryFile(prefix="tallyboard-import-") as kept:
        shutil.copyfileobj(_standard_input(), kept, _PIECE_BYTES)
        kept.flush()
        yield Input("standard input", Path(kept.name))


def digest(file: Input, advance: Advance) -> str:
    """The SHA-256 of what is in a file: the same for it and for its gzip."""
    found = sha256()
    with opened(file) as (raw, content):
        while piece := content.read(_PIECE_BYTES):
            found.update(piece)
            advance(raw.tell())
    return found.hexdigest()


def _standard_input() -> BufferedReader:
    assert isinstance(sys.stdin.buffer, BufferedReader)
    return sys.stdin.buffer
