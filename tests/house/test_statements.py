"""One SQL text serves SQLite, PostgreSQL and Citus: what would break on a cluster is found here, without one."""

from collections.abc import Iterator

import pytest

from tallyboard.ledger.migrate import migrations
from tests.house.statements import Statement, collect, complaints, schema, schema_complaints
from tests.house.test_house import ROOT, SOURCES

PACKAGE = ROOT / "src" / "tallyboard"
EXCUSED_MODULES = {
    "ledger/sqlite.py": "speaks to SQLite alone, about its file",
    "ledger/postgres.py": "speaks to a server alone, about the server",
    "ledger/citus.py": "speaks to a cluster's coordinator alone, about the cluster",
    "ledger/copying.py": "copies every account, by statements made from its list of tables, into a ledger that nothing else uses",
}
ACROSS_ACCOUNTS = {
    ("ledger/rollups.py", "left_to_do"): "an overview for housekeeping, which then locks each account and looks again",
    ("ledger/arrivals.py", "left_to_forget"): "likewise",
    ("policy/holds.py", "left_to_sweep"): "likewise",
    ("policy/overrides.py", "left_to_expire"): "likewise",
    ("people/accounts.py", "ensure_first"): "whether there is any account; the INSERT decides, by its conflict target",
    ("people/accounts.py", "listed"): "names accounts to whoever runs the installation; the INSERT of another decides its id",
}
"""Reads across accounts are not one snapshot on a cluster: they are for overviews, never for decisions."""


def _statements() -> Iterator[Statement]:
    for path in SOURCES:
        module = path.relative_to(PACKAGE).as_posix()
        if module not in EXCUSED_MODULES:
            yield from collect(path.read_text(), module)


STATEMENTS = list(_statements())


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.place)
def test_every_statement_keeps_the_rules(statement: Statement) -> None:
    allowed = (statement.module, statement.function) in ACROSS_ACCOUNTS and statement.text.lstrip().startswith("SELECT")
    assert complaints(statement.text, across_accounts=allowed) == []


def test_every_exception_is_needed() -> None:
    needed = {(each.module, each.function) for each in STATEMENTS if complaints(each.text)}
    assert needed == set(ACROSS_ACCOUNTS)
    for module in EXCUSED_MODULES:
        assert any(complaints(each.text) for each in collect((PACKAGE / module).read_text(), module)), module


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("ledger/append.py", "$each (account_id, shelf, event_key"),
        ("ledger/append.py", "AND key IN $point_keys"),
        ("ledger/locking.py", "UPDATE account SET revision = revision"),
        ("ledger/migrate.py", "INSERT INTO schema_version"),
        ("ledger/rollups.py", "SELECT user_id, (at_us / 900000000), -units"),
        ("ledger/rollups.py", "SELECT 0, place, sum(units >> 32)"),
        ("people/keys.py", "FROM api_key WHERE secret_hash = :secret_hash"),
        ("usage/rerate.py", "UPDATE event SET units = :units"),
    ],
)
def test_statements_are_found_however_they_are_written(module: str, part: str) -> None:
    assert [each for each in STATEMENTS if each.module == module and part in each.text]


SOURCE = """
_PART = "SELECT user_id FROM event"
_WHOLE = "SELECT name FROM account"
def read(session, more, table):
    session.all(_PART + " WHERE account_id = :account_id")
    session.all(_WHOLE)
    session.all(f"SELECT slot FROM {table}")
    session.run("TRUNCATE event")
    session.run("UPDATE account SET shelf = 1" + (" WHERE account_id = :a" if more else ""))
"""


def test_only_what_is_run_is_taken_for_a_statement() -> None:
    assert [(each.line, each.function, each.text) for each in collect(SOURCE, "made_up.py")] == [
        (3, "", "SELECT name FROM account"),
        (5, "read", "SELECT user_id FROM event WHERE account_id = :account_id"),
        (6, "read", "SELECT name FROM account"),
        (7, "read", "SELECT slot FROM \0"),
        (8, "read", "TRUNCATE event"),
        (9, "read", "UPDATE account SET shelf = 1 WHERE account_id = :a"),
        (9, "read", "UPDATE account SET shelf = 1"),
    ]


