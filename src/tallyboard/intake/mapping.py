"""The mapping of a table's columns to usage events: read from TOML, checked whole, and written as TOML.

A mapping that is read is right: every mistake is found first and named with its line (`MappingError`).
"""

import re
import tomllib
from collections.abc import Mapping
from typing import Literal, cast
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import encode

from tallyboard import days
from tallyboard.errors import Invalid
from tallyboard.intake.event import KEY_CHARACTERS_MAX

MAPPING_BYTES_MAX = 65_536
FIELDS_MAX = 200
EVENT_TYPE = "ai.usage.recorded"
SOURCE = "import"
"""The source of rows that are told apart by the file they stand in."""

ATTRIBUTES = ("user", "time", "id", "model", "type", "source")
FIXED = ("user", "model", "type", "source")
"""What may be one text for all rows in the place of a column."""

TimeUnit = Literal["seconds", "milliseconds"]
_TIME_UNITS = ("seconds", "milliseconds")
ENCODINGS = ("utf-8", "windows-1252", "iso-8859-1", "iso-8859-15")
_TABLES = ("columns", "quantities", "dimensions")
_OPTIONS = ("timezone", "time_unit", "time_format", "delimiter", "decimal", "encoding")
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\xa0\u00ad\u0600-\u0605\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


class RowMapping(Struct, frozen=True):
    """Which column of a table is what. `columns` and `fixed` are by attribute, `quantities` and `dimensions` by field of `data`.

    A quantity is a column's name, or one number for every row.
    """

    columns: Mapping[str, str]
    fixed: Mapping[str, str]
    quantities: Mapping[str, str | int]
    dimensions: Mapping[str, str]
    timezone: ZoneInfo | None = None
    time_unit: TimeUnit | None = None
    time_format: str | None = None
    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"


class Mistake(Struct, frozen=True):
    """What is wrong with a mapping, on which line of the file (from 1), and how to mend it."""

    line: int
    message: str


class MappingError(Invalid):
    """A mapping that cannot be used; `mistakes` names each with its line."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda mistake: mistake.line)
        super().__init__("\n".join(f"line {m.line}: {m.message}" for m in self.mistakes))


def read(text: str) -> RowMapping:
    """Read a mapping; MappingError names every mistake by line."""
    if len(text.encode(errors="replace")) > MAPPING_BYTES_MAX:
        raise MappingError([Mistake(1, f"the mapping is larger than {MAPPING_BYTES_MAX:,} bytes")])
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        found = re.search(r"\(at line (\d+)", str(error))
        raise MappingError([Mistake(int(found[1]) if found else text.count("\n") + 1, f"not TOML: {error}")]) from None
    reader = _Reader(text)
    mapping = reader.mapping(document)
    if reader.mistakes:
        raise MappingError(reader.mistakes)
    return mapping


def write(mapping: RowMapping, others: tuple[str, ...] = ()) -> str:
    """The mapping as TOML that `read` takes. What is needed and not known yet stands there empty. `others` are columns that are left out."""
    told = {name: getattr(mapping, name) for name in _OPTIONS}
    told |= {"timezone": mapping.timezone.key if mapping.timezone else None}
    told |= {
        "decimal": None if mapping.decimal == "." else mapping.decimal,
        "encoding": None if mapping.encoding == "utf-8" else mapping.encoding,
    }
    lines = ["# Which column of the table is what: docs/import.md"]
    lines += [f"{name} = {quoted(text)}" for name, text in mapping.fixed.items()]
    lines += [f"{name} = {quoted(value)}" for name, value in told.items() if value is not None]
    if not (mapping.timezone or mapping.time_unit):
        lines.append('# timezone = "Europe/Berlin"   # of times without an offset')
        lines.append('# time_unit = "seconds"        # or "milliseconds", where times are numbers that count from 1970')
    columns = dict(mapping.columns)
    if "user" not in mapping.fixed:
        columns.setdefault("user", "")
    lines += ["", "[columns]", *(f"{name} = {quoted(columns.get(name, ''))}" for name in ATTRIBUTES if name in {*columns, "time"})]
    lines += ["", "[quantities]   # field of data = column, or one number for every row"]
    quantities = mapping.quantities or {"requests": 1}
    lines += [f"{_key(field)} = {quoted(each) if isinstance(each, str) else each}" for field, each in quantities.items()]
    lines += ["", "[dimensions]   # field of data = column"]
    lines += [f"{_key(field)} = {quoted(column)}" for field, column in mapping.dimensions.items()]
    lines += [f"# {_key(field_of(column))} = {quoted(column)}" for column in others]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A text as TOML writes it, which is as JSON does; what could not be seen, or would move a cursor, is spelled out."""
    return visible(encode(text).decode())


