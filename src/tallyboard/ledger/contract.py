"""What every ledger engine offers, and the values that go in and come out.

A Session is one transaction on one engine. Statements are literal SQL with `:name` parameters; the
places where engines differ are the named `$fragments` of `Ledger.dialect`, filled in by the engine.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from msgspec import Raw, Struct

from tallyboard.intake.event import UsageEvent

CELL_FULL = "with these events one user's quarter hour or the account's day would exceed 15 billion credits"
Result = TypeVar("Result")
Value = int | str | bytes | None
Line = tuple[Any, ...]


class Session(Protocol):
    """One transaction: all of it is kept, or nothing. A primary key that is there already ends it with AlreadyKept.

    `remembered` is what readers of the same open ledger have found before. Who puts something in knows how to tell whether it still
    holds, and sees to it that it does not grow without end; anybody may empty it. Of a transaction that writes it is empty, and nothing stays in it.
    """

    remembered: dict[Any, Any]

    def all(self, sql: str, **values: Value) -> list[Line]:
        """Every line of the answer. SumTooLarge where an engine whose integers have 64 bits cannot sum them."""

    def one(self, sql: str, **values: Value) -> Line | None:
        """The first line of the answer, None where there is none."""

    def run(self, sql: str, **values: Value) -> int:
        """Change something; how many rows were."""

    def many(self, sql: str, lines: Sequence[Sequence[Value]]) -> None:
        """Run a statement once for each line. AlreadyKept where an INSERT that expects no such row meets one.

        The line's values take the `:names` in order of appearance. An INSERT reads `$each (account_id, a, b)` for its
        VALUES: an engine may then insert all lines, which must be of one account, at once.
        """

    def among(self, sql: str, keys: Sequence[Value], **values: Value) -> list[Line]:
        """Every line of a statement that reads `IN $keys`, for any number of different keys.

        `IN $point_keys` says that the condition finds at most one row a key, by an index: each key is then looked up by itself.
        """


class Entry(Struct, frozen=True, gc=False, array_like=True):
    """A charged event on its way into the ledger. `correction` is the reason for a negative quantity; it goes into the audit log."""

    event: UsageEvent
    units: int
    rated: bool
    correction: str | None = None


class Packed(Struct, frozen=True, array_like=True):
    """Entries as another process encoded them (ledger/packed.py), and how many they are."""

    size: int
    parts: tuple[Raw, ...]


class Batch(Struct, frozen=True):
    """The entries of one request, for one account, received from `actor` (key or command) at one instant. They may be `packed`.

    Where they depend on what is in the ledger, `make` gives them, in the transaction that keeps them; it may be asked again
    where that was interrupted. They are then `made_max` at most. A batch that `settles` a hold counts whoever else told of it.
    """

    account_id: int
    entries: tuple[Entry, ...]
    received_us: int
    actor: str
    make: Callable[[Session], tuple[Entry, ...]] | None = None
    made_max: int = 0
    settles: bool = False
    packed: Packed | None = None

    @property
    def size(self) -> int:
        """How many entries it has, or will have at most."""
        return len(self.entries) + self.made_max + (self.packed.size if self.packed else 0)


class Outcome(Struct, frozen=True):
    """What became of a batch: `accepted + duplicate + conflict + set_aside` is its length. Set aside is what another source tells."""

    accepted: int = 0
    duplicate: int = 0
    conflict: int = 0
    unrated: int = 0
    unattributed: int = 0
    set_aside: int = 0


class Engine(Protocol):
    """What keeps the rows. `quick` is true where a short read costs microseconds and may run on the event loop."""

    quick: bool

    def prepare(self) -> None:
        """Make the table that counts migrations."""

    def reading(self) -> AbstractContextManager[Session]:
        """A snapshot to read from. Interrupted, Migrating or Unavailable where that is not to be had."""

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that is on disk when the context ends without an exception; the same errors."""

    def lent(self) -> AbstractContextManager[None]:
        """Within this context another process of the same server writes; where only one can write, this one waits for its turn."""

    def version(self) -> int | None:
        """A number that differs as soon as anybody, in whatever process, has committed anything; None where it is dear to know."""

    def figures(self) -> dict[str, float]:
        """Gauges for operators, by name."""

    def close(self) -> None:
        """Close it."""


class Ledger(Protocol):
    """A store of accounts. Every method may raise Unavailable."""

    def reading(self) -> AbstractContextManager[Session]:
        """A snapshot to read from, on the calling thread."""

    def writing(self) -> AbstractContextManager[Session]:
        """A transaction that is on disk when the context ends without an exception, on the calling thread."""

    def append(self, batch: Batch) -> "Future[Outcome]":
        """Queue a batch for the next group commit; Overloaded where the queue is full."""

    def decide(self, account_id: int, request: object, batch: Batch | None = None) -> "Future[Any]":
        """Queue a request that depends on what is in the ledger, perhaps with a batch to be kept in the same transaction."""

    def change(self, work: Callable[[Session], Result]) -> "Future[Result]":
        """Queue any other transaction behind the batches."""

    def close(self) -> None:
        """Finish what was queued and close."""
