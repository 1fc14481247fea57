"""The history of limits in sentences: who changed what, from what to what. Pure."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard import days
from tallyboard.policy.history import Applied, Change
from tallyboard.policy.limits import Origin, limit_text
from tallyboard.web.pages import figures

THE_DEFAULT = "the default"


class Step(Struct, frozen=True):
    """One thing that was changed, perhaps of a user."""

    what: str
    user: str
    before: str
    after: str


class Line(Struct, frozen=True):
    """One change: when, by whom, what, and the reason given."""

    at: str
    who: str
    steps: tuple[Step, ...]
    reason: str


def line(change: Change, zone: ZoneInfo) -> Line:
    """A change as a person reads it."""
    before, after = change.detail.get("before") or {}, change.detail.get("after") or {}
    if change.action.startswith("override."):
        user = str(change.detail.get("user", ""))
        steps: tuple[Step, ...] = (Step("Limit of", user, _own(before, zone), _own(after, zone)),)
    else:
        names = {"default_limit": "Default limit", "timezone": "Timezone"}
        steps = tuple(
            Step(label, "", _value(before[name]), _value(after[name]))
            for name, label in names.items()
            if name in before and name in after and before[name] != after[name]
        )
    return Line(figures.moment(change.at_us, zone), actor(change.actor), steps, str(after.get("reason") or ""))


def actor(text: str) -> str:
    """Who did it: a member's email as it is, an API key as one; that something expired nobody did."""
    if text == "expiry":
        return "Expired"
    return f"API {text}" if text.startswith("key ") else text


def applied(user: str, at_us: int, found: Applied, zone: ZoneInfo) -> str:
    """Which limit applied to a user at an instant."""
    whose = "their own limit" if found.origin is Origin.OVERRIDE else "the default"
    amount = "no daily limit" if found.units is None else f"a daily limit of {limit_text(found.units)} credits"
    return f"On {figures.moment(at_us, zone)}, {user} had {amount}: {whose}."


def _value(value: object) -> str:
    return figures.zone_name(str(value))


def _own(noted: dict[str, Any], zone: ZoneInfo) -> str:
    if not noted:
        return THE_DEFAULT
    text = str(noted.get("limit", ""))
    if expires := noted.get("expires_at"):
        text += f" until {figures.moment(days.instant_us(datetime.fromisoformat(str(expires))), zone)}"
    return text
