"""Three processes do everything at once for mixed accounts: no deadlock, no lost update, every answer true.

Seconds are few here; TALLYBOARD_TEST_SECONDS=600 is the long form.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

from tests import engines
from tests.conftest import environment
from tests.laws.mixed_load import ACCOUNTS, SPAN_DAYS, amount, span_of

from tallyboard import clock
from tallyboard.ledger import aliases as ledger_aliases
from tallyboard.ledger import audit, rollups
from tallyboard.ledger.migrate import migrate
from tallyboard.people import accounts
from tallyboard.rates import card
from tallyboard.usage.question import Question, answer

SECONDS = float(os.environ.get("TALLYBOARD_TEST_SECONDS", "8"))
PROCESSES = 3
DAY_US = 86_400_000_000


def test_three_processes_with_mixed_accounts_lose_nothing(folder: Path) -> None:
    first_us = (clock.now_us() // DAY_US - SPAN_DAYS - 2) * DAY_US
    _make_accounts(folder)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.laws.mixed_load", str(folder), str(seed), str(SECONDS), str(first_us)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**engines.variables(folder), TALLYBOARD_TEST_ENGINE=engines.NAME, **engines.cluster_variables()),
        )
        for seed in range(PROCESSES)
    ]
    acknowledged: defaultdict[int, set[int]] = defaultdict(set)
    said = [process.communicate(timeout=SECONDS + 120) for process in processes]  # All of them have ended before one is found wanting.
    for process, (out, err) in zip(processes, said, strict=True):
        assert process.returncode == 0, err.decode()
        told = json.loads(out)
        assert all(told["done"].get(deed, 0) > 0 for deed in ("send", "ask", "rebuild"))
        for account_id, numbers in told["acknowledged"].items():
            acknowledged[int(account_id)].update(numbers)
    assert all(acknowledged[account_id] for account_id in ACCOUNTS)
    _check(folder, acknowledged, first_us)


def _make_accounts(folder: Path) -> None:
    with closing(engines.open_on(folder)) as engine:
        migrate(engine)
        with engine.writing() as session:
            accounts.ensure_first(session, clock.now_us())
        for account_id in ACCOUNTS[1:]:
            with engine.writing() as session:
                session.run(
                    """
                    INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us)
                    VALUES (:account_id, 'Another', 'UTC', 1, 1, 1, 0, 0, 0, 0)
                    """,
                    account_id=account_id,
                )
                accounts.set_card(session, account_id, card.default_text(), "test", clock.now_us())


def _check(folder: Path, acknowledged: dict[int, set[int]], first_us: int) -> None:
    with closing(engines.open_on(folder)) as engine:
        for account_id in ACCOUNTS:
            more = True
            while more:
                with engine.writing() as session:
                    more = rollups.rebuild_some(session, account_id)
            with engine.reading() as session:
                assert rollups.reconcile(session, account_id) == []
                report = answer(session, account_id, Question(span_of(first_us)), clock.now_us())
                into = dict(ledger_aliases.users_of(session, account_id, [f"user {number}" for number in range(97)]))
                assert session.one("SELECT aliases FROM account WHERE account_id = :id", id=account_id) == (len(into),)
                assert audit.verify(session, account_id).broken_at is None
            assert report.units == sum(amount(number) for number in acknowledged[account_id]) * 1_000_000
            by_user: defaultdict[str, int] = defaultdict(int)
            for number in acknowledged[account_id]:
                by_user[into.get(f"user {number % 97}", f"user {number % 97}")] += amount(number) * 1_000_000
            assert {line.user: line.units for line in report.users} == by_user
        if engines.NAME != "sqlite":
            with engine.reading() as session:
                assert session.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == (0,)
