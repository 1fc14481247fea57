"""A keeper keeps what the writer itself would keep, and nothing depends on it: it may die at any time, and every event counts once."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from tallyboard import subprogram
from tallyboard.errors import CellFull
from tallyboard.ledger import keeper as asking_side
from tallyboard.ledger import writer
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.ledger.keeper import Keeper
from tallyboard.ledger.opening import Place
from tallyboard.ledger.packed import pack, unpack
from tallyboard.ledger.seen import SHELF_EVENTS
from tallyboard.ledger.writer import Writer
from tallyboard.subprogram import LOSSES_MAX
from tests import engines
from tests.conftest import wait_until
from tests.intake.test_worker import runs
from tests.ledger.books import CONTOSO, NORTHWIND, Books, Sent, batch, open_ledger, result
from tests.ledger.test_writer import BILLION_CREDITS, Blocked, some

KILLS = 10


@pytest.fixture
def keeper(folder: Path) -> Iterator[Keeper]:
    started = Keeper(engines.place_of(folder))
    yield started
    started.close()


@pytest.fixture
def ledger(folder: Path, keeper: Keeper) -> Iterator[Writer]:
    opened = open_ledger(folder, keeper)
    yield opened
    opened.close()


def packed(account_id: int, sent: list[Sent], *, may_adjust: bool = False) -> Batch:
    """A batch as it comes from a worker."""
    plain = batch(account_id, sent, may_adjust)
    return replace(plain, entries=(), packed=pack(plain.entries))


def process_of(keeper: Keeper) -> "subprocess.Popen[bytes]":
    """Its process, which has been started."""
    process = keeper._program._process
    assert process is not None
    return process


def test_what_is_packed_is_what_it_was() -> None:
    entries = batch(NORTHWIND, [*some("a", 600, user="zoë"), ("/s", "less", "alice", -1)], may_adjust=True).entries
    assert unpack(pack(entries)) == entries
    assert pack(entries).size == 601


def test_a_keeper_keeps_what_the_writer_would(ledger: Writer, keeper: Keeper) -> None:
    books = Books()
    first, again = some("a", 50), [*some("a", 10), *some("a", 5, amount=2), *some("b", 5, user="bob")]
    for account_id in (NORTHWIND, CONTOSO):
        for sent in (first, again, some("c")):
            assert result(ledger.append(packed(account_id, sent))) == books.expect(account_id, sent)
    books.check(ledger)
    assert process_of(keeper).poll() is None
    assert ledger.figures()["keeper_events_total"] == 142


def test_a_group_of_packed_and_plain_batches_of_two_accounts(ledger: Writer) -> None:
    books = Books()
    with Blocked(ledger):
        futures = [
            (ledger.append(make(account_id, sent)), books.expect(account_id, sent))
            for account_id in (NORTHWIND, CONTOSO)
            for make, sent in ((packed, some("a", 3)), (packed, some("a", 5)), (batch, some("d", 4)), (batch, some("a", 1)))
        ]
    assert [result(future) for future, _ in futures] == [outcome for _, outcome in futures]
    books.check(ledger)


def test_a_batch_that_no_cell_can_hold_fails_alone(ledger: Writer, keeper: Keeper) -> None:
    books = Books()
    with Blocked(ledger):
        before = ledger.append(packed(NORTHWIND, some("before", 3)))
        over = ledger.append(packed(NORTHWIND, some("over", 100, BILLION_CREDITS)))
        after = ledger.append(packed(NORTHWIND, some("after", 2)))
    with pytest.raises(CellFull, match="15 billion credits"):
        result(over)
    assert result(before) == books.expect(NORTHWIND, some("before", 3))
    assert result(after) == books.expect(NORTHWIND, some("after", 2))
    assert result(ledger.append(packed(NORTHWIND, some("later")))) == books.expect(NORTHWIND, some("later"))
    books.check(ledger)
    assert process_of(keeper).poll() is None


def test_shelves_that_a_keeper_fills_are_known_to_both(ledger: Writer, folder: Path) -> None:
    books = Books()
    for number in range(SHELF_EVENTS // 5_000 + 1):
        sent = some(f"{number}", 5_000)
        assert result(ledger.append(packed(NORTHWIND, sent))) == books.expect(NORTHWIND, sent)
    ((shelf, recent),) = engines.look(
        folder,
        """SELECT shelf, (SELECT count(*) FROM slot_usage WHERE slot_usage.account_id = account.account_id AND recent = 1
               AND events >= 5000) FROM account WHERE account_id = 1""",
    )
    assert (shelf, recent) == (1, 0)
    for make in (batch, packed):  # The writer's own filters know nothing of that shelf yet.
        assert result(ledger.append(make(NORTHWIND, some("0", 10)))) == Outcome(duplicate=10)
    books.check(ledger)


def test_a_keeper_that_is_killed_at_any_moment_loses_and_doubles_nothing(
    ledger: Writer, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was under way may be told as seen already, because it was kept; it is never lost and never counted twice."""
    monkeypatch.setattr(asking_side, "REST_SECONDS", 0)
    books, chance, lost = Books(), random.Random(7), 0
    for number in range(4 * KILLS):
        sent = some(f"{number}", chance.randrange(1, 400))
        future = ledger.append(packed(NORTHWIND, sent))
        process = keeper._program._process
        if number % 3 == 0 and process is not None:
            threading.Event().wait(chance.random() / 80)
            process.kill()
        outcome = result(future)
        assert (outcome.accepted + outcome.duplicate, outcome.conflict) == (len(sent), 0)
        books.expect(NORTHWIND, sent)
        lost += keeper._program._losses
        keeper._program._losses = 0
    assert lost >= KILLS
    assert ledger.figures()["keeper_failures_total"] == lost
    books.check(ledger)


