"""`tallyboard import` of Parquet: the same usage as CSV to the unit, exact; a file that lies ends in a sentence, not in memory."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as some
from pyarrow import parquet
from tests import engines
from tests.cli.tables import HEADER, MAPPING, mapping, ndjson, take, used, write
from tests.conftest import refusal, tallyboard
from tests.intake.telemetry import TOKENS_CARD

from tallyboard.cli.importing.opening import Input
from tallyboard.cli.importing.parquet_rows import Parquet
from tallyboard.errors import Invalid
from tallyboard.intake.mapping import read

AT = datetime(2026, 11, 1, 12, tzinfo=UTC)
BARE = '[columns]\ntime = "t"\nuser = "u"\n[quantities]\nconversations = "q"\n'


def packed(columns: dict[str, Any], **how: Any) -> bytes:
    """A table as Parquet."""
    file = BytesIO()
    parquet.write_table(pa.table(columns), file, **how)
    return file.getvalue()


def bare(rows: int = 1, **columns: Any) -> dict[str, Any]:
    """A table with the columns that BARE maps."""
    return {"t": pa.array([AT] * rows, pa.timestamp("us", "UTC")), "u": ["alice"] * rows, "q": [1] * rows, **columns}


def usage(folder: Path) -> Path:
    """The rows of tests.cli.tables with types."""
    tens = [Decimal(1000), Decimal("1200.5"), None, Decimal(3)]
    times = [1_793_489_400_000_000_000, 1_793_489_400_123_456_789, 1_793_490_300_000_000_000, 1_793_530_800_000_000_000]
    columns = {
        "Nr": pa.array([1, 2, 3, 4], pa.uint64()),
        "When": pa.array(times, pa.timestamp("ns", "America/New_York")),
        "Who": pa.array(["alice", "zoë", "alice", None]).dictionary_encode(),
        "Model": ["gpt-5", "gpt-5-mini", "gpt-5", ""],
        "Tokens in": pa.array(tens, pa.decimal128(30, 9)),
        "Tokens out": pa.array([20.0, 0.0, 7.0, 1e-9]),
        "Note": ["=HYPERLINK(1)", 'a\n"b", c', None, "nobody's"],
        "Unread": [[1], [2], [3], [4]],
    }
    return write(folder, "usage.parquet", packed(columns, row_group_size=3))


def said(folder: Path, content: bytes, text: str = BARE) -> str:
    """What an import says of a file; it must end in words."""
    done = tallyboard("import", write(folder, "a.parquet", content), "--map", mapping(folder, text), data=folder, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode in {0, 1}
    return done.stderr


def test_parquet_counts_what_the_same_events_count_to_the_letter(folder: Path) -> None:
    tallyboard("rates", "set", TOKENS_CARD, data=folder)
    assert take(folder, usage(folder), "--map", mapping(folder)) == {"accepted": 4, "unattributed": 1}
    before = used(folder)
    assert take(folder, "-", stdin=ndjson()) == {"duplicate": 4}
    assert used(folder) == before
    by_row = mapping(folder, MAPPING.replace('id = "Nr"', ""))
    assert take(folder, usage(folder), "--map", by_row) == {"accepted": 4, "unattributed": 1}
    assert take(folder, usage(folder), "--map", by_row) == {"duplicate": 4}
    assert set(HEADER) < set(parquet.read_schema(usage(folder)).names)


def test_wall_clock_times_numbers_and_dates_need_to_be_told_what_they_are(folder: Path) -> None:
    walls = [datetime(2026, 11, 1, 13), datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30), None]  # noqa: DTZ001
    clocks = packed(bare(4, t=pa.array(walls, pa.timestamp("ms"))))
    assert said(folder, clocks).count("has no offset; say whose clock it is") == 3
    lines = said(folder, clocks, 'timezone = "Europe/Berlin"\n' + BARE).splitlines()
    assert [line.partition("parquet ")[2].partition(":")[0] for line in lines] == ["row 2", "row 3", "row 4"]
    assert all(words in line for words, line in zip(("does not exist", "happened twice", "the time is empty"), lines, strict=True))
    counted = packed(bare(1, t=[1_793_534_400]))
    assert "say in the mapping what it counts: time_unit" in said(folder, counted)
    assert said(folder, counted, 'time_unit = "seconds"\n' + BARE) == ""
    assert "time_format" in said(folder, packed(bare(1, t=pa.array([AT.date()]))))
    assert engines.look(folder, "SELECT DISTINCT at_us FROM event") == [(1_793_534_400_000_000,)]


def test_a_text_in_every_row_of_a_file_takes_no_more_memory_than_once(folder: Path) -> None:
    """Of 20,000 rows each names the same user of 30 million characters: 600 GB, if they were laid beside each other."""
    users = pa.DictionaryArray.from_arrays(pa.array([0] * 19_999 + [1], pa.int32()), pa.array(["x" * 30_000_000, "alice"]))
    told = said(folder, packed(bare(20_000, u=users), compression="zstd"))
    assert "row 1: bad_text: a text is longer than 131,072 bytes" in told
    assert engines.look(folder, "SELECT count(*) FROM event") == [(1,)]


def test_damaged_files_end_in_words(folder: Path) -> None:
    assert "its end is not that of a Parquet file" in said(folder, GOOD[:-1])
    assert "its footer is larger than it may be" in said(folder, GOOD[:-8] + b"\xff\xff\xff\x7fPAR1")
    assert "cannot be read" in said(folder, b"PAR1" + bytes(500) + b"\xf0\x01\x00\x00PAR1")
    assert "bad_text: a text is not UTF-8" in said(folder, packed(bare(1, u=pa.array([b"\xff"]).view(pa.string()))))
    assert "there is no column" in said(folder, packed({"t": [1]}))
    assert "u in [columns]" not in said(folder, packed(bare(1, u=[[1]])))
    tallyboard("reconcile", data=folder)


GOOD = packed(bare(2_000, u=[f"user {number % 50}" for number in range(2_000)]), compression="snappy")


@settings(max_examples=20)
@given(some.lists(some.tuples(some.integers(4, len(GOOD) - 9), some.integers(0, 255)), min_size=1, max_size=20))
def test_a_file_damaged_anywhere_gives_rows_or_ends_in_words(damage: list[tuple[int, int]]) -> None:
    broken = bytearray(GOOD)
    for place, byte in damage:
        broken[place] = byte
    with NamedTemporaryFile() as file:
        file.write(broken)
        file.flush()
        try:
            rows = sum(map(len, Parquet(Input("a.parquet", Path(file.name)), read(BARE)).batches(lambda _: None)))
        except (Invalid, OSError):
            return
        assert rows <= 2_000


def test_without_pyarrow_the_command_that_installs_it_is_named(folder: Path) -> None:
    write(folder, "sitecustomize.py", 'import sys\nsys.modules["pyarrow"] = None\n')
    done = tallyboard("import", usage(folder), data=folder, check=False, PYTHONPATH=str(folder.parent))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("pip install 'tallyboard[parquet]'")


def test_a_draft_for_parquet_is_a_mapping_that_works(folder: Path) -> None:
    file = write(folder, "a.parquet", packed({"Timestamp": [AT], "user": ["alice"], "requests": [5], "other": [[1]]}))
    draft = refusal("import", file, folder=folder).partition("\n\n")[2]
    assert take(folder, file, "--map", mapping(folder, draft)) == {"accepted": 1}
    assert [json.loads(each) for (each,) in engines.look(folder, "SELECT data FROM event")] == [{"requests": 5}]
