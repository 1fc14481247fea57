"""A request in OTLP: its encoding, what is usage in it, and the messages that answer it.

Source: OTLP 1.9, OTLP/HTTP; google/rpc/status.proto and code.proto.
"""

from collections.abc import Mapping

import orjson

from tallyboard.intake.cloudevents import BadBody, CloudEvent
from tallyboard.intake.event import Refused
from tallyboard.intake.otlp import protobuf, typed_json
from tallyboard.intake.otlp.counters import Group, groups
from tallyboard.intake.otlp.usage import Signal, of_log_records, of_spans

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
REJECTED = {Signal.TRACES: "rejectedSpans", Signal.LOGS: "rejectedLogRecords", Signal.METRICS: "rejectedDataPoints"}

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 408: 4, 413: 3, 415: 3, 500: 13, 503: 14}
_UNKNOWN = 2


def media_type(headers: Mapping[str, str]) -> str:
    """The encoding of a request and so of its answer, PROTOBUF or JSON; BadBody 415 where it is neither."""
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    if found in {PROTOBUF, "application/protobuf"}:
        return PROTOBUF
    if found == JSON:
        return JSON
    raise BadBody(
        415, f"Content-Type {found[:80]!r} is not taken; send application/x-protobuf or application/json (OTLP over HTTP, not gRPC)"
    )


def decode(signal: Signal, headers: Mapping[str, str], body: bytes) -> list[CloudEvent | Refused]:
    """The usage of a request of spans or log records; BadBody where it is none of these."""
    decoder = protobuf if media_type(headers) == PROTOBUF else typed_json
    if signal is Signal.TRACES:
        return list(of_spans(decoder.spans(body)))
    return list(of_log_records(decoder.log_records(body)))


def decode_metrics(headers: Mapping[str, str], body: bytes) -> list[Group | Refused]:
    """The usage of a request of metrics; BadBody where it is none."""
    decoder = protobuf if media_type(headers) == PROTOBUF else typed_json
    return list(groups(decoder.points(body)))


def success(signal: Signal, encoding: str, rejected: int = 0, message: str = "") -> bytes:
    """An Export…ServiceResponse: empty where all is well, else a partial success, which with 0 rejected is a warning."""
    if encoding == JSON:
        partial: dict[str, object] = {REJECTED[signal]: str(rejected), "errorMessage": message}
        return orjson.dumps({"partialSuccess": partial} if message else {})
    return _field(1, _number(1, rejected) + _field(2, message.encode())) if message else b""


def failure(encoding: str, status: int, message: str) -> bytes:
    """A google.rpc.Status for an HTTP status."""
    code = _CODES.get(status, _UNKNOWN)
    if encoding == JSON:
        return orjson.dumps({"code": code, "message": message})
    return _number(1, code) + _field(2, message.encode())


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _varint(value) if value else b""


def _field(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])
