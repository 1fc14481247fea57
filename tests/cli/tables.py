"""Tables of the tests of importing: one content, written as the formats that are taken."""

import json
from pathlib import Path

from tests.conftest import tallyboard

MAPPING = """
timezone = "Europe/Berlin"
source = "billing"

[columns]
user = "Who"
time = "When"
id = "Nr"
model = "Model"

[quantities]
input_tokens = "Tokens in"
output_tokens = "Tokens out"
requests = 1

[dimensions]
note = "Note"
"""
HEADER = ("Nr", "When", "Who", "Model", "Tokens in", "Tokens out", "Note")
ROWS = (
    ("1", "2026-11-01 00:30:00", "alice", "gpt-5", "1000", "20", "=HYPERLINK(1)"),
    ("2", "2026-11-01T00:30:00.123456789+01:00", "zoë", "gpt-5-mini", "1200.5", "0", 'a\n"b", c'),
    ("3", "2026-10-31T23:45Z", "alice", "gpt-5", "", "7", ""),
    ("4", "2026-11-01 12:00:00", "", "", "3", "0.000000001", "nobody's"),
)
"""Naive times are Berlin's. Of the first three rows all are the first of November there, none in UTC."""


def cell(text: str, delimiter: str = ",") -> str:
    """A cell as CSV has it."""
    return '"' + text.replace('"', '""') + '"' if any(each in text for each in f'"\n\r{delimiter}') else text


def csv(*rows: tuple[str, ...], header: tuple[str, ...] = HEADER, delimiter: str = ",") -> str:
    """A table as CSV."""
    return "".join(delimiter.join(cell(each, delimiter) for each in row) + "\r\n" for row in (header, *rows))


def ndjson() -> bytes:
    """The rows as CloudEvents, written by hand."""
    at = ("2026-10-31T23:30:00Z", "2026-10-31T23:30:00.123456Z", "2026-10-31T23:45:00Z", "2026-11-01T11:00:00Z")
    data = (
        '{"model": "gpt-5", "input_tokens": 1000, "output_tokens": 20, "requests": 1, "note": "=HYPERLINK(1)"}',
        '{"model": "gpt-5-mini", "input_tokens": 1200.5, "output_tokens": 0, "requests": 1, "note": "a\\n\\"b\\", c"}',
        '{"model": "gpt-5", "output_tokens": 7, "requests": 1}',
        '{"input_tokens": 3, "output_tokens": 0.000000001, "requests": 1, "note": "nobody\'s"}',
    )
    users = ('"alice"', '"zoë"', '"alice"', "null")
    head = '"specversion": "1.0", "source": "billing", "type": "ai.usage.recorded"'
    parts = zip(at, users, data, strict=True)
    return "".join(
        f'{{{head}, "id": "{number}", "time": "{time}", "subject": {user}, "data": {said}}}\n'
        for number, (time, user, said) in enumerate(parts, 1)
    ).encode()


def mapping(folder: Path, text: str = MAPPING) -> Path:
    """A mapping as a file beside the data folder."""
    path = folder.parent / "mapping.toml"
    path.write_text(text)
    return path


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file beside the data folder."""
    path = folder.parent / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def take(folder: Path, *arguments: object, stdin: bytes = b"") -> dict[str, int]:
    """Import; the counts beyond zero."""
    printed = tallyboard("import", *arguments, "--json", data=folder, stdin=stdin).stdout
    return {name: count for name, count in json.loads(printed).items() if count}


def used(folder: Path, zone: str = "Europe/Berlin") -> dict[str, object]:
    """The usage of two days, as the command line answers it."""
    asked = ("usage", "--from", "2026-10-31", "--to", "2026-11-01", "--timezone", zone, "--json")
    answer = json.loads(tallyboard(*asked, data=folder).stdout)
    return {name: answer[name] for name in ("total", "days", "users")}
