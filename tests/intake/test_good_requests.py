"""Usage comes in by every mode of CloudEvents over HTTP, exactly once, and is answered as clients expect."""

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.conftest import Server, event

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
CONVERSATION = 1_000_000


def post(server: Server, body: Any, media_type: str = ONE, scopes: str = "ingest", **headers: str) -> httpx.Response:
    """Send a body; names of headers have underscores for hyphens."""
    content = body if isinstance(body, bytes) or hasattr(body, "__next__") else json.dumps(body).encode()
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    if media_type:
        lines["Content-Type"] = media_type
    return server.request("POST", "/api/v1/events", scopes, headers=lines, content=content)


def units_of(server: Server, user: str, day: str = "2026-11-01") -> int:
    return int(server.usage(first=day, last=day, user=user)["total"]["units"])


@pytest.mark.parametrize("media_type", [ONE, "application/json", f"{ONE}; charset=utf-8", "Application/CloudEvents+JSON;charset=UTF-8", ""])
def test_one_event_is_taken_with_204_and_an_empty_body(shared_server: Server, media_type: str) -> None:
    user = f"one as {media_type}"
    answer = post(shared_server, event(user, user), media_type)
    assert (answer.status_code, answer.content) == (204, b"")
    assert units_of(shared_server, user) == CONVERSATION


@pytest.mark.parametrize("media_type", [MANY, "application/json"])
def test_a_batch_is_taken_whole(shared_server: Server, media_type: str) -> None:
    user = f"many as {media_type}"
    answer = post(shared_server, [event(f"{user} {number}", user) for number in range(50)], media_type)
    assert (answer.status_code, answer.content) == (204, b"")
    assert units_of(shared_server, user) == 50 * CONVERSATION


@pytest.mark.parametrize("path", ["/api/v3/openmeter/events", "/v3/openmeter/events"])
def test_the_addresses_of_openmeter_3_take_events_with_202(shared_server: Server, path: str) -> None:
    for media_type, body in (
        (ONE, event(f"one at {path}", path)),
        (MANY, [event(f"one at {path}", path), event(f"two at {path}", path)]),
        ("application/json", [event(f"two at {path}", path)]),
    ):
        answer = shared_server.request("POST", path, "ingest", headers={"Content-Type": media_type}, content=json.dumps(body))
        assert (answer.status_code, answer.content) == (202, b"")
    assert units_of(shared_server, path) == 2 * CONVERSATION
    refused = shared_server.request("POST", path, "ingest", json=[event(f"three at {path}", path), {}])
    assert (refused.status_code, refused.json()["refused"][0]["index"]) == (400, 1)


def test_an_empty_batch_is_fine(shared_server: Server) -> None:
    assert post(shared_server, [], MANY).status_code == 204


def test_binary_mode_takes_attributes_from_headers(shared_server: Server) -> None:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": "b1",
        "ce_source": "/svc/chat",
        "ce_type": "ai.usage.recorded",
        "ce_time": "2026-11-01T05:00:00Z",
    }
    answer = post(shared_server, {"conversations": 2}, "application/json", **headers, ce_subject="zo%C3%AB%20%E2%82%AC", ce_credits="3")
    assert answer.status_code == 204
    assert units_of(shared_server, "zoë €") == 2 * CONVERSATION
    assert post(shared_server, b'{"conversations": 2}', "", **{**headers, "ce_id": "b2"}, ce_subject="untyped").status_code == 204
    assert units_of(shared_server, "untyped") == 2 * CONVERSATION


def test_data_may_come_as_base64(shared_server: Server) -> None:
    encoded = b64encode(b'{"conversations": 0.25}').decode()
    given = event("base64", "base64")
    del given["data"]
    assert post(shared_server, {**given, "data_base64": encoded}).status_code == 204
    assert units_of(shared_server, "base64") == CONVERSATION // 4


