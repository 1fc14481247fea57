"""Runs in `.venv-openmeter`, unmodified client and all: sends events, then reads by every method and prints what the client made of it.

Usage: openmeter_reads.py URL KEY.
"""

import datetime as dt
import json
import sys

from corehttp.exceptions import HttpResponseError
from openmeter import Client
from openmeter.models import Event, MeterQueryRequest

url, key = sys.argv[1:]
client = Client(endpoint=url, token=key)
ALICE, BOB = "alice@example.com", "bob"
FIRST, LAST = (dt.datetime(2026, 11, day, tzinfo=dt.UTC) for day in (1, 3))


def event(id: str, user: str, model: str, time: str, **data: object) -> Event:
    return Event(
        id=id,
        source="reads",
        specversion="1.0",
        type="ai.usage.recorded",
        subject=user,
        time=dt.datetime.fromisoformat(time),
        data={"model": model, **data},
    )


def told(result: object) -> list[list[object]]:
    return [[row.window_start.isoformat(), row.subject, row.group_by.get("model"), row.value] for row in result.data]


client.events.ingest_events(
    [
        event("1", ALICE, "gpt-4o", "2026-11-01T12:00:00+00:00", conversations=600),
        event("2", ALICE, "claude", "2026-11-01T23:30:00+00:00", requests=5, email_messages=2.5),
        event("3", BOB, "gpt-4o", "2026-11-02T00:00:00+00:00", conversations=2),
    ]
)
span = {"from_parameter": FIRST, "to": LAST}
try:
    client.meters.query_json("credits", window_size="MINUTE", **span)
    refused = 0
except HttpResponseError as error:
    refused = error.status_code
says = {
    "meters": [[meter.slug, meter.aggregation, meter.created_at.year] for meter in client.meters.list()],
    "total": told(client.meters.query_json("credits", **span)),
    "days": told(client.meters.query_json("units", window_size="DAY", **span)),
    "berlin": told(client.meters.query_json("units", window_size="DAY", window_time_zone="Europe/Berlin", from_parameter=FIRST, to=LAST)),
    "subjects": told(client.meters.query_json("units", group_by=["subject"], **span)),
    "subject": told(client.meters.query_json("units", subject=[ALICE, BOB], window_size="MONTH", **span)),
    "models": told(client.meters.query_json("units", group_by=["model", "subject"], **span)),
    "filtered": told(client.meters.query_json("units", filter_group_by={"model": "gpt-4o"}, **span)),
    "emails": told(client.meters.query_json("email_messages", group_by=["subject"], **span)),
    "conversations": told(client.meters.query_json("conversations", **span)),
    "posted": told(
        client.meters.query("units", MeterQueryRequest(from_property=FIRST, to=LAST, window_size="HOUR", subject=[BOB], group_by=["model"]))
    ),
    "csv": "".join(str(part) for part in client.meters.query_csv("units", group_by=["subject"], **span)),
    "events": [[each.event.id, each.event.subject, each.event.data["model"]] for each in client.events.list(subject=ALICE, limit=5)],
    "value": client.customer_entitlement.get_customer_entitlement_value(ALICE, "credits").as_dict(),
    "access": client.customer.get_customer_access(BOB).as_dict(),
    "refused": refused,
}
sys.stdout.write(json.dumps(says))
