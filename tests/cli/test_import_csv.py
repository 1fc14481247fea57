"""`tallyboard import` of CSV: by a mapping, exact, once; what is wrong is refused row by row, and says how to mend it."""

import gzip
from pathlib import Path

from tests import engines
from tests.cli.tables import MAPPING, ROWS, csv, mapping, ndjson, take, used, write
from tests.conftest import refusal, tallyboard
from tests.intake.telemetry import TOKENS_CARD

ALL = {"accepted": 4, "unattributed": 1}


def told(folder: Path, *arguments: object) -> list[str]:
    """What an import says of its rows."""
    return tallyboard("import", *arguments, data=folder).stderr.splitlines()


def test_a_table_counts_to_the_unit_what_the_same_events_count(folder: Path) -> None:
    other = folder.with_name("other")
    for each in (folder, other):
        tallyboard("rates", "set", TOKENS_CARD, data=each)
    table = write(folder, "usage.csv", "\ufeff" + csv(*ROWS))
    assert take(folder, table, "--map", mapping(folder)) == ALL
    assert take(other, "-", stdin=ndjson()) == ALL
    assert used(folder) == used(other)
    assert used(folder)["total"]["units"] > 0  # type: ignore[index]
    assert take(folder, "-", stdin=ndjson()) == {"duplicate": 4}  # To the letter the same events.
    tallyboard("reconcile", data=folder)
    engines.drop(other)


def test_a_table_is_taken_once_however_it_is_packed_and_written(folder: Path) -> None:
    by_row = mapping(folder, MAPPING.replace('source = "billing"', 'delimiter = ";"').replace('id = "Nr"', ""))
    plain = csv(*ROWS, delimiter=";")
    assert take(folder, write(folder, "usage.csv", plain), "--map", by_row) == ALL
    assert take(folder, write(folder, "again.csv.gz", gzip.compress(plain.encode())), "--map", by_row) == {"duplicate": 4}
    assert take(folder, "-", "--format", "csv", "--map", by_row, stdin=plain.encode()) == {"duplicate": 4}
    assert take(folder, write(folder, "longer.csv", plain + "\r\n"), "--map", by_row) == ALL  # Another file: other rows.
    tabs = write(folder, "usage.tsv", csv(*ROWS, delimiter="\t"))
    assert take(folder, tabs, "--map", mapping(folder)) == ALL
    assert take(folder, write(folder, "x.csv", csv(("1", *ROWS[1][1:]))), "--map", mapping(folder)) == {"conflict": 1}


def test_bad_rows_are_refused_one_by_one_and_the_rest_counts(folder: Path) -> None:
    good = ROWS[0]
    rows = [("5", *good[1:-1], "x" * 140_000), good, good[:-1], ("6", "", *good[2:]), ("7", *good[1:4], "1,200", *good[5:])]
    rows += [
        ("8", *good[1:4], "1e4000", *good[5:]),
        ("9", good[1], "x" * 257, *good[3:]),
        ("", *good[1:]),
        ("10", *good[1:-1], "x" * 70_000),
    ]
    content = csv(*rows).encode() + b"11,2026-11-01 01:00,b\xe9,,1,,\r\n12,2026-11-01 01:00," + b'"bo"b,,1,,\r\n' + csv(ROWS[1]).encode()
    content += b'13,2026-11-01 01:00,"' + b"never ends\n" * 30_000
    table = write(folder, "usage.csv", content)
    lines = told(folder, table, "--map", mapping(folder))
    assert engines.look(folder, "SELECT id FROM event ORDER BY id") == [("1",), ("2",)]
    expected = {
        "row 2 (line 2)": "not_an_event: the row is not CSV: field larger than field limit",
        "row 4 (line 4)": "not_an_event: the row has 6 cells, the header 7",
        "row 5 (line 5)": "missing_field: the time is empty",
        "row 6 (line 6)": "bad_quantity: \"Tokens in\" is not a number: '1,200'; write it without separators of thousands",
        "row 7 (line 7)": "bad_quantity: \"Tokens in\" is not a number: '1e4000'",
        "row 8 (line 8)": "key_too_long: subject is longer than 256",
        "row 9 (line 9)": "missing_field: id must not be empty",
        "row 10 (line 10)": "event_too_large",
        "row 11 (line 11)": "bad_text: byte 22 of line 11 is not UTF-8; save the file as UTF-8, or say encoding",
        "row 12 (line 12)": "not_an_event: the row is not CSV",
        "row 13 (line 13)": "bad_time: time must be like",  # The header again.
    }
    for (place, reason), line in zip(expected.items(), lines, strict=False):
        assert line.startswith(f"{table} {place}: {reason}")
    assert "row 15 (line 16): not_an_event: the row is not CSV: field larger" in lines[len(expected)]


