"""The service: POST /events takes a batch in, GET /usage answers by user and day."""

import os
import secrets
import threading
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import AwareDatetime, BaseModel, Field

from benchmarks.baseline import limits, store
from benchmarks.baseline.names import DATA_VARIABLE, KEY_VARIABLE

UNITS_PER_REQUEST = 200_000
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Quantities(BaseModel):
    """What was used."""

    model: str = ""
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    requests: int = Field(0, ge=0)


class Event(BaseModel):
    """One CloudEvent."""

    specversion: str
    id: str = Field(min_length=1, max_length=256)
    source: str = Field(min_length=1, max_length=256)
    type: str = Field(min_length=1, max_length=256)
    subject: str = Field("unattributed", max_length=256)
    time: AwareDatetime
    data: Quantities


app = FastAPI()
app.include_router(limits.router)
engine = store.open_store(Path(os.environ[DATA_VARIABLE]))
_one_writer = threading.Lock()
"""SQLite lets one write at a time; waiting here is cheaper than in its busy handler."""


def _check_key(authorization: Annotated[str, Header()] = "") -> None:
    if not secrets.compare_digest(authorization, f"Bearer {os.environ[KEY_VARIABLE]}"):
        raise HTTPException(401)


@app.post("/events", status_code=204, dependencies=[Depends(_check_key)])
def post_events(events: list[Event]) -> None:
    """Take a batch in: all of it is on disk when this answers."""
    rows = [_row(event) for event in events]
    with _one_writer, engine.begin() as connection:
        store.add(connection, rows)


@app.get("/usage", dependencies=[Depends(_check_key)])
def get_usage(window: int = 30, timezone: str = "UTC") -> dict[str, Any]:
    """Usage of the last days, today included."""
    zone = ZoneInfo(timezone)
    today = datetime.now(zone).date()
    with engine.connect() as connection:
        return store.usage(connection, today - timedelta(days=window - 1), today, zone)


def _row(event: Event) -> dict[str, object]:
    return {
        "source": event.source,
        "id": event.id,
        "type": event.type,
        "user": event.subject,
        "at_us": (event.time - _EPOCH) // _MICROSECOND,
        "units": event.data.requests * UNITS_PER_REQUEST,
        "model": event.data.model,
        "data": event.data.model_dump(),
    }
