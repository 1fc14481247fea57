"""Has this event been seen? Exact, and fast on a long history (law 2).

New events go onto a shelf: a stretch of the event table's key that holds SHELF_EVENTS of them. All
inserts so touch one small part of the index, however long the history and however random the ids.
Full shelves never change, and a Bloom filter tells for which of them a key need be looked up at all;
what the filter calls possible is verified in the table, so it can cost time but never an error.

The filter keeps one bit for each of eight shelves in every byte: one pass answers for all eight.
"""

from collections.abc import Iterable, Iterator, Sequence

from tallyboard.ledger.contract import Session

SHELF_EVENTS = 250_000
SHELVES_A_FILTER = 8
_PLACES = 1 << 22
_LAST_PLACE = _PLACES - 1
_PROBES = 8
_FILTERS_HELD_MAX = 256


class SeenFilter:
    """What eight full shelves may hold: `possible` may say too much, never too little."""

    __slots__ = ("bits", "first_shelf")

    def __init__(self, first_shelf: int, bits: bytes | None = None) -> None:
        self.first_shelf = first_shelf
        self.bits = bytearray(bits) if bits is not None else bytearray(_PLACES)

    def add(self, shelf: int, keys: Iterable[bytes]) -> None:
        """Note that a shelf holds these keys."""
        bits = self.bits
        mark = 1 << (shelf - self.first_shelf)
        for key in keys:
            for place in places(key):
                bits[place & _LAST_PLACE] |= mark

    def possible(self, probes: Iterable[tuple[bytes, range]]) -> Iterator[tuple[bytes, int]]:
        """The keys that any of the shelves may hold, of keys with their places; each with a mask of the shelves."""
        bits = self.bits
        for key, where in probes:
            mask = 255
            for place in where:
                mask &= bits[place & _LAST_PLACE]
                if not mask:
                    break
            else:
                yield key, mask


class Seen:
    """Finds the events of one engine that are already there. Filters are cache: rebuilt from the table at need."""

    def __init__(self) -> None:
        self._filters: dict[int, tuple[int, list[SeenFilter]]] = {}
        """By account: the shelf that was open when they were read, and the filters of the full ones before it."""

    def find(self, session: Session, account_id: int, shelf: int, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The keys that are in the ledger already, each with the digest of what it said."""
        found = _on_shelf(session, account_id, shelf, keys)
        for older, candidates in self._candidates(session, account_id, shelf, keys).items():
            found.update(_on_shelf(session, account_id, older, candidates))
        return found

    def close_shelf(self, session: Session, account_id: int, shelf: int) -> None:
        """Take a full shelf into the filters, in the transaction that begins the next."""
        filters = self._of_account(session, account_id, shelf)
        self._filters[account_id] = (shelf + 1, filters)
        if shelf % SHELVES_A_FILTER == 0:
            filters.append(SeenFilter(shelf))
        lines = session.all(
            "SELECT event_key FROM event WHERE account_id = :account_id AND shelf = :shelf", account_id=account_id, shelf=shelf
        )
        filters[-1].add(shelf, (key for (key,) in lines))
        session.run(
            """
            INSERT INTO seen_filter (account_id, first_shelf, bits) VALUES (:account_id, :first_shelf, :bits)
            ON CONFLICT (account_id, first_shelf) DO UPDATE SET bits = EXCLUDED.bits
            """,
            account_id=account_id,
            first_shelf=filters[-1].first_shelf,
            bits=bytes(filters[-1].bits),
        )

    def forget(self) -> None:
        """Drop what is cached, after a transaction that may not have been kept."""
        self._filters.clear()

    def _candidates(self, session: Session, account_id: int, shelf: int, keys: Sequence[bytes]) -> dict[int, list[bytes]]:
        by_shelf: dict[int, list[bytes]] = {}
        filters = self._of_account(session, account_id, shelf)
        probes = [(key, places(key)) for key in keys] if filters else []
        for held in filters:
            for key, mask in held.possible(probes):
                for number in range(SHELVES_A_FILTER):
                    if mask >> number & 1:
                        by_shelf.setdefault(held.first_shelf + number, []).append(key)
        return by_shelf

    def _of_account(self, session: Session, account_id: int, shelf: int) -> list[SeenFilter]:
        """The account's filters, read again where another process has closed a shelf since."""
        open_shelf, held = self._filters.get(account_id, (-1, []))
        if open_shelf != shelf:
            lines = session.all(
                "SELECT first_shelf, bits FROM seen_filter WHERE account_id = :account_id ORDER BY first_shelf",
                account_id=account_id,
            )
            held = [SeenFilter(first_shelf, bits) for first_shelf, bits in lines]
            if sum(len(filters) for _, filters in self._filters.values()) + len(held) > _FILTERS_HELD_MAX:
                self._filters.clear()
            self._filters[account_id] = (shelf, held)
        return held


def _on_shelf(session: Session, account_id: int, shelf: int, keys: Sequence[bytes]) -> dict[bytes, int]:
    lines = session.among(
        "SELECT event_key, content FROM event WHERE account_id = :account_id AND shelf = :shelf AND event_key IN $keys",
        keys,
        account_id=account_id,
        shelf=shelf,
    )
    return dict(lines)


def places(key: bytes) -> range:
    """Where a key's bits are, beyond the last place counted from the first again: the digest's halves give independent places."""
    place = int.from_bytes(key[:8], "little") & _LAST_PLACE
    step = int.from_bytes(key[8:], "little") & _LAST_PLACE | 1
    return range(place, place + step * _PROBES, step)
