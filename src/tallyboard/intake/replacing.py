"""Reports on their way in: sums of stretches of time, which a later report of the same stretch replaces.

What a line says otherwise than before becomes an event, in the transaction that knows what was counted of it. Nothing of a line
counts on an account day on which its user's usage was told live: reports fill gaps and double nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from hashlib import blake2b
from secrets import token_bytes
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder, Encoder
from msgspec.structs import replace

from tallyboard import days
from tallyboard.errors import Invalid, TallyboardError
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent, exact
from tallyboard.intake.event import UNATTRIBUTED, Reason, Refusal, is_key
from tallyboard.ledger import buckets, told
from tallyboard.ledger.buckets import DAY_US, KEPT_DAYS, Bucket
from tallyboard.ledger.contract import Batch, Entry, Ledger, Outcome, Session
from tallyboard.ledger.locking import LockedAccount, lock
from tallyboard.rates.charge import Charger

EVENT_TYPE = "ai.usage.recorded"
WINDOWS_MAX = 10_000
"""Of one report."""
WINDOW_LINES_MAX = 50_000
LINES_AT_ONCE = 1_000
WINDOWS_AT_ONCE = 200
LEFT_AT_ONCE = 1_000
EXAMPLES_MAX = 20

Quantity = int | Decimal
Fields = Mapping[str, str | Quantity]


class Line(Struct, frozen=True, gc=False):
    """Whose usage, what else tells the line from the others of its window, and what an event of it says: texts and sums."""

    user: str | None
    apart: tuple[str, ...]
    fields: Fields


class Window(Struct, frozen=True):
    """All that a report says of a stretch of time `[start, end)`: what it does not say is nothing.

    Windows of one `name` are the same, whatever their time, and count where the first one did; without a name the time tells them apart.
    """

    start_us: int
    end_us: int
    lines: Sequence[Line] = ()
    name: str = ""

    @property
    def at_us(self) -> int:
        """The middle, at which it counts: a day of UTC is the same date there in nearly every zone."""
        return (self.start_us + self.end_us) // 2


class Report(Struct, frozen=True):
    """Where windows come from. Those of another `source` or `scope` are other windows. `read_us` is when the report was asked for.

    `beside_live` has lines count beside what was told live.
    """

    source: str
    scope: str
    read_us: int
    beside_live: bool = False


class From(Struct, frozen=True):
    """Whose report it is: the account, who has it taken in, the rates."""

    account_id: int
    actor: str
    charger: Charger


class Tally(Struct):
    """What became of the lines of a report so far. `gone` lines are those that it says nothing of any more.

    `set_aside` are those of days that were told live, `of_another_source` those of users of whom another source is the one of record.
    """

    windows: int = 0
    lines: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    set_aside: int = 0
    of_another_source: int = 0
    not_yet: int = 0
    overtaken: int = 0
    refused: int = 0
    unrated: int = 0
    unattributed: int = 0

    def add(self, part: "Tally") -> None:
        """Count a part."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(part, name))


class _Piece(Struct, frozen=True):
    """Lines of one window; with `closes` there are no further ones."""

    window_key: bytes
    at_us: int
    lines: Sequence[Line]
    closes: bool


