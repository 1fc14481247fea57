"""The way in: CloudEvents → checked → charged → entries for the ledger. No I/O; the same for HTTP and files.

Strict or lenient is the caller's choice: here every event becomes an entry or a refusal.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tallyboard.intake.cloudevents import CloudEvent, data_of
from tallyboard.intake.event import Reason, Refusal, Refused, check
from tallyboard.ledger.contract import Entry
from tallyboard.rates.charge import BadQuantity, Charger

SPECVERSION = "1.0"


class Sender(Struct, frozen=True):
    """What the key that sends events may say: the user it is bound to, and whether it may correct."""

    user: str | None = None
    may_adjust: bool = False


class Accepted(Struct, frozen=True):
    """What a request's events became."""

    entries: tuple[Entry, ...]
    refused: tuple[Refusal, ...]


def accept(items: Sequence[CloudEvent | Refused], sender: Sender, charger: Charger, now_us: int, first_index: int = 0) -> Accepted:
    """Check and charge events, in order."""
    entries: list[Entry] = []
    refused: list[Refusal] = []
    for index, item in enumerate(items, first_index):
        try:
            if isinstance(item, Refused):
                raise item
            entries.append(_entry(item, sender, charger, now_us))
        except Refused as refusal:
            refused.append(Refusal(index, refusal.reason, refusal.detail))
    return Accepted(tuple(entries), tuple(refused))


def _entry(item: CloudEvent, sender: Sender, charger: Charger, now_us: int) -> Entry:
    if item.specversion != SPECVERSION:
        raise Refused(Reason.BAD_SPECVERSION, f"specversion must be {SPECVERSION!r}, not {item.specversion[:40]!r}")
    data = data_of(item)
    event = check(
        source=item.source,
        id=item.id,
        type=item.type,
        user=sender.user or item.subject,
        time=item.time,
        data=data,
        now_us=now_us,
    )
    try:
        charge = charger.charge(event.type, event.model, data, event.at_us)
    except BadQuantity as error:
        raise Refused(Reason.BAD_QUANTITY, str(error)) from None
    return Entry(event, charge.units, charge.rated, _reason(data, sender) if charge.negative else None)


def _reason(data: Mapping[str, object], sender: Sender) -> str:
    """Why a correction is made; only a key that may adjust may make one."""
    if not sender.may_adjust:
        raise Refused(Reason.NEGATIVE_QUANTITY, "a negative quantity is a correction; it needs a key with the scope adjust")
    reason = data.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise Refused(Reason.REASON_MISSING, "a correction says why: put a text into data.reason")
    return reason
