"""The Credit Policy page: from what was read and what was typed to what its template needs. Pure."""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard import credits, days
from tallyboard.errors import Invalid
from tallyboard.people.directory import Entry, User
from tallyboard.policy.bulk import MISTAKES_MAX, LineMistake
from tallyboard.policy.history import PAGE_CHANGES_MAX, Change
from tallyboard.policy.holds import Hold
from tallyboard.policy.limits import LIMIT_UNITS_MAX, limit_text, parse_limit
from tallyboard.policy.overrides import PAGE_OVERRIDES_MAX, UserOverride
from tallyboard.policy.policy import Policy
from tallyboard.usage.report import short_identifier
from tallyboard.web.pages import changes, figures
from tallyboard.web.pages.frame import address
from tallyboard.web.pages.trial import Trial

PATH = "/policy"
DONE = {
    "policy": "Credit policy saved.",
    "limit": "Limit saved.",
    "limits": "Limits saved.",
    "removed": "Limit removed. The default counts again.",
    "released": "Released. The credits may be used again.",
}


class Draft(Struct, frozen=True):
    """What is typed in the form of the default limit and the zone."""

    custom: bool
    limit: str
    timezone: str


class Reading(Struct, frozen=True):
    """A draft as it is understood: units (None for no limit) and zone, or what is wrong with them."""

    units: int | None
    zone: ZoneInfo | None
    limit_problem: str
    zone_problem: str

    @property
    def good(self) -> bool:
        """Whether it can be saved."""
        return not self.limit_problem and not self.zone_problem


class Typed(Struct, frozen=True):
    """What is typed in the form of one user's limit, or of many users'. `tag` stands for the override it replaces, `none` for none."""

    user: str = ""
    lines: str = ""
    limit: str = ""
    reason: str = ""
    expires: str = ""
    tag: str = ""


class Dialog(Struct, frozen=True):
    """A question in front of the page: `pause`, `limit`, `limits` or `remove`, and what is wrong with the answer so far."""

    kind: str
    typed: Typed = Typed()
    known: bool = False
    problems: Mapping[str, str] = {}
    mistakes: tuple[LineMistake, ...] = ()
    conflict: str = ""


class Query(Struct, frozen=True):
    """The parts of the page's address that choose what its lists show."""

    q: str = ""
    after: str = ""
    before: str = ""
    user: str = ""
    at: str = ""


class Seen(Struct, frozen=True):
    """Everything that was read for the page, at one instant. `overrides` and `changes` hold one more than is shown where there are more."""

    now_us: int
    policy: Policy
    trial: Trial | None
    overrides: Sequence[UserOverride]
    overrides_total: int
    holds: Sequence[Hold]
    holds_total: tuple[int, int]
    changes: Sequence[Change]
    applied: str
    applied_problem: str
    people: Sequence[Entry]
    known: Mapping[str, User]


class OverrideLine(Struct, frozen=True):
    """A user's own limit as a line of the table. That of an alias is kept, counts for nobody and cannot be changed meanwhile."""

    id: str
    user: str
    name: str
    detail: str
    alias_of: str
    limit: str
    reason: str
    expires: str
    expired: bool
    set_by: str
    set_at: str
    edit: str
    remove: str


class HoldLine(Struct, frozen=True):
    """Credits set aside, as a line of the table."""

    hold_id: str
    name: str
    detail: str
    credits: str
    granted: str
    left: str


def draft(values: Mapping[str, str], saved: Policy) -> Draft:
    """What an address or a form says of the default limit and the zone; what it does not say is as saved."""
    limit, mode = values.get("limit", ""), values.get("mode", "")
    if not limit and not mode:
        limit, mode = _written(saved.default_units), "custom" if saved.default_units is not None else "unlimited"
    custom = mode == "custom" if mode else limit.strip().lower() != "unlimited"
    return Draft(custom, limit if limit.strip().lower() != "unlimited" else "", values.get("timezone", saved.timezone))


