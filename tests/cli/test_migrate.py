"""`tallyboard migrate`: says what it would do, does it once, and tells old programs when they must not go on."""

import json
from pathlib import Path

from tests import engines
from tests.conftest import event, refusal, tallyboard

from tallyboard.ledger.migrate import migrations

NAMES = [migration.name for migration in migrations()]


def test_a_ledger_is_made_by_migrating_and_then_is_up_to_date(folder: Path) -> None:
    made = tallyboard("migrate", data=folder).stdout.splitlines()
    assert made == [f"migrated  {name}" for name in NAMES]
    assert tallyboard("migrate", data=folder).stdout == "up to date\n"
    assert json.loads(tallyboard("migrate", "--check", "--json", data=folder).stdout) == {"pending": [], "distributed": []}
    assert tallyboard("import", "-", data=folder, stdin=json.dumps(event("1")).encode()).returncode == 0


@engines.embedded_only
def test_a_check_of_a_folder_without_data_makes_none(folder: Path) -> None:
    assert "no data" in refusal("migrate", "--check", folder=folder)
    assert not folder.exists()


@engines.server_only
def test_a_check_of_an_empty_database_names_what_is_pending_and_changes_nothing(folder: Path) -> None:
    for _ in range(2):
        done = tallyboard("migrate", "--check", data=folder, check=False)
        assert (done.returncode, done.stdout.splitlines()) == (1, [f"pending   {name}" for name in NAMES])
    assert engines.look(folder, "SELECT to_regclass('account')") == [(None,)]


def test_only_a_database_server_can_be_distributed(folder: Path) -> None:
    wanted = "TALLYBOARD_DATABASE_URL" if engines.NAME == "sqlite" else "CREATE EXTENSION citus"
    if engines.NAME != "citus":
        assert wanted in refusal("migrate", "--citus", folder=folder)


def test_an_older_program_works_beside_a_schema_that_was_only_expanded(folder: Path) -> None:
    tallyboard("migrate", data=folder)
    engines.look(folder, "INSERT INTO schema_version (version, needs) VALUES (99, 1)")
    assert tallyboard("migrate", "--check", data=folder).stdout == "up to date\n"
    assert "1 accepted" in tallyboard("import", "-", data=folder, stdin=json.dumps(event("1")).encode()).stdout
    engines.look(folder, "INSERT INTO schema_version (version, needs) VALUES (100, 100)")
    for command in (("migrate", "--check"), ("migrate",), ("serve", "--port", "0"), ("usage",)):
        assert "newer Tallyboard" in refusal(*command, folder=folder)
