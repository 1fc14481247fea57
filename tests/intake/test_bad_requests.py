"""Whatever is wrong with a request, the answer is a 4xx problem of one shape that names the place, and nothing is stored."""

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests import engines
from tests.conftest import Server, event

ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"
SOON = "2099-01-01T00:00:00Z"
GOOD = json.dumps(event("good"))


def changed(**fields: object) -> str:
    """A good event with other fields; None leaves a field away."""
    return json.dumps({name: value for name, value in {**event("bad"), **fields}.items() if value is not None})


def written(field: str, text: str) -> str:
    """A good event with a field as this JSON text."""
    return json.dumps({**event("bad"), field: "@"}).replace('"@"', text)


def quantity(text: str) -> str:
    return written("data", f'{{"conversations": {text}}}')


def nested(levels: int) -> str:
    return written("data", f'{{"conversations": 1, "extra": {"[" * levels}{"]" * levels}}}')


# Events that are JSON: what is sent, the reason that must come back, a word that must be in the detail.
BAD_EVENTS: dict[str, tuple[str, str, str]] = {
    "a text": ('"event"', "not_an_event", "object"),
    "a number": ("17", "not_an_event", "object"),
    "null": ("null", "not_an_event", "object"),
    "true": ("true", "not_an_event", "object"),
    "a list": ("[1]", "not_an_event", "object"),
    "an empty object": ("{}", "missing_field", "specversion"),
    "no id": (changed(id=None), "missing_field", "id"),
    "no source": (changed(source=None), "missing_field", "source"),
    "no type": (changed(type=None), "missing_field", "type"),
    "no specversion": (changed(specversion=None), "missing_field", "specversion"),
    "an empty id": (changed(id=""), "missing_field", "id"),
    "an empty source": (changed(source=""), "missing_field", "source"),
    "an empty type": (changed(type=""), "missing_field", "type"),
    "an id that is a number": (changed(id=7), "bad_field", "$.id"),
    "an id that is null": (written("id", "null"), "bad_field", "$.id"),
    "a source that is a list": (changed(source=["/x"]), "bad_field", "$.source"),
    "a type that is true": (changed(type=True), "bad_field", "$.type"),
    "a subject that is a number": (changed(subject=5), "bad_field", "$.subject"),
    "a subject that is an object": (changed(subject={"name": "alice"}), "bad_field", "$.subject"),
    "a time that is a number": (changed(time=1_793_534_400), "bad_field", "$.time"),
    "data that is a text": (changed(data="1 conversation"), "bad_data", "data"),
    "data that is a list": (changed(data=[1]), "bad_data", "data"),
    "data that is a number": (changed(data=1), "bad_data", "data"),
    "specversion 0.3": (changed(specversion="0.3"), "bad_specversion", "1.0"),
    "specversion as a number": (written("specversion", "1.0"), "bad_field", "specversion"),
    "a zero byte in the id": (changed(id="a\0b"), "bad_text", "id"),
    "a line break in the subject": (changed(subject="alice\nbob"), "bad_text", "subject"),
    "a delete character in the type": (changed(type="a\x7f"), "bad_text", "type"),
    "a C1 control character in the subject": (changed(subject="alice\x85bob"), "bad_text", "subject"),
    "an escape in the source": (changed(source="\x1b[31m"), "bad_text", "source"),
    "an id of 257 characters": (changed(id="x" * 257), "key_too_long", "id is longer than 256"),
    "a source of 257 characters": (changed(source="x" * 257), "key_too_long", "source"),
    "a type of 257 characters": (changed(type="x" * 257), "key_too_long", "type"),
    "a subject of 257 characters": (changed(subject="é" * 257), "key_too_long", "subject"),
    "a model of 257 characters": (changed(data={"model": "x" * 257}), "key_too_long", "data.model"),
    "a model that is a number": (changed(data={"model": 5, "conversations": 1}), "bad_data", "data.model"),
    "a time without an offset": (changed(time="2026-11-01T12:00:00"), "bad_time", "offset"),
    "a date alone": (changed(time="2026-11-01"), "bad_time", "2026-11-01"),
    "30 February": (changed(time="2026-02-30T12:00:00Z"), "bad_time", "2026-02-30"),
    "29 February of no leap year": (changed(time="2025-02-29T12:00:00Z"), "bad_time", "2025-02-29"),
    "month 13": (changed(time="2026-13-01T12:00:00Z"), "bad_time", "2026-13-01"),
    "the year 0": (changed(time="0000-01-01T12:00:00Z"), "bad_time", "0000-01-01"),
    "hour 24": (changed(time="2026-11-01T24:00:00Z"), "bad_time", "T24"),
    "minute 60": (changed(time="2026-11-01T12:60:00Z"), "bad_time", "12:60"),
    "a leap second": (changed(time="2016-12-31T23:59:60Z"), "bad_time", "23:59:60"),
    "an offset of 24 hours": (changed(time="2026-11-01T12:00:00+24:00"), "bad_time", "+24:00"),
    "an offset without a colon": (changed(time="2026-11-01T12:00:00+0530"), "bad_time", "+0530"),
    "an offset of 60 minutes": (changed(time="2026-11-01T12:00:00+05:60"), "bad_time", "+05:60"),
    "a comma before the fraction": (changed(time="2026-11-01T12:00:00,5Z"), "bad_time", "12:00:00,5Z"),
    "a time with a blank around it": (changed(time=" 2026-11-01T12:00:00Z"), "bad_time", "time"),
    "Arabic digits": (changed(time="٢٠٢٦-11-01T12:00:00Z"), "bad_time", "time"),
    "seconds since 1970 as a text": (changed(time="1793534400"), "bad_time", "time"),
    "an empty time": (changed(time=""), "bad_time", "time"),
    "the word now": (changed(time="now"), "bad_time", "now"),
    "the end of all years, west": (changed(time="9999-12-31T23:59:59-23:59"), "time_ahead", "9999"),
    "a time to come": (changed(time=SOON), "time_ahead", "5 minutes"),
    "a time before 1972": (changed(time="1971-12-31T23:59:59.999999Z"), "time_too_old", "1972"),
    "a quantity as a text": (quantity('"1"'), "bad_quantity", "data.conversations"),
    "a quantity that is true": (quantity("true"), "bad_quantity", "data.conversations"),
    "a quantity that is a list": (quantity("[1]"), "bad_quantity", "data.conversations"),
    "a quantity that is an object": (quantity('{"value": 1}'), "bad_quantity", "data.conversations"),
    "1e16": (quantity("1e16"), "bad_quantity", "data.conversations"),
    "1e400": (quantity("1e400"), "bad_quantity", "data.conversations"),
    "an exponent of 25 digits": (quantity("1e" + "9" * 25), "bad_data", "data"),
    "an exponent of 25 digits that no meter reads": (written("data", f'{{"other": -1e-{"9" * 25}}}'), "bad_data", "data"),
    "a whole number beyond the limit": (quantity("1000000000000001"), "bad_quantity", "data.conversations"),
    "a whole number of 5,000 digits": (quantity("9" * 5_000), "bad_data", "data"),
    "ten decimals": (quantity("0.0000000001"), "bad_quantity", "decimals"),
    "ten thousand decimals": (quantity("0." + "3" * 10_000), "bad_quantity", "decimals"),
    "more than a billion credits": (quantity("1000000000000"), "bad_quantity", "1,000,000,000 credits"),
    "a negative quantity without the scope": (quantity("-1"), "negative_quantity", "adjust"),
    "data 33 levels deep": (nested(31), "too_deep", "32"),
    "data 100,000 levels deep": (nested(100_000), "too_deep", "deep"),
    "64 KiB and more": (changed(data={"conversations": 1, "note": "x" * 65_536}), "event_too_large", "65,536"),
    "base64 that is none": (changed(data=None, data_base64="&&&&"), "bad_data", "data_base64"),
    "base64 with the alphabet of URLs": (changed(data=None, data_base64="eyJ4IjoiPz8_In0="), "bad_data", "data_base64"),
    "base64 without its padding": (changed(data=None, data_base64="eyJ4IjoxfQ"), "bad_data", "data_base64"),
    "base64 of a list": (changed(data=None, data_base64="WzFd"), "bad_data", "data_base64"),
    "base64 of no JSON": (changed(data=None, data_base64="aGVsbG8="), "bad_data", "data_base64"),
    "base64 that is a number": (changed(data=None, data_base64=5), "bad_field", "data_base64"),
    "data and base64": (changed(data_base64="e30="), "bad_data", "not both"),
}