def read(typed: Draft) -> Reading:
    """Understand a draft."""
    units, limit_problem = None, ""
    if typed.custom and not typed.limit.strip():
        limit_problem = "Type a number of credits, or choose Unlimited."
    elif typed.custom:
        units, limit_problem = read_limit(typed.limit)
    try:
        return Reading(units, days.find_zone(typed.timezone), limit_problem, "")
    except ValueError:
        return Reading(units, None, limit_problem, f"There is no timezone “{typed.timezone[:40]}”. Choose one from the list.")


def read_limit(text: str) -> tuple[int | None, str]:
    """The units of a limit as it was typed, or what is wrong with it, as a sentence."""
    try:
        units = parse_limit(text)
    except Invalid as error:
        sentence = _quoted(str(error).removeprefix("limit: "))
        return None, f"{sentence[:1].upper()}{sentence[1:]}."
    return units, "" if units is None or units <= LIMIT_UNITS_MAX else "That is more than can be counted."


def unsaved(typed: Draft, reading: Reading, saved: Policy) -> bool:
    """Whether the form says something else than what is in force."""
    zone = reading.zone.key if reading.zone else typed.timezone
    return not reading.good or reading.units != saved.default_units or zone != saved.timezone


def conflict(saved: Policy, mine: Reading, latest: Sequence[Change]) -> str:
    """What somebody saved while a form was filled in, and what the form says. `latest` are the last changes, newest first.

    The zones are named where they are two, or where that of the form is none.
    """
    who = next((changes.actor(each.actor) for each in latest if each.action in {"policy.changed", "account.changed"}), "Somebody else")
    zone = mine.zone.key if mine.zone else ""
    both = zone != saved.timezone
    theirs = _in_force(saved.default_units, saved.timezone if both else "")
    typed = f" You typed: {_in_force(mine.units, zone if both else '')}." if mine.good else ""
    return f"{who} saved meanwhile: {theirs}.{typed} Save to put yours in the place of theirs, or discard to keep theirs."


def context(
    seen: Seen, query: Query, typed: Draft, *, touched: bool = False, dialog: Dialog | None = None, conflict: str = "", done: str = ""
) -> dict[str, object]:
    """What `policy.html` needs beside the layout's keys. `touched` says that the draft was sent, so that what is missing is a mistake."""
    reading = read(typed)
    zone = days.zone(seen.policy.timezone)
    return {
        "saved": {
            "tag": seen.policy.tag,
            "limit": _written(seen.policy.default_units),
            "limit_text": limit_text(seen.policy.default_units),
            "timezone": seen.policy.timezone,
        },
        "draft": typed,
        "reading": reading,
        "limit_problem": reading.limit_problem if touched or typed.limit.strip() else "",
        "unsaved": unsaved(typed, reading, seen.policy),
        "zone": _zone(reading.zone, seen),
        "zones": sorted(days.zone_names()),
        "trial": seen.trial,
        "conflict": conflict,
        "dialog": dialog,
        "mistakes": _mistakes(dialog.mistakes) if dialog else (),
        "done": DONE.get(done, ""),
        "query": query,
        "people": seen.people,
        "zone_name": figures.zone_name(seen.policy.timezone),
        **_lists(seen, query, zone),
    }


def link(query: Query, fragment: str = "", **more: str) -> str:
    """The page's address with its lists as they are."""
    return address(PATH, fragment, **{"q": query.q, "after": query.after, **more})


def _lists(seen: Seen, query: Query, zone: ZoneInfo) -> dict[str, object]:
    shown, listed = seen.overrides[:PAGE_OVERRIDES_MAX], seen.changes[:PAGE_CHANGES_MAX]
    count, units = seen.holds_total
    return {
        "overrides": tuple(_override(each, seen, query, zone) for each in shown),
        "overrides_total": figures.count(seen.overrides_total, "user"),
        "overrides_next": link(query, "own", after=shown[-1].user) if len(seen.overrides) > len(shown) else "",
        "overrides_first": address(PATH, "own", q=query.q) if query.after else "",
        "add": link(query, "own", add="1"),
        "add_several": link(query, "own", bulk="1"),
        "close": link(query, "own"),
        "clear_search": address(PATH, "own"),
        "holds": tuple(_hold(each, seen, zone) for each in seen.holds),
        "holds_total": f"{credits.shown(units)} credits in {figures.count(count, 'request')}" if count else "",
        "holds_more": f"Showing the oldest {len(seen.holds):,} of {count:,}." if count > len(seen.holds) else "",
        "changes": tuple(line for line in (changes.line(each, zone) for each in listed) if line.steps),
        "changes_next": address(PATH, "history", before=str(listed[-1].audit_id)) if len(seen.changes) > len(listed) else "",
        "changes_first": address(PATH, "history") if query.before else "",
        "at": query.at or days.local_text(seen.now_us, zone),
        "applied": seen.applied,
        "applied_problem": seen.applied_problem,
    }


