"""OTLP as protobuf: frames are taken apart by the protobuf package, attributes only where they are read.

The messages are described here by the few fields that are read, with everything below a record as bytes. So what an
application sends besides costs next to nothing, and there is no depth to exhaust. A request is taken apart in one go: each
further go would copy most of it.
Source: opentelemetry-proto 1.9, trace.proto, logs.proto, metrics.proto, common.proto.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from tallyboard.intake.cloudevents import BadBody
from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.otlp.counters import CLASS_ATTRIBUTES, FAMILIES, Point, counts_metrics
from tallyboard.intake.otlp.records import (
    ATTRIBUTES_MAX,
    BODY_NAME_CHARACTERS_MAX,
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

_UNCOUNTED_BYTES = 2_500_000
"""So many become 146 MB where they are empty log records, the worst; empty attributes, which nobody counts, 129 MB in a body of full size."""
_TO_RECORDS = ({1}, {1, 2})
"""The fields that lead from a request to a resource's part of it, and on to the attributes of the resource and the records of its scopes."""
_FIELDS_MAX = 100_000
_VARINT, _BYTES = 0, 2
_SIZES = {1: 8, 5: 4}
"""Of the wire types that have one."""
Told = TypeVar("Told", Span, LogRecord)
_NAMES = {name.encode(): name for name in READ}
_FIRST, _SECOND, _INTEGER = b"\x0a\x12\x18"
"""Tags of fields 1 and 2 where they are bytes, and of field 3 where it is an integer."""
_BEGINNINGS = {bytes([_FIRST, len(name), *name, _SECOND]): text for name, text in _NAMES.items()}
"""How a pair with a name that is read begins, up to the length of its value."""
_TWO, _THREE, _FOUR = 2, 3, 4
_LONG = 0x80
"""From here on a length or an integer takes a second byte."""
_DIFFERENT = {"gen_ai.response.id", "request_id"}
"""Texts that hardly ever come again, and so are not remembered."""
_REMEMBERED_MAX = 10_000
_REMEMBERED_BYTES_MAX = 100
_F = FieldDescriptorProto

_MESSAGES = {
    "Resource": {"attributes": (1, "bytes*")},
    "Scope": {"name": (1, "bytes")},
    **{
        name: fields
        for of, record in (("Spans", "Span"), ("LogRecords", "LogRecord"), ("Metrics", "bytes"))
        for name, fields in {
            f"{of}OfScope": {"scope": (1, "Scope"), "records": (2, f"{record}*")},
            f"{of}OfResource": {"resource": (1, "Resource"), "scopes": (2, f"{of}OfScope*")},
            of: {"resources": (1, f"{of}OfResource*")},
        }.items()
    },
    "Span": {"trace": (1, "bytes"), "span": (2, "bytes"), "end_ns": (8, "fixed64"), "attributes": (9, "bytes*")},
    "LogRecord": {
        "at_ns": (1, "fixed64"),
        "body": (5, "bytes"),
        "attributes": (6, "bytes*"),
        "trace": (9, "bytes"),
        "span": (10, "bytes"),
        "observed_ns": (11, "fixed64"),
        "name": (12, "bytes"),
    },
    "Metric": {"name": (1, "bytes"), "sum": (7, "bytes*"), "histogram": (9, "bytes*"), "exponential": (10, "bytes*")},
    "Points": {"points": (1, "bytes*"), "temporality": (2, "int64"), "monotonic": (3, "int64")},
    "Number": {
        "start_ns": (2, "fixed64"),
        "at_ns": (3, "fixed64"),
        "number": (4, "double"),
        "integer": (6, "sfixed64"),
        "attributes": (7, "bytes*"),
    },
    "Histogram": {"start_ns": (2, "fixed64"), "at_ns": (3, "fixed64"), "number": (5, "double"), "attributes": (9, "bytes*")},
    "Exponential": {"attributes": (1, "bytes*"), "start_ns": (2, "fixed64"), "at_ns": (3, "fixed64"), "number": (5, "double")},
    "KeyValue": {"key": (1, "bytes"), "value": (2, "bytes")},
    "AnyValue": {"text": (1, "bytes"), "integer": (3, "int64"), "number": (4, "double")},
}
_TYPES = {
    "bytes": _F.TYPE_BYTES,
    "fixed64": _F.TYPE_FIXED64,
    "sfixed64": _F.TYPE_SFIXED64,
    "int64": _F.TYPE_INT64,
    "double": _F.TYPE_DOUBLE,
}


