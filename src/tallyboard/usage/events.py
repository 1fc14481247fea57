"""Events as they were sent, newest first: for whoever wants to see what came in."""

from msgspec import Struct

from tallyboard.ledger.aliases import aliases
from tallyboard.ledger.contract import Session
from tallyboard.usage.question import users_by_key

LIST_MAX = 1_000
SHELVES_MAX = 20
"""How far back is looked: 500,000 events."""
_EVER_US = 2**62


_EVENTS = """
    SELECT event.source, event.id, event.type, app_user.key, event.at_us, event.received_us, event.rated, event.data FROM event
    JOIN app_user ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id
    WHERE event.account_id = :account_id AND event.shelf = :shelf AND event.at_us >= :from_us AND event.at_us < :to_us
"""
_NEWEST = " ORDER BY event.received_us DESC, event.at_us DESC, event.event_key LIMIT :missing"


class Kept(Struct, frozen=True):
    """One event as it is kept; `document` is its data as JSON."""

    source: str
    id: str
    type: str
    user: str
    at_us: int
    received_us: int
    rated: bool
    document: str


class Wanted(Struct, frozen=True):
    """Which events: of one user and the aliases, from an instant until before another, and how many at most."""

    user: str | None = None
    from_us: int = 0
    to_us: int = _EVER_US
    limit: int = 100


def newest(session: Session, account_id: int, wanted: Wanted) -> list[Kept]:
    """The events that came last, looked for among the newest shelves."""
    place = session.one("SELECT shelf FROM account WHERE account_id = :account_id", account_id=account_id)
    who = [] if wanted.user is None else users_by_key(session, account_id, [wanted.user])
    if place is None or (wanted.user is not None and not who):
        return []
    user_ids = [named.user_id for named in who]
    user_ids += [alias for of_user in aliases(session, account_id, user_ids).values() for alias, _ in of_user]
    found: list[Kept] = []
    for shelf in range(int(place[0]), max(int(place[0]) - SHELVES_MAX, -1), -1):
        values: dict[str, int] = {"shelf": shelf, "from_us": wanted.from_us, "to_us": wanted.to_us, "missing": wanted.limit - len(found)}
        lines = (
            session.among(_EVENTS + " AND event.user_id IN $keys" + _NEWEST, user_ids, account_id=account_id, **values)
            if who
            else session.all(_EVENTS + _NEWEST, account_id=account_id, **values)
        )
        found += [
            Kept(source, event_id, kind, user, at_us, received_us, bool(rated), document)
            for source, event_id, kind, user, at_us, received_us, rated, document in lines
        ]
        if len(found) >= wanted.limit:
            break
    return found
