"""What came in, counted by the hour of receipt: from whom, from which source, how late, and what was the matter with it.

For people who look after intake; no figure of usage depends on it. What was kept is counted in the transaction that keeps it. What was
refused never reaches the ledger: it is noted by whoever refused it, a little later.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from operator import add

from msgspec import Struct
from msgspec.json import decode

from tallyboard.intake.event import UNATTRIBUTED
from tallyboard.ledger.contract import Entry, Outcome, Session

HOUR_US = 3_600_000_000
KEPT_HOURS = 30 * 24
EXAMPLE_CHARACTERS_MAX = 500
_LATE_US = (60_000_000, HOUR_US, 24 * HOUR_US)
_ACCEPTED, _DUPLICATE, _CONFLICT, _UNATTRIBUTED, _WITHIN_MINUTE, _WITHIN_HOUR, _WITHIN_DAY, _ASIDE, _LAST = range(9)
"""Places in what is counted of a source, in the order of the table's columns: numbers of events, then when the last came."""
_NOTHING = (0,) * (_LAST + 1)


class Kind(StrEnum):
    """What can be the matter."""

    REFUSED = "refused"
    CONFLICT = "conflict"
    UNRATED = "unrated"
    SET_ASIDE = "set aside"


class Note(Struct, frozen=True):
    """Something that was the matter with `events` events: `subject` is the reason, the source or the type; `example` tells of the last one."""

    kind: Kind
    sender: str
    subject: str
    model: str
    events: int
    last_us: int
    example: str


class Arrival(Struct, frozen=True):
    """One batch: who sent it, when it came, the entries that were new, those that were known, and those that conflict with what is kept.

    `aside` are those that were new, but tell what another source tells.
    """

    sender: str
    received_us: int
    fresh: list[Entry]
    known: list[Entry]
    conflicts: list[Entry]
    aside: list[Entry] = []
    settles: bool = False

    @property
    def outcome(self) -> Outcome:
        """What became of it, as its sender is told."""
        unrated = sum(not entry.rated for entry in self.fresh)
        unattributed = sum(entry.event.user == UNATTRIBUTED for entry in self.fresh)
        return Outcome(len(self.fresh), len(self.known), len(self.conflicts), unrated, unattributed, len(self.aside))


def count(session: Session, account_id: int, arrived: Iterable[Arrival]) -> None:
    """Count batches, in the transaction that keeps them."""
    lines: dict[tuple[int, str, str], Sequence[int]] = {}
    notes: list[Note] = []
    for batch in arrived:
        for source, numbers in _by_source(batch).items():
            place = batch.received_us // HOUR_US, batch.sender, source
            *sums, last_us = lines.get(place, _NOTHING)
            lines[place] = (*map(add, sums, numbers), max(last_us, batch.received_us))
        notes += _notes(batch)
    session.many(
        """
        INSERT INTO arrival AS kept (account_id, hour, sender, source, accepted, duplicate, conflict, unattributed,
                                     minute_late, hour_late, day_late, set_aside, last_us)
        $each (account_id, hour, sender, source, accepted, duplicate, conflict, unattributed, minute_late, hour_late, day_late, set_aside, last_us)
        ON CONFLICT (account_id, hour, sender, source) DO UPDATE SET
            accepted = kept.accepted + EXCLUDED.accepted, duplicate = kept.duplicate + EXCLUDED.duplicate,
            conflict = kept.conflict + EXCLUDED.conflict, unattributed = kept.unattributed + EXCLUDED.unattributed,
            minute_late = kept.minute_late + EXCLUDED.minute_late, hour_late = kept.hour_late + EXCLUDED.hour_late,
            day_late = kept.day_late + EXCLUDED.day_late, set_aside = kept.set_aside + EXCLUDED.set_aside, last_us = EXCLUDED.last_us
        """,
        [(account_id, *place, *lines[place]) for place in sorted(lines)],
    )
    note(session, account_id, notes)