def _described() -> dict[str, Any]:
    """The classes of the messages above."""
    file = FileDescriptorProto(name="tallyboard/otlp.proto", package="tallyboard.otlp", syntax="proto2")
    for name, fields in _MESSAGES.items():
        message: DescriptorProto = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = _F.LABEL_REPEATED if kind.endswith("*") else _F.LABEL_OPTIONAL
            one = kind.rstrip("*")
            message_type = {} if one in _TYPES else {"type_name": f".tallyboard.otlp.{one}"}
            message.field.add(name=field, number=number, type=_TYPES.get(one, _F.TYPE_MESSAGE), label=label, **message_type)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"tallyboard.otlp.{name}")) for name in _MESSAGES}


_class = _described()
_spans = _class["Spans"].FromString
_log_records = _class["LogRecords"].FromString
_metrics = _class["Metrics"].FromString
_metric = _class["Metric"].FromString
_points = _class["Points"].FromString
_shapes = (
    ("sum", _class["Number"].FromString),
    ("histogram", _class["Histogram"].FromString),
    ("exponential", _class["Exponential"].FromString),
)
_key_value = _class["KeyValue"].FromString
_any_value = _class["AnyValue"].FromString


def spans(body: bytes) -> list[Span | Refused]:
    """The spans of an ExportTraceServiceRequest; BadBody where it is none."""
    return _each(_spans, body, _read_span)


def log_records(body: bytes) -> list[LogRecord | Refused]:
    """The records of an ExportLogsServiceRequest; BadBody where it is none."""
    return _each(_log_records, body, _read_log_record)


def points(body: bytes) -> list[Point | Refused]:
    """The points that count of an ExportMetricsServiceRequest; BadBody where it is none."""
    found: list[Point | Refused] = []
    with _whole():
        for source, of_resource, metrics in _scopes(_metrics, body):
            if counts_metrics(source):
                for encoded in metrics:
                    found += _read_metric(source, of_resource, encoded)
                    check_records(len(found))
    return found


def _each(request: Callable[[bytes], Any], body: bytes, read: Callable[[Source, Any], Told]) -> list[Told | Refused]:
    found: list[Told | Refused] = []
    with _whole():
        for source, _, records in _scopes(request, body):
            check_records(len(found) + len(records))
            for record in records:
                try:
                    found.append(read(source, record))
                except Refused as refused:
                    found.append(refused.with_traceback(None))  # Which would keep all of the request in memory.
    return found


@contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except DecodeError:
        raise BadBody(400, "the body is not the protobuf message that this path takes, or it ends too early") from None


def _scopes(request: Callable[[bytes], Any], body: bytes) -> Iterator[tuple[Source, Sequence[bytes], Sequence[Any]]]:
    """Every scope: who sends, all attributes of its resource as they are encoded, its records."""
    for part in request(_bounded(body, _TO_RECORDS)).resources:
        pairs = part.resource.attributes
        try:
            resource = attributes(pairs)
        except Refused as refused:
            raise BadBody(413, f"of a resource, {refused.detail}") from None
        for scope in part.scopes:
            yield Source(resource, text(scope.scope.name)), pairs, scope.records


def attributes(pairs: Sequence[bytes]) -> Attributes:
    """Those attributes that are read."""
    if len(pairs) > ATTRIBUTES_MAX:
        raise Refused(Reason.EVENT_TOO_LARGE, f"there are more than {ATTRIBUTES_MAX:,} attributes")
    return dict(filter(None, map(_remembered.__getitem__, pairs)))


class _Remembered(dict[bytes, tuple[str, Value] | None]):
    """What pairs say by how they are encoded, None for those that are not read: the same model, user and service come again and again.

    They mean the same whoever sends them. Whoever sends what is always new only clears it.
    """

    def __missing__(self, pair: bytes) -> tuple[str, Value] | None:
        """What a new pair says.

        Every client writes the key first, both shorter than 128 bytes, and numbers of up to three. Whatever else is allowed is slower.
        Most of the time of decoding is spent here, so it is one function.
        """
        try:
            end = pair[1] + 3
            name = _BEGINNINGS.get(pair[:end])
            if name is not None:
                size, kind, first = pair[end], pair[end + 1], pair[end + 2]
                if size == len(pair) - end - 1 < _LONG:
                    if kind == _INTEGER:  # Of more bytes it hardly ever comes again.
                        second = pair[-1]
                        if size == _THREE and second < _LONG <= first:
                            return name, first - _LONG | second << 7
                        if size == _FOUR and first >= _LONG <= pair[-2] and second < _LONG:
                            return name, first - _LONG | pair[-2] - _LONG << 7 | second << 14
                        if size == _TWO and first < _LONG:
                            return self._remember(pair, (name, first))
                    elif kind == _FIRST and first == size - 2:
                        read = name, pair[end + 3 :].decode()
                        return read if name in _DIFFERENT else self._remember(pair, read)
            elif pair[0] == _FIRST and pair[1] < _LONG and pair[2 : end - 1] not in _NAMES:
                return self._remember(pair, None) if len(pair) < _REMEMBERED_BYTES_MAX else None
        except (IndexError, UnicodeDecodeError):
            pass
        return self._remember(pair, _read_slowly(pair))

    def _remember(self, pair: bytes, read: tuple[str, Value] | None) -> tuple[str, Value] | None:
        if len(pair) < _REMEMBERED_BYTES_MAX and (read is None or read[0] not in _DIFFERENT):
            if len(self) >= _REMEMBERED_MAX:
                self.clear()
            self[pair] = read
        return read


