"""Requests in OTLP: recorded ones, and made-up ones as JSON."""

import gzip
import json
from pathlib import Path
from typing import Any

import httpx
from tests import engines
from tests.conftest import DATA, Server, tallyboard

from tallyboard.ledger.copying import TABLES

RECORDED = DATA / "otlp"
TOKENS_CARD = Path(__file__).parents[2] / "src" / "tallyboard" / "rates" / "tokens.toml"
JSON = "application/json"
PROTOBUF = "application/x-protobuf"
END_NS = 1_795_337_661_768_416_035
"""On 22 November 2026."""

INPUT, OUTPUT, CACHE_READ, CACHE_WRITE = 1_200, 7_500, 150, 1_800
SMALL_INPUT, SMALL_OUTPUT = 150, 750
"""Units for a token by the example card."""


def price_tokens(server: Server) -> None:
    """Put the example card for tokens in force."""
    tallyboard("rates", "set", TOKENS_CARD, data=server.folder)


def replay(server: Server, name: str, number: int, key: str | None = None, count: str = "") -> httpx.Response:
    """Send a recorded request as it was sent, but for its key and the recording's host; `count` is added to its resource."""
    found = next((RECORDED / name).glob(f"{number:03}_*.request.json"))
    request = json.loads(found.read_text())
    dropped = {"authorization", "host", "content-length", "connection", "accept-encoding", "transfer-encoding"}
    headers = {name: value for name, value in request["headers"] if name.lower() not in dropped}
    headers["Authorization"] = f"Bearer {key or server.keys['ingest']}"
    body = found.with_name(found.name.replace(".request.json", ".body"))
    content = body.read_bytes() if body.exists() else gzip.decompress(body.with_name(f"{body.name}.gz").read_bytes())
    content = marked(content, count) if count else content
    chunked = any(name.lower() == "transfer-encoding" for name, _ in request["headers"])
    sent: Any = iter([content[:100], content[100:]]) if chunked else content
    return server.client.request(request["method"], server.url + request["path"], headers=headers, content=sent)


def marked(body: bytes, count: str) -> bytes:
    """A request of one resource whose `tallyboard.count` says which signal counts. Of a field said twice, protobuf joins both."""
    if body.startswith(b"{"):
        request = json.loads(body)
        next(iter(request.values()))[0]["resource"]["attributes"] += pairs(tallyboard__count=count)
        return json.dumps(request).encode()
    size, shift, at = 0, 0, 1
    while True:
        size |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if body[at - 1] < 0x80:
            break
    assert body[0] == 0x0A
    assert at + size == len(body)
    added = framed(1, framed(1, framed(1, b"tallyboard.count") + framed(2, framed(1, count.encode()))))
    return framed(1, body[at:] + added)


def framed(field: int, content: bytes) -> bytes:
    """A protobuf field that holds bytes."""
    size, length = bytearray(), len(content)
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([field << 3 | 2, *size, length]) + content


def post(server: Server, signal: str, content: Any, **headers: str) -> httpx.Response:
    """Send a request: a dict as JSON, anything else as it is."""
    lines = {
        "Authorization": f"Bearer {server.keys['ingest']}",
        "Content-Type": JSON,
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    body = json.dumps(content).encode() if isinstance(content, dict) else content
    return server.client.post(f"{server.url}/v1/{signal}", headers=lines, content=body)


def pairs(**attributes: Any) -> list[dict[str, Any]]:
    """Attributes as OTLP has them; two underscores stand for a dot."""
    return [{"key": name.replace("__", "."), "value": value(each)} for name, each in attributes.items()]


def value(each: Any) -> dict[str, Any]:
    """A value as OTLP has it."""
    kinds = {bool: "boolValue", int: "intValue", float: "doubleValue", str: "stringValue"}
    return each if isinstance(each, dict) else {kinds[type(each)]: str(each) if type(each) is int else each}


def span(number: int, attributes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A span, told from others by its number."""
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": str(END_NS - 10**9),
        "endTimeUnixNano": str(END_NS),
        "attributes": attributes,
        **more,
    }


def chat(number: int, user: str, tokens: int = 100, **attributes: Any) -> dict[str, Any]:
    """A span of a model call."""
    said = {
        "gen_ai__operation__name": "chat",
        "gen_ai__request__model": "gpt-4o",
        "gen_ai__usage__input_tokens": tokens,
        "user__email": user,
    }
    return span(number, pairs(**{**said, **attributes}))


def traces(*spans: Any, scope: str = "tests", **resource: Any) -> dict[str, Any]:
    """A request with spans of one resource."""
    parts = [{"scope": {"name": scope}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": pairs(**{"service__name": "app", **resource})}, "scopeSpans": parts}]}


def logs(*records: Any, scope: str = "tests", **resource: Any) -> dict[str, Any]:
    """A request with log records of one resource."""
    parts = [{"scope": {"name": scope}, "logRecords": list(records)}]
    return {"resourceLogs": [{"resource": {"attributes": pairs(**{"service__name": "app", **resource})}, "scopeLogs": parts}]}


def counter(
    name: str, value: int, at_s: float, attributes: list[dict[str, Any]], *, start_s: float = 0, temporality: int = 2
) -> dict[str, Any]:
    """A metric with one point; times are seconds from END_NS on."""
    point = {
        "startTimeUnixNano": str(END_NS + int(start_s * 10**9)),
        "timeUnixNano": str(END_NS + int(at_s * 10**9)),
        "asInt": str(value),
        "attributes": attributes,
    }
    return {"name": name, "sum": {"dataPoints": [point], "aggregationTemporality": temporality, "isMonotonic": True}}


def metrics(*found: Any, scope: str = "tests", **resource: Any) -> dict[str, Any]:
    """A request with metrics of one resource that counts by its metrics."""
    named = {"service__name": "app", "tallyboard__count": "metrics", **resource}
    parts = [{"scope": {"name": scope}, "metrics": list(found)}]
    return {"resourceMetrics": [{"resource": {"attributes": pairs(**named)}, "scopeMetrics": parts}]}


def units_of(server: Server, user: str) -> int:
    """What a user was charged on the day of the recordings."""
    return int(server.usage(first="2026-11-22", last="2026-11-22", user=user)["total"]["units"])


def kept(server: Server) -> int:
    """How many events there are on the days around the recordings."""

    return int(engines.look(server.folder, "SELECT count(*) FROM event")[0][0])


def everything(server: Server) -> str:
    """Every value of every row of every table, as text; on the embedded engine the files as well."""
    rows = [str(engines.look(server.folder, f"SELECT {', '.join(table.columns)} FROM {table.name}")) for table in TABLES]
    files = [path.read_bytes().decode("latin-1") for path in server.folder.rglob("*") if path.is_file()] if engines.NAME == "sqlite" else []
    return "\n".join(rows + files)