BAD = {
    "SELECT units FROM event WHERE user_id = :user_id": "names no account of event",
    "SELECT units FROM event WHERE account_id = 1": "names no account of event",
    "SELECT units FROM event WHERE account_id = ANY(:accounts)": "names no account of event",
    "SELECT units FROM event WHERE account_id = :account_id OR units > 5": "names no account of event",
    "SELECT units FROM event WHERE account_id + 0 = :account_id": "names no account of event",
    "UPDATE event SET units = :units WHERE event_key = :event_key": "names no account of event",
    "DELETE FROM day_usage WHERE zone_version < :version": "names no account of day_usage",
    "SELECT (SELECT count(*) FROM event) FROM account WHERE account_id = :account_id": "names no account of event",
    "SELECT units FROM day_total WHERE account_id = :account_id UNION ALL SELECT units FROM slot_usage": "names no account of slot_usage",
    "SELECT 1 FROM member JOIN account ON account.account_id = member.account_id WHERE member.email = :email": "names no account of account",
    "SELECT key FROM app_user JOIN event ON event.user_id = app_user.user_id WHERE app_user.account_id = :account_id": (
        "joins event on something that leaves out account_id"
    ),
    "SELECT key FROM app_user JOIN event USING (user_id) WHERE event.account_id = :account_id": (
        "joins app_user on something that leaves out account_id"
    ),
    "SELECT key FROM app_user LEFT JOIN event ON event.account_id = :account_id AND app_user.account_id = :account_id": (
        "joins app_user on something that leaves out account_id"
    ),
    "SELECT 1 FROM account JOIN event ON event.account_id = :other WHERE account.account_id = :account_id": "names two accounts",
    "INSERT INTO audit (account_id, audit_id) SELECT :other, audit_id FROM audit WHERE account_id = :account_id": "names two accounts",
    "INSERT INTO audit (audit_id, account_id) VALUES (:audit_id, :account_id)": "without naming account_id first",
    "INSERT INTO audit VALUES (:account_id, :audit_id)": "without naming account_id first",
    "INSERT INTO app_user (user_id, key, account_id) $each (user_id, key, account_id)": "$each names account_id first",
    "INSERT INTO audit (account_id, audit_id) VALUES (1, :audit_id)": "neither a parameter nor that of the account's row",
    "INSERT INTO audit (account_id) SELECT u.account_id FROM account, unnest(:ids::bigint[]) AS u (account_id) "
    "WHERE account.account_id = :account_id": "neither a parameter nor that of the account's row",
    "INSERT INTO audit (account_id, audit_id) SELECT :account_id, line.id FROM unnest(:ids::bigint[]) AS line (id)": (
        "not joined with the account's row"
    ),
    "INSERT INTO audit (account_id, audit_id) VALUES (:account_id, 1) ON CONFLICT DO NOTHING": "ON CONFLICT without naming its target",
    "INSERT INTO audit (account_id, audit_id) VALUES (:account_id, 1) ON CONFLICT ON CONSTRAINT audit_pkey DO NOTHING": (
        "ON CONFLICT without naming its target"
    ),
    "INSERT INTO app_user (account_id, key) VALUES (:account_id, :key) ON CONFLICT (key) DO NOTHING": "target that leaves out account_id",
    "INSERT INTO api_key (key_id) VALUES (:id) ON CONFLICT DO NOTHING": "ON CONFLICT without naming its target",
    "WITH gone AS (DELETE FROM event WHERE account_id = :account_id RETURNING units) SELECT sum(units) FROM gone": "changes rows in a WITH",
    "MERGE INTO account USING member ON account.account_id = member.account_id WHEN MATCHED THEN DELETE": "is no SELECT, INSERT",
    "TRUNCATE event": "is no SELECT, INSERT, UPDATE or DELETE",
    "SELECT shelf FROM account WHERE account_id = :account_id FOR UPDATE": "locks by FOR UPDATE",
    "SELECT 1 FROM (SELECT shelf FROM account WHERE account_id = :account_id FOR SHARE) AS held": "locks by FOR UPDATE or FOR SHARE",
    "UPDATE account SET created_us = now() WHERE account_id = :account_id": "calls now(), not known to be immutable",
    "INSERT INTO audit (account_id, audit_id) VALUES (:account_id, nextval('ids'))": "calls nextval(), not known to be immutable",
    "SELECT pg_advisory_xact_lock(account_id) FROM account WHERE account_id = :account_id": "calls pg_advisory_xact_lock()",
    "UPDATE account SET name = CURRENT_DATE WHERE account_id = :account_id": "reads the time or the user of the session",
    "UPDATE event SET account_id = :account_id WHERE account_id = :account_id": "changes account_id",
    "INSERT INTO audit (account_id, audit_id) VALUES (:account_id, 1) ON CONFLICT (account_id, audit_id) DO UPDATE SET account_id = 2": (
        "changes account_id"
    ),
    "SELECT 1 FROM evnet WHERE account_id = :account_id": "uses evnet, which is in neither list",
    "SELECT 1 FROM account WHERE account_id = :account_id; SELECT 1": "is more than one statement",
    "SELECT FROM WHERE": "cannot be read",
    "SELECT 1 FROM event WHERE \0": "a part that is no constant",
}


