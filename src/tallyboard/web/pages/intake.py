"""What the Intake page shows, as pure functions: sources, what was the matter with events, and how to send the first."""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard.ledger.arrivals import Kind, Note
from tallyboard.ledger.told import EVERY_SOURCE
from tallyboard.people.source_of_record import Chosen
from tallyboard.usage.arrived import DAYS, Arrived, Source, Totals
from tallyboard.usage.report import short_identifier
from tallyboard.web.pages import figures
from tallyboard.web.pages.frame import address
from tallyboard.web.pages.kpis import Kpi
from tallyboard.web.pages.table import trend

PATH = "/intake"
DONE = {"rated": "The rate counts for what comes from now on.", "chosen": "Saved. It counts for what comes from now on."}
REASONS = {
    "bad_json": "Not JSON",
    "not_an_event": "Not an event",
    "missing_field": "A field is missing",
    "bad_field": "A field has the wrong type",
    "bad_specversion": "Another version of CloudEvents",
    "bad_text": "Text with control characters",
    "key_too_long": "A key or id is too long",
    "bad_time": "No time, or one without an offset",
    "time_ahead": "A time in the future",
    "time_too_old": "A time too long ago",
    "bad_data": "Data that is no object",
    "bad_quantity": "A quantity that is none",
    "negative_quantity": "A correction by a key that may not",
    "reason_missing": "A correction without a reason",
    "event_too_large": "An event is too large",
    "too_deep": "Data is nested too deep",
    "invalid": "A request that makes no sense",
    "too-large": "A request is too large",
    "unsupported-media-type": "Another kind of content",
}
"""Why events are refused, for people."""
EVERY, ACCOUNT, ONLY = "every", "account", "only "
_NAMES = {"refused": Kind.REFUSED, "conflicts": Kind.CONFLICT, "aside": Kind.SET_ASIDE, "unrated": Kind.UNRATED}


class Wish(Struct, frozen=True):
    """A rate that is asked for: of which events, for which field, how many a credit buys, and what is wrong with that."""

    type: str
    model: str
    value: str = ""
    per_credit: str = ""
    fields: tuple[str, ...] = ()
    problem: str = ""


class Choice(Struct, frozen=True):
    """A source of record that is asked for: for the account or, with `of_user`, for one user; and what is wrong with that.

    `source` is as the form has it: `every`, `only` and a source's name or, for a user, `account`.
    """

    of_user: bool
    user: str = ""
    source: str = EVERY
    problem: str = ""

    @property
    def chosen(self) -> str | None:
        """As it is kept."""
        return None if self.source == ACCOUNT else self.source.removeprefix(ONLY) if self.source.startswith(ONLY) else EVERY_SOURCE


def context(found: Arrived, keys: Mapping[str, str], zone: ZoneInfo, now_us: int, *, wish: Wish | None, done: str) -> dict[str, object]:
    """The keys of `intake.html` beside the layout's. `keys` are names of API keys by id."""
    return {
        "kpis": _kpis(found.totals),
        "sources": [_source(source, keys, zone, now_us) for source in found.sources],
        "more_sources": found.all_sources - len(found.sources),
        **{name: [_note(note, keys, zone, now_us) for note in found.notes[kind]] for name, kind in _NAMES.items()},
        "empty": not found.sources and not any(found.notes.values()),
        "days": DAYS,
        "wish": wish,
        "done": DONE.get(done, ""),
    }


def truth(chosen: Chosen, found: Arrived, choice: Choice | None) -> dict[str, object]:
    """The keys of `intake.html` that are about the source of record."""
    lines = [{"whom": "All users", "more": "", "source": chosen.source, "change": address(PATH, choose="account")}]
    lines += [
        {
            "whom": each.email or short_identifier(each.user),
            "more": each.user if each.email else "",
            "source": each.source,
            "change": address(PATH, choose="user", user=each.user),
        }
        for each in chosen.own
    ]
    sources = {source.source for source in found.sources} | {each for each in (chosen.source, *(own.source for own in chosen.own)) if each}
    return {"truths": lines, "more_truths": chosen.all_own - len(chosen.own), "choice": choice, "choosable": sorted(sources)}


def choice_of(chosen: Chosen, user: str, *, of_user: bool) -> Choice:
    """What is set now, to be changed."""
    if not of_user:
        return Choice(False, source=_written(chosen.source))
    own = next((each for each in chosen.own if each.user == user), None)
    return Choice(True, user, _written(own.source) if own else ACCOUNT)


def _written(source: str | None) -> str:
    return ONLY + source if source else EVERY


def _kpis(totals: Totals) -> tuple[Kpi, ...]:
    return (
        Kpi("Accepted", f"{totals.accepted:,}", _not_twice(totals)),
        Kpi("Refused", f"{totals.refused:,}", f"{figures.count(totals.conflict, 'conflict')}: the first stands"),
        Kpi("Unrated", f"{totals.unrated:,}", "kept, and counted as 0 credits"),
        Kpi("Without a user", f"{totals.unattributed:,}", "counted as unattributed"),
    )


def _not_twice(totals: Totals) -> str:
    aside = f", {totals.set_aside:,} set aside" if totals.set_aside else ""
    return f"{figures.count(totals.duplicate, 'duplicate')} counted once{aside}"


def _source(source: Source, keys: Mapping[str, str], zone: ZoneInfo, now_us: int) -> dict[str, object]:
    late = source.accepted - source.minute - source.hour - source.day
    return {
        "source": source.source,
        "sender": _sender(source.sender, keys),
        "last": figures.lately(source.last_us, zone, now_us),
        "last_hours": f"{sum(source.hours):,}",
        "trend": trend(source.hours),
        "hours": len(source.hours),
        "accepted": f"{source.accepted:,}",
        "beside": _beside(source),
        "soon": figures.share(source.minute, source.accepted) if source.accepted else "–",
        "late": f"{figures.share(late, source.accepted)} over a day late" if late else "",
    }


def _beside(source: Source) -> str:
    """What was not simply accepted, in words; nothing where there is nothing to say."""
    parts = [
        figures.count(source.duplicate, "duplicate") if source.duplicate else "",
        figures.count(source.conflict, "conflict") if source.conflict else "",
        f"{source.unattributed:,} without a user" if source.unattributed else "",
        f"{source.set_aside:,} set aside" if source.set_aside else "",
    ]
    return ", ".join(part for part in parts if part)


def _note(note: Note, keys: Mapping[str, str], zone: ZoneInfo, now_us: int) -> dict[str, object]:
    name, more = _named(note)
    return {
        "name": name,
        "more": more,
        "sender": _sender(note.sender, keys),
        "events": f"{note.events:,}",
        "last": figures.lately(note.last_us, zone, now_us),
        "example": note.example,
        "rate": address(PATH, rate=note.subject, model=note.model) if note.kind is Kind.UNRATED else "",
    }


def _named(note: Note) -> tuple[str, str]:
    """What a note is about in a word, and below it."""
    if note.kind is Kind.REFUSED:
        return REASONS.get(note.subject, note.subject.replace("_", " ")), note.subject
    return (note.model, note.subject) if note.model else (note.subject, "")


def _sender(sender: str, keys: Mapping[str, str]) -> str:
    """`key ID` by the key's name; a command as it is."""
    kind, _, key_id = sender.partition(" ")
    return keys.get(key_id, f"A key that is gone ({key_id})") if kind == "key" and key_id else sender.capitalize()
