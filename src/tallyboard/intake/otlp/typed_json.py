"""OTLP as JSON: one typed pass. Ids are hex, 64-bit integers are texts or numbers, unknown fields are passed over.

Source: OTLP 1.9, JSON Protobuf Encoding.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from msgspec import DecodeError, Raw, Struct, ValidationError, field
from msgspec.json import Decoder

from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.otlp.counters import CLASS_ATTRIBUTES, CUMULATIVE, DELTA, FAMILIES, Point, counts_metrics
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
    identity_of,
    name_of,
    span_id,
)

OBJECTS_MAX = 500_000
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1
_CERTAIN_DIGITS = 19
"""So many fit 64 bits, whichever they are."""
_HEX = re.compile(r"[0-9a-fA-F]*", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
_TEMPORALITIES: dict[int | str, int] = {
    DELTA: DELTA,
    CUMULATIVE: CUMULATIVE,
    "AGGREGATION_TEMPORALITY_DELTA": DELTA,
    "AGGREGATION_TEMPORALITY_CUMULATIVE": CUMULATIVE,
}
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


class _Pair(Struct, gc=False):
    """An attribute of which it may matter only that it differs from another."""

    key: str = ""
    value: Raw = Raw(b"null")


class _Point(Struct, rename="camel", gc=False):
    """A point of a sum or a histogram."""

    start_time_unix_nano: int | str = 0
    time_unix_nano: int | str = 0
    as_int: int | str | None = None
    as_double: float | str | None = None
    sum: float | str | None = None
    attributes: list[_Pair] | None = None


class _Points(Struct, rename="camel"):
    data_points: list[_Point] | None = None
    aggregation_temporality: int | str = 0
    is_monotonic: bool = False


class _Metric(Struct, rename="camel"):
    name: str = ""
    sum: _Points | None = None
    histogram: _Points | None = None
    exponential_histogram: _Points | None = None


class _MetricResource(Struct):
    attributes: list[_Pair] | None = None


class _ScopeMetrics(Struct):
    scope: _Scope | None = None
    metrics: list[_Metric] | None = None


class _ResourceMetrics(Struct):
    resource: _MetricResource | None = None
    scopes: list[_ScopeMetrics] | None = field(name="scopeMetrics", default=None)


class _Metrics(Struct):
    resources: list[_ResourceMetrics] | None = field(name="resourceMetrics", default=None)


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
_metrics = Decoder(_Metrics)
_any_value = Decoder(_AnyValue)


def spans(body: bytes) -> list[Span | Refused]:
    """The spans of an export request; BadBody where it is none."""
    found: list[Span | Refused] = []
    for part in decoded(_traces, body).resources or ():
        resource = resource_of(part.resource.attributes if part.resource else None)
        for scope in part.scopes or ():
            source = source_of(resource, scope.scope)
            check_records(len(found) + len(scope.spans or ()))
            found.extend(_span(source, read) for read in scope.spans or ())
    return found


def log_records(body: bytes) -> list[LogRecord | Refused]:
    """The log records of an export request; BadBody where it is none."""
    found: list[LogRecord | Refused] = []
    for part in decoded(_logs, body).resources or ():
        resource = resource_of(part.resource.attributes if part.resource else None)
        for scope in part.scopes or ():
            source = source_of(resource, scope.scope)
            check_records(len(found) + len(scope.records or ()))
            found.extend(_log_record(source, read) for read in scope.records or ())
    return found


def points(body: bytes) -> list[Point | Refused]:
    """The points that count of an export request; BadBody where it is none."""
    found: list[Point | Refused] = []
    for part in decoded(_metrics, body).resources or ():
        pairs = (part.resource.attributes if part.resource else None) or []
        resource = resource_of(pairs)
        for scope in part.scopes or ():
            source = source_of(resource, scope.scope)
            for metric in (scope.metrics or ()) if counts_metrics(source) else ():
                found += _points_of(source, _encoded(pairs), metric)
                check_records(len(found))
    return found


def decoded(decoder: Decoder[Part], body: bytes) -> Part:
    """A body, decoded; BadBody where it cannot be."""
    if body.count(b"{") > OBJECTS_MAX:  # Each takes many times its size in memory.
        raise BadBody(413, f"a body may hold {OBJECTS_MAX:,} JSON objects; make the exporter's batches smaller")
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


def resource_of(pairs: Sequence[_KeyValue | _Pair] | None) -> Attributes:
    """What is read of a resource; BadBody where it cannot be."""
    try:
        return attributes_of(pairs)
    except Refused as refused:
        raise BadBody(413, f"of a resource, {refused.detail}") from None


def source_of(resource: Attributes, scope: _Scope | None) -> Source:
    """Who sends."""
    return Source(resource, scope.name[:VALUE_CHARACTERS_MAX] if scope else "")


def attributes_of(pairs: Sequence[_KeyValue | _Pair] | None) -> Attributes:
    """Those attributes that are read."""
    if not pairs:
        return {}
    if len(pairs) > ATTRIBUTES_MAX:
        raise Refused(Reason.EVENT_TOO_LARGE, f"there are more than {ATTRIBUTES_MAX:,} attributes")
    found: dict[str, Value] = {}
    for pair in pairs:
        name = pair.key
        if name not in READ or pair.value is None:
            continue
        stated = pair.value if isinstance(pair.value, _AnyValue) else _decoded_value(pair.value)
        text = stated.string_value
        value = _number(stated) if text is None else text if len(text) <= VALUE_CHARACTERS_MAX else ""
        if value is not None:
            found[name] = value
    return found


def _decoded_value(encoded: Raw) -> _AnyValue:
    try:
        return _any_value.decode(encoded)
    except (DecodeError, RecursionError):
        raise Refused(Reason.BAD_FIELD, "an attribute's value is none") from None


def _encoded(pairs: Sequence[_Pair]) -> list[bytes]:
    """Attributes, whatever they are, to be told apart."""
    return [pair.key.encode(errors="surrogatepass") + b"\0" + bytes(pair.value) for pair in pairs]


def _number(found: _AnyValue) -> int | float | None:
    if found.int_value is not None:
        return integer(found.int_value)
    return found.double_value if isinstance(found.double_value, float) else None


def integer(found: int | str) -> int:
    """A 64-bit integer, which may have come as a text; Refused where it is none."""
    if isinstance(found, str):
        if len(found) <= _CERTAIN_DIGITS and found.isascii() and found.isdecimal():  # Nearly always; the rest is slower.
            return int(found)
        if not _INTEGER.fullmatch(found):
            raise Refused(Reason.BAD_FIELD, "a time or a number is not an integer")
    number = int(found)
    if not _INT64_MIN <= number <= _UINT64_MAX:
        raise Refused(Reason.BAD_FIELD, "an integer has more than 64 bits")
    return number


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


def _points_of(source: Source, of_resource: list[bytes], metric: _Metric) -> Iterator[Point | Refused]:
    """The points of a metric that counts tokens. A counter that may fall says nothing of usage."""
    if metric.name not in FAMILIES:
        return
    for data in (metric.sum if metric.sum and metric.sum.is_monotonic else None, metric.histogram, metric.exponential_histogram):
        for read in (data.data_points or ()) if data else ():
            try:
                yield _point(source, of_resource, metric.name, data.aggregation_temporality if data else 0, read)
            except Refused as refused:
                yield refused


def _point(source: Source, of_resource: list[bytes], metric: str, temporality: int | str, read: _Point) -> Point:
    others = [pair for pair in read.attributes or () if pair.key not in CLASS_ATTRIBUTES]
    number = next((each for each in (read.as_int, read.as_double, read.sum) if each is not None), 0)
    return Point(
        source,
        metric,
        identity_of(source.scope, of_resource, _encoded(others)),
        attributes_of(read.attributes),
        integer(read.start_time_unix_nano),
        integer(read.time_unix_nano),
        number,
        _TEMPORALITIES.get(temporality, 0),
    )


def _hex(id: str, digits: int) -> str:
    if id and (len(id) != digits or not _HEX.fullmatch(id)):
        raise Refused(Reason.BAD_FIELD, f"an id must be {digits} hexadecimal digits")
    return id.lower()