def binary(**headers: str | bytes) -> dict[str, Any]:
    """Headers of a binary-mode event; an empty text leaves one away."""
    given = {"ce_specversion": "1.0", "ce_id": "bad", "ce_source": "/tests", "ce_type": "ai.usage.recorded", "ce_subject": "alice"}
    lines = {**given, "content_type": "application/json", **headers}
    return {name.replace("_", "-"): value for name, value in lines.items() if value != ""}


def as_type(media_type: str, **more: str) -> dict[str, Any]:
    return {"Content-Type": media_type, **{name.replace("_", "-"): value for name, value in more.items()}}


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode())


# Requests that hold no events, or none that can be told apart: headers, body, status, a word that must be in the detail.
BAD_BODIES: dict[str, tuple[dict[str, Any], bytes, int, str]] = {
    "an empty body": (as_type(ONE), b"", 400, "JSON"),
    "blanks": (as_type(MANY), b" \n ", 400, "JSON"),
    "half an object": (as_type(ONE), GOOD[:60].encode(), 400, "JSON"),
    "half a batch": (as_type(MANY), f"[{GOOD},".encode(), 400, "JSON"),
    "a comma too many": (as_type(MANY), f"[{GOOD},]".encode(), 400, "JSON"),
    "something after the event": (as_type(ONE), f"{GOOD} x".encode(), 400, "JSON"),
    "two events one after the other": (as_type(ONE), f"{GOOD}\n{GOOD}".encode(), 400, "JSON"),
    "single quotes": (as_type(ONE), b"{'id': 'x'}", 400, "JSON"),
    "a comment": (as_type(ONE), f"// usage\n{GOOD}".encode(), 400, "JSON"),
    "names without quotes": (as_type(ONE), b"{id: 1}", 400, "JSON"),
    "a byte order mark": (as_type(ONE), b"\xef\xbb\xbf" + GOOD.encode(), 400, "JSON"),
    "NaN": (as_type(ONE), quantity("NaN").encode(), 400, "JSON"),
    "Infinity": (as_type(ONE), quantity("Infinity").encode(), 400, "JSON"),
    "-Infinity": (as_type(ONE), quantity("-Infinity").encode(), 400, "JSON"),
    "a number with a leading zero": (as_type(ONE), quantity("01").encode(), 400, "JSON"),
    "a number with a plus": (as_type(ONE), quantity("+1").encode(), 400, "JSON"),
    "a hexadecimal number": (as_type(ONE), quantity("0x10").encode(), 400, "JSON"),
    "a bare line break in a text": (as_type(ONE), GOOD.replace("alice", "ali\nce").encode(), 400, "JSON"),
    "an unknown escape": (as_type(ONE), GOOD.replace("alice", "ali\\xce").encode(), 400, "JSON"),
    "a lone surrogate": (as_type(ONE), GOOD.replace("alice", "\\ud83d").encode(), 400, "JSON"),
    "surrogates the wrong way round": (as_type(ONE), GOOD.replace("alice", "\\ude00\\ud83d").encode(), 400, "JSON"),
    "bytes that are not UTF-8": (as_type(ONE), GOOD.encode().replace(b"alice", b"ali\xff"), 400, "UTF-8"),
    "Latin-1": (as_type(ONE), GOOD.replace("alice", "zoë").encode("latin-1"), 400, "UTF-8"),
    "bytes that are not UTF-8 in a field that nobody reads": (as_type(ONE), GOOD.encode()[:-1] + b', "x": "\xff"}', 400, "UTF-8"),
    "an overlong zero": (as_type(ONE), GOOD.encode().replace(b"alice", b"\xc0\x80"), 400, "UTF-8"),
    "a surrogate as bytes": (as_type(ONE), GOOD.encode().replace(b"alice", b"\xed\xa0\xbd"), 400, "UTF-8"),
    "UTF-16": (as_type(ONE), GOOD.encode("utf-16"), 400, "UTF-8"),
    "100,000 brackets": (as_type(MANY), b"[" * 100_000 + b"]" * 100_000, 400, "deep"),
    "100,000 brackets that never close": (as_type(MANY), b"[" * 100_000, 400, ""),
    "100,000 brackets within one of the batch": (as_type(MANY), f"[{GOOD}, {nested(100_000)}]".encode(), 400, "deep"),
    "one event as a batch": (as_type(MANY), GOOD.encode(), 400, "array"),
    "a batch as one event": (as_type(ONE), f"[{GOOD}]".encode(), 400, "object"),
    "10,001 events": (as_type(MANY), b"[" + b",".join([GOOD.encode()] * 10_001) + b"]", 413, "10,000"),
    "a body beyond 10 MiB": (as_type(ONE), b" " * (10 * 1024 * 1024 + 1), 413, "10,485,760"),
    "a gzip bomb": (as_type(ONE, content_encoding="gzip"), gzip.compress(b" " * 60_000_000, 9), 413, "10,485,760"),
    "a gzip bomb in many pieces": (as_type(ONE, content_encoding="gzip"), gzip.compress(b" " * 1_000_000) * 12, 413, "10,485,760"),
    "a gzip body cut short": (as_type(ONE, content_encoding="gzip"), gzipped(GOOD)[:-9], 400, "gzip"),
    "a garbled gzip body": (as_type(ONE, content_encoding="gzip"), gzipped(GOOD)[:12] + b"\0\xff" * 20, 400, "gzip"),
    "a gzip body with a wrong checksum": (as_type(ONE, content_encoding="gzip"), gzipped(GOOD)[:-8] + b"\0" * 8, 400, "gzip"),
    "a gzip body with rubbish behind": (as_type(ONE, content_encoding="gzip"), gzipped(GOOD) + b"rubbish", 400, "gzip"),
    "plain JSON said to be gzip": (as_type(ONE, content_encoding="gzip"), GOOD.encode(), 400, "gzip"),
    "an empty body said to be gzip": (as_type(ONE, content_encoding="gzip"), b"", 400, ""),
    "deflate": (as_type(ONE, content_encoding="deflate"), zlib.compress(GOOD.encode()), 415, "gzip"),
    "brotli": (as_type(ONE, content_encoding="br"), GOOD.encode(), 415, "gzip"),
    "gzip twice": (as_type(ONE, content_encoding="gzip, gzip"), gzip.compress(gzipped(GOOD)), 415, "gzip"),
    "plain text": (as_type("text/plain"), GOOD.encode(), 415, "application/cloudevents+json"),
    "NDJSON": (as_type("application/x-ndjson"), GOOD.encode(), 415, "application/cloudevents+json"),
    "a form": (as_type("application/x-www-form-urlencoded"), b"id=1", 415, "application/cloudevents+json"),
    "Avro": (as_type("application/cloudevents+avro"), b"\0", 415, "application/cloudevents+json"),
    "charset Latin-1": (as_type(f"{ONE}; charset=iso-8859-1"), GOOD.encode(), 415, "UTF-8"),
    "charset UTF-16": (as_type('application/json; charset="utf-16"'), GOOD.encode(), 415, "UTF-8"),
    "binary mode without an id": (binary(ce_id=""), b"{}", 400, "ce-id"),
    "binary mode without a source": (binary(ce_source=""), b"{}", 400, "ce-source"),
    "binary mode without a type": (binary(ce_type=""), b"{}", 400, "ce-type"),
    "binary mode without a version": (binary(ce_specversion=""), b"{}", 400, "specversion"),
    "binary mode of version 0.3": (binary(ce_specversion="0.3"), b"{}", 400, "1.0"),
    "binary mode with a bad time": (binary(ce_time="yesterday"), b"{}", 400, "yesterday"),
    "binary mode with a zero byte": (binary(ce_id="%00"), b"{}", 400, "id"),
    "binary mode with percent signs that are not UTF-8": (binary(ce_subject="%ff"), b"{}", 400, "UTF-8"),
    "binary mode with a list": (binary(), b"[1]", 400, "object"),
    "binary mode with half an object": (binary(), b'{"conversations": 1', 400, "JSON"),
    "binary mode with bytes that are not UTF-8": (binary(), b'{"x": "\xff"}', 400, "UTF-8"),
    "binary mode as plain text": (binary(content_type="text/plain"), b"{}", 415, "text/plain"),
}

