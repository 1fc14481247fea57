"""Which spans and log records are usage, what they say, and of whom: as CloudEvents, or the reason why not.

**One signal of a source counts.** Every coding agent tells the same tokens two to four times. So each source has one signal,
the others are passed over: logs for Claude Code, Codex and Gemini CLI, spans for everything else. A resource attribute
`tallyboard.count` (`traces`, `logs`, `metrics`, `none`) chooses another.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from math import isfinite
from typing import TypeVar

from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.intake.event import PROVIDER_REQUEST_ID, RESPONSE_ID, Reason, Refused
from tallyboard.intake.otlp import records
from tallyboard.intake.otlp.records import Attributes, LogRecord, Source, Span, first, whole
from tallyboard.intake.tokens import Tokens, fields

EVENT_TYPE = "ai.usage.recorded"
UNNAMED = "opentelemetry"
"""The source of events whose resource has no service.name."""

Told = TypeVar("Told", Span, LogRecord)

_INFERENCE = {"chat", "text_completion", "generate_content", "embeddings", "completion", "embedding"}
_OPENINFERENCE = {"LLM", "EMBEDDING"}
_COST_PLACES = Decimal("0.000000001")
_TIME = re.compile(r"[\d:TtZz.+ -]{20,40}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Signal(StrEnum):
    """What OTLP carries; NONE for a source of which nothing counts."""

    TRACES = "traces"
    LOGS = "logs"
    METRICS = "metrics"
    NONE = "none"


class Agent(StrEnum):
    """Programs that are known by their telemetry."""

    CLAUDE_CODE = "claude-code"
    CODEX = "codex"
    GEMINI_CLI = "gemini-cli"
    OTHER = ""


def agent_of(source: Source) -> Agent:
    """Which program sends. Scopes are looked at, too: a service can be given any name."""
    service, scope = str(source.resource.get("service.name", "")), source.scope
    if service == "claude-code" or scope.startswith("com.anthropic.claude_code"):
        return Agent.CLAUDE_CODE
    if service.startswith("codex") or scope.startswith("codex_"):
        return Agent.CODEX
    return Agent.GEMINI_CLI if "gemini-cli" in {service, scope} else Agent.OTHER


def counts(source: Source, agent: Agent, signal: Signal) -> bool:
    """Whether this is the one signal of a source that counts."""
    chosen = str(source.resource.get("tallyboard.count", "")).strip().lower()
    if chosen in set(Signal):
        return chosen == signal
    return signal == (Signal.TRACES if agent is Agent.OTHER else Signal.LOGS)


def of_spans(found: Iterable[Span | Refused]) -> Iterator[CloudEvent | Refused]:
    """The usage among spans."""
    for each in found:
        if isinstance(each, Refused):
            yield each
        elif is_inference(each.attributes) and counts(each.source, agent_of(each.source), Signal.TRACES):
            event = _tried(_of_span, each)
            if event is not None:
                yield event


def of_log_records(found: Iterable[LogRecord | Refused]) -> Iterator[CloudEvent | Refused]:
    """The usage among log records."""
    for each in found:
        if isinstance(each, Refused):
            yield each
            continue
        read = _readers.get(each.name.removeprefix("claude_code."))
        if read and counts(each.source, agent_of(each.source), Signal.LOGS):
            event = _tried(read, each)
            if event is not None:
                yield event


def is_inference(attributes: Attributes) -> bool:
    """Whether a span is one call of a model. Agents, workflows, chains and tools only repeat what is in them."""
    kind = attributes.get("openinference.span.kind")
    if kind is not None:
        return str(kind).upper() in _OPENINFERENCE
    operation = attributes.get("gen_ai.operation.name", attributes.get("llm.request.type"))
    return operation in _INFERENCE


def person(attributes: Attributes, resource: Attributes, agent: Agent) -> str | None:
    """Whose usage it is, where the key is bound to nobody. Claude Code's user.id is a hash of the device, never a person."""
    for name in ("user.email", "enduser.id", "gen_ai.user", "llm.user", "user.id"):
        if name == "user.id" and agent is Agent.CLAUDE_CODE:
            continue
        for place in (attributes, resource):
            found = place.get(name)
            if isinstance(found, str) and found.strip():
                return found.strip()
    return None


def made(source: Source, attributes: Attributes, *, id: str, time: str | None, model: str, data: Mapping[str, object]) -> CloudEvent:
    """An event of a source. What is left out of `data` is what nothing was said of."""
    agent = agent_of(source)
    said = {
        **data,
        "model": model,
        "provider": first(attributes, records.PROVIDER),
        "conversation": first(attributes, records.CONVERSATION),
        "team": first(source.resource, ("team",)),
    }
    return CloudEvent(
        specversion="1.0",
        id=id,
        source=first(source.resource, ("service.name",)) or UNNAMED,
        type=EVENT_TYPE,
        subject=person(attributes, source.resource, agent),
        time=time,
        data={name: value for name, value in said.items() if value not in {None, ""}},
    )


def call(stated: Tokens, *, apart: bool = False) -> dict[str, object]:
    """What a call of a model is charged by: one request, and its tokens where they are stated."""
    return {"requests": 1, **(fields(stated, apart=apart) if stated.stated else {"unmetered": True})}


