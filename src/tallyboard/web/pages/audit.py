"""The audit log in sentences, as pure functions: what the page shows, and what its addresses ask for."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.json import Decoder

from tallyboard import days
from tallyboard.ledger import audit
from tallyboard.ledger.audit import Entry, Place, Verified, Wanted
from tallyboard.usage.export import safe_cell
from tallyboard.web.pages import openid

PATH = "/audit"
COLUMNS = ("number", "at", "actor", "action", "sentence", "detail", "digest")
TEXT_CHARACTERS_MAX = 256
_detail = Decoder(dict[str, Any])

ACTIONS = {
    "account.changed": "Account changed",
    "account.created": "Account created",
    "key.created": "API key created",
    "key.revoked": "API key revoked",
    "key.rotated": "API key rotated",
    "member.added": "Member added",
    "member.invitation_accepted": "Invitation accepted",
    "member.linked": "Member known to the provider",
    "member.renamed": "Email of a member changed",
    "member.signed_in": "Signed in",
    "member.sign_in_failed": "Failed to sign in",
    "override.expired": "Own limit expired",
    "override.removed": "Own limit removed",
    "override.set": "Own limit set",
    "policy.changed": "Policy changed",
    "rates.applied": "Rates applied again",
    "rates.set": "Rate card set",
    "scim.user_changed": "Provisioned user changed",
    "scim.user_created": "User provisioned",
    "scim.user_deleted": "Provisioned user deleted",
    "source.chosen": "Source of record chosen",
    "usage.corrected": "Usage corrected",
    "user.erased": "Person erased",
    "user.merged": "Users merged",
    "user.unmerged": "Merge undone",
}


class Asked(Struct, frozen=True):
    """What an address asks for, as text; what makes no sense is empty."""

    action: str = ""
    actor: str = ""
    first: str = ""
    last: str = ""

    @property
    def any(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.action or self.actor or self.first or self.last)

    def wanted(self, zone: ZoneInfo) -> Wanted:
        """Which lines that are: days begin and end in the account's zone."""
        return Wanted(
            self.action or None,
            self.actor or None,
            days.starts_at_us(date.fromisoformat(self.first), zone) if self.first else None,
            days.starts_at_us(date.fromisoformat(self.last) + timedelta(days=1), zone) if self.last else None,
        )

    def address(self, path: str = PATH, **more: str) -> str:
        """Where the same lines are, in another form or from another place on."""
        named = {"action": self.action, "who": self.actor, "from": self.first, "to": self.last, **more}
        query = urlencode({name: value for name, value in named.items() if value})
        return f"{path}?{query}" if query else path


def asked(query: Mapping[str, str]) -> Asked:
    """What a query asks for."""
    return Asked(
        _text(query.get("action", "")),
        _text(query.get("who", "").strip()),
        _date(query.get("from", "")),
        _date(query.get("to", "")),
    )


def place(text: str) -> Place | None:
    """The place that `before=` names, None where it names none."""
    at, _, number = text.partition("-")
    if all(part.isascii() and part.isdecimal() and len(part) < 19 for part in (at, number)):
        return int(at), int(number)
    return None


def context(
    lines: list[Entry],
    zone: ZoneInfo,
    keys: Mapping[str, str],
    seen: Asked,
    *,
    is_first: bool,
    more: bool,
    actions: list[str],
    actors: list[str],
    verified: Verified | None,
) -> dict[str, object]:
    """The keys of `audit.html`. `keys` are the names of API keys by id; `more` says that there are older lines."""
    last = audit.place_of(lines[-1]) if more else None
    return {
        "lines": [
            {"number": line.audit_id, "at": _moment(line.at_us, zone), "who": who(line.actor, keys), "sentence": sentence(line)}
            for line in lines
        ],
        "asked": seen,
        "actions": [(action, ACTIONS.get(action, action)) for action in actions],
        "actors": [(actor, who(actor, keys)) for actor in actors],
        "newest": None if is_first else seen.address(),
        "older": seen.address(before=f"{last[0]}-{last[1]}") if last else None,
        "csv": seen.address(f"{PATH}.csv"),
        "ndjson": seen.address(f"{PATH}.ndjson"),
        "verified": verified,
    }


def who(actor: str, keys: Mapping[str, str]) -> str:
    """Who did it: a member's email or a command as they are, an API key by its name."""
    name = keys.get(actor.removeprefix("key ")) if actor.startswith("key ") else None
    return f"API key {name}" if name else actor[:1].upper() + actor[1:] if "@" not in actor else actor


def sentence(line: Entry) -> str:
    """What was done, so that one can read it; an action that is not known here is told with all its details."""
    detail = _detail.decode(line.detail)
    tell = _SENTENCES.get(line.action)
    try:
        return tell(detail) if tell else _plainly(line.action, detail)
    except (KeyError, TypeError, AttributeError):
        return _plainly(line.action, detail)  # A line of another release, which said it otherwise.


def csv_lines(lines: Iterable[Entry]) -> str:
    """Lines as CSV without a head."""
    text = io.StringIO()
    writer = csv.writer(text)
    for line in lines:
        digest = line.digest.hex() if line.digest else ""
        cells = (line.actor, line.action, sentence(line), line.detail)
        writer.writerow((line.audit_id, days.instant_text(line.at_us), *(safe_cell(cell) for cell in cells), digest))
    return text.getvalue()


