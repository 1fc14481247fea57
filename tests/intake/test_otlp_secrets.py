"""Prompts, answers, tool definitions and command lines are stored nowhere: canaries in every field that can carry them."""

from typing import Any

from tests.conftest import Server
from tests.intake.telemetry import END_NS, PROTOBUF, chat, counter, everything, framed, logs, metrics, pairs, post, replay, traces

CANARY = "canary-7f3a"
CARRIERS = (
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.definitions", "gen_ai.prompt"),
    *(
        "gen_ai.completion",
        "gen_ai.prompt.0.content",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "input.value",
        "output.value",
    ),
    *("llm.input_messages.0.message.content", "llm.invocation_parameters", "llm.prompts", "llm.prompt_template.variables"),
    *("process.command_args", "process.command_line", "process.command", "host.name", "url.full", "http.request.header.authorization"),
    *("prompt", "response", "request_text", "response_text", "function_args", "arguments", "output", "error.message", "exception.message"),
    *("traceloop.entity.input", "traceloop.entity.output", "github.copilot.context.skills", "tool_parameters", "anything.at.all"),
)
WORDS = {name.replace(".", "__"): f"{CANARY} {name}" for name in CARRIERS}
NESTED = {"arrayValue": {"values": [{"kvlistValue": {"values": [{"key": CANARY, "value": {"stringValue": CANARY}}]}}]}}


def told(signal_name: str) -> dict[str, Any]:
    """A record whose attributes carry canaries, beside what is read."""
    return {f"{signal_name}__nested": NESTED, **WORDS}


def requests() -> dict[str, list[dict[str, Any]]]:
    """Requests of every kind, each with canaries in every text that nobody has to read."""
    event = {"name": CANARY, "timeUnixNano": "1", "attributes": pairs(**WORDS)}
    more = {"name": f"chat {CANARY}", "events": [event], "links": [{"attributes": pairs(**WORDS)}], "status": {"message": CANARY}}
    spans = [chat(1, "alice", **told("a")) | more, chat(2, "alice", gen_ai__operation__name="invoke_agent", **WORDS) | more]
    refused = chat(3, "alice", gen_ai__usage__input_tokens=f"{CANARY} many") | more
    agent = {"event__name": "api_request", "model": "claude", "input_tokens": 1, "request_id": "r1", "user__email": "alice", **told("b")}
    prompt = {"event__name": "user_prompt", **WORDS}
    late = {"event__name": "codex.sse_event", "event__kind": "response.completed", "input_token_count": "1", "event__timestamp": CANARY}
    bodies = [{"timeUnixNano": END_NS, "body": {"stringValue": f"{CANARY} body"}, "attributes": pairs(**each)} for each in (agent, prompt)]
    bodies.append({"body": NESTED, "eventName": CANARY, "attributes": pairs(**late)})
    counted = counter("gen_ai.client.inference.usage.input_tokens", 5, 1, pairs(user__email="alice", **told("c")))
    counted |= {"description": CANARY, "unit": CANARY}
    resource = {"user__email": "alice", "tallyboard__count": "traces", **WORDS}
    return {
        "traces": [traces(*spans, refused, scope=CANARY, **resource)],
        "logs": [logs(*bodies, scope=CANARY, **{**resource, "tallyboard__count": "logs"})],
        "metrics": [metrics(counted, scope=CANARY, **{**resource, "tallyboard__count": "metrics"})],
    }


def encoded(message: dict[str, Any]) -> bytes:
    """A traces request as protobuf: enough of it for this test."""
    (part,) = message["resourceSpans"]
    spans = b"".join(framed(2, span_bytes(each)) for each in part["scopeSpans"][0]["spans"])
    scope = framed(1, framed(1, CANARY.encode()) + framed(3, pair_bytes(*pairs(x=CANARY))))
    return framed(1, framed(1, b"".join(framed(1, pair_bytes(each)) for each in part["resource"]["attributes"])) + framed(2, scope + spans))


def span_bytes(span: dict[str, Any]) -> bytes:
    ids = framed(1, bytes.fromhex(span["traceId"])[::-1]) + framed(2, bytes.fromhex(span["spanId"]))
    event = framed(11, framed(2, CANARY.encode()))
    attributes = b"".join(framed(9, pair_bytes(each)) for each in span["attributes"])
    return ids + framed(5, span["name"].encode()) + attributes + event + framed(15, framed(2, CANARY.encode()))


def pair_bytes(pair: dict[str, Any]) -> bytes:
    ((kind, found),) = pair["value"].items()
    value = b"\x18" + bytes([int(found)]) if kind == "intValue" else framed(1, str(found).encode())
    return framed(1, pair["key"].encode()) + framed(2, value)


def test_nothing_but_what_is_on_the_list_is_stored_logged_or_shown(server: Server) -> None:
    for signal, bodies in requests().items():
        for body in bodies:
            answer = post(server, signal, body)
            assert answer.status_code == 200
            assert CANARY not in answer.text
            broken = post(server, signal, body | {next(iter(body)): [CANARY]})
            assert broken.status_code == 400
            assert CANARY not in broken.text
    assert post(server, "traces", encoded(requests()["traces"][0]), Content_Type=PROTOBUF).status_code == 200
    for name in ("genai-traceloop", "copilot-cli-1.0.102"):
        replay(server, name, 1)
        replay(server, name, 0)
    held = server.client.get(f"{server.url}/metrics").text
    server.stop()
    stored = everything(server)
    assert "alice" in stored  # Else the search would prove nothing.
    assert '"input_tokens":100' in stored
    for place in (stored, server.log, held):
        assert CANARY not in place
        assert '"parts"' not in place
