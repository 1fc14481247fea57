"""Sums of days that are over are remembered, and never a moment longer than they hold, whoever writes what."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tallyboard.days import DayRange
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch, Line, Session
from tallyboard.ledger.writer import Writer
from tallyboard.people import aliases
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage import past, rerate
from tallyboard.usage.question import Question, answer
from tallyboard.usage.report import Report
from tests import engines
from tests.ledger.books import CHARGER, CONTOSO, NORTHWIND, NOW_US, open_ledger, result

USERS = ("alice", "bob", "zoë")
SPANS = [DayRange(date(2026, 11, first), date(2026, 11, last)) for first, last in ((16, 22), (9, 22), (16, 19), (22, 22))]
TWICE = Charger(card.read(card.default_text().replace("{ per_credit = 600 }", "{ per_credit = 300 }")))


class Counting:
    """A session that notes which days of every user it was asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.remembered = session.remembered
        self.days: list[int] = []

    def all(self, sql: str, **values: Any) -> list[Line]:
        if "GROUP BY app_user.user_id" in sql:
            self.days.append(values["last"] - values["first"] + 1)
        return self._session.all(sql, **values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


def test_the_last_day_alone_is_read_from_the_third_question_on(ledger: Writer) -> None:
    send(ledger, (10, "alice", 3), (20, "alice", 5), (22, "bob", 7))
    assert [asked(ledger, SPANS[1]) for _ in range(4)] == [[14], [13, 1], [1], [1]]
    send(ledger, (22, "alice", 1))
    assert asked(ledger, SPANS[1]) == [1]
    send(ledger, (10, "alice", 1))
    assert [asked(ledger, SPANS[1]) for _ in range(3)] == [[14], [13, 1], [1]]
    assert asked(ledger, SPANS[3]) == [1]
    send(ledger, (10, "alice", 1), account_id=CONTOSO)
    assert asked(ledger, SPANS[1]) == [1]


def test_no_more_users_are_remembered_than_may_be(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    send(ledger, *((day, user, 1) for day in (10, 20) for user in USERS))
    monkeypatch.setattr(past, "USERS_MAX", 5)
    assert [asked(ledger, SPANS[1]) for _ in range(3)] == [[14], [13, 1], [1]]
    assert [asked(ledger, SPANS[0]) for _ in range(3)] == [[7], [6, 1], [1]]
    assert asked(ledger, SPANS[1]) == [14]
    monkeypatch.setattr(past, "USERS_MAX", 2)
    assert [asked(ledger, SPANS[1]) for _ in range(3)] == [[13, 1], [14], [14]], "not tried again before something changes"
    with ledger.reading() as session:
        assert sum(len(kept.sums or ()) for kept in session.remembered.values()) <= 2


def test_nothing_that_is_undone_is_remembered(ledger: Writer) -> None:
    send(ledger, (10, "alice", 3), (22, "bob", 7))
    with suppress(ZeroDivisionError), ledger.writing() as session:
        session.run("UPDATE day_usage SET units = 1 WHERE account_id = 1")
        session.run("UPDATE day_total SET changed = 1000 WHERE account_id = 1")
        for _ in range(3):
            answer(session, NORTHWIND, Question(SPANS[1]), NOW_US)
        raise ZeroDivisionError
    assert asked(ledger, SPANS[1]) == [14]


def test_what_another_process_writes_is_seen(ledger: Writer, folder: Path) -> None:
    send(ledger, (10, "alice", 3), (22, "bob", 7))
    for _ in range(3):
        asked(ledger, SPANS[1])
    with closing(open_ledger(folder)) as other:
        send(other, (10, "zoë", 4), (11, "alice", 5))
        assert units(ask(ledger, SPANS[1])) == units(ask(other, SPANS[1])) == {"alice": 8_000_000, "bob": 7_000_000, "zoë": 4_000_000}


def test_events_that_move_between_users_of_a_day_are_seen(ledger: Writer) -> None:
    """The day's total stays the same."""
    send(ledger, (10, "alice", 3), (10, "bob", 3))
    for _ in range(3):
        asked(ledger, SPANS[1])
    send(ledger, (10, "alice", -2), (10, "bob", 2))
    assert units(ask(ledger, SPANS[1])) == {"alice": 1_000_000, "bob": 5_000_000}


_numbers = count()
Step = tuple[str, int, str, int]
STEPS = some.tuples(
    some.sampled_from(["send", "send", "send", "rerate", "zone", "alias"]),
    some.integers(9, 22),
    some.sampled_from(USERS),
    some.integers(1, 9),
)


@settings(max_examples=25)
@given(steps=some.lists(STEPS, max_size=8))
def test_an_answer_is_what_one_without_memory_is(tmp_path_factory: pytest.TempPathFactory, steps: Sequence[Step]) -> None:
    folder = tmp_path_factory.mktemp("past")
    with closing(open_ledger(folder)) as ledger:
        for place, step in enumerate((("send", 9, "alice", 1), *steps)):
            do(ledger, place, *step)
            for span in SPANS:
                remembered = [ask(ledger, span) for _ in range(3)]
                assert remembered == [without_memory(ledger, span)] * 3
    engines.drop(folder)


def do(ledger: Writer, place: int, what: str, day: int, user: str, amount: int) -> None:
    """One step of somebody's work."""
    if what == "send":
        send(ledger, (day, user, amount))
    elif what == "rerate":
        rerate.apply(ledger, NORTHWIND, TWICE if amount % 2 else CHARGER, 0, "test", NOW_US)
    elif what == "zone":
        ledger.change(
            lambda session: rollups.change_zone(session, NORTHWIND, ("UTC", "Asia/Kathmandu", "America/New_York")[place % 3])
        ).result(30)
        while amount % 3 and ledger.change(lambda session: rollups.rebuild_some(session, NORTHWIND)).result(30):
            pass
    else:
        with ledger.writing() as session:
            known = {key for (key,) in session.all("SELECT key FROM app_user WHERE account_id = 1 AND alias_of IS NULL AND key <> 'alice'")}
            if user in known:
                aliases.merge(session, NORTHWIND, user, "alice", "test", NOW_US)


def send(ledger: Writer, *sent: tuple[int, str, int], account_id: int = NORTHWIND) -> None:
    """Events of days of November: day, user, conversations."""
    items = [
        CloudEvent(
            "1.0",
            f"{next(_numbers)}",
            "/past",
            "ai.usage.recorded",
            user,
            datetime(2026, 11, day, 11, tzinfo=UTC).isoformat(),
            {"conversations": amount, "reason": "test"},
        )
        for day, user, amount in sent
    ]
    accepted = accept(items, Sender(may_adjust=True), CHARGER, NOW_US)
    assert not accepted.refused
    assert result(ledger.append(Batch(account_id, accepted.entries, NOW_US, "test"))).accepted == len(sent)


def ask(ledger: Writer, span: DayRange) -> Report:
    """The answer."""
    with ledger.reading() as session:
        return answer(session, NORTHWIND, Question(span), NOW_US)


def without_memory(ledger: Writer, span: DayRange) -> Report:
    """The answer of somebody who has just opened the ledger."""
    with ledger.reading() as session:
        session.remembered = {}
        return answer(session, NORTHWIND, Question(span), NOW_US)


def asked(ledger: Writer, span: DayRange) -> list[int]:
    """How many days of every user one question reads, statement by statement."""
    with ledger.reading() as session:
        counting = Counting(session)
        answer(cast(Session, counting), NORTHWIND, Question(span), NOW_US)
    return counting.days


def units(report: Report) -> dict[str, int]:
    """Units by user."""
    return {user.user: user.units for user in report.users}
