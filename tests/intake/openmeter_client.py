"""Runs in `.venv-openmeter`, unmodified client and all: sends events by every method and prints what the client made of the answers.

Usage: openmeter_client.py URL KEY. Written for the openmeter package, which needs cloudevents 1 and so an environment of its own.
"""

import datetime as dt
import json
import sys

from corehttp.exceptions import HttpResponseError
from openmeter import Client
from openmeter.models import Event

url, key = sys.argv[1:]
client = Client(endpoint=url, token=key)


def event(id: str, time: str = "2026-11-01T12:00:00+00:00") -> Event:
    return Event(
        id=id,
        source="openmeter",
        specversion="1.0",
        type="ai.usage.recorded",
        subject="alice@example.com",
        time=dt.datetime.fromisoformat(time),
        data={"conversations": 1, "model": "gpt-4o"},
    )


told: dict[str, object] = {}
told["event"] = client.events.ingest_event(event("one"))
told["events"] = client.events.ingest_events([event("two"), event("three")])
told["json"] = client.events.ingest_events_json([event("four"), event("five")])
told["again"] = client.events.ingest_events([event("one"), event("six")])
try:
    client.events.ingest_event(event("refused", "1970-06-01T12:00:00+00:00"))
except HttpResponseError as error:
    told["refused"] = error.status_code
sys.stdout.write(json.dumps(told))
