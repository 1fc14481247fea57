"""Entries on their way from one process to another: encoded by the one that checks them, read by the one that keeps them."""

from collections.abc import Sequence
from itertools import chain

from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from tallyboard.ledger.contract import Entry, Packed

_PART_ENTRIES = 250
"""Whoever reads a part keeps the interpreter to itself meanwhile, a fraction of a millisecond."""

_encode = Encoder().encode
_entries = Decoder(tuple[Entry, ...]).decode


def pack(entries: Sequence[Entry]) -> Packed:
    """Encode entries."""
    return Packed(
        len(entries), tuple(Raw(_encode(entries[start : start + _PART_ENTRIES])) for start in range(0, len(entries), _PART_ENTRIES))
    )


def unpack(packed: Packed) -> tuple[Entry, ...]:
    """Read entries."""
    return tuple(chain.from_iterable([_entries(part) for part in packed.parts]))
