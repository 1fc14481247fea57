"""Group commit: an overload is answered at once, no batch fails for another, what was queued is written."""

import sqlite3
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Self

import pytest

from tallyboard.errors import CellFull, Overloaded, Unavailable
from tallyboard.ledger import append, sqlite, writer
from tallyboard.ledger.contract import Outcome
from tallyboard.ledger.writer import Writer
from tests import engines
from tests.ledger.books import CONTOSO, NORTHWIND, Books, Sent, batch, hash_of, open_ledger, result

BILLION_CREDITS = 600 * 10**9
"""Conversations of the largest single event; a cell holds fifteen of them."""


@pytest.fixture
def ledger(folder: Path) -> Iterator[Writer]:
    opened = open_ledger(folder)
    yield opened
    opened.close()


class Blocked:
    """The writer's thread, held up until the with block ends, so that what comes meanwhile is written together."""

    def __init__(self, ledger: Writer) -> None:
        self._released = threading.Event()
        started = threading.Event()
        self._future = ledger.change(lambda _: (started.set(), self._released.wait(30)))
        assert started.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._future.result(30)


def some(name: str, count: int = 1, amount: int = 1, user: str = "alice") -> list[Sent]:
    return [("/a", f"{name} {number}", user, amount) for number in range(count)]


def test_a_full_queue_says_so_at_once_and_loses_nothing_it_took(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_EVENTS_MAX", 100)
    books = Books()
    with Blocked(ledger):
        taken = [ledger.append(batch(NORTHWIND, some(f"{number}", 30))) for number in range(3)]
        with pytest.raises(Overloaded) as caught:
            ledger.append(batch(NORTHWIND, some("refused", 30)))
        assert 1 <= caught.value.retry_seconds <= 5
        taken.append(ledger.append(batch(NORTHWIND, some("small", 10))))
        assert ledger.figures()["waiting_events"] == 100
    assert [result(future).accepted for future in taken] == [30, 30, 30, 10]
    for name, count in (("0", 30), ("1", 30), ("2", 30), ("small", 10)):
        books.expect(NORTHWIND, some(name, count))
    books.check(ledger)
    assert result(ledger.append(batch(NORTHWIND, some("refused", 30)))).accepted == 30


def test_one_batch_larger_than_the_queue_is_taken_when_nothing_waits(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_EVENTS_MAX", 100)
    assert result(ledger.append(batch(NORTHWIND, some("large", 300)))).accepted == 300


def test_many_small_things_fill_the_queue_too(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_ITEMS_MAX", 6)
    with Blocked(ledger):
        for number in range(5):
            ledger.append(batch(NORTHWIND, some(f"{number}")))
        with pytest.raises(Overloaded):
            ledger.append(batch(NORTHWIND, some("5")))
        with pytest.raises(Overloaded):
            ledger.change(lambda _: None)


def test_a_batch_beyond_what_a_cell_holds_does_not_fail_its_neighbours(ledger: Writer) -> None:
    books = Books()
    sizes = {"before": (1, 1), "full": (15, BILLION_CREDITS), "over": (100, BILLION_CREDITS), "after": (3, 1)}
    with Blocked(ledger):
        futures = {name: ledger.append(batch(NORTHWIND, some(name, *size, user=name))) for name, size in sizes.items()}
        elsewhere = ledger.append(batch(CONTOSO, some("over", 2, BILLION_CREDITS, user="charlie")))
    with pytest.raises(CellFull, match="15 billion credits"):
        result(futures.pop("over"))
    assert [result(future).accepted for future in futures.values()] == [1, 15, 3]
    assert result(elsewhere).accepted == 2
    for name in ("before", "full", "after"):
        books.expect(NORTHWIND, some(name, *sizes[name], user=name))
    books.expect(CONTOSO, some("over", 2, BILLION_CREDITS, user="charlie"))
    books.check(ledger)


def test_a_cell_takes_what_fits_exactly_and_gives_it_back(ledger: Writer) -> None:
    """Day totals are cells too; corrections make room again."""
    books = Books()
    for sent in (
        some("up", 15, BILLION_CREDITS),
        some("down", 15, -BILLION_CREDITS),
        some("below", 15, -BILLION_CREDITS),
        some("again", 15, BILLION_CREDITS),
    ):
        assert result(ledger.append(batch(NORTHWIND, sent, may_adjust=True))) == books.expect(NORTHWIND, sent)
        books.check(ledger)


def test_other_work_that_fails_fails_alone(ledger: Writer) -> None:
    with Blocked(ledger):
        before = ledger.append(batch(NORTHWIND, some("before")))
        failing = ledger.change(lambda session: session.run("DELETE FROM event") + 1 // 0)
        wrong = ledger.change(lambda session: session.run("SELECT nothing FROM nowhere"))
        after = ledger.append(batch(NORTHWIND, some("after")))
    assert isinstance(failing.exception(30), ZeroDivisionError)
    assert isinstance(wrong.exception(30), Unavailable)
    assert (result(before), result(after)) == (Outcome(accepted=1), Outcome(accepted=1))
    books = Books()
    books.expect(NORTHWIND, [*some("before"), *some("after")])
    books.check(ledger)


def test_closing_writes_what_is_queued_and_takes_no_more(folder: Path) -> None:
    ledger = open_ledger(folder)
    released = threading.Event()
    ledger.change(lambda _: released.wait(30))
    futures = [ledger.append(batch(NORTHWIND, some(f"{number}", 50))) for number in range(20)]
    closing = threading.Thread(target=ledger.close)
    closing.start()
    released.set()
    closing.join(30)
    assert [future.result(0).accepted for future in futures] == [50] * 20
    with pytest.raises(Unavailable, match="closing"):
        ledger.append(batch(NORTHWIND, some("late")))
    ledger.close()
    again = open_ledger(folder)
    assert result(again.append(batch(NORTHWIND, some("3", 50)))) == Outcome(duplicate=50)
    again.close()


def test_an_empty_batch_is_done_at_once(ledger: Writer) -> None:
    with Blocked(ledger):
        assert ledger.append(batch(NORTHWIND, [])).result(0) == Outcome()


@engines.embedded_only
def test_a_database_that_another_process_locks_for_long_is_unavailable_and_then_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    ledger = open_ledger(folder)
    other = sqlite3.connect(folder / sqlite.FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        result(ledger.append(batch(NORTHWIND, some("locked", 5))))
    other.execute("ROLLBACK")
    other.close()
    assert result(ledger.append(batch(NORTHWIND, some("locked", 5)))).accepted == 5
    ledger.close()


def test_a_quarter_hour_beyond_what_a_cell_holds_stays_in_two_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its recent part and the other fit one by one; their sum does not, until corrections make room. No answer depends on it."""
    monkeypatch.setattr(append, "SHELF_EVENTS", 15)
    ledger, books, parts = open_ledger(folder), Books(), []
    for quarter, amount in ((0, 1), (1, -1), (0, 1), (1, -1), (0, -1), (1, 1)):
        sent = [("/a", name, "alice", amount * BILLION_CREDITS) for name in _names(quarter, f"{len(parts)}-")]
        assert result(ledger.append(batch(NORTHWIND, sent, may_adjust=True))) == books.expect(NORTHWIND, sent)
        books.check(ledger)
        parts.append(ledger.change(lambda session: session.all("SELECT slot FROM slot_usage WHERE recent = 1")).result(30))
    assert [len(recent) for recent in parts] == [0, 0, 1, 2, 2, 0]
    ledger.close()


def _names(quarter: int, prefix: str) -> list[str]:
    """Fifteen names of events that `batch` puts into one quarter hour, counted from noon."""
    names = (f"{prefix}{number}" for number in range(1_000, 9_000))
    return list(islice((name for name in names if (len(name) + abs(hash_of(name)) % 5_000) // 900 == quarter), 15))