def _policy(detail: dict[str, Any]) -> str:
    before, after = detail["before"], detail["after"]
    told = []
    if before["default_limit"] != after["default_limit"]:
        told.append(f"set the default limit to {_limit(after['default_limit'])}, before {_limit(before['default_limit'])}")
    if before["timezone"] != after["timezone"]:
        told.append(f"changed the timezone from {before['timezone']} to {after['timezone']}")
    return _begun(" and ".join(told) or "saved the policy as it was")


def _account(detail: dict[str, Any]) -> str:
    before, after = detail["before"], detail["after"]
    told = []
    if before["name"] != after["name"]:
        told.append(f"renamed the account from “{before['name']}” to “{after['name']}”")
    if before["timezone"] != after["timezone"]:
        told.append(f"changed the timezone from {before['timezone']} to {after['timezone']}")
    return _begun(" and ".join(told) or "saved the account as it was")


def _own_limit(detail: dict[str, Any]) -> str:
    before, after = detail["before"], detail["after"]
    told = f"Set the limit of {detail['user']} to {_limit(after['limit'])}"
    if after.get("expires_at"):
        told += f" until {after['expires_at'][:16].replace('T', ' ')} UTC"
    told += f", before {_limit(before['limit']) if before else 'the default'}"
    return told + (f": {after['reason']}" if after.get("reason") else "")


def _failed(detail: dict[str, Any]) -> str:
    if "by" not in detail:
        return "Failed to sign in"
    whom = f" as {detail['email']}" if detail.get("email") else ""
    more = f" ({detail['detail']})" if detail.get("detail") else ""
    return f"Failed to sign in by {detail['by']}{whom}: {openid.in_short(detail['why'])}{more}"


def _correction(detail: dict[str, Any]) -> str:
    reason = f": {detail['reason']}" if detail.get("reason") else ""
    return f"Corrected the usage of {detail['user']} by {detail['units']:,} units at {detail['at'][:16].replace('T', ' ')} UTC{reason}"


def _source_of_record(detail: dict[str, Any]) -> str:
    whom, source = f" for {detail['user']}" if "user" in detail else "", detail["source"]
    if source is None and whom:
        return f"From now on the account's source of record counts{whom}"
    return f"From now on {f'only {source}' if source else 'every source'} counts{whom}"


_SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "account.changed": _account,
    "account.created": lambda detail: f"Created the account “{detail['name']}” with the days of {detail['timezone']}",
    "key.created": lambda detail: f"Created the API key “{detail['name']}” with {', '.join(detail['scopes'])}",
    "key.revoked": lambda detail: f"Revoked the API key “{detail.get('name') or detail['id']}”",
    "key.rotated": lambda detail: f"Rotated the API key “{detail['name']}”; the old one ends {detail['until'][:16].replace('T', ' ')} UTC",
    "member.added": lambda detail: f"Added {detail['email']} as {detail['role']}",
    "member.invitation_accepted": lambda _: "Accepted the invitation",
    "member.signed_in": lambda detail: f"Signed in by {detail['by']}" if detail.get("by") else "Signed in",
    "member.linked": lambda detail: f"{detail['email']} signs in at {detail['issuer']} as {detail['subject']} from now on",
    "member.renamed": lambda detail: f"Changed the email of {detail['before']} to {detail['after']}",
    "member.sign_in_failed": _failed,
    "override.expired": lambda detail: f"The limit of {detail['user']}, {_limit(detail['before']['limit'])}, expired",
    "override.removed": lambda detail: f"Removed the limit of {detail['user']}, which was {_limit(detail['before']['limit'])}",
    "override.set": _own_limit,
    "policy.changed": _policy,
    "rates.applied": lambda detail: f"Applied the rates again to usage since {detail['since'][:16].replace('T', ' ')} UTC",
    "rates.set": lambda detail: f"Set rate card {detail['card']}",
    "scim.user_changed": lambda detail: f"Changed the provisioned user {detail['user_name']}",
    "scim.user_created": lambda detail: f"Provisioned the user {detail['user_name']}",
    "scim.user_deleted": lambda detail: f"Deleted the provisioned user {detail['user_name']}",
    "source.chosen": _source_of_record,
    "usage.corrected": _correction,
    "user.erased": lambda detail: f"Erased who {detail['user']} was" + ("; the key was replaced" if detail["replaced"] else ""),
    "user.merged": lambda detail: f"Merged {detail['user']} into {detail['into']}{_along(detail)}",
    "user.unmerged": lambda detail: f"Undid that {detail['user']} is an alias of {detail['was_alias_of']}{_along(detail)}",
}


def _along(detail: dict[str, Any]) -> str:
    return f", and {', '.join(detail['aliases'])} with it" if detail["aliases"] else ""


def _limit(text: str) -> str:
    return f"{text} credits a day" if text[:1].isdigit() else text.lower()


def _begun(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plainly(action: str, detail: dict[str, Any]) -> str:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in detail.items() if value is not None)
    said = ACTIONS.get(action) or _begun(action.replace(".", " ").replace("_", " "))
    return f"{said}: {told}" if told else said


def _text(text: str) -> str:
    """What may be an actor or an action, else nothing."""
    return text if len(text) <= TEXT_CHARACTERS_MAX and text.isprintable() else ""


def _date(text: str) -> str:
    """A date that there is, else nothing. The calendar's edges have no day before or after them."""
    try:
        on = date.fromisoformat(text)
    except ValueError:
        return ""
    there = date.min + timedelta(days=2) <= on <= date.max - timedelta(days=2)
    return text if there and on.isoformat() == text else ""


def _moment(us: int, zone: ZoneInfo) -> str:
    local = days.instant(us).astimezone(zone)
    return f"{local.day} {local:%b %Y, %H:%M:%S}"
