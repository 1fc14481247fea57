"""Has large batches kept by another process, so that the thread that answers need not share its interpreter with the one that writes.

A keeper is the module `keeping`, run as a program. It does what the writer does with a group, by the same functions, in the writer's
stead and in its turn. What it does not keep is left to the writer.
"""

import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder
from msgspec.structs import replace

from tallyboard.ledger.contract import Outcome, Packed
from tallyboard.ledger.opening import Place
from tallyboard.subprogram import Subprogram

REST_SECONDS = 10.0
"""How long a keeper that has kept nothing is not asked again: what it cannot do costs the writer's time."""
_PROGRAM = "tallyboard.ledger.keeping"


class PackedBatch(Struct, frozen=True, array_like=True):
    """A batch as a keeper is told of it."""

    account_id: int
    received_us: int
    actor: str
    packed: Packed


class Task(Struct, frozen=True, array_like=True):
    """One transaction: batches of one account that are to be kept, or the account whose recent quarter hours are to be added to the others."""

    batches: tuple[PackedBatch, ...] = ()
    recent_slots_of: int | None = None


class Kept(Struct, frozen=True, array_like=True):
    """What became of the batches of a group, and whether one filled a shelf."""

    outcomes: tuple[Outcome, ...]
    shelf_closed: bool


_encode = Encoder().encode
_kept = Decoder(Kept).decode


class Keeper:
    """One process with the ledger open."""

    def __init__(self, place: Place) -> None:
        # It writes one transaction at a time, so it needs one connection.
        self._program = Subprogram(_PROGRAM, _encode(replace(place, connections=1)))
        self._rests_until = 0.0

    @property
    def ready(self) -> bool:
        """Whether to ask it."""
        return time.monotonic() >= self._rests_until

    def keep(self, batches: Sequence[PackedBatch]) -> Kept | None:
        """Keep batches of one account in one transaction; None where nothing was kept, or nobody knows whether it was."""
        kept = self._program.ask(_encode(Task(batches=tuple(batches))), _kept)
        if kept is None:
            self._rests_until = time.monotonic() + REST_SECONDS
        return kept

    def add_recent_slots(self, account_id: int) -> None:
        """What is due after a shelf was closed (`append.add_recent_slots`); where it fails nobody need hear of it."""
        self._program.ask(_encode(Task(recent_slots_of=account_id)), _kept)

    def close(self) -> None:
        """End the process."""
        self._program.close()
