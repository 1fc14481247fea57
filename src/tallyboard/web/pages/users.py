"""The Users page: from what was read of the directory to what its template needs. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from tallyboard.credits import shown
from tallyboard.intake.event import UNATTRIBUTED
from tallyboard.people.directory import Entry
from tallyboard.policy.limits import limit_text
from tallyboard.policy.merging import Apart, Side
from tallyboard.usage.report import short_identifier
from tallyboard.web.pages import figures
from tallyboard.web.pages.frame import address

PATH = "/users"
PAGE_LINES = 100
TARGETS_MAX = 8
_CHIPS_MAX = 6
DONE = {"merged": "Merged. Both keys are one user now.", "undone": "Taken apart. Both are users of their own again.", "named": "Saved."}


class Asked(Struct, frozen=True):
    """What an address asks for: what is searched, from after which key on, and perhaps a question about a user."""

    q: str = ""
    after: str = ""
    merge: str = ""
    into: str = ""
    find: str = ""
    undo: str = ""
    edit: str = ""

    def address(self, **more: str) -> str:
        """The page with its list as it is."""
        return address(PATH, **{"q": self.q, "after": self.after, **more})


class Target(Struct, frozen=True):
    """A user to merge into, and why they are offered."""

    href: str
    name: str
    detail: str
    why: str


class Naming(Struct, frozen=True):
    """The form of a user's name and email as it was typed, and what is wrong with it."""

    user: str
    name: str
    email: str
    problem: str = ""


def context(
    asked: Asked, found: Sequence[Entry], last: Mapping[str, date] | None, total: int, today: date, dialog: Mapping[str, object], done: str
) -> dict[str, object]:
    """The keys of `users.html`. `found` has one more than is shown where there are more."""
    listed = found[:PAGE_LINES]
    return {
        "lines": [_line(asked, each, last, today) for each in listed],
        "asked": asked,
        "count": figures.count(total, "user"),
        "rebuilding": last is None,
        "empty": not total,
        "next": asked.address(after=listed[-1].user) if len(found) > PAGE_LINES else "",
        "first": asked.address(after="") if asked.after else "",
        "clear_search": PATH,
        "close": asked.address(),
        "dialog": dialog or None,
        "done": DONE.get(done, ""),
    }


def called(who: Entry) -> str:
    """What a user is called in a sentence."""
    return who.name or who.email or short_identifier(who.user)


def targets(asked: Asked, alike: Sequence[Entry], found: Sequence[Entry]) -> list[Target]:
    """Whom a user may be merged into: those who are likely the same person first."""
    likely = [_target(asked, each, "Same email") for each in alike]
    known = {each.user for each in alike} | {asked.merge, UNATTRIBUTED}
    return likely + [_target(asked, each, "") for each in found if each.user not in known][:TARGETS_MAX]


def comparing(asked: Asked, alias: Side, target: Side, default: int | None) -> dict[str, object]:
    """The question whether to merge, with both users side by side and what will happen."""
    units = default if target.own is None else target.own.units
    told = [
        f"All usage under “{alias.who.user}”, past and future, counts for {called(target.who)}: together {shown(alias.units + target.units)} credits in the last 30 days.",
        f"Both share one daily limit, that of {called(target.who)}: {_per_day(units)}.",
    ]
    if alias.own is not None:
        told.append(f"The own limit of “{alias.who.user}”, {_per_day(alias.own.units)}, is kept and does not count until you undo.")
    if alias.who.aliases:
        told.append(f"Its own aliases come along: {', '.join(alias.who.aliases)}.")
    told.append("Nothing is moved or lost: you can undo it at any time.")
    return {
        "kind": "compare",
        "user": alias.who.user,
        "into": target.who.user,
        "sides": [_side(alias, "Becomes an alias"), _side(target, "Stays")],
        "told": told,
        "swap": asked.address(merge=target.who.user, into=alias.who.user),
        "back": asked.address(merge=alias.who.user),
    }


def taking_apart(found: Apart) -> dict[str, object]:
    """The question whether to undo, and what comes back."""
    alias = found.alias
    told = [
        f"“{alias.user}” is a user of its own again with all that ever came under it: {shown(found.units)} credits in the last 30 days.",
        f"{short_identifier(alias.alias_of or '')} keeps {shown(found.stays_units)}.",
    ]
    if found.along:
        told.append(f"With it {'goes' if len(found.along) == 1 else 'go'} {', '.join(found.along)}, which was merged into it before.")
    told.append(f"Its own limit, {_per_day(found.own.units)}, counts again." if found.own else "The default limit counts for it.")
    return {"kind": "undo", "user": alias.user, "of": alias.alias_of, "told": told}


def _line(asked: Asked, each: Entry, last: Mapping[str, date] | None, today: date) -> dict[str, object]:
    on = last.get(each.user) if last is not None else None
    return {
        "user": each.user,
        "name": "Unattributed" if each.user == UNATTRIBUTED else each.name or short_identifier(each.user),
        "detail": "no user named in the event" if each.user == UNATTRIBUTED else each.user if each.name else "",
        "email": each.email or "",
        "last": ""
        if on is None
        else "Today"
        if on == today
        else figures.weekday_date(on)
        if on.year == today.year
        else figures.full_date(on),
        "usage": address("/usage", user=each.user),
        "aliases": [(short_identifier(key), key, asked.address(undo=key)) for key in each.aliases[:_CHIPS_MAX]],
        "more": [(short_identifier(key), key, asked.address(undo=key)) for key in each.aliases[_CHIPS_MAX:]],
        "merge": "" if each.user == UNATTRIBUTED else asked.address(merge=each.user),
        "edit": "" if each.user == UNATTRIBUTED else asked.address(edit=each.user),
    }


def _per_day(units: int | None) -> str:
    return "none" if units is None else f"{limit_text(units)} credits a day"


def _target(asked: Asked, each: Entry, why: str) -> Target:
    detail = " · ".join(text for text in (each.email, each.user) if text and text != called(each))
    return Target(asked.address(merge=asked.merge, into=each.user), called(each), detail, why)


def _side(side: Side, becomes: str) -> dict[str, object]:
    who = side.who
    return {
        "becomes": becomes,
        "name": called(who),
        "key": who.user,
        "figures": [
            ("Email", who.email or figures.NOTHING),
            ("Credits, 30 days", shown(side.units)),
            ("Active days", f"{side.active_days} of 30"),
            ("Last usage", figures.NOTHING if side.last_on is None else figures.full_date(side.last_on)),
            ("Own limit", figures.NOTHING if side.own is None else limit_text(side.own.units)),
            ("Aliases", f"{len(who.aliases)}" if who.aliases else figures.NOTHING),
        ],
    }
