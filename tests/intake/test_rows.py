"""Rows by a mapping: times that name one instant, exact numbers, mappings read and written. And whatever else comes is refused in words."""

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tallyboard.cli.importing import csv_rows
from tallyboard.cli.importing.csv_rows import Csv
from tallyboard.cli.importing.opening import Input
from tallyboard.errors import Invalid
from tallyboard.intake import mapping
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.mapping import MappingError
from tallyboard.intake.rows import Cell, RowReader, quantity
from tallyboard.intake.times import Moment
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

TEXT = 'user = "alice"\n[columns]\ntime = "t"\n[quantities]\nrequests = 1\n'
WHOLE = """
timezone = "Europe/Berlin"
source = "billing"
delimiter = "\\t"
decimal = ","
encoding = "iso-8859-1"
[columns]
user = "Who"
time = "When"
id = "No \\"1\\""
[quantities]
requests = 1
"odd field" = "x"
[dimensions]
team = "T"
"""
NOW_US = 1_795_500_000_000_000


def read(time: Cell, more: str = "") -> CloudEvent | Refused:
    return RowReader(mapping.read(more + "\n" + TEXT), ("t",), "f").event(2, [time])


@pytest.mark.parametrize(
    ("time", "more", "said"),
    [
        ("2026-11-01 12:00", "", 'time 2026-11-01 12:00:00 has no offset; say whose clock it is: timezone = "Europe/Berlin"'),
        (Moment(0, local=True), "", "time 1970-01-01 00:00:00 has no offset"),
        ("2026-03-29 02:30", 'timezone = "Europe/Berlin"', "does not exist in Europe/Berlin: the clock was set forward over it"),
        (
            "2026-10-25 02:30",
            'timezone = "Europe/Berlin"',
            "happened twice in Europe/Berlin: the clock was set back; write it with its offset, +02:00 or +01:00",
        ),
        ("2011-12-30 12:00", 'timezone = "Pacific/Apia"', "does not exist in Pacific/Apia"),
        (
            "2026-04-05 01:45",
            'timezone = "Australia/Lord_Howe"',
            "happened twice in Australia/Lord_Howe: the clock was set back; write it with its offset, +11:00 or +10:30",
        ),
        ("2026-11-01", 'timezone = "Europe/Berlin"', 'a date alone is midnight only where the mapping says so: time_format = "%Y-%m-%d"'),
        ("11/01/2026 12:00", 'timezone = "UTC"', 'such as time_format = "%d.%m.%Y %H:%M"'),
        ("1793534400", 'timezone = "UTC"', 'where it counts from 1970, say time_unit = "seconds" or "milliseconds"'),
        (1793534400, "", 'say in the mapping what it counts: time_unit = "seconds" or "milliseconds"'),
        ("2026-11-01 12:00Z", 'time_unit = "seconds"', "must be a number of seconds since 1970"),
        ("1793534400000", 'time_unit = "seconds"', 'are they milliseconds? then time_unit = "milliseconds"'),
        ("nan", 'time_unit = "seconds"', "must be a number"),
        ("2026-02-30 12:00Z", "", "there is no such time"),
        ("2026-11-01 12:00:60Z", "", "there is no such time"),
        ("0000-01-01 00:00+14:00", "", "there is no such time"),
        (Moment(10**18, local=False), "", "there is no such time"),
        ("2026-11-01 12:00", 'time_format = "%d.%m.%Y"', "is not written as time_format"),
        ("", "", "the time is empty"),
        (None, "", "the time is empty"),
        (True, "", "the time is empty"),
    ],
)
def test_a_time_that_names_no_instant_or_two_is_refused(time: Cell, more: str, said: str) -> None:
    found = read(time, more)
    assert isinstance(found, Refused)
    assert said in found.detail


@pytest.mark.parametrize(
    ("time", "more"),
    [
        ("2026-11-01 13:00", 'timezone = "europe/berlin"'),
        ("01.11.2026 13:00", 'timezone = "Europe/Berlin"\ntime_format = "%d.%m.%Y %H:%M"'),
        ("11/01/2026 07:00 -0500", 'time_format = "%m/%d/%Y %H:%M %z"'),
        ("1793534400", 'time_unit = "seconds"'),
        (1793534400, 'time_unit = "seconds"'),
        ("1793534400000.0009", 'time_unit = "milliseconds"'),
        ("1.7935344e9", 'time_unit = "seconds"'),
        (" 2026-11-01 12:00:00 UTC ", ""),
        ("2026-11-01t23:45:00.0000009+1145", ""),
        (Moment(1_793_534_400_000_000, local=False), ""),
        (Moment(1_793_538_000_000_000, local=True), 'timezone = "Europe/Berlin"'),
    ],
)
def test_a_time_that_names_one_instant_is_that_instant(time: Cell, more: str) -> None:
    found = read(time, more)
    assert isinstance(found, CloudEvent), found
    assert found.time is not None
    assert datetime.fromisoformat(found.time) == datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_numbers_are_what_stands_there() -> None:
    assert quantity("0.1", "x") == Decimal("0.1")
    assert quantity("12345678901234567890.123456789", "x") == Decimal("12345678901234567890.123456789")
    assert [quantity(each, "x") for each in ("007", " +5 ", "-3", "", None, 2**63)] == [7, 5, -3, None, None, 2**63]
    assert quantity("1,5", "x", ",") == Decimal("1.5")
    for wrong, decimal in (
        ("1,5", "."),
        ("1.5", ","),
        ("1_000", "."),
        ("٣", "."),
        ("nan", "."),
        ("1e1234", "."),
        ("=1+1", "."),
        (True, "."),
    ):
        with pytest.raises(Refused) as refused:
            quantity(wrong, "x", decimal)
        assert refused.value.reason is Reason.BAD_QUANTITY


