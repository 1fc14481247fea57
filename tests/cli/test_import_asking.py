"""`tallyboard import` at a terminal asks for the mapping, shows the first row as an event, and keeps the answers."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import engines
from tests.cli.tables import csv, take, write
from tests.program import PROGRAM, environment

HEADER = ("Nr", "Begun", "User \x1b", "Model", "Prompt tokens", "Seats", "Team")
ROWS = (("7", "01.11.2026 13:00", "zoë", "gpt-5", "1000", "1.5", "=search"), ("8", "02.11.2026 13:00", "bob", "gpt-5", "10", "2", ""))


@contextmanager
def terminal(typed: str) -> Iterator[int]:
    """A terminal at which somebody has typed ahead."""
    outside, inside = os.openpty()
    try:
        os.write(outside, typed.encode())
        yield inside
    finally:
        os.close(outside)
        os.close(inside)


def answered(folder: Path, file: Path, *answers: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """An import by somebody who gives these answers."""
    line = [PROGRAM, "import", file, "--data", folder, *options]
    with terminal("".join(f"{each}\n" for each in answers)) as stdin:
        done = subprocess.run(
            line,
            stdin=stdin,
            capture_output=True,
            timeout=120,
            check=False,
            cwd=folder.parent,
            env=environment(**engines.variables(folder)),
        )
    return subprocess.CompletedProcess(line, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_answers_make_a_mapping_that_is_previewed_and_kept(folder: Path) -> None:
    table = write(folder, "usage.csv", csv(*ROWS, header=HEADER, delimiter=";"))
    wrong = ("nothing", "99")
    clock = ("%Y", "%d.%m.%Y %H:%M", "Mars", "europe/berlin")
    fields = ("model", "", "seats", "7")
    answers = [*wrong, "Begun", "", "1", "", "billing", *clock, *fields, "y", "usage.csv", "kept.toml"]
    done = answered(folder, table, *answers)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 accepted")
    for said in (
        'there is no column "nothing"',
        'there is no column "99"',
        '"01.11.2026 13:00" is not written so',
        "'Mars' is not an IANA timezone",
        "such as input_tokens",
        '"subject": "zoë"',
        '"time": "2026-11-01T12:00:00+00:00"',
        '"team": "=search"',
        "there is a file usage.csv already",
        "kept.toml is written; next time: --map kept.toml",
    ):
        assert said in done.stderr
    assert "\x1b" not in done.stderr
    assert engines.look(folder, "SELECT source, id, data FROM event ORDER BY id")[0] == (
        "billing",
        "7",
        '{"input_tokens":1000,"model":"gpt-5","seats":1.5,"team":"=search"}',
    )
    assert take(folder, table, "--map", folder.parent / "kept.toml") == {"duplicate": 2}


def test_guesses_are_the_defaults_and_nothing_is_imported_without_a_yes(folder: Path) -> None:
    table = write(folder, "usage.csv", "Timestamp,Email,requests,Note\n2026-11-01T12:00:00Z,alice,2,x\n")
    refused = answered(folder, table, "", "", "", "", "", "", "n")
    assert (refused.returncode, refused.stderr.splitlines()[-1].endswith("tallyboard: nothing is imported")) == (1, True)
    assert not folder.exists()
    assert answered(folder, table, "", "", "", "", "", "", "", "-").stdout.startswith("1 accepted")
    assert engines.look(folder, "SELECT data FROM event") == [('{"requests":2}',)]
    counted = write(folder, "counted.csv", "ts,n\n1793534400000,2\n")
    assert answered(folder, counted, "", "=alice", "", "", "", "-", "", "", "").stdout.startswith("1 accepted")
    assert 'time_unit = "milliseconds"' in (folder.parent / "mapping.toml").read_text()
    ended = answered(folder, table, "\x04")
    assert (ended.returncode, "Aborted" in ended.stderr) == (1, True)