def test_a_body_may_be_gzip_or_chunked_or_both(shared_server: Server) -> None:
    packed = gzip.compress(json.dumps([event("packed", "packed")]).encode())
    assert post(shared_server, packed, MANY, content_encoding="gzip").status_code == 204
    two_members = gzip.compress(b"[") + gzip.compress(json.dumps(event("members", "packed")).encode() + b"]")
    assert post(shared_server, two_members, MANY, content_encoding="x-gzip").status_code == 204

    def pieces(content: bytes) -> Iterator[bytes]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    assert post(shared_server, pieces(json.dumps(event("chunked", "packed")).encode())).status_code == 204
    assert (
        post(shared_server, pieces(gzip.compress(json.dumps(event("both", "packed")).encode())), content_encoding="gzip").status_code == 204
    )
    assert units_of(shared_server, "packed") == 4 * CONVERSATION


def test_a_large_batch_is_taken(shared_server: Server) -> None:
    answer = post(
        shared_server, [event(f"large {number}", f"large {number % 7}") for number in range(10_000)], MANY, Prefer="return=representation"
    )
    assert answer.json() == {"accepted": 10_000, "duplicate": 0, "conflict": 0, "refused": []}


def test_what_became_of_a_batch_is_told_on_request(shared_server: Server) -> None:
    once, changed = event("told", "told"), event("told", "told", conversations=5)
    answer = post(shared_server, [once, once, changed, event("told too", "told")], MANY, Prefer="return=representation")
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicate": 1, "conflict": 1, "refused": []}
    again = post(shared_server, [once, changed], MANY, Prefer="handling=strict, return=representation")
    assert again.json() == {"accepted": 0, "duplicate": 1, "conflict": 1, "refused": []}
    assert post(shared_server, [once, changed], MANY).status_code == 204
    assert units_of(shared_server, "told") == 2 * CONVERSATION


def test_a_key_written_otherwise_is_the_same_event(shared_server: Server) -> None:
    """White space, the order of names, escapes and the offset of the time say nothing else."""
    first = {**event("same", "same"), "data": {"conversations": 1, "model": "é"}}
    body = (
        '{"data": {"model": "\\u00e9", "conversations": 1}, "time": "2026-11-01T13:00:00.000+01:00", "subject": "same",\n'
        ' "type": "ai.usage.recorded", "source": "/tests", "id": "same", "specversion": "1.0"}'
    )
    assert post(shared_server, first).status_code == 204
    assert post(shared_server, body.encode(), Prefer="return=representation").json()["duplicate"] == 1


def test_the_same_id_from_another_source_is_another_event(shared_server: Server) -> None:
    pairs = [("/a", "bc"), ("/ab", "c"), ("/a", "c"), ("/ab", "bc")]
    batch = [{**event(name, "pairs"), "source": source} for source, name in pairs]
    assert post(shared_server, batch, MANY, Prefer="return=representation").json()["accepted"] == 4


def test_lenient_takes_the_good_and_lists_the_refused(shared_server: Server) -> None:
    batch = [event("l0", "lenient"), {"id": "l1"}, event("l2", "lenient", time="never"), event("l3", "lenient")]
    answer = post(shared_server, batch, MANY, Prefer="handling=lenient")
    assert answer.status_code == 200
    told = answer.json()
    assert (told["accepted"], [(each["index"], each["reason"]) for each in told["refused"]]) == (2, [(1, "missing_field"), (2, "bad_time")])
    assert all(each["detail"] for each in told["refused"])
    assert units_of(shared_server, "lenient") == 2 * CONVERSATION
    assert post(shared_server, [event("l4", "lenient")], MANY, Prefer="handling=lenient").status_code == 204


def test_a_correction_takes_back_what_was_counted(shared_server: Server) -> None:
    assert post(shared_server, event("right", "corrected", conversations=5)).status_code == 204
    correction = event("wrong", "corrected", conversations=-2, reason="counted twice")
    assert post(shared_server, correction).status_code == 400
    assert post(shared_server, correction, scopes="ingest,adjust").status_code == 204
    assert units_of(shared_server, "corrected") == 3 * CONVERSATION


