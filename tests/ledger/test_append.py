"""Exactly once, whatever is sent how often, by whom and in which order (laws 2, 3 and 7): compared with a dict."""

import threading
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard.errors import AlreadyKept, NotFound
from tallyboard.ledger import append
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.ledger.writer import Writer
from tests.ledger.books import CONTOSO, CONVERSATION, NORTHWIND, Books, Sent, batch, open_ledger, result

# Few values, so that duplicates, conflicts and the same ids and users in both accounts are common.
SENT = st.tuples(
    st.sampled_from(["/a", "/ab"]),
    st.sampled_from(["", "b", "c"]).flatmap(lambda head: st.integers(0, 12).map(lambda n: f"{head}{n}")),
    st.sampled_from(["alice", "bob", "charlie"]),
    st.integers(1, 2),
)
BATCHES = st.lists(st.tuples(st.sampled_from([NORTHWIND, CONTOSO]), st.lists(SENT, max_size=12)), min_size=1, max_size=12)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(BATCHES, st.sampled_from([1, 3, 7, 250_000]), st.integers(0, 11))
def test_every_event_counts_once_and_the_first_stands(batches: list[tuple[int, list[Sent]]], shelf_events: int, reopened: int) -> None:
    """Shelves of few events, so that most of what is asked for lies on a closed one; the process restarts in between."""
    books = Books()
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(append, "SHELF_EVENTS", shelf_events)
        ledger = open_ledger(Path(folder))
        try:
            for number, (account_id, sent) in enumerate(batches):
                assert result(ledger.append(batch(account_id, sent))) == books.expect(account_id, sent)
                if number == reopened:
                    ledger.close()
                    ledger = open_ledger(Path(folder))
            books.check(ledger)
        finally:
            ledger.close()


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.lists(st.lists(st.lists(SENT, max_size=12), min_size=1, max_size=3), min_size=1, max_size=8), st.sampled_from([3, 7, 250_000]))
def test_inserting_before_looking_gives_what_looking_first_gives(groups: list[list[list[Sent]]], shelf_events: int) -> None:
    """Groups of several batches, with what was seen before them, within them and between them."""
    kept = []
    for look_first in (False, True):
        with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(append, "SHELF_EVENTS", shelf_events)
            ledger, appender = open_ledger(Path(folder)), append.Appender()
            outcomes = [_append(ledger, appender, [batch(NORTHWIND, sent) for sent in group], look_first) for group in groups]
            with ledger.reading() as session:
                tables = [
                    session.all(f"SELECT * FROM {name} ORDER BY 1, 2, 3, 4") for name in ("event", "app_user", "slot_usage", "account")
                ]
            kept.append((outcomes, tables))
            ledger.close()
    assert kept[0] == kept[1]


def _append(ledger: Writer, appender: append.Appender, batches: list[Batch], look_first: bool) -> list[Outcome]:
    """As the writer does it, with one Appender for all groups."""
    try:
        with ledger.writing() as session:
            return appender.append(session, batches, look_first=look_first)
    except AlreadyKept:
        with ledger.writing() as session:
            return appender.append(session, batches, look_first=True)