def note(session: Session, account_id: int, notes: Iterable[Note]) -> None:
    """Add notes to those of their hour."""
    summed: dict[tuple[int, str, str, str, str], tuple[int, int, str]] = {}
    for each in notes:
        place = (each.last_us // HOUR_US, each.kind.value, each.sender, each.subject, each.model)
        events = summed.get(place, (0, 0, ""))[0] + each.events
        summed[place] = (events, each.last_us, each.example[:EXAMPLE_CHARACTERS_MAX])
    session.many(
        """
        INSERT INTO arrival_note AS kept (account_id, hour, kind, sender, subject, model, events, last_us, example)
        $each (account_id, hour, kind, sender, subject, model, events, last_us, example)
        ON CONFLICT (account_id, hour, kind, sender, subject, model)
        DO UPDATE SET events = kept.events + EXCLUDED.events, last_us = EXCLUDED.last_us, example = EXCLUDED.example
        """,
        [(account_id, *place, *summed[place]) for place in sorted(summed)],
    )


def left_to_forget(session: Session, now_us: int) -> list[int]:
    """The accounts of which more is kept than KEPT_HOURS."""
    lines = session.all(
        """
        SELECT account_id FROM account
        WHERE EXISTS (SELECT 1 FROM arrival WHERE arrival.account_id = account.account_id AND hour < :before)
           OR EXISTS (SELECT 1 FROM arrival_note WHERE arrival_note.account_id = account.account_id AND hour < :before)
        """,
        before=now_us // HOUR_US - KEPT_HOURS,
    )
    return [account_id for (account_id,) in lines]


def forget(session: Session, account_id: int, now_us: int) -> None:
    """Forget what is older than KEPT_HOURS."""
    before = now_us // HOUR_US - KEPT_HOURS
    session.run("DELETE FROM arrival WHERE account_id = :account_id AND hour < :before", account_id=account_id, before=before)
    session.run("DELETE FROM arrival_note WHERE account_id = :account_id AND hour < :before", account_id=account_id, before=before)


def _by_source(batch: Arrival) -> dict[str, list[int]]:
    """The numbers of a batch by source. How late an event came is counted of those accepted."""
    found: defaultdict[str, list[int]] = defaultdict(lambda: [0] * _LAST)
    minute_us, hour_us, day_us = (batch.received_us - late_us for late_us in _LATE_US)
    for entry in batch.fresh:
        event = entry.event
        numbers = found[event.source]
        numbers[_ACCEPTED] += 1
        if event.user == UNATTRIBUTED:
            numbers[_UNATTRIBUTED] += 1
        if event.at_us >= minute_us:
            numbers[_WITHIN_MINUTE] += 1
        elif event.at_us >= hour_us:
            numbers[_WITHIN_HOUR] += 1
        elif event.at_us >= day_us:
            numbers[_WITHIN_DAY] += 1
    for place, entries in ((_DUPLICATE, batch.known), (_CONFLICT, batch.conflicts), (_ASIDE, batch.aside)):
        for entry in entries:
            found[entry.event.source][place] += 1
    return found


def _notes(batch: Arrival) -> list[Note]:
    notes = [
        Note(kind, batch.sender, entry.event.source, "", 1, batch.received_us, f"id {entry.event.id}")
        for kind, entries in ((Kind.CONFLICT, batch.conflicts), (Kind.SET_ASIDE, batch.aside))
        for entry in entries
    ]
    unrated: dict[tuple[str, str], list[Entry]] = {}
    for entry in batch.fresh:
        if not entry.rated:
            unrated.setdefault((entry.event.type, entry.event.model), []).append(entry)
    for (kind, model), entries in unrated.items():
        numbers = _number_names(entries[-1].event.document)
        notes.append(Note(Kind.UNRATED, batch.sender, kind, model, len(entries), batch.received_us, numbers))
    return notes


def _number_names(document: str) -> str:
    """The fields of an event's data that a meter could read."""
    data = decode(document)
    return ", ".join(name for name, value in data.items() if isinstance(value, int | float) and not isinstance(value, bool))
