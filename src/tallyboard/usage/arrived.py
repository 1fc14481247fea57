"""What came in lately, for those who look after intake: by source and sender, and what was the matter with some of it."""

from collections.abc import Mapping

from msgspec import Struct

from tallyboard.ledger.arrivals import HOUR_US, Kind, Note
from tallyboard.ledger.contract import Line, Session

DAYS = 7
HOURS_SHOWN = 24
SOURCES_MAX = 200
NOTES_MAX = 200


class Source(Struct, frozen=True):
    """What one sender said of one source in the last DAYS days.

    `minute`, `hour` and `day` are how many of those accepted came within so much of their time, each without the ones before;
    `hours` is what was accepted in each of the last HOURS_SHOWN hours, the present one last.
    """

    sender: str
    source: str
    accepted: int
    duplicate: int
    conflict: int
    unattributed: int
    minute: int
    hour: int
    day: int
    last_us: int
    hours: tuple[int, ...]


class Arrived(Struct, frozen=True):
    """All of it: the sources heard of last come first, at most SOURCES_MAX of `all_sources`; notes likewise, by kind."""

    sources: tuple[Source, ...]
    all_sources: int
    notes: Mapping[Kind, tuple[Note, ...]]

    def total(self, name: str) -> int:
        """A number of all the sources that are shown."""
        return sum(getattr(source, name) for source in self.sources)

    def noted(self, kind: Kind) -> int:
        """How many events something was the matter with."""
        return sum(note.events for note in self.notes[kind])


def arrived(session: Session, account_id: int, now_us: int) -> Arrived:
    """What came in during the last DAYS days, the present hour included."""
    this_hour = now_us // HOUR_US
    first = this_hour - DAYS * 24 + 1
    lines = session.all(
        """
        SELECT sender, source, sum(accepted), sum(duplicate), sum(conflict), sum(unattributed), sum(minute_late), sum(hour_late),
               sum(day_late), max(last_us) AS latest
        FROM arrival WHERE account_id = :account_id AND hour >= :first
        GROUP BY sender, source ORDER BY latest DESC, sender, source
        """,
        account_id=account_id,
        first=first,
    )
    by_hour: dict[tuple[str, str], dict[int, int]] = {}
    for hour, sender, source, accepted in session.all(
        "SELECT hour, sender, source, accepted FROM arrival WHERE account_id = :account_id AND hour > :before",
        account_id=account_id,
        before=this_hour - HOURS_SHOWN,
    ):
        by_hour.setdefault((sender, source), {})[hour] = accepted
    shown = range(this_hour - HOURS_SHOWN + 1, this_hour + 1)
    sources = tuple(_source(line, by_hour.get(line[:2], {}), shown) for line in lines[:SOURCES_MAX])
    return Arrived(sources, len(lines), {kind: _notes(session, account_id, kind, first) for kind in Kind})


def _source(line: Line, by_hour: Mapping[int, int], hours: range) -> Source:
    sender, source, accepted, duplicate, conflict, unattributed, minute, hour, day, last_us = line
    return Source(
        sender,
        source,
        int(accepted),  # PostgreSQL sums to a decimal.
        int(duplicate),
        int(conflict),
        int(unattributed),
        int(minute),
        int(hour),
        int(day),
        last_us,
        tuple(by_hour.get(each, 0) for each in hours),
    )


def _notes(session: Session, account_id: int, kind: Kind, first: int) -> tuple[Note, ...]:
    """The notes of a kind, each subject of a sender once, those of the most events first; the example is the last one's."""
    found: dict[tuple[str, str, str], Note] = {}
    for sender, subject, model, events, last_us, example in session.all(
        """
        SELECT sender, subject, model, events, last_us, example FROM arrival_note
        WHERE account_id = :account_id AND hour >= :first AND kind = :kind ORDER BY hour
        """,
        account_id=account_id,
        first=first,
        kind=kind.value,
    ):
        before = found.get((sender, subject, model))
        found[sender, subject, model] = Note(kind, sender, subject, model, events + (before.events if before else 0), last_us, example)
    return tuple(sorted(found.values(), key=lambda note: (-note.events, note.subject, note.model, note.sender))[:NOTES_MAX])
