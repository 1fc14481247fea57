"""Temporary."""
from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct


class Kept(Struct, frozen=True):
    slot: int
    visible_on: date
def assign(kept: Mapping[str, Kept], rankings: Sequence[Sequence[str]], today: date) -> dict[str, Kept]:
    out=dict(kept); visible=[]
    for r in rankings:
        for u in r:
            if u not in visible: visible.append(u)
    visible=visible[:10]
    for u in visible:
        if u in out: out[u]=Kept(out[u].slot,today)
    for u in visible:
        if u not in out:
            free=[s for s in range(10) if s not in {k.slot for k in out.values()}]
            if not free:
                old=min((x for x in out if x not in visible), key=lambda x: out[x].visible_on)
                free=[out.pop(old).slot]
            out[u]=Kept(free[0],today)
    return out
