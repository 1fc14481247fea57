"""What the API keys page shows, as pure functions: keys in words, the form as it was typed, questions."""

from datetime import datetime
from zoneinfo import ZoneInfo

from msgspec import Struct, field

from tallyboard import days
from tallyboard.people.keys import ApiKey, Scope

PATH = "/keys"
PAGE_KEYS = 50
SCOPES = {
    Scope.INGEST: ("Send usage", "Events of who consumed what. Nothing can be read with it."),
    Scope.CHECK: ("Ask for limits", "May a user go on? Set credits aside and settle them."),
    Scope.READ: ("Read usage", "Figures, users, limits and their history: personal data."),
    Scope.ADJUST: ("Send corrections", "Take usage back, with a reason that the audit log keeps. Goes with sending usage."),
    Scope.SCIM: ("Provision members", "An identity provider adds, changes and deactivates members, administrators too."),
    Scope.ADMIN: ("Administer", "Everything above, and change limits, users and the timezone."),
}
LIVES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "Never"}
OVERLAPS = {"0": "Not at all: revoke it now", "1": "1 hour", "24": "1 day", "168": "7 days", "720": "30 days"}
DONE = {"revoked": "The key is revoked. Whatever still uses it is refused."}


class Draft(Struct, frozen=True):
    """The form of a new key as it was typed, and what is wrong with it by field."""

    name: str = ""
    scopes: frozenset[str] = frozenset()
    user: str = ""
    expires: str = "365"
    problems: dict[str, str] = field(default_factory=dict)


class Once(Struct, frozen=True):
    """A secret that was just made: it is shown this once. `until` is when the key it replaces ends, None where there is none."""

    secret: str
    name: str
    scopes: frozenset[Scope]
    until: str | None = None


class Question(Struct, frozen=True):
    """What is asked in front of the page: `revoke` or `rotate` a key."""

    kind: str
    key: ApiKey


def context(
    found: list[ApiKey],
    zone: ZoneInfo,
    now_us: int,
    *,
    number: int,
    draft: Draft | None,
    question: Question | None,
    once: Once | None,
    done: str,
) -> dict[str, object]:
    """The keys of `keys.html`. Those in use come first, then those that have ended; `number` is the page, from 1."""
    ordered = sorted(found, key=lambda key: not key.valid(now_us))
    pages = max(1, -(-len(ordered) // PAGE_KEYS))
    number = min(max(number, 1), pages)
    start = (number - 1) * PAGE_KEYS
    return {
        "lines": [_line(key, zone, now_us) for key in ordered[start : start + PAGE_KEYS]],
        "count": f"{sum(key.valid(now_us) for key in found):,} in use, {len(found):,} in all",
        "empty": not found,
        "earlier": f"{PATH}?page={number - 1}" if number > 1 else None,
        "later": f"{PATH}?page={number + 1}" if number < pages else None,
        "draft": draft,
        "question": question,
        "once": once,
        "done": DONE.get(done, ""),
        "scopes": [(scope.value, *words) for scope, words in SCOPES.items()],
        "lives": LIVES,
        "overlaps": OVERLAPS,
    }


def moment(us: int, zone: ZoneInfo) -> str:
    """An instant in the account's zone, to the minute: `24 Nov 2026, 09:10`."""
    local: datetime = days.instant(us).astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M}"


def _line(key: ApiKey, zone: ZoneInfo, now_us: int) -> dict[str, object]:
    in_use = key.valid(now_us)
    return {
        "id": key.id,
        "name": key.name,
        "scopes": ", ".join(SCOPES[scope][0].lower() for scope in Scope if scope in key.scopes).capitalize(),
        "user": key.user,
        "created": moment(key.created_us, zone),
        "by": key.created_by,
        "used": moment(key.used_us, zone) if key.used_us else None,
        "expires": moment(key.expires_us, zone) if key.expires_us else None,
        "state": "" if in_use else "Revoked" if key.revoked_us is not None else "Expired",
    }