def test_a_group_that_holds_nothing_seen_does_not_ask_the_open_shelf(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, asked = open_ledger(folder), []
    find_on = append.find_on
    monkeypatch.setattr(append, "find_on", lambda *about: asked.append(about[3]) or find_on(*about))
    sent: list[Sent] = [("/a", f"{number}", f"user {number}", 1) for number in range(4)]
    assert result(ledger.append(batch(NORTHWIND, sent[:2]))) == Outcome(accepted=2)
    assert result(ledger.append(batch(NORTHWIND, [*sent[2:], sent[2]]))) == Outcome(accepted=2, duplicate=1)
    assert asked == []
    assert result(ledger.append(batch(NORTHWIND, sent))) == Outcome(duplicate=4)
    assert len(asked) == 1
    ledger.close()


def test_batches_of_more_lines_than_one_statement_takes(folder: Path) -> None:
    """New users, events and slots by the hundred, with duplicates at the beginning, in the middle and at the end."""
    ledger, books = open_ledger(folder), Books()
    sent: list[Sent] = [("/a", f"{number}", f"user {number % 120}", 1) for number in range(330)]
    for part in (sent[:130], sent[100:231], sent[150:160] + sent[231:], [*sent[300:], ("/a", "new", "alice", 1)]):
        assert result(ledger.append(batch(NORTHWIND, part))) == books.expect(NORTHWIND, part)
    books.check(ledger)
    ledger.close()


def test_batches_written_together_are_told_apart(folder: Path) -> None:
    """One transaction holds several requests: each learns what became of its own events."""
    ledger, books = open_ledger(folder), Books()
    released = threading.Event()
    blocked = ledger.change(lambda _: released.wait(30))
    sent: list[Sent] = [("/a", f"{number % 7}", "alice", 1 + number % 2) for number in range(20)]
    futures = [(account_id, part, ledger.append(batch(account_id, part))) for account_id in (1, 2, 1) for part in (sent[:5], sent[5:], [])]
    released.set()
    assert blocked.result(30)
    in_order = sorted(range(len(futures)), key=lambda index: futures[index][0])
    expected = {index: books.expect(*futures[index][:2]) for index in in_order}
    assert [result(future) for _, _, future in futures] == [expected[index] for index in range(len(futures))]
    books.check(ledger)
    ledger.close()


def test_two_processes_beside_each_other_count_every_event_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two engines on one folder know nothing of each other but what is on disk; both send the same events in their own order."""
    monkeypatch.setattr(append, "SHELF_EVENTS", 50)
    first, second = open_ledger(folder), open_ledger(folder)
    sent: list[Sent] = [("/a", f"{number}", f"user {number % 23}", 1) for number in range(600)]
    outcomes: list[Outcome] = []

    def send(ledger: Writer, seed: int) -> None:
        shuffled = Random(seed).sample(sent, len(sent))
        parts = (shuffled[start : start + 15] for start in range(0, len(shuffled), 15))
        outcomes.extend(result(ledger.append(batch(NORTHWIND, part))) for part in parts)

    threads = [threading.Thread(target=send, args=(ledger, seed)) for seed, ledger in enumerate((first, second))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (sum(each.accepted for each in outcomes), sum(each.duplicate for each in outcomes)) == (600, 600)
    books = Books()
    books.expect(NORTHWIND, sent)
    for ledger in (first, second):
        books.check(ledger)
        ledger.close()


def test_corrections_take_back_and_are_in_the_audit_log(folder: Path) -> None:
    ledger, books = open_ledger(folder), Books()
    sent: list[Sent] = [("/a", "1", "alice", 5), ("/a", "2", "alice", -3), ("/a", "2", "alice", -3)]
    assert result(ledger.append(batch(NORTHWIND, sent, may_adjust=True))) == books.expect(NORTHWIND, sent)
    books.check(ledger)
    with ledger.reading() as session:
        lines = session.all("SELECT account_id, detail FROM audit WHERE action = 'usage.corrected'")
    assert len(lines) == 1
    assert lines[0][0] == NORTHWIND
    assert '"reason":"counted twice"' in lines[0][1]
    assert f'"units":{-3 * CONVERSATION}' in lines[0][1]
    ledger.close()


def test_an_account_that_does_not_exist_takes_nothing(folder: Path) -> None:
    ledger = open_ledger(folder)
    with pytest.raises(NotFound):
        result(ledger.append(batch(77, [("/a", "1", "alice", 1)])))
    assert result(ledger.append(batch(NORTHWIND, [("/a", "1", "alice", 1)]))).accepted == 1
    with ledger.reading() as session:
        assert session.all("SELECT DISTINCT account_id FROM event") == [(NORTHWIND,)]
    ledger.close()
