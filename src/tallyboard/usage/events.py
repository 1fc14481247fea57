"""Events as they were sent, newest first: for whoever wants to see what came in."""

from msgspec import Struct

from tallyboard.ledger.contract import Session
from tallyboard.usage.question import users_by_key

LIST_MAX = 1_000
SHELVES_MAX = 20
"""How far back is looked: 500,000 events."""
_EVER_US = 2**62


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
    """Which events: of one user, from an instant until before another, and how many at most."""

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
    first_user, last_user = (who[0].user_id, who[0].user_id) if who else (0, _EVER_US)
    found: list[Kept] = []
    for shelf in range(int(place[0]), max(int(place[0]) - SHELVES_MAX, -1), -1):
        lines = session.all(
            """
            SELECT event.source, event.id, event.type, app_user.key, event.at_us, event.received_us, event.rated, event.data FROM event
            JOIN app_user ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id
            WHERE event.account_id = :account_id AND event.shelf = :shelf AND event.at_us >= :from_us AND event.at_us < :to_us
                AND event.user_id BETWEEN :first_user AND :last_user
            ORDER BY event.received_us DESC, event.at_us DESC, event.event_key LIMIT :missing
            """,
            account_id=account_id,
            shelf=shelf,
            from_us=wanted.from_us,
            to_us=wanted.to_us,
            first_user=first_user,
            last_user=last_user,
            missing=wanted.limit - len(found),
        )
        found += [
            Kept(source, event_id, kind, user, at_us, received_us, bool(rated), document)
            for source, event_id, kind, user, at_us, received_us, rated, document in lines
        ]
        if len(found) >= wanted.limit:
            break
    return found
