"""Decoding OTLP in process: ours beside what the generated classes give, every attribute walked into a dict."""

import base64
import json
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from google.protobuf import json_format
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from rich.progress import Progress

from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.otlp import protobuf, typed_json
from tallyboard.intake.otlp.usage import of_spans
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

ROUNDS = 7
REPEATS = 5
SPANS = 2_000
BARS = {"protobuf": 2.0, "JSON": 20.0}
END_NS = 1_795_337_661_768_416_035


class Decoded(Struct, frozen=True):
    """Spans/s by ours and by the other way, medians; `times` is the median of each round's ratio; `taken` is decoded, mapped and charged."""

    encoding: str
    ours: float
    theirs: float
    times: float
    taken: float


def measure(progress: Progress) -> list[Decoded]:
    """Both encodings, contestants in turn."""
    task = progress.add_task("OTLP", total=2 * ROUNDS)
    as_json = json.dumps(request(random.Random(1), SPANS, END_NS)).encode()
    as_protobuf = message(as_json).SerializeToString()
    found = []
    for encoding, ours, theirs, body in (
        ("protobuf", protobuf.spans, _walked_protobuf, as_protobuf),
        ("JSON", typed_json.spans, _walked_json, as_json),
    ):
        assert [span.attributes["gen_ai.response.id"] for span in ours(body)] == [span["gen_ai.response.id"] for span in theirs(body)]
        seconds: list[tuple[float, float, float]] = []
        for _ in range(ROUNDS):
            seconds.append((_timed(ours, body), _timed(theirs, body), _timed(_taken(ours), body)))
            progress.advance(task)
        our, their, taken = (SPANS / median(each) for each in zip(*seconds, strict=True))
        found.append(Decoded(encoding, our, their, median(each[1] / each[0] for each in seconds), taken))
    return found


def _timed(work: Callable[[bytes], Any], body: bytes) -> float:
    """The shortest of a few times: others use the machine too, and only add."""
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work(body)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _taken(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    charger = Charger(card.read(card.default_text()))

    def work(body: bytes) -> None:
        accepted = accept(list(of_spans(decode(body))), Sender(), charger, END_NS // 1_000)
        assert len(accepted.entries) == SPANS

    return work


def _walked_protobuf(body: bytes) -> list[dict[str, Any]]:
    return _walked(ExportTraceServiceRequest.FromString(body))


def _walked_json(body: bytes) -> list[dict[str, Any]]:
    return _walked(message(body))


def message(body: bytes) -> ExportTraceServiceRequest:
    """JSON by protobuf's own reader, which takes ids for base64."""
    request = json.loads(body)
    for resource in request["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId"):
                    span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(request, ExportTraceServiceRequest(), ignore_unknown_fields=True)


def _walked(request: ExportTraceServiceRequest) -> list[dict[str, Any]]:
    spans = []
    for part in request.resource_spans:
        resource = {each.key: _value(each.value) for each in part.resource.attributes}
        for scope in part.scope_spans:
            for span in scope.spans:
                said = {each.key: _value(each.value) for each in span.attributes}
                ids = {"trace": span.trace_id.hex(), "span": span.span_id.hex(), "end_ns": span.end_time_unix_nano}
                spans.append({**said, **ids, "resource": resource})
    return spans


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


def request(chance: random.Random, spans: int, end_ns: int) -> dict[str, Any]:
    """Spans as an instrumentation writes them that sends prompts, with 16 attributes each."""
    scope = {"scope": {"name": "opentelemetry.instrumentation.openai.v1"}, "spans": [_span(chance, end_ns) for _ in range(spans)]}
    resource = {"attributes": [_pair("service.name", "chat-app"), _pair("telemetry.sdk.language", "python")]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}


def _span(chance: random.Random, end_ns: int) -> dict[str, Any]:
    said: dict[str, str | int] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.user": f"user-{chance.randrange(200)}@example.com",
        "gen_ai.openai.api_base": "https://api.example.com/v1/",
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"content": "word " * chance.randrange(10, 60), "type": "text"}]}]),
        "gen_ai.response.model": "gpt-4o-mini-2026-01-01",
        "gen_ai.response.id": f"chatcmpl-{chance.randbytes(8).hex()}",
        "openai.response.service_tier": "default",
        "gen_ai.usage.total_tokens": 150,
        "gen_ai.usage.output_tokens": chance.randrange(3_000),
        "gen_ai.usage.input_tokens": chance.randrange(10_000, 90_000),
        "gen_ai.usage.cache_read.input_tokens": chance.randrange(9_000),
        "gen_ai.usage.reasoning_tokens": 0,
        "server.address": "api.example.com",
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"content": "word " * chance.randrange(10, 60)}]}]),
    }
    return {
        "traceId": chance.randbytes(16).hex(),
        "spanId": chance.randbytes(8).hex(),
        "name": "openai.chat",
        "kind": 3,
        "startTimeUnixNano": str(end_ns - chance.randrange(10**10)),
        "endTimeUnixNano": str(end_ns),
        "attributes": [_pair(name, value) for name, value in said.items()],
        "status": {},
    }


def _pair(key: str, value: str | int) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value} if isinstance(value, str) else {"intValue": str(value)}}