class _Made(Struct):
    """What a transaction came to: made anew each time it is tried."""

    tally: Tally
    entries: tuple[Entry, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    more: bool = False


class Replacing:
    """Takes in the windows of one report, one transaction after the other: each must see the events of the one before."""

    def __init__(self, ledger: Ledger, report: Report, origin: From) -> None:
        self._ledger = ledger
        self._report = report
        self._origin = origin
        self._room = 0
        self.tally = Tally()
        self.examples: list[Refusal] = []
        """Why the first lines that were refused are."""

    def take(self, windows: Iterable[Window], now_us: int) -> None:
        """Replace what was counted of these windows. Invalid where there are more of them or of their lines than there may be."""
        for part in _parts(self._pieces(windows, now_us)):
            while self._keep(part, now_us):
                part = [_Piece(each.window_key, each.at_us, (), each.closes) for each in part if each.closes]  # noqa: PLW2901  What is left.

    def _pieces(self, windows: Iterable[Window], now_us: int) -> Iterator[_Piece]:
        for window in windows:
            if window.at_us > now_us:
                self.tally.not_yet += len(window.lines)
                continue
            if self.tally.windows == WINDOWS_MAX:
                raise Invalid(f"a report may have {WINDOWS_MAX:,} windows; what came before is counted. Ask for a shorter time")
            if window.start_us < now_us - (KEPT_DAYS - 1) * DAY_US:
                raise Invalid(f"a report may go back {KEPT_DAYS - 1} days; {days.instant_text(window.start_us)} is earlier")
            self.tally.windows += 1
            names = (window.name,) if window.name else (str(window.start_us), str(window.end_us))
            key = _digest(self._report.source, self._report.scope, *names)
            lines = self._merged(window.lines)
            if len(lines) > WINDOW_LINES_MAX:
                raise Invalid(f"a window may have {WINDOW_LINES_MAX:,} lines; {days.instant_text(window.start_us)} has {len(lines):,}")
            for first in range(0, len(lines) or 1, LINES_AT_ONCE):
                part = lines[first : first + LINES_AT_ONCE]
                yield _Piece(key, window.at_us, part, closes=first + LINES_AT_ONCE >= len(lines))

    def _merged(self, lines: Sequence[Line]) -> list[Line]:
        """The lines that can be someone's, each once: of several that nothing tells apart the sums are added."""
        found: dict[tuple[str, tuple[str, ...]], Line] = {}
        for line in lines:
            place = (_user(line), line.apart)
            if not is_key(place[0]):
                self.tally.lines, self.tally.refused = self.tally.lines + 1, self.tally.refused + 1
                self._tell([Refusal(0, Reason.BAD_TEXT, "a user's key is longer than 256 characters or holds a control character")])
                continue
            before = found.get(place)
            found[place] = line if before is None else replace(before, fields={**before.fields, **line.fields, **_added(before, line)})
        return list(found.values())

    def _tell(self, refusals: Sequence[Refusal]) -> None:
        self.examples += refusals[: EXAMPLES_MAX - len(self.examples)]

    def _keep(self, part: Sequence[_Piece], now_us: int) -> bool:
        """Have a part kept; whether windows of it are not done with."""
        lines = sum(len(each.lines) for each in part)
        looks_for_room = self._room < lines
        made = _Made(tally=Tally())

        def make(session: Session) -> tuple[Entry, ...]:
            nonlocal made
            if looks_for_room:
                buckets.make_room(session, self._origin.account_id, now_us)
            made = _replace(session, part, self._report, self._origin, now_us)
            return made.entries

        most = 2 * (lines + LEFT_AT_ONCE)
        outcome: Outcome = self._ledger.append(Batch(self._origin.account_id, (), now_us, self._origin.actor, make, most)).result()
        made.tally.unrated, made.tally.unattributed = outcome.unrated, outcome.unattributed
        self._room = (buckets.ROOM_FOR if looks_for_room else self._room) - lines
        self.tally.add(made.tally)
        self._tell(made.refusals)
        return made.more


class _Change(Struct, frozen=True):
    """A record, and what the report says of it now: None where it says nothing."""

    before: Bucket
    line: Line | None


_document = Encoder(order="deterministic", decimal_format="number").encode
_fields = Decoder(dict[str, Any], float_hook=exact)


def said(texts: Mapping[str, str | None], *sums: Mapping[str, object]) -> dict[str, str | Quantity]:
    """The fields of a line: texts that say something, numbers that are not zero."""
    numbers = {name: value for part in sums for name, value in part.items() if isinstance(value, int | Decimal) and value}
    return {**{name: text for name, text in texts.items() if text}, **numbers}


def _replace(session: Session, part: Sequence[_Piece], report: Report, origin: From, now_us: int) -> _Made:
    """The entries by which the ledger comes to say what the report says, with the records of it kept."""
    account = lock(session, origin.account_id)
    zone = days.zone(account.timezone)
    made = _Made(tally=Tally())
    changes, made.more = _changes(session, part, report, origin.account_id)
    places = [(each.before.user, days.day_number(each.before.at_us // days.SLOT_US, zone)) for each in changes]
    live = set() if report.beside_live else buckets.told_live(session, origin.account_id, account, places)
    elsewhere = _of_another_source(session, account, report, origin.account_id, {user for user, _ in places})
    entries: list[Entry] = []
    kept: list[Bucket] = []
    for change, place in zip(changes, places, strict=True):
        made.tally.lines += change.line is not None
        if change.before.read_us > report.read_us:
            made.tally.overtaken += 1
            continue
        if change.before.user in elsewhere:  # What is in the ledger already stays as it is.
            made.tally.of_another_source += change.line is not None
            kept.append(replace(change.before, read_us=report.read_us))
            continue
        aside = change.line is not None and place in live
        events, counted = _events(change, report.source, aside=aside)
        accepted = accept(events, Sender(may_adjust=True), origin.charger, now_us)
        made.refusals += accepted.refused[:EXAMPLES_MAX]
        if accepted.refused:  # It stays as it was: all of its events, or none.
            kept.append(replace(change.before, read_us=report.read_us))
        else:
            entries += accepted.entries
            after = change.before.events + len(events)
            kept.append(replace(change.before, events=after, counted=counted, read_us=report.read_us))
        _count(made.tally, change, events=len(events), aside=aside, refused=bool(accepted.refused))
    buckets.keep(session, origin.account_id, [each for each in kept if each.events])
    made.entries = tuple(entries)
    return made


def _of_another_source(session: Session, account: LockedAccount, report: Report, account_id: int, users: set[str]) -> set[str]:
    """Those users of whom only another source counts (ledger/told.py)."""
    own = told.of_users(session, account_id, sorted(users)) if account.own_record_sources and users else {}
    return {user for user in users if own.get(user, account.record_source) not in {None, told.EVERY_SOURCE, report.source}}


def _changes(session: Session, part: Sequence[_Piece], report: Report, account_id: int) -> tuple[list[_Change], bool]:
    """The records of a part, new ones too, and whether there are more that the report says nothing of."""
    changes: list[_Change] = []
    said: set[tuple[bytes, str, bytes]] = set()
    rest = LEFT_AT_ONCE
    for piece in part:
        known = buckets.known(session, account_id, piece.window_key, {_user(line) for line in piece.lines}) if piece.lines else {}
        for line in piece.lines:
            user, name = _user(line), _digest(*line.apart)
            before = known.get((user, name)) or Bucket(piece.window_key, user, name, token_bytes(16), piece.at_us, 0, "{}", 0)
            changes.append(_Change(before, line))
            said.add((piece.window_key, user, name))
        if piece.closes and rest:
            left = buckets.left(session, account_id, piece.window_key, report.read_us, rest + len(piece.lines))
            gone = [each for each in left if (each.window_key, each.user, each.line) not in said][:rest]
            changes += [_Change(each, None) for each in gone]
            rest -= len(gone)
    return changes, rest == 0


def _events(change: _Change, source: str, *, aside: bool) -> tuple[list[CloudEvent], str]:
    """The events that turn what was counted into what is to be, and that as JSON.

    One where everything has only grown. Else what was counted is taken back as a whole and what is to be is counted: a difference
    of which one sum has grown and what it contains has shrunk is nothing that a rate card could charge.
    """
    before = _fields.decode(change.before.counted)
    now: Fields = change.line.fields if change.line is not None and not aside else {}
    then, wanted = _sums(before), _sums(now)
    if then == wanted:
        return [], change.before.counted
    said = [{**before, **{name: -number for name, number in then.items()}}] if then else []
    grown = {name: number - then.get(name, 0) for name, number in wanted.items()}
    if _texts(before) == _texts(now) and then.keys() <= grown.keys() and _makes_sense(grown):
        said = [{**now, **grown}]
    else:
        said = [{**each, "reason": _reason(change, source, aside=aside)} for each in said] + ([dict(now)] if wanted else [])
    events = [_event(change.before, number, source, data) for number, data in enumerate(said, change.before.events + 1)]
    return events, _document(now).decode()


def _makes_sense(grown: Mapping[str, Quantity]) -> bool:
    """Whether differences are such as a report of their own could state: nothing below what it contains (intake/tokens.py)."""
    cached = grown.get("cache_read_tokens", 0) + grown.get("cache_write_tokens", 0)
    return (
        min(grown.values()) >= 0
        and grown.get("input_tokens", cached) >= cached
        and grown.get("output_tokens", 0) >= grown.get("reasoning_tokens", 0)
    )


def _reason(change: _Change, source: str, *, aside: bool) -> str:
    if aside:
        return "told live meanwhile"
    return f"a later report of {source} says otherwise" if change.line else f"a later report of {source} does not say it any more"


def _event(record: Bucket, number: int, source: str, data: dict[str, Any]) -> CloudEvent:
    time = days.instant_text(record.at_us)
    return CloudEvent("1.0", f"{record.record.hex()}-{number}", source, EVENT_TYPE, record.user, time, data)


def _count(tally: Tally, change: _Change, *, events: int, aside: bool, refused: bool) -> None:
    if refused:
        tally.refused += 1
    elif aside:
        tally.set_aside += 1
    elif change.line is None:
        tally.gone += events > 0
    elif not events:
        tally.unchanged += 1
    elif change.before.events:
        tally.changed += 1
    else:
        tally.new += 1


def _parts(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces by transaction. Where no more of them can be had, those that there were come first, then the error."""
    part: list[_Piece] = []
    lines = 0
    trouble: TallyboardError | None = None
    try:
        for piece in pieces:
            if part and (lines + len(piece.lines) > LINES_AT_ONCE or len(part) == WINDOWS_AT_ONCE):
                yield part
                part, lines = [], 0
            part.append(piece)
            lines += len(piece.lines)
    except TallyboardError as error:
        trouble = error
    if part:
        yield part
    if trouble is not None:
        raise trouble


def _added(one: Line, other: Line) -> dict[str, Quantity]:
    first, second = _sums(one.fields), _sums(other.fields)
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def _sums(fields: Fields) -> dict[str, Quantity]:
    """What of the fields is a sum, zeros left out: a report that states none says the same as one that states nothing."""
    return {name: value for name, value in fields.items() if not isinstance(value, str) and value}


def _texts(fields: Fields) -> dict[str, str]:
    return {name: value for name, value in fields.items() if isinstance(value, str)}


def _user(line: Line) -> str:
    return line.user or UNATTRIBUTED


def _digest(*names: str) -> bytes:
    """16 bytes that stand for some texts, each with its length so that no two lists of them meet."""
    digest = blake2b(digest_size=16)
    for name in names:
        text = name.encode(errors="surrogatepass")
        digest.update(b"%d:%b" % (len(text), text))
    return digest.digest()
