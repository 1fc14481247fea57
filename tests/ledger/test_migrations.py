"""What migrations make of a ledger that is in use."""

from contextlib import closing
from pathlib import Path

import pytest

from tallyboard.ledger import migrate as migrating
from tallyboard.people import members, passwords, persons, roster, sessions
from tests import engines

NOW_US = 1_763_800_000_000_000
PASSWORD = "violet harbour 17 lamps"


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


def test_who_signed_in_before_there_were_persons_signs_in_as_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of the release before, also those that its processes go on writing meanwhile, are persons of their own."""
    known = migrating.migrations()
    before = next(place for place, each in enumerate(known) if each.name.endswith("_persons.sql"))
    kept = passwords.hashed(PASSWORD)
    old = "INSERT INTO member (member_id, account_id, email, role, created_us, password_hash) VALUES (:a, 1, :b, 'admin', 1, :c)"
    with closing(engines.open_on(folder)) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(migrating, "migrations", lambda: known[:before])
            migrating.migrate(engine)
        with engine.writing() as session:
            session.run(
                """
                INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us)
                VALUES (1, 'My organization', 'UTC', 1, 1, 1, 0, 0, 0, 1)
                """
            )
            session.many(old, [(7, "alice@north.example", kept)])
            cookie = sessions.begin(session, 7, "Firefox", NOW_US)
        assert migrating.migrate(engine) == len(known)
        with engine.writing() as session:
            session.many(old, [(8, "bob@north.example", kept)])
        with engine.reading() as session:
            alice = members.recognize(session, cookie, NOW_US)
            assert alice == members.Member(7, 1, "alice@north.example", members.Role.ADMIN, 7)
            assert members.with_password(session, "alice@north.example") == [(alice, kept)]
            assert [each.member.person_id for each in roster.listed(session, 1)] == [7, 8]
            assert [each.account for each in persons.memberships(session, alice)] == ["My organization"]
