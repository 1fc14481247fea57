"""Has this event been seen? Exact, and fast on a long history (law 2).

New events go onto a shelf: a stretch of the event table's key that holds SHELF_EVENTS of them. All
inserts so touch one small part of the index, however long the history and however random the ids.
Full shelves never change, and a Bloom filter tells for which of them a key need be looked up at all;
what the filter calls possible is verified in the table, so it can cost time but never an error.

A filter has a word of 64 bits at every place, one bit for each of 64 shelves: one pass answers for all.
On disk a row holds one byte of every word, so that closing a shelf writes the bits of 8 shelves, not of 64.
"""

import sys
from collections.abc import Iterator, Sequence
from struct import unpack

from tallyboard.ledger.contract import Session

SHELF_EVENTS = 25_000
SHELVES_A_FILTER = 64
SHELVES_A_ROW = 8
_PLACES = 1 << 20
_FILTERS_HELD_MAX = 128


class SeenFilter:
    """What 64 full shelves may hold: `possible` may say too much, never too little."""

    __slots__ = ("_bits", "_words", "first_shelf")

    def __init__(self, first_shelf: int) -> None:
        self.first_shelf = first_shelf
        self._bits = bytearray(SHELVES_A_ROW * _PLACES)
        self._words = memoryview(self._bits).cast("Q")

    def add(self, shelf: int, keys: Sequence[bytes]) -> None:
        """Note that a shelf holds these keys."""
        row, mark = self.row(shelf), 1 << shelf % SHELVES_A_ROW
        for place in places(keys):
            row[place] |= mark
        self.put(shelf, row)

    def row(self, shelf: int) -> bytearray:
        """The bits of a shelf and its neighbours, a byte a place."""
        return self._bits[self._byte_of(shelf) :: SHELVES_A_ROW]

    def put(self, shelf: int, row: bytes | bytearray) -> None:
        """Take the bits of a shelf and its neighbours from a row."""
        self._bits[self._byte_of(shelf) :: SHELVES_A_ROW] = row

    def possible(self, keys: Sequence[bytes], places: Sequence[int]) -> Iterator[tuple[bytes, list[int]]]:
        """The keys that any of the shelves may hold, each with those shelves. `places` are the keys'."""
        words = self._words
        for key, one, two, three, four in zip(keys, places[0::4], places[1::4], places[2::4], places[3::4], strict=True):
            mask = words[one] & words[two]
            if mask and (mask := mask & words[three] & words[four]):
                yield key, self._shelves(mask)

    def _byte_of(self, shelf: int) -> int:
        return (shelf - self.first_shelf) // SHELVES_A_ROW

    def _shelves(self, mask: int) -> list[int]:
        found = int.from_bytes(mask.to_bytes(8, sys.byteorder), "little")
        return [self.first_shelf + number for number in range(SHELVES_A_FILTER) if found >> number & 1]