def instant(ns: int) -> str | None:
    """Nanoseconds since 1970 as RFC 3339, cut to microseconds; None for 0."""
    try:
        return (_EPOCH + timedelta(microseconds=ns // 1_000)).isoformat() if ns else None
    except OverflowError:
        raise Refused(Reason.BAD_TIME, f"there is no such time: {str(ns)[:40]} ns") from None


def digest(*parts: object) -> str:
    """An id of what has none of its own."""
    return blake2b("\0".join(map(str, parts)).encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _tried(read: Callable[[Told], CloudEvent | None], each: Told) -> CloudEvent | Refused | None:
    try:
        return read(each)
    except Refused as refused:
        return refused


def _of_span(span: Span) -> CloudEvent:
    if not span.id:
        raise Refused(Reason.MISSING_FIELD, "a span needs a traceId and a spanId")
    return _of_call(span.source, span.attributes, span.id, instant(span.end_ns))


def _of_call(source: Source, attributes: Attributes, id: str, time: str | None) -> CloudEvent:
    """A model call as the conventions for GenAI, OpenLLMetry or OpenInference describe it."""
    stated = Tokens(
        input=whole(attributes, records.INPUT),
        cache_read=whole(attributes, records.CACHE_READ),
        cache_write=whole(attributes, records.CACHE_WRITE),
        output=whole(attributes, records.OUTPUT),
        reasoning=whole(attributes, records.REASONING),
    )
    data = {
        **call(stated),
        "operation": first(attributes, ("gen_ai.operation.name",)),
        RESPONSE_ID: first(attributes, ("gen_ai.response.id",)),
    }
    return made(source, attributes, id=id, time=time, model=first(attributes, records.MODEL), data=data)


def _genai_event(record: LogRecord) -> CloudEvent | None:
    """An event that describes a model call; it counts only where `tallyboard.count` is `logs`."""
    time = _time(record)
    return _of_call(record.source, record.attributes, record.id or digest(time, *sorted(record.attributes.items())), time)


def _claude_code(record: LogRecord) -> CloudEvent | None:
    """Input, cache reads and cache writes are stated apart. The cost is the client's own estimate."""
    attributes = record.attributes
    stated = Tokens(
        input=whole(attributes, ("input_tokens",)),
        cache_read=whole(attributes, ("cache_read_tokens",)),
        cache_write=whole(attributes, ("cache_creation_tokens",)),
        output=whole(attributes, ("output_tokens",)),
    )
    time = _time(record)
    identity = first(attributes, ("request_id",)) or digest(
        attributes.get("session.id"), attributes.get("event.sequence"), time, *sorted(fields(stated).items())
    )
    data = {
        **call(stated, apart=True),
        PROVIDER_REQUEST_ID: first(attributes, ("request_id",)),
        "cost_usd": _cost(attributes.get("cost_usd")),
    }
    return made(record.source, attributes, id=identity, time=time, model=first(attributes, ("model",)), data=data)


def _codex(record: LogRecord) -> CloudEvent | None:
    """Of two records of one response only one has counts. Cache is part of input, reasoning of output; "tool" is the total."""
    attributes = record.attributes
    if attributes.get("event.kind") != "response.completed" or "input_token_count" not in attributes:
        return None
    stated = Tokens(
        input=whole(attributes, ("input_token_count",)),
        cache_read=whole(attributes, ("cached_token_count",)),
        cache_write=whole(attributes, ("cache_write_token_count",)),
        output=whole(attributes, ("output_token_count",)),
        reasoning=whole(attributes, ("reasoning_token_count",)),
    )
    time = _time(record)
    identity = digest(attributes.get("conversation.id"), time, *sorted(fields(stated).items()))
    return made(record.source, attributes, id=identity, time=time, model=first(attributes, ("model",)), data=call(stated))


def _gemini_cli(record: LogRecord) -> CloudEvent | None:
    """Cache is part of input; thoughts come on top of output, tokens of tool results on top of input."""
    attributes = record.attributes
    read, written = whole(attributes, ("input_token_count",)), whole(attributes, ("output_token_count",))
    thoughts, tools = whole(attributes, ("thoughts_token_count",)), whole(attributes, ("tool_token_count",))
    stated = Tokens(
        input=None if read is None else read + (tools or 0),
        cache_read=whole(attributes, ("cached_content_token_count",)),
        output=None if written is None else written + (thoughts or 0),
        reasoning=thoughts,
    )
    time = _time(record)
    identity = digest(attributes.get("session.id"), attributes.get("prompt_id"), time, *sorted(fields(stated).items()))
    return made(record.source, attributes, id=identity, time=time, model=first(attributes, ("model",)), data=call(stated))


def _time(record: LogRecord) -> str | None:
    """When it happened. Codex states no time but an attribute."""
    stated = record.attributes.get("event.timestamp")
    if record.at_ns or not stated:
        return instant(record.at_ns or record.observed_ns)
    if not (isinstance(stated, str) and _TIME.fullmatch(stated)):
        raise Refused(Reason.BAD_TIME, "event.timestamp must be an RFC 3339 time")
    return stated


def _cost(found: object) -> Decimal | None:
    """A cost with at most nine decimals: what a quantity may have."""
    return (
        Decimal(str(found)).quantize(_COST_PLACES).normalize()
        if isinstance(found, float) and isfinite(found) and 0 <= found < 1e6
        else None
    )


_readers = {
    "api_request": _claude_code,
    "codex.sse_event": _codex,
    "gemini_cli.api_response": _gemini_cli,
    "gen_ai.client.inference.operation.details": _genai_event,
}