@pytest.mark.parametrize(("text", "rule"), BAD.items(), ids=list(BAD))
def test_a_statement_that_breaks_a_rule_is_refused_and_the_rule_named(text: str, rule: str) -> None:
    assert [complaint for complaint in complaints(text) if rule in complaint]


GOOD = [
    "SELECT units FROM event AS e WHERE :account_id = e.account_id AND (e.shelf, e.event_key) > (:shelf, :event_key)",
    "SELECT units FROM event WHERE account_id = :account_id::bigint AND units IN $keys",
    "SELECT 1 FROM account JOIN event ON event.account_id = account.account_id WHERE account.account_id = :account_id",
    "SELECT key FROM app_user LEFT JOIN event ON event.account_id = :account_id WHERE app_user.account_id = :account_id",
    "SELECT 1 FROM account WHERE account_id = :account_id AND EXISTS (SELECT 1 FROM event WHERE event.account_id = account.account_id)",
    "WITH mine AS (SELECT user_id FROM event WHERE account_id = :account_id) SELECT count(*) FROM mine",
    "DELETE FROM session WHERE expires_us <= :now_us",
    "SELECT role FROM session JOIN member ON member.member_id = session.member_id WHERE session.secret_hash = :secret_hash",
    "INSERT INTO app_user (account_id, user_id, key) $each (account_id, user_id, key) ON CONFLICT (account_id, user_id) DO NOTHING",
    "INSERT INTO audit (account_id, audit_id) SELECT :account_id, user_count FROM account WHERE account_id = :account_id AND shelf < :most",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_statement_that_keeps_the_rules_is_taken(text: str) -> None:
    assert complaints(text) == []


def test_only_reads_are_excused_from_naming_an_account() -> None:
    assert complaints("SELECT 1 FROM account LIMIT 1", across_accounts=True) == []
    joined = "SELECT 1 FROM account JOIN day_total ON day_total.day = account.days_through"
    assert "leaves out account_id" in complaints(joined, across_accounts=True)[0]
    assert "only a SELECT" in complaints("DELETE FROM day_total", across_accounts=True)[0]


def test_the_schema_can_be_distributed() -> None:
    assert schema_complaints(schema([each.text for each in migrations()])) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("CREATE TABLE lost (account_id $int PRIMARY KEY) $table", "lost is in neither list"),
        ("DROP TABLE audit", "audit is listed in ledger/citus.py and not in the schema"),
        ("DROP TABLE audit; CREATE TABLE audit (audit_id $int PRIMARY KEY)", "audit has no PRIMARY KEY that begins with account_id"),
        ("DROP TABLE audit; CREATE TABLE audit (account_id $int)", "audit has no PRIMARY KEY that begins with account_id"),
        ("DROP TABLE audit; CREATE TABLE audit (a $int, account_id $int, PRIMARY KEY (a, account_id))", "begins with account_id"),
        ("CREATE UNIQUE INDEX event_id ON event (source, id)", "event has a UNIQUE key (source, id) that leaves out account_id"),
        ("ALTER TABLE app_user ADD CONSTRAINT one_email UNIQUE (email)", "app_user has a UNIQUE key (email)"),
        ("ALTER TABLE app_user ADD COLUMN badge $text UNIQUE", "app_user has a UNIQUE key (badge)"),
        (
            "ALTER TABLE member ADD FOREIGN KEY (account_id) REFERENCES account (account_id)",
            "member is on every node and has a foreign key",
        ),
        ("ALTER TABLE api_key ADD COLUMN owner $int REFERENCES app_user (user_id)", "api_key is on every node and has a foreign key"),
        (
            "ALTER TABLE event ADD FOREIGN KEY (user_id) REFERENCES app_user (user_id)",
            "event has a foreign key to app_user that leaves out",
        ),
    ],
)
def test_a_schema_that_cannot_be_distributed_is_refused_and_the_rule_named(change: str, rule: str) -> None:
    found = schema_complaints(schema([*(each.text for each in migrations()), change]))
    assert [complaint for complaint in found if rule in complaint]
