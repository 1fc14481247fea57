"""CloudEvents 1.0 over HTTP: structured, batch and binary mode, and plain JSON as OpenMeter clients send it.

Source: CloudEvents HTTP protocol binding 1.0.2. A body is decoded typed in one pass; only when that
fails is it read again item by item, to name every refusal. Attributes beyond the ones here are passed over.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import unquote

from msgspec import DecodeError, Raw, Struct, ValidationError, convert
from msgspec.json import Decoder

from tallyboard.intake.event import Reason, Refused

EVENTS_MAX = 10_000


class CloudEvent(Struct, gc=False):
    """The attributes of a CloudEvent that Tallyboard reads, as they were sent."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str | None = None
    time: str | None = None
    data: dict[str, Any] | None = None
    data_base64: str | None = None


class BadBody(Exception):
    """A body that holds no events at all; the text says why. `status` is the HTTP status that says so."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def exact(number: str) -> Decimal:
    """A JSON number with decimals or an exponent, as it stands there."""
    try:
        return Decimal(number)
    except InvalidOperation:
        raise ValueError(f"the number {number[:40]} has an exponent that is too large") from None


_one = Decoder(CloudEvent, float_hook=exact)
_many = Decoder(list[CloudEvent], float_hook=exact)
_data = Decoder(dict[str, Any], float_hook=exact)
_raws = Decoder(list[Raw])
_raw = Decoder(Raw)


def decode(headers: Mapping[str, str], body: bytes) -> list["CloudEvent | Refused"]:
    """The events of a request, in order, each an event or the reason it is none; BadBody where there are none.

    `headers` have lower-case names.
    """
    content_type = headers.get("content-type", "")
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    _check_charset(parameters)
    if media_type == "application/cloudevents-batch+json":
        return _batch(body)
    if media_type == "application/cloudevents+json":
        return [_structured(body)]
    _check_media_type(media_type)
    if "ce-specversion" in headers:
        return [_binary(headers, body)]
    return _batch(body) if body.lstrip()[:1] == b"[" else [_structured(body)]


def decode_one(headers: Mapping[str, str], body: bytes, defaults: Mapping[str, str]) -> CloudEvent:
    """The only event of a request; what it leaves unsaid is taken from `defaults`. Refused or BadBody where it is none."""
    if "ce-specversion" in headers or "batch" in headers.get("content-type", ""):
        found = decode(headers, body)
        if len(found) != 1:
            raise BadBody(400, f"one event is expected here, not {len(found):,}")
    else:
        found = [_completed(headers, body, defaults)]
    if isinstance(found[0], Refused):
        raise found[0]
    return found[0]


def from_line(line: bytes) -> "CloudEvent | Refused":
    """The event of one line of NDJSON."""
    try:
        return _structured(line)
    except BadBody as bad:
        return Refused(Reason.BAD_JSON, bad.detail)


def data_of(event: CloudEvent) -> Mapping[str, object]:
    """The event's data, also where it came as base64."""
    if event.data_base64 is None:
        return event.data or {}
    if event.data is not None:
        raise Refused(Reason.BAD_DATA, "an event has data or data_base64, not both")
    try:
        return _data.decode(b64decode(event.data_base64, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise Refused(Reason.BAD_DATA, "data_base64 does not hold a JSON object") from None


def _batch(body: bytes) -> list["CloudEvent | Refused"]:
    _check_text(body)
    try:
        events = _many.decode(body)
    except (ValidationError, RecursionError):
        return _item_by_item(body)
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    if len(events) > EVENTS_MAX:
        raise _too_many(len(events))
    return list(events)


def _item_by_item(body: bytes) -> list["CloudEvent | Refused"]:
    try:
        raws = _raws.decode(body)
    except ValidationError:
        raise BadBody(400, "a batch must be a JSON array of events") from None
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        raise BadBody(400, "the body is nested too deeply") from None
    if len(raws) > EVENTS_MAX:
        raise _too_many(len(raws))
    return [_event(raw) for raw in raws]


def _structured(body: bytes) -> "CloudEvent | Refused":
    _check_text(body)
    try:
        return _event(_raw.decode(body))
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "the event is nested too deeply")


def _completed(headers: Mapping[str, str], body: bytes, defaults: Mapping[str, str]) -> "CloudEvent | Refused":
    media_type, _, parameters = headers.get("content-type", "").partition(";")
    _check_media_type(media_type.strip().lower())
    _check_charset(parameters)
    _check_text(body)
    try:
        return convert({**defaults, **_data.decode(body)}, CloudEvent)
    except ValidationError as error:
        return _explain(str(error))
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "the event is nested too deeply")


def _event(raw: Raw) -> "CloudEvent | Refused":
    try:
        return _one.decode(raw)
    except ValidationError as error:
        return _explain(str(error))
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "the event is nested too deeply")
    except DecodeError as error:
        return Refused(Reason.BAD_JSON, str(error))


def _explain(message: str) -> Refused:
    if "missing required field" in message:
        return Refused(Reason.MISSING_FIELD, message.replace("Object missing", "the event is missing the"))
    if "`$.data[" in message:
        return Refused(Reason.BAD_DATA, message)
    if "`$.data`" in message:
        return Refused(Reason.BAD_DATA, f"data must be a JSON object: {message}")
    if "$" not in message:
        return Refused(Reason.NOT_AN_EVENT, f"an event must be a JSON object: {message}")
    return Refused(Reason.BAD_FIELD, message)


def _binary(headers: Mapping[str, str], body: bytes) -> "CloudEvent | Refused":
    attributes = {name[3:]: _header_text(value) for name, value in headers.items() if name.startswith("ce-")}
    for name in ("id", "source", "type"):
        if name not in attributes:
            return Refused(Reason.MISSING_FIELD, f"the header ce-{name} is missing")
    _check_text(body)
    try:
        data = _data.decode(body) if body else None
    except ValidationError:
        return Refused(Reason.BAD_DATA, "the body of a binary-mode event must be a JSON object")
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "data is nested too deeply")
    return CloudEvent(
        specversion=attributes["specversion"],
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        data=data,
    )


def _header_text(value: str) -> str:
    try:
        return unquote(value.strip().removeprefix('"').removesuffix('"'), errors="strict")
    except UnicodeDecodeError:
        raise BadBody(400, "a ce- header is not percent-encoded UTF-8") from None


def _check_text(body: bytes) -> None:
    """JSON is UTF-8 throughout, also in the fields that are passed over."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise BadBody(400, f"the body is not UTF-8 (byte {error.start})") from None


def _check_media_type(media_type: str) -> None:
    if media_type not in {"", "application/json", "application/cloudevents+json"}:
        raise BadBody(
            415,
            f"Content-Type {media_type[:80]!r} is not taken; send application/cloudevents+json, "
            "application/cloudevents-batch+json or application/json",
        )


def _check_charset(parameters: str) -> None:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in {"utf-8", "utf8", "us-ascii"}:
            raise BadBody(415, f"charset {value.strip()[:40]!r} is not taken; send UTF-8")


def _too_many(found: int) -> BadBody:
    return BadBody(413, f"a request may hold {EVENTS_MAX:,} events; this one holds {found:,}")
