"""What passes by itself is tried again and counts once; what does not is answered as unavailable, and is over when its cause is."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallyboard.errors import Interrupted, Unavailable
from tallyboard.ledger import postgres, writer
from tallyboard.ledger.contract import Outcome, Session
from tallyboard.ledger.writer import Writer
from tests import engines
from tests.ledger.books import NORTHWIND, Books, Sent, batch, open_ledger, result

SENT: list[Sent] = [("/a", f"{number}", "alice", 1) for number in range(20)]


class Interrupting:
    """An engine whose transactions are interrupted before or after they are kept, as often as is said."""

    def __init__(self, engine: Any, before: int, after: int) -> None:
        self._engine = engine
        self._before = before
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self._engine.writing() as session:
            yield session
            if self._before:
                self._before -= 1
                raise Interrupted("the connection was lost before COMMIT")
        if self._after:
            self._after -= 1
            raise Interrupted("the connection was lost at COMMIT")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "TRIES_AGAIN_SECONDS", (0.01, 0.01, 0.01))


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(2, 0, Outcome(accepted=20)), (0, 2, Outcome(duplicate=20)), (1, 1, Outcome(duplicate=20))]
)
def test_an_interrupted_group_is_tried_again_and_counts_once(folder: Path, before: int, after: int, expected: Outcome) -> None:
    open_ledger(folder).close()
    ledger = Writer(Interrupting(engines.open_on(folder), before, after))
    assert result(ledger.append(batch(NORTHWIND, SENT))) == expected
    assert ledger.figures()["transactions_tried_again_total"] == before + after
    books = Books()
    books.expect(NORTHWIND, SENT)
    books.check(ledger)
    ledger.close()


def test_what_stays_interrupted_is_refused_and_can_be_sent_again(folder: Path) -> None:
    open_ledger(folder).close()
    ledger = Writer(Interrupting(engines.open_on(folder), before=4, after=0))
    with pytest.raises(Unavailable):
        result(ledger.append(batch(NORTHWIND, SENT)))
    assert result(ledger.append(batch(NORTHWIND, SENT))) == Outcome(accepted=20)
    ledger.close()


@engines.server_only
def test_a_row_that_somebody_holds_for_long_is_waited_for_and_then_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 0.2)
    ledger = open_ledger(folder)
    with psycopg.connect(engines.url(folder)) as other:
        other.execute("UPDATE account SET name = name WHERE account_id = 1")
        with pytest.raises(Unavailable, match="lock timeout"):
            result(ledger.append(batch(NORTHWIND, SENT)))
        with ledger.reading() as session:
            assert session.one("SELECT user_count FROM account WHERE account_id = 1") == (0,)
        other.rollback()
    assert result(ledger.append(batch(NORTHWIND, SENT))).accepted == 20
    ledger.close()


@engines.server_only
def test_when_all_connections_are_busy_one_is_told_soon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "POOL_SECONDS_MAX", 0.3)
    open_ledger(folder).close()
    engine = postgres.PostgresEngine(engines.url(folder), 2)
    held, released = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        with engine.reading():
            held.release()
            released.wait(30)

    threads = [threading.Thread(target=hold) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert held.acquire(timeout=30)
    with pytest.raises(Unavailable, match="busy"), engine.reading():
        pass
    assert engine.figures()["database_connections"] == 2
    released.set()
    for thread in threads:
        thread.join(30)
    with engine.reading() as session:
        assert session.one("SELECT 1") == (1,)
    engine.close()


@engines.server_only
def test_a_reader_keeps_its_snapshot_and_changes_nothing(folder: Path) -> None:
    ledger = open_ledger(folder)
    with ledger.reading() as session:
        before = session.one("SELECT user_count FROM account WHERE account_id = 1")
        result(ledger.append(batch(NORTHWIND, SENT)))
        assert session.one("SELECT user_count FROM account WHERE account_id = 1") == before
    with pytest.raises(Unavailable, match="read-only"), ledger.reading() as session:
        session.run("UPDATE account SET name = 'x' WHERE account_id = 1")
    ledger.close()


@engines.server_only
def test_an_address_that_is_none_is_told_without_its_password() -> None:
    with pytest.raises(Exception, match="cannot be read") as caught:
        postgres.PostgresEngine("postgresql://alice:secret@[broken", 2)
    assert "secret" not in str(caught.value)
