"""OTLP as JSON: one typed pass. Ids are hex, 64-bit integers are texts or numbers, unknown fields are passed over.

Source: OTLP 1.9, JSON Protobuf Encoding.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec import DecodeError, Struct, ValidationError, field
from msgspec.json import Decoder

from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.otlp.records import (
    ATTRIBUTES_MAX,
    READ,
    VALUE_CHARACTERS_MAX,
    Attributes,
    LogRecord,
    Source,
    Span,
    Value,
    check_records,
    name_of,
    span_id,
)

_HEX = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
Part = TypeVar("Part")


class _AnyValue(Struct, rename="camel", gc=False):
    """A text or a number; what else it may be is passed over."""

    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None


class _KeyValue(Struct, gc=False):
    key: str = ""
    value: _AnyValue | None = None


class _Resource(Struct, gc=False):
    attributes: list[_KeyValue] | None = None


class _Scope(Struct, gc=False):
    name: str = ""


class _Span(Struct, rename="camel", gc=False):
    trace_id: str = ""
    span_id: str = ""
    end_time_unix_nano: int | str = 0
    attributes: list[_KeyValue] | None = None


class _LogRecord(Struct, rename="camel", gc=False):
    time_unix_nano: int | str = 0
    observed_time_unix_nano: int | str = 0
    event_name: str = ""
    body: _AnyValue | None = None
    trace_id: str = ""
    span_id: str = ""
    attributes: list[_KeyValue] | None = None


class _ScopeSpans(Struct):
    scope: _Scope | None = None
    spans: list[_Span] | None = None


class _ResourceSpans(Struct):
    resource: _Resource | None = None
    scopes: list[_ScopeSpans] | None = field(name="scopeSpans", default=None)


class _Traces(Struct):
    resources: list[_ResourceSpans] | None = field(name="resourceSpans", default=None)


class _ScopeLogs(Struct):
    scope: _Scope | None = None
    records: list[_LogRecord] | None = field(name="logRecords", default=None)


class _ResourceLogs(Struct):
    resource: _Resource | None = None
    scopes: list[_ScopeLogs] | None = field(name="scopeLogs", default=None)


class _Logs(Struct):
    resources: list[_ResourceLogs] | None = field(name="resourceLogs", default=None)


_traces = Decoder(_Traces)
_logs = Decoder(_Logs)


def spans(body: bytes) -> list[Span | Refused]:
    """The spans of an export request; BadBody where it is none."""
    found: list[Span | Refused] = []
    for part in decoded(_traces, body).resources or ():
        resource = resource_of(part.resource)
        for scope in part.scopes or ():
            source = source_of(resource, scope.scope)
            check_records(len(found) + len(scope.spans or ()))
            found.extend(_span(source, read) for read in scope.spans or ())
    return found


def log_records(body: bytes) -> list[LogRecord | Refused]:
    """The log records of an export request; BadBody where it is none."""
    found: list[LogRecord | Refused] = []
    for part in decoded(_logs, body).resources or ():
        resource = resource_of(part.resource)
        for scope in part.scopes or ():
            source = source_of(resource, scope.scope)
            check_records(len(found) + len(scope.records or ()))
            found.extend(_log_record(source, read) for read in scope.records or ())
    return found


def decoded(decoder: Decoder[Part], body: bytes) -> Part:
    """A body, decoded; BadBody where it cannot be."""
    try:
        if not body.isascii():
            body.decode()
        return decoder.decode(body)
    except UnicodeDecodeError as error:
        raise BadBody(400, f"the body is not UTF-8 (byte {error.start})") from None
    except ValidationError as error:
        raise BadBody(400, f"not an OTLP request: {error}") from None
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        raise BadBody(400, "the body is nested too deeply") from None


def resource_of(resource: _Resource | None) -> Attributes:
    """What is read of a resource; BadBody where it has too many attributes."""
    try:
        return attributes_of(resource.attributes if resource else None)
    except Refused as refused:
        raise BadBody(413, f"of a resource, {refused.detail}") from None


def source_of(resource: Attributes, scope: _Scope | None) -> Source:
    """Who sends."""
    return Source(resource, scope.name[:VALUE_CHARACTERS_MAX] if scope else "")


def attributes_of(pairs: Sequence[_KeyValue] | None) -> Attributes:
    """Those attributes that are read."""
    if not pairs:
        return {}
    if len(pairs) > ATTRIBUTES_MAX:
        raise Refused(Reason.EVENT_TOO_LARGE, f"there are more than {ATTRIBUTES_MAX:,} attributes")
    return dict(_read(pairs))


def _read(pairs: Sequence[_KeyValue]) -> Iterator[tuple[str, Value]]:
    for pair in pairs:
        if pair.key in READ and pair.value is not None:
            value = _value(pair.value)
            if value is not None:
                yield pair.key, value


def _value(found: _AnyValue) -> Value | None:
    if found.string_value is not None:
        return found.string_value if len(found.string_value) <= VALUE_CHARACTERS_MAX else ""
    if found.int_value is not None:
        return integer(found.int_value)
    return found.double_value if isinstance(found.double_value, float) else None


def integer(found: int | str) -> int:
    """A 64-bit integer, which may have come as a text; Refused where it is none."""
    if isinstance(found, int):
        return found
    if not _INTEGER.fullmatch(found):
        raise Refused(Reason.BAD_FIELD, f"{found[:40]!r} is not an integer")
    return int(found)


def _span(source: Source, read: _Span) -> Span | Refused:
    try:
        named = span_id(_hex(read.trace_id, 32), _hex(read.span_id, 16))
        return Span(source, named, integer(read.end_time_unix_nano), attributes_of(read.attributes))
    except Refused as refused:
        return refused


def _log_record(source: Source, read: _LogRecord) -> LogRecord | Refused:
    try:
        found = attributes_of(read.attributes)
        body = (read.body.string_value if read.body else None) or ""
        return LogRecord(
            source,
            span_id(_hex(read.trace_id, 32), _hex(read.span_id, 16)),
            name_of(found, read.event_name, body),
            integer(read.time_unix_nano),
            integer(read.observed_time_unix_nano),
            found,
        )
    except Refused as refused:
        return refused


def _hex(id: str, digits: int) -> str:
    if id and (len(id) != digits or not _HEX.fullmatch(id)):
        raise Refused(Reason.BAD_FIELD, f"an id must be {digits} hexadecimal digits")
    return id.lower()
