"""Charges past events again, by the card in force: only when asked, noted in the audit log, rollups with the events."""

from decimal import Decimal
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.json import Decoder

from tallyboard import days
from tallyboard.ledger import audit
from tallyboard.ledger.append import add_to_days, add_to_slots
from tallyboard.ledger.contract import Ledger, Session
from tallyboard.ledger.locking import lock
from tallyboard.rates.charge import BadQuantity, Charger

EVENTS_AT_ONCE = 5_000
_data = Decoder(dict[str, Any], float_hook=Decimal)


class Rerated(Struct, frozen=True):
    """What a re-rating did: events read, those whose charge changed, and the units that adds in all.

    `unchargeable` events keep their charge: the new card meters a field of theirs that is no number.
    """

    events: int = 0
    changed: int = 0
    unchargeable: int = 0
    units: int = 0


class _Place(Struct, frozen=True):
    shelf: int
    event_key: bytes


def apply(ledger: Ledger, account_id: int, charger: Charger, since_us: int, actor: str, now_us: int) -> Rerated:
    """Charge every event from an instant on, a few thousand a transaction; running it again changes nothing more."""
    result, place = Rerated(), _Place(-1, b"")
    while True:
        part, following = ledger.change(partial(_some, account_id=account_id, charger=charger, since_us=since_us, place=place)).result()
        result = Rerated(
            result.events + part.events,
            result.changed + part.changed,
            result.unchargeable + part.unchargeable,
            result.units + part.units,
        )
        if following is None:
            break
        place = following
    detail = {"since": days.instant_text(since_us), **{field: getattr(result, field) for field in result.__struct_fields__}}
    ledger.change(lambda session: audit.note(session, account_id, actor, "rates.applied", detail, now_us)).result()
    return result


def _some(session: Session, account_id: int, charger: Charger, since_us: int, place: _Place) -> tuple[Rerated, _Place | None]:
    account = lock(session, account_id)
    lines = session.all(
        """
        SELECT shelf, event_key, user_id, at_us, units, rated, type, model, data FROM event
        WHERE account_id = :account_id AND (shelf, event_key) > (:shelf, :event_key)
        ORDER BY shelf, event_key LIMIT 5000
        """,
        account_id=account_id,
        shelf=place.shelf,
        event_key=place.event_key,
    )
    changed: list[tuple[int, int, int, int, bytes]] = []
    slots: dict[tuple[int, int], list[int]] = {}
    events = unchargeable = 0
    for shelf, event_key, user_id, at_us, units, rated, kind, model, data in lines:
        if at_us < since_us:
            continue
        events += 1
        try:
            charge = charger.charge(kind, model, _data.decode(data), at_us)
        except BadQuantity:
            unchargeable += 1
            continue
        if (charge.units, charge.rated) != (units, bool(rated)):
            changed.append((charge.units, int(charge.rated), account_id, shelf, event_key))
            difference = slots.setdefault((at_us // days.SLOT_US, user_id), [0, 0])
            difference[0] += charge.units - units
            difference[1] += rated - charge.rated
    session.many(
        """
        UPDATE event SET units = :units, rated = :rated
        WHERE account_id = :account_id AND shelf = :shelf AND event_key = :event_key
        """,
        changed,
    )
    moved = [(slot, user_id, units, 0, unrated) for (slot, user_id), (units, unrated) in sorted(slots.items())]
    add_to_slots(session, account_id, moved)
    add_to_days(session, account_id, account, moved)
    if changed:
        session.run("UPDATE account SET revision = revision + 1 WHERE account_id = :account_id", account_id=account_id)
    last = _Place(lines[-1][0], lines[-1][1]) if len(lines) == EVENTS_AT_ONCE else None
    return Rerated(events, len(changed), unchargeable, sum(units for _, _, units, _, _ in moved)), last
