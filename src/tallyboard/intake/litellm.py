"""LiteLLM's generic logger: its StandardLoggingPayloads as CloudEvents, each call once, and nothing of what was said in it.

Fields are named one by one; prompts, answers and errors, which the payload has, too, are passed over unread. Failed calls
are no usage: LiteLLM reports them with no tokens and no cost.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from math import isfinite
from typing import Any

from msgspec import DecodeError, Raw, Struct, ValidationError, convert
from msgspec.json import Decoder

from tallyboard.intake.cloudevents import EVENTS_MAX, BadBody, CloudEvent
from tallyboard.intake.event import KEY_CHARACTERS_MAX, RESPONSE_ID, Reason, Refused, is_key
from tallyboard.intake.surrogates import mended
from tallyboard.intake.tokens import Fields, Tokens, fields

SOURCE = "litellm"
EVENT_TYPE = "ai.usage.recorded"
FAILED = "failure"
ADMINISTRATOR = "default_user_id"
"""LiteLLM's own administrator, whose key is nobody's."""
MODEL_CALLS = frozenset(
    {
        *("completion", "acompletion", "text_completion", "atext_completion", "embedding", "aembedding", "responses", "aresponses"),
        *("anthropic_messages", "aanthropic_messages"),
        *("generate_content", "agenerate_content", "generate_content_stream", "agenerate_content_stream"),
    }
)
"""Calls that are a request each. Others are one where they state tokens; those that state neither tokens nor a cost are no usage."""
_MEDIA_TYPES = {"", "application/json", "application/x-ndjson", "application/ndjson"}
_COST_PLACES = Decimal("0.000000001")
_COST_MAX = 1_000_000
_SECONDS_MAX = 253_402_300_799
"""The end of the year 9999, beyond which there are no times."""


class _In(Struct, gc=False):
    cached_tokens: int | None = None
    cache_creation_tokens: int | None = None


class _Out(Struct, gc=False):
    reasoning_tokens: int | None = None


class _Usage(Struct, gc=False):
    prompt_tokens_details: _In | None = None
    completion_tokens_details: _Out | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Metadata(Struct):
    user_api_key_user_id: Any = None
    user_api_key_user_email: Any = None
    user_api_key_end_user_id: Any = None
    user_api_key_team_alias: Any = None
    user_api_key_team_id: Any = None
    usage_object: _Usage | None = None


class _Parameters(Struct):
    user: Any = None


class _Payload(Struct):
    """What is read of a StandardLoggingPayload. What a caller of LiteLLM may choose can be anything: it must not keep a call from counting."""

    litellm_call_id: Any = None
    id: Any = None
    status: str | None = None
    call_type: str | None = None
    custom_llm_provider: str | None = None
    cache_hit: bool | None = None
    startTime: float | None = None  # noqa: N815  LiteLLM's name.
    endTime: float | None = None  # noqa: N815
    model: Any = None
    model_group: Any = None
    metadata: _Metadata | None = None
    response_cost: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    end_user: Any = None
    model_parameters: _Parameters | str | None = None


_payload = Decoder(_Payload)
_raws = Decoder(list[Raw])
_raw = Decoder(Raw)


def decode(headers: Mapping[str, str], body: bytes) -> list["CloudEvent | Refused | None"]:
    """What the records of a request are, in order: an event, the reason it is none, None for what is no usage. BadBody where there are none.

    A JSON array, a single object, or NDJSON: LiteLLM calls all of them application/json. `headers` have lower-case names.
    """
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES:
        raise BadBody(415, f"Content-Type {media_type[:80]!r} is not taken; send application/json")
    found = _split(body)
    if len(found) > EVENTS_MAX:
        raise BadBody(413, f"a request may hold {EVENTS_MAX:,} records; this one holds {len(found):,}")
    return [_tried(each) for each in found]


def called(record: Mapping[str, object]) -> CloudEvent | Refused | None:
    """The same of one record that was read elsewhere, given as an object."""
    try:
        payload = convert(record, _Payload)
        return _event(payload) if _is_usage(payload) else None
    except Refused as refused:
        return refused
    except ValidationError as error:
        return Refused(Reason.NOT_AN_EVENT, f"not a call of LiteLLM: {error}")


def identity(call_id: object, started_s: float | None) -> str:
    """A call's id: LiteLLM's, and when it began, since a caller may choose the first, and so choose to count once for all.

    The client's hook makes the same one, so that a call that both tell of counts once.
    """
    made = f"{call_id}@{'' if started_s is None else f'{started_s:.6f}'}"
    plain = len(made) <= KEY_CHARACTERS_MAX and made.isascii() and made.isprintable()
    return made if plain else blake2b(made.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _split(body: bytes) -> list[Raw] | list[bytes]:
    if body.lstrip()[:1] == b"[":
        return _array(body)
    try:
        return [_raw.decode(body)]
    except (DecodeError, RecursionError):  # Of several lines the second is too much.
        return [line for line in body.splitlines() if line.strip()] or _nothing()


def _array(body: bytes) -> list[Raw]:
    try:
        try:
            return _raws.decode(body)
        except DecodeError:
            return _raws.decode(mended(body))
    except DecodeError as error:
        raise BadBody(400, f"not JSON: {error}") from None
    except RecursionError:
        raise BadBody(400, "the body is nested too deeply") from None


def _nothing() -> list[bytes]:
    raise BadBody(400, "the body is empty; send a JSON array of StandardLoggingPayloads")


def _tried(record: Raw | bytes) -> CloudEvent | Refused | None:
    try:
        try:
            payload = _payload.decode(record)
        except ValidationError:
            raise
        except DecodeError:
            payload = _payload.decode(mended(bytes(record)))
        return _event(payload) if _is_usage(payload) else None
    except Refused as refused:
        return refused
    except ValidationError as error:
        return Refused(Reason.NOT_AN_EVENT, f"not a StandardLoggingPayload: {error}")
    except (DecodeError, UnicodeDecodeError) as error:
        return Refused(Reason.BAD_JSON, f"not JSON: {error}")
    except RecursionError:
        return Refused(Reason.TOO_DEEP, "the record is nested too deeply")


def _is_usage(payload: _Payload) -> bool:
    """Whether a record is to be counted: not what cost and used nothing and did not work."""
    worked = payload.status != FAILED and payload.call_type in MODEL_CALLS
    return worked or _has_tokens(payload) or bool(payload.response_cost)


def _has_tokens(payload: _Payload) -> bool:
    return bool(payload.prompt_tokens or payload.completion_tokens)


def _event(payload: _Payload) -> CloudEvent:
    call_id = payload.litellm_call_id or payload.id
    if not call_id:
        raise Refused(Reason.MISSING_FIELD, "a record needs a litellm_call_id")
    metadata = payload.metadata or _Metadata()
    asked = payload.status != FAILED and (payload.call_type in MODEL_CALLS or _has_tokens(payload))
    said = {
        "model": _text(payload.model),
        "requests": 1 if asked else None,
        **(_tokens(payload, metadata.usage_object or _Usage()) if asked or _has_tokens(payload) else {}),
        "provider": _text(payload.custom_llm_provider),
        RESPONSE_ID: _text(payload.id) if asked else None,
        "operation": _text(payload.call_type),
        "model_group": _text(payload.model_group),
        "team": _text(metadata.user_api_key_team_alias) or _text(metadata.user_api_key_team_id),
        "cost_usd": _cost(payload.response_cost),
        "cache_hit": payload.cache_hit or None,
    }
    return CloudEvent(
        specversion="1.0",
        id=identity(call_id, payload.startTime),
        source=SOURCE,
        type=EVENT_TYPE,
        subject=_person(payload, metadata),
        time=_instant(payload.endTime),
        data={name: value for name, value in said.items() if value is not None},
    )


def _tokens(payload: _Payload, usage: _Usage) -> Fields:
    """Tokens by class."""
    details = usage.prompt_tokens_details or _In()
    read = details.cached_tokens or usage.cache_read_input_tokens or 0
    written = details.cache_creation_tokens or usage.cache_creation_input_tokens or 0
    reasoning = (usage.completion_tokens_details or _Out()).reasoning_tokens or 0
    put_in, put_out = payload.prompt_tokens or 0, payload.completion_tokens or 0
    if min(read, written, reasoning, put_in, put_out) < 0:
        raise Refused(Reason.BAD_QUANTITY, "tokens cannot be fewer than none")
    return fields(Tokens(put_in, read or None, written or None, max(put_out, reasoning), reasoning or None))


def _person(payload: _Payload, metadata: _Metadata) -> str | None:
    """Whose call it is: the owner of LiteLLM's key, else the end user, as authentication or the request names one."""
    owner = metadata.user_api_key_user_id if metadata.user_api_key_user_id != ADMINISTRATOR else None
    said = payload.model_parameters.user if isinstance(payload.model_parameters, _Parameters) else None
    named = (owner, metadata.user_api_key_user_email, payload.end_user, metadata.user_api_key_end_user_id, said)
    return next((each.strip() for each in named if isinstance(each, str) and is_key(each.strip())), None)


def _text(found: object) -> str | None:
    """A name that may be kept, None for whatever else is there."""
    text = found.strip()[:KEY_CHARACTERS_MAX] if isinstance(found, str) else ""
    return text if is_key(text) else None


def _cost(found: float | None) -> Decimal | None:
    """LiteLLM's own estimate in US dollars, with as many decimals as a quantity may have."""
    if found is None or not isfinite(found) or not 0 <= found < _COST_MAX:
        return None
    return Decimal(repr(found)).quantize(_COST_PLACES).normalize()


def _instant(seconds: float | None) -> str | None:
    """Seconds since 1970 as RFC 3339."""
    if seconds is None:
        return None
    if not 0 <= seconds <= _SECONDS_MAX:
        raise Refused(Reason.BAD_TIME, f"there is no such endTime: {seconds}")
    return datetime.fromtimestamp(seconds, UTC).isoformat()
