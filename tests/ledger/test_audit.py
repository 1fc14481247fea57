"""The audit log is a chain: whatever is done to it past the program is found."""

import json
from pathlib import Path

import pytest

from tallyboard.ledger import audit
from tests import engines
from tests.conftest import tallyboard
from tests.ledger.books import CONTOSO, NORTHWIND, NOW_US, open_ledger

LINES = 5
NORTHWINDS = ("--account", "1")


@pytest.fixture
def written(folder: Path) -> Path:
    """A folder with two accounts' logs."""
    ledger = open_ledger(folder)
    with ledger.writing() as session:
        for account_id in (NORTHWIND, CONTOSO):
            for number in range(LINES):
                audit.note(session, account_id, f"alice{number}", "policy.changed", {"after": number}, NOW_US + number)
    ledger.close()
    return folder


def look(folder: Path, account_id: int, expected: bytes | None = None) -> audit.Verified:
    engine = engines.open_on(folder)
    try:
        with engine.reading() as session:
            return audit.verify(session, account_id, expected)
    finally:
        engine.close()


def test_an_untouched_log_is_whole_and_a_digest_of_it_is_found_again_later(written: Path) -> None:
    found = look(written, NORTHWIND)
    assert (found.broken_at, found.before_chain) == (None, 0)
    assert found.newest is not None
    ledger = open_ledger(written)
    with ledger.writing() as session:
        audit.note(session, NORTHWIND, "bob", "policy.changed", {}, NOW_US)
    ledger.close()
    later = look(written, NORTHWIND, found.newest)
    assert (later.lines, later.expected_at, later.broken_at) == (found.lines + 1, found.lines, None)
    assert look(written, CONTOSO, found.newest).expected_at is None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit SET detail = '{}' WHERE account_id = 1 AND audit_id = {line}",
        "UPDATE audit SET actor = 'bob' WHERE account_id = 1 AND audit_id = {line}",
        "UPDATE audit SET action = 'key.revoked' WHERE account_id = 1 AND audit_id = {line}",
        "UPDATE audit SET at_us = at_us + 1 WHERE account_id = 1 AND audit_id = {line}",
        "UPDATE audit SET digest = NULL WHERE account_id = 1 AND audit_id = {line}",
        "DELETE FROM audit WHERE account_id = 1 AND audit_id = {line}",
        "UPDATE audit SET audit_id = 1000 WHERE account_id = 1 AND audit_id = {line}",
    ],
)
def test_what_is_done_to_a_line_breaks_the_chain_there_or_at_the_next(written: Path, damage: str) -> None:
    line = look(written, NORTHWIND).lines - 2
    engines.look(written, damage.replace("{line}", str(line)))
    assert look(written, NORTHWIND).broken_at in {line, line + 1}
    assert look(written, CONTOSO).broken_at is None


def test_a_line_of_another_account_does_not_fit(written: Path) -> None:
    whole = look(written, NORTHWIND)
    engines.look(
        written,
        "UPDATE audit SET digest = (SELECT digest FROM audit WHERE account_id = 2 ORDER BY audit_id DESC LIMIT 1) "
        f"WHERE account_id = 1 AND audit_id = {whole.lines}",
    )
    assert look(written, NORTHWIND).broken_at == whole.lines


def test_a_log_whose_end_was_cut_off_misses_the_digest_that_was_kept(written: Path) -> None:
    kept = look(written, NORTHWIND)
    engines.look(written, f"DELETE FROM audit WHERE account_id = 1 AND audit_id = {kept.lines}")
    found = look(written, NORTHWIND, kept.newest)
    assert (found.broken_at, found.expected_at) == (None, None)


def test_the_command_says_whether_the_log_is_whole(written: Path) -> None:
    done = tallyboard("audit", "verify", *NORTHWINDS, data=written)
    digest = done.stdout.strip()
    assert "each follows from the one before" in done.stderr
    assert tallyboard("audit", "verify", *NORTHWINDS, "--expect", digest, data=written).returncode == 0
    lines = [json.loads(line) for line in tallyboard("audit", "export", *NORTHWINDS, data=written).stdout.splitlines()]
    assert (lines[-1]["digest"], lines[-1]["actor"], lines[-1]["detail"]) == (digest, f"alice{LINES - 1}", {"after": LINES - 1})
    assert tallyboard("audit", "export", *NORTHWINDS, "--after", lines[-2]["number"], data=written).stdout.count("\n") == 1
    engines.look(written, "UPDATE audit SET actor = 'mallory' WHERE account_id = 1 AND audit_id = 2")
    broken = tallyboard("audit", "verify", *NORTHWINDS, data=written, check=False)
    assert (broken.returncode, "broken at line 2" in broken.stderr) == (1, True)
    assert tallyboard("audit", "verify", *NORTHWINDS, "--expect", "xyz", data=written, check=False).returncode == 1