def expires_text(override: UserOverride | None, zone: ZoneInfo) -> str:
    """When an override expires, as its form carries it."""
    return "" if override is None or override.expires_us is None else days.local_text(override.expires_us, zone)


def override_form(user: str, found: UserOverride | None, zone: ZoneInfo) -> Typed:
    """The form of a user's limit as it begins."""
    if found is None:
        return Typed(user=user, tag="none")
    return Typed(found.user, "", _written(found.units) or "unlimited", found.reason, expires_text(found, zone), found.tag)


def _in_force(units: int | None, timezone: str) -> str:
    limit = "no daily limit" if units is None else f"{limit_text(units)} a day"
    return f"{limit}, days end at midnight, {figures.zone_name(timezone)}" if timezone else limit


def _written(units: int | None) -> str:
    return "" if units is None else limit_text(units)


def _zone(zone: ZoneInfo | None, seen: Seen) -> dict[str, str | bool] | None:
    if zone is None:
        return None
    next_us = days.ends_at_us(seen.now_us, zone)
    return {
        "name": figures.zone_name(zone.key),
        "now": figures.moment(seen.now_us, zone),
        "next": figures.moment(next_us, zone),
        "left": figures.span((next_us - seen.now_us) // 1_000_000),
        "changes": zone.key != seen.policy.timezone,
    }


def _override(each: UserOverride, seen: Seen, query: Query, zone: ZoneInfo) -> OverrideLine:
    expired = not each.limit.counts(seen.now_us)
    return OverrideLine(
        id=f"o-{quote(each.user, safe='')}",
        user=each.user,
        **_called(each.user, seen.known.get(each.user)),
        alias_of=short_identifier(each.alias_of or ""),
        limit=limit_text(each.units),
        reason=each.reason,
        expires="" if each.expires_us is None else figures.moment(each.expires_us, zone),
        expired=expired,
        set_by=changes.actor(each.actor),
        set_at=figures.moment(each.set_us, zone),
        edit=link(query, "own", edit=each.user),
        remove=link(query, "own", remove=each.user),
    )


def _hold(each: Hold, seen: Seen, zone: ZoneInfo) -> HoldLine:
    return HoldLine(
        each.hold_id,
        **_called(each.user, seen.known.get(each.user)),
        credits=credits.shown(each.units),
        granted=figures.moment(each.granted_us, zone),
        left=figures.span((each.expires_us - seen.now_us) // 1_000_000),
    )


def _called(key: str, user: User | None) -> dict[str, str]:
    if user is None:
        return {"name": short_identifier(key), "detail": "no usage yet"}
    if user.name:
        return {"name": user.name, "detail": user.email or short_identifier(key)}
    return {"name": user.email or short_identifier(key), "detail": ""}


def _quoted(text: str) -> str:
    """A message that begins with what was typed, in the page's quotation marks."""
    return re.sub(r"^'([^']*)'", r"“\1”", text)


def _mistakes(mistakes: Sequence[LineMistake]) -> tuple[str, ...]:
    named = [f"Line {each.line:,}: {_quoted(each.message.removeprefix('limit: '))}." for each in mistakes[:MISTAKES_MAX]]
    if len(mistakes) > MISTAKES_MAX:
        named.append(f"{len(mistakes) - MISTAKES_MAX:,} more lines have a mistake.")
    return tuple(named)