class Seen:
    """Finds the events of one engine that are already there. Filters are cache: what is kept of them is read at need."""

    def __init__(self) -> None:
        self._filters: dict[int, tuple[int, list[SeenFilter]]] = {}
        """By account: the shelf that was open when they were read, and the filters of the full ones before it."""

    def find_on_full(self, session: Session, account_id: int, shelf: int, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The keys that are on a full shelf, before the open one; each with the digest of what it said."""
        filters = self._of_account(session, account_id, shelf)
        of_keys = places(keys) if filters else ()
        candidates: dict[int, list[bytes]] = {}
        for held in filters:
            for key, shelves in held.possible(keys, of_keys):
                for older in shelves:
                    candidates.setdefault(older, []).append(key)
        found: dict[bytes, int] = {}
        for older, possible in candidates.items():
            found.update(find_on(session, account_id, older, possible))
        return found

    def close_shelf(self, session: Session, account_id: int, shelf: int) -> None:
        """Take a full shelf into the filters, in the transaction that begins the next."""
        filters = self._of_account(session, account_id, shelf)
        self._filters[account_id] = (shelf + 1, filters)
        held = _filter_for(shelf, filters)
        held.add(shelf, _keys_on(session, account_id, shelf))
        session.run(
            """
            INSERT INTO seen_filter (account_id, first_shelf, bits) VALUES (:account_id, :first_shelf, :bits)
            ON CONFLICT (account_id, first_shelf) DO UPDATE SET bits = EXCLUDED.bits
            """,
            account_id=account_id,
            first_shelf=shelf - shelf % SHELVES_A_ROW,
            bits=bytes(held.row(shelf)),
        )

    def forget(self) -> None:
        """Drop what is cached, after a transaction that may not have been kept."""
        self._filters.clear()

    def _of_account(self, session: Session, account_id: int, shelf: int) -> list[SeenFilter]:
        """The account's filters; those that were not full are read again where another process has closed a shelf since."""
        open_shelf, held = self._filters.get(account_id, (-1, []))
        if open_shelf != shelf:
            held = [each for each in held if each.first_shelf + SHELVES_A_FILTER <= min(open_shelf, shelf)]
            _read(session, account_id, held)
            if sum(len(filters) for _, filters in self._filters.values()) + len(held) > _FILTERS_HELD_MAX:
                self._filters.clear()
            self._filters[account_id] = (shelf, held)
        return held


def find_on(session: Session, account_id: int, shelf: int, keys: Sequence[bytes]) -> dict[bytes, int]:
    """The keys that are on one shelf, each with the digest of what it said."""
    lines = session.among(
        "SELECT event_key, content FROM event WHERE account_id = :account_id AND shelf = :shelf AND event_key IN $point_keys",
        keys,
        account_id=account_id,
        shelf=shelf,
    )
    return dict(lines)


def places(keys: Sequence[bytes]) -> tuple[int, ...]:
    """Where a filter has the bits of keys: four places for each key, the lowest bits of its quarters. A key is a digest, so they are independent.

    All quarters are cut off at once, as one large number.
    """
    joined = b"".join(keys)
    lowest = int.from_bytes((_PLACES - 1).to_bytes(4, "little") * (len(joined) // 4), "little")
    return unpack(f"<{len(joined) // 4}I", (int.from_bytes(joined, "little") & lowest).to_bytes(len(joined), "little"))


def _read(session: Session, account_id: int, filters: list[SeenFilter]) -> None:
    """Add the filters that follow those, row by row: together the rows are as large as what they become."""
    lines = session.all(
        "SELECT first_shelf FROM seen_filter WHERE account_id = :account_id AND first_shelf >= :shelf ORDER BY first_shelf",
        account_id=account_id,
        shelf=filters[-1].first_shelf + SHELVES_A_FILTER if filters else 0,
    )
    for (shelf,) in lines:
        (bits,) = session.one(
            "SELECT bits FROM seen_filter WHERE account_id = :account_id AND first_shelf = :shelf", account_id=account_id, shelf=shelf
        ) or (b"",)
        held = _filter_for(shelf, filters)
        if len(bits) == _PLACES:
            held.put(shelf, bits)
        else:  # Written when a filter had another size.
            for each in range(shelf, shelf + SHELVES_A_ROW):
                held.add(each, _keys_on(session, account_id, each))


def _filter_for(shelf: int, filters: list[SeenFilter]) -> SeenFilter:
    """The filter that a shelf belongs to, the last one; added where the shelf is the first of it."""
    first_shelf = shelf - shelf % SHELVES_A_FILTER
    if not filters or filters[-1].first_shelf != first_shelf:
        filters.append(SeenFilter(first_shelf))
    return filters[-1]


def _keys_on(session: Session, account_id: int, shelf: int) -> list[bytes]:
    lines = session.all("SELECT event_key FROM event WHERE account_id = :account_id AND shelf = :shelf", account_id=account_id, shelf=shelf)
    return [key for (key,) in lines]