def test_a_mapping_that_is_written_is_read_as_the_same() -> None:
    found = mapping.read(WHOLE)
    assert mapping.read(mapping.write(found, ("rest \x7f\u202e",))) == found
    assert "\u202e" not in mapping.write(found, ("rest \u202e",))


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (
            'timezone = "Mars"\ndelimiter = ";;"\nsheet = 1\n[columns]\nid = "Nr"\nuser = 3\ncost = "x"\n[quantities]\n[dimensions]\nmodel = "M"\n',
            {1: "Mars", 2: "one character", 3: "'sheet'", 4: "time", 5: "source", 6: "the name of a column", 7: "'cost'", 8: "counted", 10: "[columns]"},
        ),
        ('time_unit = "hours"\nuser = ""\ncolumns = 3\n[quantities]\nx = -1\n', {1: "milliseconds", 2: "not empty", 3: "must be a table", 5: "a column"}),
        ('user = "a"\ntime_unit = "seconds"\ntimezone = "UTC"\n[columns]\ntime = "t"\nuser = "u"\n[quantities]\na = "b"\n[dimensions]\na = "c"', {2: "UTC", 6: "keep one", 10: "keep one"}),
        ("[columns]\na b", {2: "not TOML"}),
        ("x = 1\n" * 20_000, {1: "larger than"}),
        ("a = " + "[" * 10_000, {1: "not TOML"}),
    ],
)  # fmt: skip
def test_mistakes_of_a_mapping_are_told_line_by_line(text: str, mistakes: dict[int, str]) -> None:
    with pytest.raises(MappingError) as wrong:
        mapping.read(text)
    said = {each.line: each.message for each in wrong.value.mistakes}
    assert said.keys() == mistakes.keys()
    for line, words in mistakes.items():
        assert words in said[line]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no header"),
        (b"\n\n", "has no header"),
        ("a,b".encode("utf-16"), "is UTF-16; save it as CSV in UTF-8"),
        (b"\x1f\x8bnot gzip", "cannot be read"),
        (b'"t', "the header: the row is not CSV"),
        (b"a,t,t\n", 'time in [columns]: the column "t" is there more than once (columns 2 and 3)'),
        (b"a;t;b\n", "One column only: does the mapping need a delimiter?"),
        (b"x" * 300_000, "line 1, the header: line 1 is longer than"),
        (b"x," * 2_001, "has more than 2,000 columns"),
        (b"caf\xe9,t", "byte 4 of line 1 is not UTF-8"),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_such_table_is_told(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(Invalid) as wrong:
        Csv(Input("x.csv", tmp_path / "x.csv"), mapping.read(TEXT))
    assert said in str(wrong.value)


_parts = some.sampled_from(
    [b'"', b"\n", b"\r", b",", b"t", b"2026-11-01 12:00Z", b"\x00", b"\xff", b"\xef\xbb\xbf", b"=1", b"1e5", b"\xc3\xa9", b"9" * 40]
)
_cells = some.none() | some.booleans() | some.integers() | some.text(max_size=20) | some.builds(Moment, some.integers(), some.booleans())


@settings(max_examples=300)
@given(some.lists(_parts, max_size=60).map(b"".join))
def test_any_bytes_as_csv_become_rows_or_refusals(content: bytes) -> None:
    every = list(csv_rows.rows(BytesIO(b"t,q,d\n" + content), ",", "utf-8"))
    reader = RowReader(mapping.read(TEXT + 'x = "q"\n[dimensions]\nd = "d"\n'), ("t", "q", "d"), "f")
    items = [reader.event(row, cells) for row, _, cells in every]
    accepted = accept(items, Sender(may_adjust=True), Charger(card.read(card.default_text())), NOW_US)
    assert len(accepted.entries) + len(accepted.refused) == len(items)


@settings(max_examples=300)
@given(
    some.lists(_cells, min_size=3, max_size=3),
    some.sampled_from(["", 'time_unit = "seconds"', 'timezone = "Europe/Dublin"', 'time_format = "%x %f %Z"']),
)
def test_any_cells_of_a_typed_table_become_an_event_or_a_refusal(cells: list[Cell], more: str) -> None:
    text = f'{more}\nsource = "s"\n[columns]\ntime = "t"\nuser = "u"\nid = "u"\nmodel = "d"\n[quantities]\nrequests = "u"\n[dimensions]\nd = "d"\n'
    item = RowReader(mapping.read(text), ("t", "u", "d"), "f").event(1, cells)
    accepted = accept([item], Sender(), Charger(card.read(card.default_text())), NOW_US)
    assert len(accepted.entries) + len(accepted.refused) == 1


@settings(max_examples=200)
@given(some.text(max_size=200) | some.lists(some.sampled_from(WHOLE.splitlines()), max_size=20).map("\n".join))
def test_any_text_is_a_mapping_or_a_mistake(text: str) -> None:
    try:
        found = mapping.read(text)
    except MappingError:
        return
    assert mapping.read(mapping.write(found)) == found
