"""Housekeeping: a ledger that is not ready at first becomes so, and whoever waits for that is told until it succeeds."""

import threading
from pathlib import Path

import pytest

from tallyboard.app import App
from tallyboard.errors import Unavailable
from tests import engines


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
