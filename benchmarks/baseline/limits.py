"""Limits as they are mostly built: look up what was used, compare, do the call, add to it. And a check answered from memory."""

import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException
from pydantic import BaseModel
from sqlalchemy import BigInteger, Column, MetaData, String, Table, create_engine, event, select
from sqlalchemy.dialects.sqlite import insert

from benchmarks.baseline.names import DATA_VARIABLE, KEY_VARIABLE

UNITS_PER_CREDIT = 600_000_000
RESETS_AT = "2100-01-01T00:00:00.000Z"
DAY = "2099-12-31"

_used = Table("used", MetaData(), Column("user", String(256), primary_key=True), Column("units", BigInteger, nullable=False))


class Who(BaseModel):
    """Whom a check is about."""

    user: str


class Amount(BaseModel):
    """An amount as JSON carries it."""

    credits: str
    units: int


class Allowance(BaseModel):
    """How a user stands."""

    user: str
    limit: Amount | None
    used: Amount
    held: Amount
    remaining: Amount | None
    resets_at: str
    day: str


class Checked(BaseModel):
    """The answer of a check."""

    allowed: bool
    allowance: Allowance


class Added(BaseModel):
    """Usage to be added."""

    user: str
    units: int


async def check_key(authorization: Annotated[str, Header()] = "") -> None:
    """Refuse whoever has not the one key."""
    if authorization != f"Bearer {os.environ[KEY_VARIABLE]}":
        raise HTTPException(401)


def _open() -> Any:
    engine = create_engine(f"sqlite:///{Path(os.environ[DATA_VARIABLE]) / 'used.db'}", connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    _used.metadata.create_all(engine)
    return engine


router = APIRouter(dependencies=[Depends(check_key)])
_engine = _open()
_limits: dict[str, int] = {}
"""In memory: the limit of each user, in units; nobody has used anything."""


@router.get("/used")
def get_used(user: str) -> dict[str, int]:
    """What a user has used."""
    with _engine.connect() as connection:
        return {"units": connection.execute(select(_used.c.units).where(_used.c.user == user)).scalar() or 0}


@router.post("/used", status_code=204)
def add_used(added: Added) -> None:
    """Add to it, in one statement: no addition is lost."""
    statement = insert(_used).values(user=added.user, units=added.units)
    with _engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["user"], set_={"units": _used.c.units + statement.excluded.units})
        )


@router.put("/limit", status_code=204)
async def put_limit(limit: Added) -> None:
    """Set a user's limit."""
    _limits[limit.user] = limit.units


@router.post("/check")
async def post_check(who: Who) -> Checked:
    """What Tallyboard's check answers, without looking anything up on disk."""
    limit = _limits.get(who.user)
    shown = None if limit is None else _amount(limit)
    allowance = Allowance(user=who.user, limit=shown, used=_amount(0), held=_amount(0), remaining=shown, resets_at=RESETS_AT, day=DAY)
    return Checked(allowed=limit is None or limit > 0, allowance=allowance)


def _amount(units: int) -> Amount:
    return Amount(credits=f"{units / UNITS_PER_CREDIT:.6f}", units=units)