def test_a_keeper_that_cannot_start_is_not_tried_for_ever(ledger: Writer, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    books, tries = Books(), []
    monkeypatch.setattr(asking_side, "REST_SECONDS", 0)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    start = keeper._program._start
    monkeypatch.setattr(keeper._program, "_start", lambda: tries.append(1) or start())
    for number in range(2 * LOSSES_MAX):
        sent = some(f"{number}", 20)
        assert result(ledger.append(packed(NORTHWIND, sent))) == books.expect(NORTHWIND, sent)
    assert len(tries) == LOSSES_MAX
    books.check(ledger)


def test_a_keeper_that_keeps_nothing_is_left_alone_for_a_while(folder: Path) -> None:
    """It has another ledger open, which has no such account: its every transaction fails."""
    nowhere = Keeper(Place(str(folder.parent / "other"), "", 1))
    books = Books()
    with closing(open_ledger(folder, nowhere)) as ledger:
        for number in range(5):
            sent = some(f"{number}", 3)
            assert result(ledger.append(packed(NORTHWIND, sent))) == books.expect(NORTHWIND, sent)
        assert {name: ledger.figures()[name] for name in ("keeper_failures_total", "keeper_events_total")} == {
            "keeper_failures_total": 1,
            "keeper_events_total": 0,
        }
        books.check(ledger)


def test_a_keeper_of_another_version_keeps_nothing(ledger: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's files were exchanged under a running server."""
    monkeypatch.setattr(subprogram, "__version__", "0.0.9")
    assert result(ledger.append(packed(NORTHWIND, some("a")))) == Outcome(accepted=1)
    assert ledger.figures()["keeper_failures_total"] == 1


def test_whoever_goes_away_does_not_end_the_writer(ledger: Writer) -> None:
    with Blocked(ledger):
        futures = [ledger.append(make(NORTHWIND, some(make.__name__))) for make in (packed, batch)]
        assert not any(future.cancel() for future in futures)
    assert [result(future).accepted for future in futures] == [1, 1]


def test_closing_does_not_wait_for_a_keeper_for_ever(folder: Path, keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped, so that it answers nothing: what is queued is written by the writer."""
    monkeypatch.setattr(writer, "KEEPER_SECONDS_MAX", 0.1)
    ledger, books = open_ledger(folder, keeper), Books()
    assert result(ledger.append(packed(NORTHWIND, some("a")))) == books.expect(NORTHWIND, some("a"))
    process_of(keeper).send_signal(signal.SIGSTOP)
    future = ledger.append(packed(NORTHWIND, some("b", 3)))
    ledger.close()
    assert result(future) == books.expect(NORTHWIND, some("b", 3))
    with closing(open_ledger(folder)) as opened:
        books.check(opened)


def test_a_keeper_ends_with_the_server_however_that_ends(folder: Path) -> None:
    lines = (
        "import sys; from pathlib import Path; from tests.ledger.test_keeper import *; keeper = Keeper(engines.place_of(Path(sys.argv[1])));"
        "ledger = open_ledger(Path(sys.argv[1]), keeper); result(ledger.append(packed(NORTHWIND, some('a'))));"
        "print(process_of(keeper).pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", lines, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **engines.cluster_variables()}
    ) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert runs(pid)
        server.kill()
    wait_until(lambda: not runs(pid), "the keeper has ended")
