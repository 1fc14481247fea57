"""Group commit: one thread takes what is waiting, writes it in one transaction, acknowledges all of it.

A request that depends on what is in the ledger (a hold, which a limit must allow) is decided in that same transaction, after the
events of its group, so that nobody else's come between. What decides is handed in: the ledger knows no limits.

Nobody waits for a timer: while one group is being written, the next gathers. What does not fit the
bounded queue is refused at once, so an overload is answered, not buffered.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tallyboard.errors import AlreadyKept, Interrupted, Overloaded, Unavailable
from tallyboard.ledger.append import Appender, add_recent_slots
from tallyboard.ledger.contract import Batch, Engine, Outcome, Result, Session
from tallyboard.ledger.keeper import Keeper, PackedBatch
from tallyboard.ledger.packed import unpack

GROUP_ITEMS_MAX = 256
GROUP_EVENTS_MAX = 10_000
QUEUE_EVENTS_MAX = 100_000
QUEUE_ITEMS_MAX = 4_096
KEEPER_SECONDS_MAX = 60.0
"""How long closing waits for a keeper, then without it."""
TRIES_AGAIN_SECONDS = (0.05, 0.2, 0.5, 1.0)
"""How long to wait before each further try of a transaction that was interrupted; then its batches are refused."""


Decide = Callable[[Session, int, Sequence[tuple[Any, Outcome | None]]], Sequence[Any]]
"""Decides requests of one account, each with the outcome of the batch it came with; their answers in the same order."""


class _Waiting(Struct):
    """What waits for a group of its account (a batch, a request or both), or another piece of work; and who waits for it."""

    account_id: int
    batch: Batch | None
    request: Any
    work: Callable[[Session], Any] | None
    future: Future[Any]
    since: float


class Writer:
    """A ledger (contract.Ledger): an engine with a queue in front of its write transactions. Packed batches are a keeper's, where there is one."""

    def __init__(self, engine: Engine, decide: Decide | None = None, keeper: Keeper | None = None) -> None:
        self._engine = engine
        self._decide = decide
        self._keeper = keeper
        self._appender = Appender()
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._events = 0
        self._items = 0
        self._groups = 0
        self._grouped_events = 0
        self._tried_again = 0
        self._keeper_events = 0
        self._keeper_failures = 0
        self._oldest: float | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def reading(self) -> AbstractContextManager[Session]:
        """A snapshot to read from, on the calling thread."""
        return self._engine.reading()

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction of its own, on the calling thread."""
        return self._engine.writing()

    def append(self, batch: Batch) -> Future[Outcome]:
        """Queue a batch; Overloaded where the queue is full."""
        if not batch.size:
            done: Future[Outcome] = Future()
            done.set_result(Outcome())
            return done
        return self._put(_Waiting(batch.account_id, batch, None, None, Future(), time.monotonic()))

    def decide(self, account_id: int, request: object, batch: Batch | None = None) -> Future[Any]:
        """Queue a request, perhaps with a batch that is kept in the same transaction; Overloaded where the queue is full."""
        assert self._decide is not None
        return self._put(_Waiting(account_id, batch, request, None, Future(), time.monotonic()))

    def change(self, work: Callable[[Session], Result]) -> Future[Result]:
        """Queue another transaction; it runs alone, in the order it came."""
        return self._put(_Waiting(0, None, None, work, Future(), time.monotonic()))

    def close(self) -> None:
        """Write what is queued, then close the engine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(KEEPER_SECONDS_MAX if self._keeper else None)
        if self._keeper:
            self._keeper.close()  # Where it hangs, the writer does the rest itself.
            self._thread.join()
        self._engine.close()

    @property
    def quick(self) -> bool:
        """Whether a short read may run on the event loop."""
        return self._engine.quick

    def figures(self) -> dict[str, float]:
        """How the queue and the engine are doing, by the names of gauges and of counters (which end in _total)."""
        oldest = self._oldest
        return {
            "waiting_events": self._events,
            "waiting_requests": self._items,
            "oldest_waiting_seconds": 0.0 if oldest is None else time.monotonic() - oldest,
            "groups_total": self._groups,
            "grouped_events_total": self._grouped_events,
            "transactions_tried_again_total": self._tried_again,
            "keeper_events_total": self._keeper_events,
            "keeper_failures_total": self._keeper_failures,
            **self._engine.figures(),
        }

    def _put(self, item: _Waiting) -> Future[Any]:
        size = _size(item)
        with self._lock:
            if self._closed:
                raise Unavailable("the ledger is closing")
            if self._items >= QUEUE_ITEMS_MAX or (self._events and self._events + size > QUEUE_EVENTS_MAX):
                raise Overloaded("more events are waiting to be written than the queue holds; send them again in a moment")
            item.future.set_running_or_notify_cancel()  # Whoever waits may go away; what is queued is written all the same.
            self._items += 1
            self._events += size
            self._queue.put(item)
        return item.future

    def _run(self) -> None:
        ahead: _Waiting | None = None
        while True:
            first = ahead or self._queue.get()
            if first is None:
                return
            group, ahead, ends = self._gather(first)
            self._oldest = first.since
            self._write(group)
            self._oldest = None
            events = sum(map(_size, group))
            self._groups += 1
            self._grouped_events += events
            with self._lock:
                self._items -= len(group)
                self._events -= events
            if ends:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
        """What is waiting, up to a group; the item that begins the next group; whether the queue has ended."""
        group, events = [first], _size(first)
        while first.work is None and len(group) < GROUP_ITEMS_MAX and not self._queue.empty():
            item = self._queue.get()
            if item is None:
                return group, None, True
            if item.work is not None or events + _size(item) > GROUP_EVENTS_MAX:
                return group, item, False
            group.append(item)
            events += _size(item)
        return group, None, False

    def _write(self, group: list[_Waiting]) -> None:
        if group[0].work is not None:
            self._do(group[0])
            return
        by_account = sorted(group, key=lambda item: item.account_id)
        for _, items in groupby(by_account, key=lambda item: item.account_id):
            left = self._kept_elsewhere(list(items))
            if left:
                self._together(left)

    def _kept_elsewhere(self, items: list[_Waiting]) -> list[_Waiting]:
        """Have packed batches kept by the keeper, in this writer's turn; what is left for the writer itself, all where that fails."""
        packed = [(item, batch) for item in items if (batch := _packed(item)) is not None]
        if not packed or self._keeper is None or not self._keeper.ready:
            return items
        with self._engine.lent():
            kept = self._keeper.keep([batch for _, batch in packed])
        if kept is None:
            self._keeper_failures += 1
            return items
        for (item, batch), outcome in zip(packed, kept.outcomes, strict=True):
            self._keeper_events += batch.packed.size
            item.future.set_result(outcome)
        if kept.shelf_closed:
            with self._engine.lent():
                self._keeper.add_recent_slots(items[0].account_id)
        return [item for item in items if _packed(item) is None]

    def _together(self, items: list[_Waiting]) -> None:
        """One transaction for all; where it fails, one for each, so that nobody fails for another."""
        try:
            results = self._once_or_again(items)
        except Exception as error:  # noqa: BLE001  Whoever waits is told, whatever it is; the thread lives on.
            self._appender.forget()
            if len(items) == 1 or isinstance(error, Unavailable):  # It would fail each of them: they are told now, not one by one.
                for item in items:
                    item.future.set_exception(error)
            else:
                for item in items:
                    self._together([item])
            return
        for item, result in zip(items, results, strict=True):
            item.future.set_result(result)
        if self._appender.shelf_closed:
            self._appender.shelf_closed = False
            account_id = items[0].account_id
            work = partial(add_recent_slots, account_id=account_id)
            self._do(_Waiting(account_id, None, None, work, Future(), time.monotonic()))  # Where it fails nobody need hear of it.

    def _once_or_again(self, items: list[_Waiting]) -> list[Any]:
        """What was interrupted is tried again: had it been kept after all, its events are found there and count once."""
        waits = iter(TRIES_AGAIN_SECONDS)
        look_first = False
        while True:
            try:
                with self._engine.writing() as session:
                    return self._keep(session, items, look_first=look_first)
            except AlreadyKept:
                if look_first:
                    raise
                look_first = True
            except Interrupted:
                self._appender.forget()
                seconds = next(waits, None)
                if seconds is None or self._closed:
                    raise
                self._tried_again += 1
                time.sleep(seconds)

    def _keep(self, session: Session, items: list[_Waiting], *, look_first: bool) -> list[Any]:
        """Keep the batches, then decide the requests. The result of an item is its request's answer, else its batch's outcome."""
        batches = [_complete(session, item.batch) for item in items if item.batch]
        kept = iter(self._appender.append(session, batches, look_first=look_first) if batches else ())
        outcomes = [next(kept) if item.batch else None for item in items]
        requests = [(item.request, outcome) for item, outcome in zip(items, outcomes, strict=True) if item.request is not None]
        answers = iter(self._decide(session, items[0].account_id, requests) if requests and self._decide else ())
        return [outcome if item.request is None else next(answers) for item, outcome in zip(items, outcomes, strict=True)]

    def _do(self, item: _Waiting) -> None:
        assert item.work is not None
        try:
            with self._engine.writing() as session:
                result = item.work(session)
        except Exception as error:  # noqa: BLE001  Likewise.
            item.future.set_exception(error)
        else:
            item.future.set_result(result)


def _size(item: _Waiting) -> int:
    return item.batch.size if item.batch else 0


def _packed(item: _Waiting) -> PackedBatch | None:
    """What a keeper would be told of it; None where it is not only packed entries, which is the writer's own."""
    batch = item.batch
    if batch is None or batch.packed is None or batch.entries or batch.make or batch.settles or item.request is not None:
        return None
    return PackedBatch(batch.account_id, batch.received_us, batch.actor, batch.packed)


def _complete(session: Session, batch: Batch) -> Batch:
    """The batch with its entries, those that are packed and those that depend on what is in the ledger."""
    if batch.packed:
        batch = replace(batch, entries=batch.entries + unpack(batch.packed), packed=None)
    if batch.make:
        batch = replace(batch, entries=batch.entries + batch.make(session), make=None, made_max=0)
    return batch
