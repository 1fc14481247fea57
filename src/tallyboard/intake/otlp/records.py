"""What is read of OTLP, whatever its encoding: resources, spans, log records, and the attributes that are let in.

`READ` is an allow-list. An attribute that is not on it is never decoded, so prompts, answers, tool definitions and
command lines cannot reach the ledger or the log. Source: opentelemetry-proto 1.9, semantic conventions for GenAI.
"""

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b

from msgspec import Struct

from tallyboard.intake.cloudevents import EVENTS_MAX, BadBody
from tallyboard.intake.event import Reason, Refused

ATTRIBUTES_MAX = 1_000
"""Of one span, record or resource; SDKs stop at 128."""
VALUE_CHARACTERS_MAX = 256
BODY_NAME_CHARACTERS_MAX = 64
NUMBER_MAX = 10**15

_NO_TRACE, _NO_SPAN = {"", "0" * 32}, {"", "0" * 16}

Value = str | int | float
Attributes = Mapping[str, Value]

INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "llm.token_count.prompt")
OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens", "llm.token_count.completion")
CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "llm.usage.cache_read_input_tokens",
    "llm.token_count.prompt_details.cache_read",
)
CACHE_WRITE = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
)
REASONING = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)
MODEL = (
    "gen_ai.response.model",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.request.model",
    "llm.model_name",
    "embedding.model_name",
)
PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
CONVERSATION = ("gen_ai.conversation.id", "session.id", "conversation.id")

READ = frozenset((
    *(INPUT + OUTPUT + CACHE_READ + CACHE_WRITE + REASONING + MODEL + PROVIDER + CONVERSATION),
    *("service.name", "team", "tallyboard.count"),
    *("user.email", "enduser.id", "gen_ai.user", "llm.user", "user.id"),
    *("gen_ai.operation.name", "openinference.span.kind", "llm.request.type", "gen_ai.response.id"),
    *("event.name", "event.kind", "event.timestamp", "event.sequence", "model", "request_id", "prompt_id", "cost_usd"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens"),
    *("input_token_count", "output_token_count", "cached_token_count", "cache_write_token_count", "reasoning_token_count"),
    *("cached_content_token_count", "thoughts_token_count", "tool_token_count"),
    *("type", "token_type", "gen_ai.token.type"),
))  # fmt: skip
"""Names of all attributes that are read."""


class Source(Struct, frozen=True):
    """Who sends: what is read of its resource, and the name of the instrumentation's scope."""

    resource: Attributes
    scope: str


class Span(Struct, frozen=True, gc=False):
    """A span; `id` is `traceId:spanId` in hex. Times are nanoseconds since 1970, 0 where there is none."""

    source: Source
    id: str
    end_ns: int
    attributes: Attributes


class LogRecord(Struct, frozen=True, gc=False):
    """A log record or event. `name` is its event name or a short body; `id` is that of the span it was written in, or empty."""

    source: Source
    id: str
    name: str
    at_ns: int
    observed_ns: int
    attributes: Attributes


def span_id(trace: str, span: str) -> str:
    """The id of a span from its two parts in hex; empty where one is missing."""
    return "" if trace in _NO_TRACE or span in _NO_SPAN else f"{trace}:{span}"


def identity_of(scope: str, resource: Iterable[bytes], pairs: Iterable[bytes]) -> bytes:
    """16 bytes for a scope and two sets of attributes as they are encoded, in whatever order."""
    found = blake2b(scope.encode(errors="surrogatepass"), digest_size=16)
    for each in (resource, pairs):
        for pair in sorted(each):
            found.update(b"%d:" % len(pair))
            found.update(pair)
        found.update(b";")
    return found.digest()


def name_of(attributes: Attributes, event_name: str, body: str) -> str:
    """What kind of event a log record is. Claude Code says it in the body, too; no other body is looked at."""
    stated = attributes.get("event.name")
    if isinstance(stated, str) and stated:
        return stated
    return body if body.startswith("claude_code.") and len(body) <= BODY_NAME_CHARACTERS_MAX else event_name[:VALUE_CHARACTERS_MAX]


def first(attributes: Attributes, names: tuple[str, ...]) -> str:
    """The first of some attributes that is a text with something in it."""
    for name in names:
        found = attributes.get(name)
        if isinstance(found, str) and found:
            return found
    return ""


def whole(attributes: Attributes, names: tuple[str, ...]) -> int | None:
    """The first of some attributes that is there, as a number of tokens; Refused where it is no such number."""
    for name in names:
        found = attributes.get(name)
        if found is not None:
            return tokens(found, name)
    return None


def tokens(found: Value, name: str) -> int:
    """A number of tokens; Refused where it is none. Clients send it as an integer, a text or a float without decimals."""
    if isinstance(found, str):
        number = int(found) if found.isascii() and found.isdecimal() and len(found) < 20 else -1
    elif isinstance(found, float):
        number = int(found) if math.isfinite(found) and found == math.floor(found) else -1
    else:
        number = found
    if not 0 <= number <= NUMBER_MAX:
        raise Refused(Reason.BAD_QUANTITY, f"{name} must be a whole number of tokens from 0 to {NUMBER_MAX:,}")
    return number


def check_records(number: int) -> None:
    """BadBody where a request holds more than one may."""
    if number > EVENTS_MAX:
        raise BadBody(413, f"a request may hold {EVENTS_MAX:,} spans, records or points; make the exporter's batches smaller")
