"""Stable colours: which of the ten places of the palette a user has, and keeps.

A colour stays with its user in every window, after a reload and from day to day; it goes to somebody
else only when all ten are taken, and then from who has been out of sight longest. Pure.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

SLOTS = 10


class Kept(Struct, frozen=True):
    """A user's place in the palette, 0..9, and the last day the chart drew the user."""

    slot: int
    visible_on: date


def assign(kept: Mapping[str, Kept], rankings: Sequence[Sequence[str]], today: date) -> dict[str, Kept]:
    """Everybody's places after `rankings` were drawn: user keys, largest first, of 30 days, then 14, then 7.

    Who has a place keeps it. The others, in order, take the lowest free one, or that of the user least
    recently visible. The users visible now are never evicted for each other: where they are more than
    ten, the last of them have no place, and the chart counts them under Others.
    """
    visible = list(dict.fromkeys(user for ranking in rankings for user in ranking))
    places = {user: Kept(place.slot, today) if user in visible else place for user, place in kept.items()}
    for user in visible:
        if user in places:
            continue
        slot = _free(places) if len(places) < SLOTS else _evict(places, visible)
        if slot is None:
            break
        places[user] = Kept(slot, today)
    return places


def _free(places: Mapping[str, Kept]) -> int:
    return min(set(range(SLOTS)) - {place.slot for place in places.values()})


def _evict(places: dict[str, Kept], visible: Sequence[str]) -> int | None:
    """The place of who has been out of sight longest, taken away; None where all of them are visible."""
    hidden = [user for user in places if user not in visible]
    return places.pop(min(hidden, key=lambda user: (places[user].visible_on, user))).slot if hidden else None