# Headers said twice: which of the two counts would depend on the reader, so neither does.
SAID_TWICE: dict[str, tuple[list[tuple[str, str]], bytes]] = {
    "an id twice in the headers": ([*binary().items(), ("ce-id", "other")], b"{}"),
    "two kinds of content": ([*as_type(ONE).items(), ("Content-Type", MANY)], GOOD.encode()),
}


def post(server: Server, headers: Any, content: Any, key: str | bytes | None = None) -> httpx.Response:
    lines = list(headers.items()) if isinstance(headers, dict) else list(headers)
    authorization = f"Bearer {server.keys['ingest']}" if key is None else key
    if authorization:
        lines.append(("Authorization", authorization))
    return server.client.post(f"{server.url}/api/v1/events", headers=lines, content=content)


def check_problem(answer: httpx.Response, status: int, word: str) -> dict[str, Any]:
    """One shape for every refusal, and nothing that asks a client to try again."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "retry-after" not in answer.headers
    problem = dict(answer.json())
    assert set(problem) - {"refused"} == {"type", "title", "status", "detail"}
    assert problem["type"].startswith("urn:tallyboard:problem:")
    assert problem["status"] == status
    assert problem["title"]
    assert word in problem["detail"]
    assert "Traceback" not in answer.text
    return problem


@pytest.fixture
def unmoved_server(shared_server: Server) -> Iterator[Server]:
    """A server in which nothing may be stored while the test runs."""
    before = stored(shared_server)
    yield shared_server
    assert stored(shared_server) == before


def stored(server: Server) -> str:
    lines = server.client.get(f"{server.url}/metrics").text.splitlines()
    return next((line for line in lines if line.startswith('tallyboard_events_total{outcome="accepted"}')), "none")


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_with_its_place_and_reason(unmoved_server: Server, name: str) -> None:
    text, reason, word = BAD_EVENTS[name]
    alone = check_problem(post(unmoved_server, as_type(ONE), text.encode()), 400, word)
    assert [(refusal["index"], refusal["reason"]) for refusal in alone["refused"]] == [(0, reason)]
    if len(text) < 100_000:  # Deeper nesting refuses the whole body; that is one of BAD_BODIES.
        batch = check_problem(post(unmoved_server, as_type(MANY), f"[{GOOD}, {text}, {GOOD}]".encode()), 400, word)
        assert [(refusal["index"], refusal["reason"]) for refusal in batch["refused"]] == [(1, reason)]
        assert "event 1" in batch["detail"]


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_bad_body_is_refused(unmoved_server: Server, name: str) -> None:
    headers, body, status, word = BAD_BODIES[name]
    check_problem(post(unmoved_server, headers, body), status, word)


@pytest.mark.parametrize("name", SAID_TWICE)
def test_what_is_said_twice_is_refused(unmoved_server: Server, name: str) -> None:
    headers, body = SAID_TWICE[name]
    check_problem(post(unmoved_server, headers, body), 400, "")


def test_a_chunked_body_beyond_the_limit_is_refused(unmoved_server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b" " * 1024 * 1024

    check_problem(post(unmoved_server, as_type(ONE), chunks()), 413, "10,485,760")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "tb_without_a_word_before",
        "Bearer tb_unknown",
        "Bearer om_token",
        b"Bearer tb_\xff\xfe",
        "Bearer tb_" + "x" * 9_000,
    ],
    ids=["missing", "empty", "Basic", "bare", "unknown", "of another kind", "not ASCII", "very long"],
)
def test_without_a_key_in_use_nobody_gets_in(unmoved_server: Server, authorization: str | bytes) -> None:
    answer = post(unmoved_server, as_type(ONE), GOOD.encode(), authorization)
    check_problem(answer, 401, "API key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_revoked_or_expired_key_or_one_without_the_scope_is_refused(unmoved_server: Server) -> None:
    check_problem(post(unmoved_server, as_type(ONE), GOOD.encode(), f"Bearer {unmoved_server.keys['read,check,adjust']}"), 403, "ingest")
    for column, options in (("revoked_us", ()), ("expires_us", ("--expires", 1))):
        key = unmoved_server.keys.make("ingest", *options)
        assert post(unmoved_server, as_type(MANY), b"[]", f"Bearer {key}").status_code == 204
        latest = "created_us = (SELECT max(created_us) FROM api_key)"
        engines.look(unmoved_server.folder, f"UPDATE api_key SET {column} = created_us + 1 WHERE {latest}")
        check_problem(post(unmoved_server, as_type(ONE), GOOD.encode(), f"Bearer {key}"), 401, "revoked")


def test_a_correction_says_why(unmoved_server: Server) -> None:
    for number, data in enumerate(({}, {"reason": ""}, {"reason": "  "}, {"reason": 5})):
        body = json.dumps(event(str(number), conversations=-1, **data)).encode()
        problem = check_problem(post(unmoved_server, as_type(ONE), body, f"Bearer {unmoved_server.keys['ingest,adjust']}"), 400, "reason")
        assert problem["refused"][0]["reason"] == "reason_missing"


def test_every_refusal_of_a_batch_is_listed(unmoved_server: Server) -> None:
    batch = [event("0"), event("1", time="never"), event("2"), event("", "bob"), event("4", conversations=-1)]
    problem = check_problem(post(unmoved_server, as_type(MANY), json.dumps(batch).encode()), 400, "3 events")
    found = [(refusal["index"], refusal["reason"]) for refusal in problem["refused"]]
    assert found == [(1, "bad_time"), (3, "missing_field"), (4, "negative_quantity")]


def test_after_all_of_it_the_server_takes_good_events_and_made_no_mistake(shared_server: Server) -> None:
    assert '"mistake"' not in shared_server.log
    assert shared_server.send(event("good"))["accepted"] == 1