def _read_slowly(pair: bytes) -> tuple[str, Value] | None:
    """The same, however it is written."""
    whole = _key_value(pair)
    name = _NAMES.get(whole.key)
    value = None if name is None else _value(whole.value)
    return None if name is None or value is None else (name, value)


_remembered = _Remembered()


def _name(pair: bytes) -> str | None:
    """The name of a pair, None where it is not read."""
    return _NAMES.get(_key_value(pair).key)


def text(encoded: bytes) -> str:
    """A short text; an empty one where it is too long or not UTF-8."""
    if len(encoded) > 4 * VALUE_CHARACTERS_MAX:
        return ""
    try:
        found = encoded.decode()
    except UnicodeDecodeError:
        return ""
    return found if len(found) <= VALUE_CHARACTERS_MAX else ""


def _value(encoded: bytes) -> Value | None:
    """A text or a number; None for anything else."""
    read = _any_value(encoded)
    if read.HasField("text"):
        return text(read.text)
    if read.HasField("integer"):
        return int(read.integer)
    return float(read.number) if read.HasField("number") else None


def _read_span(source: Source, read: Any) -> Span:
    return Span(source, span_id(read.trace.hex(), read.span.hex()), read.end_ns, attributes(read.attributes))


def _read_log_record(source: Source, read: Any) -> LogRecord:
    found = attributes(read.attributes)
    body = _value(read.body) if 2 < len(read.body) < BODY_NAME_CHARACTERS_MAX else ""
    name = name_of(found, text(read.name), body if isinstance(body, str) else "")
    return LogRecord(source, span_id(read.trace.hex(), read.span.hex()), name, read.at_ns, read.observed_ns, found)


def _read_metric(source: Source, of_resource: Sequence[bytes], message: bytes) -> Iterator[Point | Refused]:
    """The points of a metric that counts tokens. A counter that may fall says nothing of usage."""
    metric = _metric(_bounded(message))
    name = text(metric.name)
    if name not in FAMILIES:
        return
    for kind, read in _shapes:
        data = _points(_bounded(b"".join(getattr(metric, kind))))
        check_records(len(data.points))
        for encoded in data.points if kind != "sum" or data.monotonic else ():
            try:
                yield _read_point(source, of_resource, name, data.temporality, read(_bounded(encoded)))
            except Refused as refused:
                yield refused


def _read_point(source: Source, of_resource: Sequence[bytes], metric: str, temporality: int, point: Any) -> Point:
    read = attributes(point.attributes)
    others = [pair for pair in point.attributes if _name(pair) not in CLASS_ATTRIBUTES]
    whole = hasattr(point, "integer") and point.HasField("integer")
    value = point.integer if whole else point.number
    identity = identity_of(source.scope, of_resource, others)
    return Point(source, metric, identity, read, point.start_ns, point.at_ns, value, temporality)


def _bounded(message: bytes, path: Sequence[set[int]] = ()) -> bytes:
    """A message that may be taken apart. One of millions of empty parts would take many times its size in memory: they are counted first.

    So are the parts of parts along a path of fields, which are taken apart with it.
    """
    if len(message) > _UNCOUNTED_BYTES:
        _count(message, 0, len(message), path, 0)
    return message


def _count(message: bytes, at: int, end: int, path: Sequence[set[int]], count: int) -> int:
    while at < end:
        count += 1
        if count > _FIELDS_MAX:
            raise BadBody(413, "the message has more parts than a request may hold")
        tag, at = (message[at], at + 1) if message[at] < _LONG else _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(message, at)
            if path and tag >> 3 in path[0]:
                count = _count(message, at, min(at + size, end), path[1:], count)
            at += size
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise DecodeError
    return count


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for byte in message[at : at + 10]:
        at += 1
        if byte < _LONG:
            return number | byte << shift, at
        number |= (byte - _LONG) << shift
        shift += 7
    raise DecodeError