def test_a_bound_key_overrides_the_subject(shared_server: Server) -> None:
    key = shared_server.keys.make("ingest", "--user", "bound")
    for number, subject in enumerate(("alice of another", None)):
        answer = post(shared_server, event(f"bound {number}", subject), Authorization=f"Bearer {key}")
        assert answer.status_code == 204
    assert units_of(shared_server, "bound") == 2 * CONVERSATION
    assert units_of(shared_server, "alice of another") == 0


def test_usage_without_a_user_or_a_meter_is_kept_and_counted(server: Server) -> None:
    batch = [
        event("nobody", None),
        event("empty", ""),
        {**event("unmetered", "someone"), "type": "something.else"},
        event("unknown", "someone", tokens=5),
    ]
    assert server.send(*batch)["accepted"] == 4
    assert units_of(server, "unattributed") == 2 * CONVERSATION
    shown = {user["user"]: user["units"] for user in server.usage(first="2026-11-01", last="2026-11-01")["users"]}
    assert shown == {"unattributed": 2 * CONVERSATION, "someone": 0}
    metrics = server.client.get(f"{server.url}/metrics").text
    assert 'tallyboard_events_total{outcome="unrated"} 2.0' in metrics
    assert 'tallyboard_events_total{outcome="unattributed"} 2.0' in metrics


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2026-10-31T23:59:59.9999999Z", "2026-10-31"),
        ("2026-11-01T00:00:00Z", "2026-11-01"),
        ("2026-11-01t05:29:59+05:30", "2026-10-31"),
        ("2026-11-01 00:00:00.000000000z", "2026-11-01"),
        ("2026-10-31T23:30:00-00:30", "2026-11-01"),
        ("1972-01-01T00:00:00Z", "1972-01-01"),
        ("2024-02-29T12:00:00-00:00", "2024-02-29"),
    ],
)
def test_an_event_counts_on_the_day_it_happened(shared_server: Server, text: str, day: str) -> None:
    assert post(shared_server, event(text, text, time=text)).status_code == 204
    assert units_of(shared_server, text, day) == CONVERSATION


def test_an_event_may_be_five_minutes_ahead_or_without_a_time(shared_server: Server) -> None:
    now = datetime.now(UTC)
    assert post(shared_server, event("now", "now", time=None)).status_code == 204
    assert post(shared_server, event("now", "now", time=None), Prefer="return=representation").json()["duplicate"] == 1
    assert post(shared_server, event("ahead", "now", time=(now + timedelta(minutes=4, seconds=50)).isoformat())).status_code == 204
    assert post(shared_server, event("too far", "now", time=(now + timedelta(minutes=6)).isoformat())).status_code == 400


@pytest.mark.parametrize(
    ("data", "units"),
    [
        ('{"conversations": 550}', 550_000_000),
        ('{"conversations": 300, "email_messages": 500000}', 600_000_000),
        ('{"requests": 1}', 200_000),
        ('{"requests": 5, "conversations": 0.01}', 10_000),
        ('{"conversations": 1.1}', 1_100_000),
        ('{"conversations": 1e2}', 100_000_000),
        ('{"conversations": 0}', 0),
        ('{"conversations": -0.0}', 0),
        ('{"rfm_predictions": 1, "ml_predictions": 1}', 21),
        ('{"conversations": 0.0000005}', 0),
        ('{"conversations": 0.0000015}', 2),
        ('{"conversations": null, "requests": 10}', 2_000_000),
    ],
)
def test_charges_are_exact(shared_server: Server, data: str, units: int) -> None:
    body = json.dumps({**event(data, data), "data": "@"}).replace('"@"', data).encode()
    assert post(shared_server, body).status_code == 204
    assert units_of(shared_server, data) == units


def test_of_a_name_said_twice_in_json_the_last_counts_as_parsers_do(shared_server: Server) -> None:
    twice = json.dumps(event("twice-a"))[:-1] + ', "id": "twice-b"}'
    answer = shared_server.request(
        "POST", "/api/v1/events", "ingest", headers={"Content-Type": "application/cloudevents+json"}, content=twice.encode()
    )
    assert answer.status_code == 204
    assert shared_server.send(event("twice-b"))["duplicate"] == 1
