"""Which reader takes which file, and by which mapping. All files are looked at before anything is imported."""

from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from functools import partial
from pathlib import Path
from zoneinfo import ZoneInfo

from msgspec.structs import replace

from tallyboard import days
from tallyboard.cli.importing import csv_rows, parquet_rows
from tallyboard.cli.importing.asking import ask
from tallyboard.cli.importing.csv_rows import Csv
from tallyboard.cli.importing.ndjson import Ndjson
from tallyboard.cli.importing.opening import BROKEN, Input, Source, check_readable, spooled
from tallyboard.cli.importing.parquet_rows import Parquet
from tallyboard.cli.importing.sample import Sample, needs_mapping
from tallyboard.cli.importing.transcripts import Transcripts
from tallyboard.errors import Invalid
from tallyboard.intake import mapping
from tallyboard.intake.event import is_key
from tallyboard.intake.mapping import MAPPING_BYTES_MAX, MappingError, RowMapping

_ENDINGS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}


class Format(StrEnum):
    """What is in a file."""

    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"
    CLAUDE_CODE = "claude-code"
    CCUSAGE = "ccusage"


def sources(names: list[str], chosen: Format | None, mappings: "Mappings", user: str | None, stack: ExitStack) -> list[Source]:
    """A reader for every file; Invalid where a name, a header or a mapping is wrong. `stack` holds what is open meanwhile."""
    if chosen is Format.CLAUDE_CODE:
        return [Transcripts(names, _person(user, mappings))]
    if user is not None:
        raise Invalid('--user is for --format claude-code and ccusage; in a mapping, user = "KEY" says it for all rows')
    check_readable(names)
    formats = [chosen or format_of(name) for name in names]
    if mappings.given and not any(each in _TABLES for each in formats):
        raise Invalid("--map and --timezone are for tables; say --format csv if these files are some")
    return [_source(name, each, mappings, stack) for name, each in zip(names, formats, strict=True)]


def _person(user: str | None, mappings: "Mappings") -> str:
    """Whose transcripts they are: they name nobody."""
    if mappings.given:
        raise Invalid("--map and --timezone are for tables; Claude Code's transcripts need neither")
    if not user:
        raise Invalid("Claude Code's transcripts do not say whose they are; say it: --user alice@example.com")
    if not is_key(user):
        raise Invalid("--user must have 1 to 256 characters, none of them a control character")
    return user


def format_of(name: str) -> Format:
    """What a file's name says is in it."""
    return Format(_ENDINGS.get(Path(name.lower().removesuffix(".gz")).suffix, "ndjson"))


class Mappings:
    """The mapping of all tables of an import: read from a file, or asked for when the first table needs it."""

    def __init__(self, path: Path | None, timezone: str | None, *, may_ask: bool) -> None:
        self.given = bool(path or timezone)
        self._timezone = timezone
        self._may_ask = may_ask
        self._found = _read(path) if path else None

    def of(self, sample: Callable[[], Sample]) -> RowMapping:
        """The mapping of a table, of which a sample is looked at only where there is no mapping yet."""
        if self._found is None:
            if not self._may_ask:
                raise needs_mapping(sample())
            self._found = ask(sample(), _zone(self._timezone) if self._timezone else None)
            self._timezone = None
        return _in_zone(self._found, self._timezone)


def _read(path: Path) -> RowMapping:
    try:
        with path.open("rb") as file:
            text = file.read(MAPPING_BYTES_MAX + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8") from None
    except OSError as error:
        raise Invalid(f"the mapping {path} cannot be read: {error.strerror}") from None
    try:
        return mapping.read(text)
    except MappingError as error:
        raise Invalid("\n".join(f"{path} line {each.line}: {each.message}" for each in error.mistakes)) from None


def _in_zone(found: RowMapping, timezone: str | None) -> RowMapping:
    if timezone is None:
        return found
    if found.time_unit:
        raise Invalid(f"times are numbers of {found.time_unit} in this mapping (time_unit), which count in UTC; leave --timezone away")
    return replace(found, timezone=_zone(timezone))


def _zone(name: str) -> ZoneInfo:
    try:
        return days.find_zone(name)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _source(name: str, kind: Format, mappings: Mappings, stack: ExitStack) -> Source:
    if kind is Format.NDJSON:
        return Ndjson(Input("standard input", None) if name == "-" else Input(name, Path(name)))
    file = stack.enter_context(spooled()) if name == "-" else Input(name, Path(name))
    try:
        if kind is Format.PARQUET:
            return Parquet(file, mappings.of(partial(parquet_rows.sample, file)))
        return Csv(file, mappings.of(partial(csv_rows.sample, file)))
    except BROKEN as error:
        raise Invalid(f"{file.shown} cannot be read: {error}") from None


_TABLES = {Format.CSV, Format.PARQUET}
