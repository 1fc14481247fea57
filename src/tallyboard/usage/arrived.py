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
    set_aside: int
    minute: int
    hour: int
    day: int
    last_us: int
    hours: tuple[int, ...]


class Totals(Struct, frozen=True):
    """Events of the last DAYS days, of all sources."""

    accepted: int
    duplicate: int
    conflict: int
    unattributed: int
    set_aside: int
    refused: int
    unrated: int


class Arrived(Struct, frozen=True):
    """All of it. `sources` are those heard of last, SOURCES_MAX of `all_sources` at most; `notes` by kind, those of the most events."""

    totals: Totals
    sources: tuple[Source, ...]
    all_sources: int
    notes: Mapping[Kind, tuple[Note, ...]]


def arrived(session: Session, account_id: int, now_us: int) -> Arrived:
    """What came in during the last DAYS days, the present hour included, from one snapshot."""
    this_hour = now_us // HOUR_US
    first = this_hour - DAYS * 24 + 1
    (all_sources,) = session.one(
        """
        SELECT count(*) FROM (SELECT DISTINCT sender, source FROM arrival WHERE account_id = :account_id AND hour >= :first) AS each_source
        """,
        account_id=account_id,
        first=first,
    ) or (0,)
    return Arrived(
        _totals(session, account_id, first),
        _sources(session, account_id, first, this_hour),
        all_sources,
        {kind: _notes(session, account_id, kind, first) for kind in Kind},
    )


def _totals(session: Session, account_id: int, first: int) -> Totals:
    line = session.one(
        """
        SELECT coalesce(sum(accepted), 0), coalesce(sum(duplicate), 0), coalesce(sum(conflict), 0), coalesce(sum(unattributed), 0),
               coalesce(sum(set_aside), 0)
        FROM arrival WHERE account_id = :account_id AND hour >= :first
        """,
        account_id=account_id,
        first=first,
    )
    noted: dict[str, int] = {
        kind: int(events)
        for kind, events in session.all(
            "SELECT kind, sum(events) FROM arrival_note WHERE account_id = :account_id AND hour >= :first GROUP BY kind",
            account_id=account_id,
            first=first,
        )
    }
    assert line is not None
    accepted, duplicate, conflict, unattributed, set_aside = map(int, line)
    return Totals(accepted, duplicate, conflict, unattributed, set_aside, noted.get(Kind.REFUSED, 0), noted.get(Kind.UNRATED, 0))


def _sources(session: Session, account_id: int, first: int, this_hour: int) -> tuple[Source, ...]:
    lines = session.all(
        """
        SELECT sender, source, sum(accepted), sum(duplicate), sum(conflict), sum(unattributed), sum(set_aside), sum(minute_late),
               sum(hour_late), sum(day_late), max(last_us) AS latest
        FROM arrival WHERE account_id = :account_id AND hour >= :first
        GROUP BY sender, source ORDER BY latest DESC, sender, source LIMIT :most
        """,
        account_id=account_id,
        first=first,
        most=SOURCES_MAX,
    )
    shown = range(this_hour - HOURS_SHOWN + 1, this_hour + 1)
    by_hour: dict[tuple[str, str], dict[int, int]] = {}
    for hour, sender, source, accepted in session.among(
        "SELECT hour, sender, source, accepted FROM arrival WHERE account_id = :account_id AND hour >= :first AND source IN $keys",
        list({line[1] for line in lines}),
        account_id=account_id,
        first=shown.start,
    ):
        by_hour.setdefault((sender, source), {})[hour] = accepted
    return tuple(_source(line, by_hour.get(line[:2], {}), shown) for line in lines)


def _source(line: Line, by_hour: Mapping[int, int], hours: range) -> Source:
    sender, source, *sums, last_us = line
    accepted_by_hour = tuple(by_hour.get(each, 0) for each in hours)
    accepted, duplicate, conflict, unattributed, set_aside, minute, hour, day = map(int, sums)  # PostgreSQL sums to a decimal.
    return Source(sender, source, accepted, duplicate, conflict, unattributed, set_aside, minute, hour, day, last_us, accepted_by_hour)


def _notes(session: Session, account_id: int, kind: Kind, first: int) -> tuple[Note, ...]:
    """The notes of a kind, each subject of a sender once, those of the most events first; the example is the last one's."""
    lines = session.all(
        """
        SELECT most.sender, most.subject, most.model, most.number, most.latest, arrival_note.example
        FROM (
            SELECT sender, subject, model, sum(events) AS number, max(last_us) AS latest FROM arrival_note
            WHERE account_id = :account_id AND kind = :kind AND hour >= :first
            GROUP BY sender, subject, model ORDER BY number DESC, subject, model, sender LIMIT :most
        ) AS most
        JOIN arrival_note ON arrival_note.account_id = :account_id AND arrival_note.kind = :kind
            AND arrival_note.hour = most.latest / 3600000000 AND arrival_note.sender = most.sender
            AND arrival_note.subject = most.subject AND arrival_note.model = most.model
        ORDER BY most.number DESC, most.subject, most.model, most.sender
        """,
        account_id=account_id,
        kind=kind.value,
        first=first,
        most=NOTES_MAX,
    )
    return tuple(
        Note(kind, sender, subject, model, int(number), last_us, example) for sender, subject, model, number, last_us, example in lines
    )
