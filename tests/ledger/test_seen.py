"""What was seen is found again, on whichever shelf it lies; the filter never says no for what is there."""

from pathlib import Path
from random import Random

import pytest

from tallyboard.intake.event import event_key
from tallyboard.ledger import append, seen
from tallyboard.ledger.contract import Outcome
from tallyboard.ledger.seen import Seen, SeenFilter, places
from tests.ledger.books import CONTOSO, NORTHWIND, Books, Sent, batch, open_ledger, result


def test_the_filter_never_says_no_for_what_is_there() -> None:
    chance = Random(9)
    held, again = SeenFilter(64), SeenFilter(64)
    keys = {shelf: [chance.randbytes(16) for _ in range(1_000)] for shelf in range(64, 128)}
    for shelf, there in keys.items():
        held.add(shelf, there)
    for shelf in range(64, 128, seen.SHELVES_A_ROW):
        again.put(shelf, held.row(shelf))
    for shelf, there in keys.items():
        found = dict(again.possible(there, places(there)))
        assert all(shelf in found[key] for key in there)


def test_a_full_shelf_is_looked_up_in_vain_less_than_once_in_a_thousand_times() -> None:
    chance = Random(10)
    held = SeenFilter(0)
    held.add(5, [chance.randbytes(16) for _ in range(seen.SHELF_EVENTS)])
    others = [chance.randbytes(16) for _ in range(20_000)]
    in_vain = list(held.possible(others, places(others)))
    assert len(in_vain) < 20


def test_keys_stand_for_pairs_and_no_two_pairs_meet() -> None:
    pairs = [(source, name) for source in ("", "a", "ab", "a:", "1:a", "é") for name in ("", "a", "b", ":a", "ba", "é")]
    assert len({event_key(source, name) for source, name in pairs}) == len(pairs)


@pytest.mark.parametrize("restart", [False, True])
def test_every_event_of_thirty_shelves_is_found_again(folder: Path, monkeypatch: pytest.MonkeyPatch, restart: bool) -> None:
    monkeypatch.setattr(append, "SHELF_EVENTS", 40)
    ledger, books = open_ledger(folder), Books()
    chance = Random(1)
    sent: list[Sent] = [("/a", f"{number}", f"user {number % 11}", 1) for number in range(1_200)]
    for start in range(0, len(sent), 40):
        assert result(ledger.append(batch(NORTHWIND, sent[start : start + 40]))).accepted == 40
        assert result(ledger.append(batch(CONTOSO, sent[start : start + 7]))).accepted == 7
    if restart:
        ledger.close()
        ledger = open_ledger(folder)
    with ledger.reading() as session:
        assert session.one("SELECT shelf FROM account WHERE account_id = 1") == (30,)
        assert session.one("SELECT count(*) FROM seen_filter WHERE account_id = 1") == (4,)
    for _ in range(40):
        part = chance.sample(sent, 30)
        changed = [(source, name, user, 2) for source, name, user, _ in part]
        assert result(ledger.append(batch(NORTHWIND, part))) == Outcome(duplicate=30)
        assert result(ledger.append(batch(NORTHWIND, changed))) == Outcome(conflict=30)
    books.expect(NORTHWIND, sent)
    for start in range(0, len(sent), 40):
        books.expect(CONTOSO, sent[start : start + 7])
    books.check(ledger)
    ledger.close()


def test_shelves_that_another_process_closed_are_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "SHELF_EVENTS", 10)
    first, second = open_ledger(folder), open_ledger(folder)
    sent: list[Sent] = [("/a", f"{number}", "alice", 1) for number in range(400)]
    for start in range(0, len(sent), 20):
        writer, reader = (first, second) if start // 20 % 3 else (second, first)
        assert result(writer.append(batch(NORTHWIND, sent[start : start + 20]))).accepted == 20
        assert result(reader.append(batch(NORTHWIND, sent[: start + 20]))) == Outcome(duplicate=start + 20)
    first.close()
    second.close()


def test_what_a_failed_transaction_noted_is_forgotten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction that closes a shelf fails at its end; the next one must find everything as it was before."""
    monkeypatch.setattr(append, "SHELF_EVENTS", 5)
    ledger, books = open_ledger(folder), Books()
    close_shelf = Seen.close_shelf

    def fail(self: Seen, session: append.Session, account_id: int, shelf: int) -> None:
        close_shelf(self, session, account_id, shelf)
        raise RuntimeError("the disk is gone")

    for number in range(12):
        sent: list[Sent] = [("/a", f"{number}-{place}", f"user {number}", 1) for place in range(4)]
        with monkeypatch.context() as patch:
            patch.setattr(Seen, "close_shelf", fail)
            attempt = ledger.append(batch(NORTHWIND, sent))
            error = attempt.exception(30)
        assert error is None or isinstance(error, RuntimeError)
        expected = books.expect(NORTHWIND, sent)
        assert result(ledger.append(batch(NORTHWIND, sent))) == (Outcome(duplicate=4) if error is None else expected)
        books.check(ledger)
    ledger.close()