def visible(json: str) -> str:
    """JSON with what could not be seen, or would move a cursor, spelled out."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json)


def field_of(column: str) -> str:
    """A name for a field of `data`, made of a column's."""
    return re.sub(r"\W+", "_", column.strip().lower()).strip("_") or "column"


def _key(field: str) -> str:
    return field if re.fullmatch(r"[A-Za-z0-9_-]+", field) else quoted(field)


class _Reader:
    """Collects a mapping and every mistake with its line."""

    def __init__(self, text: str) -> None:
        self.lines = text.splitlines()
        self.mistakes: list[Mistake] = []

    def mapping(self, document: Mapping[str, object]) -> RowMapping:
        for key in document.keys() - {*_TABLES, *_OPTIONS, *FIXED}:
            self.wrong(
                "", key, f"unknown key {key[:80]!r}; a mapping has {', '.join((*FIXED, *_OPTIONS))} and the tables {', '.join(_TABLES)}"
            )
        columns = self.columns(self.table(document, "columns"))
        fixed = {name: self.text("", name, document[name]) for name in FIXED if name in document}
        quantities = {field: self.quantity(field, each) for field, each in self.table(document, "quantities").items()}
        dimensions = {field: self.text("dimensions", field, each) for field, each in self.table(document, "dimensions").items()}
        self.check_attributes(columns, fixed)
        self.check_fields(quantities, dimensions)
        return self.options(document, columns, fixed, quantities, dimensions)

    def columns(self, table: Mapping[str, object]) -> dict[str, str]:
        for key in table.keys() - {*ATTRIBUTES}:
            self.wrong(
                "columns",
                key,
                f"columns has no {key[:80]!r}; it has {', '.join(ATTRIBUTES)}. Numbers go to quantities, the rest to dimensions",
            )
        return {name: self.text("columns", name, table[name]) for name in ATTRIBUTES if name in table}

    def check_attributes(self, columns: Mapping[str, str], fixed: Mapping[str, str]) -> None:
        for name in columns.keys() & fixed.keys():
            self.wrong("columns", name, f"{name} is a column and one text for all rows; keep one of them")
        if "time" not in columns:
            self.wrong("columns", "time", 'say which column holds the time: time = "Created at" in [columns]')
        if "user" not in columns and "user" not in fixed:
            self.wrong(
                "columns", "user", 'say which column names the user: user = "Email" in [columns], or user = "alice" above for all rows'
            )
        if "id" in columns and "source" not in columns and "source" not in fixed:
            self.wrong("columns", "id", 'an id is unique only within its source; name that: source = "billing-export" above all tables')

    def check_fields(self, quantities: Mapping[str, object], dimensions: Mapping[str, object]) -> None:
        if not quantities:
            self.wrong("quantities", "", 'say what is counted: input_tokens = "Tokens in", or requests = 1 for every row, in [quantities]')
        if len(quantities) + len(dimensions) > FIELDS_MAX:
            self.wrong("quantities", "", f"more than {FIELDS_MAX} quantities and dimensions")
        for table, fields in (("quantities", quantities), ("dimensions", dimensions)):
            for field in fields:
                if not 0 < len(field) <= KEY_CHARACTERS_MAX:
                    self.wrong(table, field, f"the name of a field has 1 to {KEY_CHARACTERS_MAX} characters")
                if field == "model":
                    self.wrong(table, field, "model belongs into [columns]")
        for field in quantities.keys() & dimensions.keys():
            self.wrong("dimensions", field, f"{field[:80]!r} is a quantity, too; keep one of them")

    def options(
        self,
        document: Mapping[str, object],
        columns: Mapping[str, str],
        fixed: Mapping[str, str],
        quantities: Mapping[str, str | int],
        dimensions: Mapping[str, str],
    ) -> RowMapping:
        unit = self.choice(document, "time_unit", _TIME_UNITS)
        time_format = self.text("", "time_format", document["time_format"]) if "time_format" in document else None
        if unit and (time_format or "timezone" in document):
            self.wrong("", "time_unit", "numbers count from 1970 in UTC; take timezone and time_format away, or time_unit")
        return RowMapping(
            columns=columns,
            fixed=fixed,
            quantities=quantities,
            dimensions=dimensions,
            timezone=self.zone(document),
            time_unit=cast("TimeUnit | None", unit),
            time_format=time_format,
            delimiter=self.delimiter(document),
            decimal=self.choice(document, "decimal", (".", ",")) or ".",
            encoding=self.choice(document, "encoding", ENCODINGS) or "utf-8",
        )

    def table(self, document: Mapping[str, object], name: str) -> Mapping[str, object]:
        found = document.get(name, {})
        if isinstance(found, dict):
            return found
        self.wrong("", name, f"{name} must be a table: [{name}] on a line of its own")
        return {}

    def text(self, table: str, key: str, found: object) -> str:
        if isinstance(found, str) and 0 < len(found.strip()) <= KEY_CHARACTERS_MAX:
            return found.strip()
        what = "a text" if not table else "the name of a column"
        self.wrong(table, key, f"{key[:80]} must be {what}, of 1 to {KEY_CHARACTERS_MAX} characters" + ("" if found else ", not empty"))
        return ""

    def quantity(self, field: str, found: object) -> str | int:
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= 10**15:
            return found
        return self.text("quantities", field, found)

    def choice(self, document: Mapping[str, object], key: str, choices: tuple[str, ...]) -> str | None:
        found = document.get(key)
        if found is None or (isinstance(found, str) and found in choices):
            return found
        self.wrong("", key, f"{key} must be one of {', '.join(map(quoted, choices))}, not {str(found)[:40]!r}")
        return None

    def zone(self, document: Mapping[str, object]) -> ZoneInfo | None:
        if "timezone" not in document:
            return None
        try:
            return days.find_zone(str(document["timezone"])[:KEY_CHARACTERS_MAX])
        except ValueError as error:
            self.wrong("", "timezone", str(error))
            return None

    def delimiter(self, document: Mapping[str, object]) -> str | None:
        found = document.get("delimiter")
        if found is None or (isinstance(found, str) and len(found) == 1 and found.isascii() and found not in '"\r\n\0'):
            return found
        self.wrong("", "delimiter", r'delimiter must be one character such as ",", ";" or "\t"')
        return None

    def wrong(self, table: str, key: str, message: str) -> None:
        self.mistakes.append(Mistake(self.line_of(table, key), message))

    def line_of(self, table: str, key: str) -> int:
        """The line of a key of a table ("" is what stands above all tables), the table's first where the key is missing."""
        assign = re.compile(rf"""^\s*["']?{re.escape(key)}["']?\s*=""")
        within, begins = "", 1
        for number, line in enumerate(self.lines, 1):
            header = re.match(r"^\s*\[\s*[\"']?([^\]\"']*?)[\"']?\s*\]", line)
            within = header[1] if header else within
            if header and within == (table or key):
                begins = number
            if within == table and key and assign.match(line):
                return number
        return begins
