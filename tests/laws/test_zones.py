"""Changing the account's zone regroups all history: every answer is what a fresh account in that zone would say (laws 4 and 5).

The answers are compared with a naive sum over the events, before, during and after the day table is rebuilt.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import engines

from tallyboard import days
from tallyboard.app import App
from tallyboard.days import DayRange
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch
from tallyboard.people import accounts
from tallyboard.usage.question import Question, answer
from tallyboard.usage.report import Report

ACCOUNT = accounts.FIRST_ACCOUNT_ID
NOW_US = days.instant_us(datetime(2025, 11, 10, tzinfo=UTC))
SPAN = DayRange(date(2025, 9, 20), date(2025, 11, 11))
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe", "Asia/Tokyo")
CONVERSATION = 1_000_000
Event = tuple[str, int, int]
"""user, microseconds, conversations"""


def local(us: int, zone: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(zone)


def sharp_instants() -> list[int]:
    """Midnights and clock changes of every zone, and the microseconds before and after them."""
    found = set()
    for zone in map(ZoneInfo, ZONES):
        for day in SPAN.days():
            midnight = days.instant_us(datetime(day.year, day.month, day.day, tzinfo=zone))
            at_noon, the_next = (local(midnight + half * 43_200_000_000, zone).utcoffset() for half in (-1, 1))
            if at_noon != the_next or day.day % 3 == 1:
                found |= {midnight + hour * 3_600_000_000 + near for hour in (-1, 0, 1, 2, 3) for near in (-1, 0, 1)}
    return sorted(us for us in found if us < NOW_US)


SHARP = sharp_instants()


class Account:
    """An account with a list of all its events beside it, to check what it says."""

    def __init__(self, folder: Path) -> None:
        self.app = App(engines.settings_of(folder))
        self.events: list[Event] = []

    def take(self, events: list[Event]) -> None:
        """Events through the real intake."""
        first = len(self.events)
        items = [
            CloudEvent(
                "1.0", f"{first + offset}", "/zones", "ai.usage.recorded", user, days.instant(us).isoformat(), {"conversations": amount}
            )
            for offset, (user, us, amount) in enumerate(events)
        ]
        accepted = accept(items, Sender(), self.app.charger(ACCOUNT), NOW_US)
        assert not accepted.refused
        assert self.app.ledger.append(Batch(ACCOUNT, accepted.entries, NOW_US, "test")).result().accepted == len(events)
        self.events += events

    def move(self, zone: str) -> None:
        """Another zone, with all days still to be rebuilt."""
        with self.app.ledger.writing() as session:
            accounts.change(session, ACCOUNT, "test", NOW_US, timezone=zone)

    def rebuild(self, steps: int | None = None) -> None:
        """Do some steps of the rebuild, or all."""
        while steps is None or steps > 0:
            if not self.app.rebuild_days(ACCOUNT).result():
                return
            steps = None if steps is None else steps - 1

    def says(self, **question: Any) -> Report:
        with self.app.ledger.reading() as session:
            return answer(session, ACCOUNT, Question(SPAN, **question), NOW_US)

    def check(self, what_if: str | None = None) -> None:
        """Compare the answer with the naive sum, and the rollups with the events."""
        with self.app.ledger.reading() as session:
            assert rollups.reconcile(session, ACCOUNT) == []
            zone_name = what_if or rollups.zone_of(session, ACCOUNT).name
        report = self.says(timezone=what_if, top=3)
        assert report.timezone == zone_name
        zone = ZoneInfo(zone_name)
        by_user: defaultdict[str, defaultdict[date, int]] = defaultdict(lambda: defaultdict(int))
        for user, us, amount in self.events:
            by_user[user][local(us, zone).date()] += amount * CONVERSATION
        listed = SPAN.days()
        ranked = sorted(by_user.items(), key=lambda line: (-sum(line[1].values()), line[0].encode()))
        assert [(user.user, user.days) for user in report.users] == [
            (user, tuple(units[day] for day in listed)) for user, units in ranked[:3]
        ]
        assert report.others.days == tuple(sum(units[day] for _, units in ranked[3:]) for day in listed)
        assert report.others.users == len(ranked[3:])
        assert [day.units for day in report.days] == [sum(units[day] for units in by_user.values()) for day in listed]
        for line in report.days:
            starts, ends = local(line.starts_at_us, zone), local(line.ends_at_us, zone)
            assert (starts.date(), ends.date()) == (line.day, line.day + timedelta(days=1))
            assert local(line.starts_at_us - 1, zone).date() == line.day - timedelta(days=1)
            assert line.complete == (line.ends_at_us <= NOW_US)


@contextmanager
def account() -> Iterator[Account]:
    with TemporaryDirectory() as folder:
        opened = Account(Path(folder) / "data")
        try:
            yield opened
        finally:
            opened.app.close()


def some_events(chance: Random, count: int) -> list[Event]:
    users = ("alice", "bob", "charlie", "zoë", "😀", "～")  # The last two order otherwise by UTF-16 than by UTF-8.
    return [(chance.choice(users), chance.choice(SHARP), chance.choice((1, 1, 2, 5, 7))) for _ in range(count)]


def test_the_sharp_instants_hold_the_clock_changes() -> None:
    assert {days.instant_us(datetime(2025, 11, 2, 6, tzinfo=UTC)), days.instant_us(datetime(2025, 11, 2, 4, tzinfo=UTC)) - 1} <= set(SHARP)
    assert days.instant_us(datetime(2025, 9, 27, 14, tzinfo=UTC)) in SHARP  # Chatham springs forward.
    assert len(SHARP) > 500


@pytest.mark.parametrize("zone", ZONES)
def test_back_and_forth_gives_what_a_fresh_import_in_that_zone_gives(zone: str) -> None:
    events = some_events(Random(11), 3_000)
    with account() as moved, account() as fresh:
        moved.take(events)
        for other in ("Asia/Tokyo", "America/New_York", zone, "UTC", zone):
            moved.move(other)
            moved.rebuild(steps=12)
        before = moved.says()
        moved.rebuild()
        fresh.move(zone)
        fresh.rebuild()
        fresh.take(events)
        assert before == moved.says() == fresh.says()
        moved.check()
        for other in ZONES:
            moved.check(what_if=other)


STEPS = st.one_of(
    st.tuples(st.just("move"), st.sampled_from(ZONES)),
    st.tuples(st.just("rebuild"), st.integers(1, 50)),
    st.tuples(st.just("take"), st.integers(1, 30)),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(STEPS, min_size=3, max_size=9), st.integers(0, 1_000))
def test_every_answer_is_right_while_days_are_rebuilt_and_events_arrive(steps: list[tuple[str, Any]], seed: int) -> None:
    chance = Random(seed)
    with account() as opened:
        opened.take(some_events(chance, 60))
        for action, value in steps:
            if action == "move":
                opened.move(value)
            elif action == "rebuild":
                opened.rebuild(value)
            else:
                opened.take(some_events(chance, value))
            opened.check()
        opened.check(what_if=chance.choice(ZONES))
        opened.rebuild()
        opened.check()


def test_events_before_within_and_after_what_is_rebuilt_are_counted_once() -> None:
    """Also outside the span of the events that the rebuild began with."""
    chance = Random(5)
    with account() as opened:
        middle = SHARP[len(SHARP) // 3 : len(SHARP) // 2]
        opened.take([("alice", us, 1) for us in middle[::9]])
        opened.move("Australia/Lord_Howe")
        for _ in range(25):
            opened.rebuild(steps=3)
            opened.take([(chance.choice(("alice", "bob")), chance.choice(where), 2) for where in (SHARP[:100], middle, SHARP[-100:])])
            opened.check()
        opened.rebuild()
        opened.check()


def test_a_save_of_the_zone_it_has_changes_nothing() -> None:
    with account() as opened:
        opened.take(some_events(Random(1), 50))
        before = msgspec.json.encode(opened.says())
        opened.move("UTC")
        opened.check()
        assert msgspec.json.encode(opened.says()) == before
