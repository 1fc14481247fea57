"""`tallyboard copy`: what it takes for a place, what it says, and that it never says a password."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines
from tests.conftest import event, tallyboard

from tallyboard.ledger.migrate import UNFINISHED

PASSWORD = "hunter2"
EVENTS = b"\n".join(json.dumps(event(f"{number}", f"user {number % 3}")).encode() for number in range(50))


def place(folder: Path) -> str:
    """A folder's ledger on the engine of this run, as --from and --to take it; a server's with a password."""
    if engines.NAME == "sqlite":
        return f"sqlite:{folder}"
    return engines.url(folder).replace("@", f":{PASSWORD}@", 1)


@pytest.fixture
def filled(folder: Path) -> Path:
    """A ledger with some usage."""
    tallyboard("import", "-", data=folder, stdin=EVENTS)
    return folder


@pytest.fixture
def back(folder: Path) -> Iterator[Path]:
    """Another ledger, which does not exist yet."""
    yield folder.with_name("back")
    engines.drop(folder.with_name("back"))


def copied(source: str, target: str, *arguments: str) -> tuple[str, str]:
    done = tallyboard("copy", "--from", source, "--to", target, *arguments)
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout, done.stderr


def refused(source: str, target: str, code: int = 1) -> str:
    """What is said in place of a copy, without a stack trace or a password."""
    done = tallyboard("copy", "--from", source, "--to", target, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr
    return " ".join(done.stderr.split())


def test_there_and_back_answers_are_the_same(filled: Path, back: Path) -> None:
    there = filled.with_name("there")
    printed, said = copied(place(filled), f"sqlite:{there}")
    assert "50 event" in printed.split("  ")
    assert "both are equal" in said
    assert f"to {there}" in said
    printed, _ = copied(f"sqlite:{there}", place(back), "--json")
    answer = json.loads(printed)
    assert (answer["rows"]["event"], answer["rows"]["app_user"], answer["rows_found"], answer["source_changed"]) == (50, 3, 0, False)
    asked = ("usage", "--from", "2026-11-01", "--to", "2026-11-01", "--csv")
    assert tallyboard(*asked, data=back).stdout == tallyboard(*asked, data=filled).stdout
    assert json.loads(tallyboard("import", "-", "--json", data=back, stdin=EVENTS).stdout)["duplicate"] == 50


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "",
        "sqlite:",
        f"mysql://root:{PASSWORD}@db/x",
        f"postgresql://root:{PASSWORD}@x@db/x",
        f"postgresql://root:{PASSWORD}/x@db/x",
        f"postgresql://root:1/{PASSWORD}@db/x",
        f"postgresql://root:x#{PASSWORD}@db/x",
        f"postgresql://root:x?{PASSWORD}@db/x",
        f"postgresql://root:{PASSWORD}%@db/x",
        f"postgresql://db:{PASSWORD}/x",
    ],
)
def test_what_is_no_place_is_told_without_repeating_it(filled: Path, wrong: str) -> None:
    assert "--to " in refused(place(filled), wrong, code=2)
    assert "--from " in refused(wrong, f"sqlite:{filled.with_name('there')}", code=2)
    assert not filled.with_name("there").exists()


def test_a_server_that_is_away_is_told(filled: Path) -> None:
    assert refused(place(filled), f"postgresql://root:{PASSWORD}@127.0.0.1:1/x").startswith("tallyboard: the database ")


def test_a_folder_without_data_is_told_and_not_made(folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert f"there is no data in {missing}" in refused(f"sqlite:{missing}", place(folder))
    assert not missing.exists()


def test_a_target_in_use_and_the_same_place_are_refused(filled: Path, back: Path) -> None:
    tallyboard("import", "-", data=back, stdin=EVENTS)
    assert "the target is in use (rows: account 1, app_user 3, rate_card 1, audit 1, event 50," in refused(place(filled), place(back))
    assert "the same ledger" in refused(place(filled), place(filled))


def test_nothing_uses_a_copy_that_has_not_finished(filled: Path) -> None:
    engines.look(filled, f"INSERT INTO schema_version (version, needs) VALUES ({UNFINISHED + 1}, {UNFINISHED + 1})")
    for command in (("account", "show"), ("import", "-"), ("serve", "--port", "0"), ("migrate",)):
        done = tallyboard(*command, data=filled, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("tallyboard: a copy into this ledger has not finished")
    assert "has not finished" in tallyboard("doctor", "--port", "0", data=filled, check=False).stdout
