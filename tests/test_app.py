"""Housekeeping: a ledger that is not ready at first becomes so, and whoever waits for that is told until it succeeds."""

import threading
from pathlib import Path

import pytest

from tallyboard import clock
from tallyboard.app import App
from tallyboard.errors import Unavailable
from tallyboard.ledger import rollups
from tallyboard.people import accounts
from tests import engines
from tests.conftest import wait_until


def test_who_waits_for_the_ledger_is_called_again_where_it_went_away_meanwhile(folder: Path) -> None:
    told: list[str] = []
    calls: list[str] = []
    failed, greeted = threading.Event(), threading.Event()
    may_go_on = threading.Event()

    def greet() -> None:
        calls.append("")
        if len(calls) == 1:
            raise Unavailable("the database went away")
        failed.set()
        assert may_go_on.wait(30)
        greeted.set()

    with App(engines.settings_of(folder)) as app:
        app.start_housekeeping(greet, told.append)
        assert failed.wait(30)
        with pytest.raises(Unavailable, match="went away"):
            app.check_ready()
        may_go_on.set()
        assert greeted.wait(30)
        for _ in range(300):
            try:
                app.check_ready()
                break
            except Unavailable:
                threading.Event().wait(0.05)
        else:
            pytest.fail("it never became ready")
    assert told == ["the database went away; requests are answered 503 until that passes"]
    assert len(calls) == 2


def test_a_mistake_in_one_account_is_told_once_and_keeps_nothing_else_from_being_done(folder: Path) -> None:
    told: list[str] = []
    with App(engines.settings_of(folder)) as app:
        with app.ledger.writing() as session:
            contoso = accounts.create(session, "Contoso", "UTC", "test", clock.now_us()).account_id
            session.run(
                "UPDATE account SET timezone = 'Mars/Olympus', zone_version = zone_version + 1 WHERE account_id < :contoso", contoso=contoso
            )
        app.start_housekeeping(lambda: None, told.append)
        _keep_house_twice(app, contoso)
    (sentence,) = told
    assert sentence.startswith("housekeeping met a mistake of our own")
    assert "Mars/Olympus" in sentence


def test_what_was_counted_while_the_ledger_is_away_is_kept_for_then(folder: Path) -> None:
    with App(engines.settings_of(folder)) as app:
        engines.look(folder, "ALTER TABLE arrival_note RENAME TO arrival_note_away")
        app.refused(accounts.FIRST_ACCOUNT_ID, "key ab", "bad_time", 3, "yesterday")
        app.start_housekeeping(lambda: None, pytest.fail)
        _keep_house_twice(app, accounts.FIRST_ACCOUNT_ID)
        engines.look(folder, "ALTER TABLE arrival_note_away RENAME TO arrival_note")
        wait_until(lambda: engines.look(folder, "SELECT subject, events FROM arrival_note") == [("bad_time", 3)], "the refusals are noted")


def _keep_house_twice(app: App, account_id: int) -> None:
    """Returns once an account's days were rebuilt twice: between the two lies the rest of a round of housekeeping."""
    for zone in ("Asia/Tokyo", "Asia/Kathmandu"):
        with app.ledger.writing() as session:
            assert rollups.change_zone(session, account_id, zone)
        wait_until(lambda: _days_are_ready(app, account_id), f"the days are those of {zone}")


def _days_are_ready(app: App, account_id: int) -> bool:
    with app.ledger.reading() as session:
        return rollups.zone_of(session, account_id).ready
