"""What migrations make of a ledger that is in use."""

from contextlib import closing
from pathlib import Path

import pytest

from tallyboard.ledger import migrate as migrating
from tests import engines


def test_quarter_hours_keep_their_sums_when_their_table_is_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = migrating.migrations()
    with closing(engines.open_on(folder)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(migrating, "migrations", lambda: known[:2])
            assert migrating.migrate(engine) == 2
        with engine.writing() as session:
            session.many("INSERT INTO slot_usage VALUES (:a, :b, :c, :d, :e, :f)", [(1, 20, 3, 4, 5, 6), (2, 20, 3, -7, 8, 0)])
        assert migrating.migrate(engine) == len(known)
        with engine.reading() as session:
            kept = session.all("SELECT account_id, recent, slot, user_id, units, events, unrated FROM slot_usage ORDER BY account_id")
    assert kept == [(1, 0, 20, 3, 4, 5, 6), (2, 0, 20, 3, -7, 8, 0)]