def test_other_encodings_and_decimal_commas_are_read_where_the_mapping_says_so(folder: Path) -> None:
    text = 'encoding = "windows-1252"\ndecimal = ","\ndelimiter = ";"\n[columns]\ntime = "Zeit"\nuser = "Wer"\n[quantities]\nconversations = "Gespräche"\n'
    content = "Zeit;Wer;Gespräche\n2026-11-01 12:00Z;Zoë;1,25\n2026-11-01 12:00Z;Zoë;1.250\n".encode("windows-1252")
    lines = told(folder, write(folder, "usage.csv", content), "--map", mapping(folder, text))
    assert [line.partition(": ")[2] for line in lines] == [
        "bad_quantity: \"Gespräche\" is not a number: '1.250'; write it plainly, such as 1234,5"
    ]
    assert used(folder)["users"][0]["user"] == "Zoë"  # type: ignore[index]
    assert used(folder)["total"]["units"] == 1_250_000  # type: ignore[index]


def test_nothing_is_imported_where_one_file_or_the_mapping_is_wrong(folder: Path) -> None:
    good, bad = write(folder, "good.csv", csv(*ROWS)), write(folder, "bad.csv", "Nr,When,Whom\n")
    said = refusal("import", good, bad, "--map", mapping(folder), folder=folder)
    assert f'{bad}: user in [columns]: there is no column "Who"; is it "Whom"? The columns are: "Nr", "When", "Whom".' in said
    said = refusal("import", good, "--map", mapping(folder, MAPPING.replace("[columns]", "[colums]")), folder=folder)
    assert "mapping.toml line 5: unknown key 'colums'" in said
    assert "are for tables" in refusal("import", write(folder, "a.ndjson", ndjson()), "--timezone", "UTC", folder=folder)
    assert not folder.exists()


def test_without_a_mapping_one_is_drafted_that_works(folder: Path) -> None:
    header = ("Request ID", "Created at", "User email", "Model", "Prompt tokens", "Completion tokens", "Team", "Colour \x1b[31m")
    row = ("r1", "2026-11-01T12:00:00Z", "alice", "gpt-5", "10", "20", "search", "red")
    table = write(folder, "usage 2026.csv", csv(row, header=header, delimiter=";"))
    said = refusal("import", table, folder=folder)
    assert "--map mapping.toml" in said
    assert "\x1b" not in said
    draft = said.partition("\n\n")[2]
    assert take(folder, table, "--map", mapping(folder, draft)) == {"accepted": 1, "unrated": 1}
    ((source, row_id, document),) = engines.look(folder, "SELECT source, id, data FROM event")
    assert (source, row_id) == ("usage-2026", "r1")
    assert document == '{"input_tokens":10,"model":"gpt-5","output_tokens":20,"team":"search"}'
    nameless = refusal("import", write(folder, "b.csv", "a,b\n1,2\n"), folder=folder).partition("\n\n")[2]
    assert "time must be the name of a column" in refusal(
        "import", folder.parent / "b.csv", "--map", mapping(folder, nameless), folder=folder
    )
