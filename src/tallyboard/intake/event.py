"""One usage event as a value that cannot be wrong, and the closed set of reasons to refuse one.

`check` is the only way to a UsageEvent. It takes `now` and does no I/O.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

from msgspec import Struct
from msgspec.json import Encoder

from tallyboard import days

KEY_CHARACTERS_MAX = 256
EVENT_BYTES_MAX = 65_536
DEPTH_MAX = 32
UNATTRIBUTED = "unattributed"
"""The user key that usage without a user is kept under."""
RESPONSE_ID, PROVIDER_REQUEST_ID = "response_id", "provider_request_id"
"""The fields of an event's data by which several sources can be seen to tell of the same call of a model."""

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,20})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_canonical = Encoder(order="deterministic", decimal_format="number").encode
_content = blake2b(digest_size=8)
_BRACE, _BRACKET = b"{["
_SOURCES_REMEMBERED_MAX = 1_024


class Reason(StrEnum):
    """Why an event is refused: stable words that programs may compare."""

    BAD_JSON = "bad_json"
    NOT_AN_EVENT = "not_an_event"
    MISSING_FIELD = "missing_field"
    BAD_FIELD = "bad_field"
    BAD_SPECVERSION = "bad_specversion"
    BAD_TEXT = "bad_text"
    KEY_TOO_LONG = "key_too_long"
    BAD_TIME = "bad_time"
    TIME_AHEAD = "time_ahead"
    TIME_TOO_OLD = "time_too_old"
    BAD_DATA = "bad_data"
    BAD_QUANTITY = "bad_quantity"
    NEGATIVE_QUANTITY = "negative_quantity"
    REASON_MISSING = "reason_missing"
    EVENT_TOO_LARGE = "event_too_large"
    TOO_DEEP = "too_deep"


class Refusal(Struct, frozen=True):
    """Why the event at `index` of a request (from 0) is refused, and how to mend it."""

    index: int
    reason: Reason
    detail: str


class Refused(Exception):
    """Raised while one event is checked; becomes a Refusal."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UsageEvent(Struct, frozen=True, gc=False, array_like=True):
    """Something that happened, ready to be charged and kept.

    `key` identifies it in its account: 16 bytes of BLAKE2b over source and id. `content` is a signed
    64-bit digest of what it says, to tell a re-send from a conflict. `document` is `data` as JSON. `calls` are digests of the ids, 16 bytes
    each, by which other sources may tell of the same call of a model.
    """

    key: bytes
    content: int
    source: str
    id: str
    user: str
    at_us: int
    type: str
    model: str
    document: str
    calls: tuple[bytes, ...] = ()


def check(*, source: str, id: str, type: str, user: str | None, time: str | None, data: Mapping[str, object], now_us: int) -> UsageEvent:
    """The event those attributes describe; Refused says which of them is wrong. No `time` means now."""
    user, model = user or "", data.get("model", "")
    if not (id and source and type and isinstance(model, str) and _plain(f"{id}{source}{type}{user}{model}")):
        _check_keys(id=id, source=source, type=type, subject=user)
        model = _checked_model(model)
    at_us = now_us if time is None else parse_time(time, now_us)
    document = _document(data)
    if len(document) + len(id) + len(source) + len(type) > EVENT_BYTES_MAX:
        raise Refused(Reason.EVENT_TOO_LARGE, f"the event is larger than {EVENT_BYTES_MAX:,} bytes; send fewer or shorter fields")
    text = document.decode()
    content = _content.copy()
    content.update(f"{user}\0{'' if time is None else at_us}\0{type}\0{text}".encode())
    return UsageEvent(
        event_key(source, id),
        int.from_bytes(content.digest(), signed=True),
        source,
        id,
        user or UNATTRIBUTED,
        at_us,
        type,
        model,
        text,
        _calls(data),
    )


def is_key(text: str) -> bool:
    """Whether a text can be a user's key or another name of the caller's: 1 to 256 characters, none of them a control character."""
    return 0 < len(text) <= KEY_CHARACTERS_MAX and not _CONTROL.search(text)


def event_key(source: str, id: str) -> bytes:
    """16 bytes that stand for (source, id): BLAKE2b, with the length of the source so that no two pairs meet."""
    digest = _of_source(source).copy()
    digest.update(id.encode())
    return digest.digest()


def _calls(data: Mapping[str, object]) -> tuple[bytes, ...]:
    response, request = data.get(RESPONSE_ID), data.get(PROVIDER_REQUEST_ID)
    if response is None and request is None:
        return ()
    return tuple({blake2b(name.encode(), digest_size=16).digest(): None for name in (response, request) if name and isinstance(name, str)})


@lru_cache(maxsize=_SOURCES_REMEMBERED_MAX)
def _of_source(source: str) -> blake2b:
    encoded = source.encode()
    return blake2b(b"%d:%b" % (len(encoded), encoded), digest_size=16)


def parse_time(text: str, now_us: int) -> int:
    """An RFC 3339 time as microseconds since 1970; further digits are cut off, so no event leaves its day."""
    if not _RFC3339.fullmatch(text):
        raise Refused(Reason.BAD_TIME, f"time must be RFC 3339 with an offset, such as 2026-11-22T09:00:01Z, not {text[:40]!r}")
    try:
        at_us = days.instant_us(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise Refused(Reason.BAD_TIME, f"there is no such time: {text[:40]!r}") from None
    if at_us > now_us + days.EVENT_AHEAD_US_MAX:
        raise Refused(Reason.TIME_AHEAD, f"time {text[:40]} is more than 5 minutes ahead of this server's clock")
    if at_us < days.EVENT_AT_US_MIN:
        raise Refused(Reason.TIME_TOO_OLD, f"time {text[:40]} is before 1972")
    return at_us


def _plain(keys: str) -> bool:
    """Whether keys, written one after another, are certainly good: most are, and this is quick."""
    return len(keys) <= KEY_CHARACTERS_MAX and keys.isascii() and keys.isprintable()


def _check_keys(**values: str | None) -> None:
    for name, value in values.items():
        if name == "subject" and not value:
            continue
        if not value:
            raise Refused(Reason.MISSING_FIELD, f"{name} must not be empty")
        if len(value) > KEY_CHARACTERS_MAX:
            raise Refused(Reason.KEY_TOO_LONG, f"{name} is longer than {KEY_CHARACTERS_MAX} characters")
        if _CONTROL.search(value):
            raise Refused(Reason.BAD_TEXT, f"{name} holds a control character")


def _checked_model(model: object) -> str:
    if model is None:
        return ""
    if not isinstance(model, str):
        raise Refused(Reason.BAD_DATA, "data.model must be a text")
    if model:
        _check_keys(**{"data.model": model})
    return model


def _document(data: Mapping[str, object]) -> bytes:
    try:
        document = _canonical(data)
    except (OverflowError, RecursionError, ValueError) as error:
        _check_depth(data, 2)
        raise Refused(Reason.BAD_DATA, f"data cannot be written as JSON: {error}") from None
    if document.rfind(_BRACE) > 0 or _BRACKET in document:
        _check_depth(data, 2)
    return document


def _check_depth(value: object, depth: int) -> None:
    """The event is depth 1, data 2, what it holds 3."""
    if depth > DEPTH_MAX:
        raise Refused(Reason.TOO_DEEP, f"data is nested deeper than {DEPTH_MAX} levels")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        if isinstance(each, (dict, list)):
            _check_depth(each, depth + 1)
