"""Spans of model calls count once, with the right person, in both encodings."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import engines
from tests.conftest import Server
from tests.intake.telemetry import (
    CACHE_READ,
    INPUT,
    OUTPUT,
    RECORDED,
    SMALL_INPUT,
    SMALL_OUTPUT,
    chat,
    kept,
    pairs,
    post,
    replay,
    span,
    traces,
    units_of,
)

from tallyboard import clock
from tallyboard.app import App
from tallyboard.ledger import writer
from tallyboard.people import keys
from tallyboard.people.accounts import FIRST_ACCOUNT_ID
from tallyboard.people.keys import Scope
from tallyboard.web.lane import with_lane


@pytest.mark.parametrize("name", ["otlp-http-1.45-plain", "otlp-http-1.45-gzip", "otlp-json-http-0.66b1"])
def test_the_sdks_spans_count_once(priced: Server, name: str) -> None:
    for _ in range(2):
        answer = replay(priced, name, 0)
        assert answer.status_code == 200
        assert answer.content == (b"{}" if "json" in name else b"")
        assert answer.headers["Content-Type"] == ("application/json" if "json" in name else "application/x-protobuf")
        assert units_of(priced, "alice@example.com") == 120 * INPUT + 30 * OUTPUT


def test_copilots_chat_counts_and_its_agent_does_not(priced: Server) -> None:
    for _ in range(2):
        assert replay(priced, "copilot-cli-1.0.102", 0).json() == {}
        assert replay(priced, "copilot-cli-1.0.102", 1).json() == {}
        assert units_of(priced, "alice@example.com") == 100 * INPUT + 20 * CACHE_READ + 30 * OUTPUT
        assert kept(priced) == 1


def test_spans_of_the_official_instrumentation_count_and_a_stream_without_usage_is_unrated(priced: Server) -> None:
    """It names no person. Of four calls one was a stream that states no tokens."""
    assert b"1 span was kept as unrated: no tokens are stated" in replay(priced, "genai-genai_openai", 1).content
    for number in (0, 2, 1):
        answer = replay(priced, "genai-genai_openai", number)
        assert (answer.status_code, answer.content) == (200, b"")
    calls = 2 * (100 * SMALL_INPUT + 20 * CACHE_READ + 30 * SMALL_OUTPUT) + 180 * SMALL_INPUT + 40 * CACHE_READ + 33 * SMALL_OUTPUT
    assert units_of(priced, "unattributed") == calls
    assert kept(priced) == 4


def test_spans_of_openllmetry_count_for_the_user_that_the_application_passed(priced: Server) -> None:
    for number in (1, 0, 2, 1):
        assert replay(priced, "genai-traceloop", number).status_code == 200
    calls = 2 * (100 * SMALL_INPUT + 20 * CACHE_READ + 30 * SMALL_OUTPUT) + 180 * SMALL_INPUT + 40 * CACHE_READ + 33 * SMALL_OUTPUT
    assert units_of(priced, "alice@example.com") == calls
    assert kept(priced) == 4


def test_a_key_that_is_bound_to_a_user_overrides_what_the_spans_say(priced: Server) -> None:
    bound = priced.keys.make("ingest", "--user", "bob")
    replay(priced, "otlp-http-1.45-plain", 0, key=bound)
    assert units_of(priced, "bob") == 120 * INPUT + 30 * OUTPUT
    assert units_of(priced, "alice@example.com") == 0


def test_the_shipped_card_counts_a_call_as_a_request(server: Server) -> None:
    assert replay(server, "otlp-http-1.45-plain", 0).content == b""
    assert units_of(server, "alice@example.com") == 200_000


def test_openinference_is_read(shared: Server) -> None:
    llm = {
        "openinference__span__kind": "LLM",
        "llm__model_name": "gpt-4o",
        "llm__token_count__prompt": 200,
        "llm__token_count__completion": 10,
        "llm__token_count__prompt_details__cache_read": 50,
        "llm__token_count__total": 210,
        "user__id": "inference",
    }
    chain = {**llm, "openinference__span__kind": "CHAIN"}
    assert post(shared, "traces", traces(span(1, pairs(**llm)), span(2, pairs(**chain)))).json() == {}
    assert units_of(shared, "inference") == 150 * INPUT + 50 * CACHE_READ + 10 * OUTPUT


@pytest.mark.parametrize("operation", ["invoke_agent", "create_agent", "execute_tool", "invoke_workflow", "acompletion"])
def test_what_only_repeats_calls_of_models_is_passed_over(shared: Server, operation: str) -> None:
    user = f"by {operation}"
    assert post(shared, "traces", traces(chat(3, user, gen_ai__operation__name=operation))).json() == {}
    assert units_of(shared, user) == 0


@pytest.mark.parametrize(
    "names",
    [("gen_ai__usage__prompt_tokens", "gen_ai__usage__completion_tokens"), ("llm__usage__prompt_tokens", "llm__usage__completion_tokens")],
)
def test_older_names_are_read(shared: Server, names: tuple[str, str]) -> None:
    said = {"llm__request__type": "chat", "gen_ai__system": "OpenAI", "gen_ai__request__model": "gpt-4", names[0]: 7, names[1]: 3}
    user = f"of {names[0]}"
    assert post(shared, "traces", traces(span(100 + len(names[0]), pairs(**said, user__id=user)))).json() == {}
    assert units_of(shared, user) == 7 * INPUT + 3 * OUTPUT


def test_cache_beyond_input_is_taken_to_be_stated_apart(shared: Server) -> None:
    said = {"gen_ai__usage__cache_read__input_tokens": 1_000, "gen_ai__usage__output_tokens": 1}
    assert post(shared, "traces", traces(chat(5, "apart", 10, **said))).json() == {}
    assert units_of(shared, "apart") == 10 * INPUT + 1_000 * CACHE_READ + OUTPUT


@pytest.mark.parametrize(
    ("said", "resource", "user"),
    [
        ({"user__email": "a1@x", "enduser__id": "no"}, {"user__email": "no"}, "a1@x"),
        ({"enduser__id": "no"}, {"user__email": "a2@x"}, "a2@x"),
        ({"gen_ai__user": "no"}, {"enduser__id": "a3"}, "a3"),
        ({"gen_ai__user": "a4", "user__id": "no"}, {}, "a4"),
        ({"llm__user": "a5", "user__id": "no"}, {"user__id": "no"}, "a5"),
        ({"user__id": "a6"}, {"user__id": "no"}, "a6"),
        ({}, {"user__id": "a7"}, "a7"),
    ],
)
def test_the_person_is_found_in_a_fixed_order(shared: Server, said: dict[str, str], resource: dict[str, str], user: str) -> None:
    call = span(1_000 + int(user[1]), pairs(gen_ai__operation__name="chat", gen_ai__usage__input_tokens=3, **said))
    assert post(shared, "traces", traces(call, **resource)).json() == {}
    assert units_of(shared, user) == 3 * INPUT


def test_numbers_may_be_texts_numbers_or_whole_floats(shared: Server) -> None:
    spans = [
        chat(number, "numbers", gen_ai__usage__input_tokens=each)
        for number, each in enumerate([{"intValue": "5"}, {"intValue": 5}, {"doubleValue": 5.0}, {"stringValue": "5"}], 20)
    ]
    assert post(shared, "traces", traces(*spans)).json() == {}
    assert units_of(shared, "numbers") == 20 * INPUT


def test_bad_spans_are_rejected_and_the_good_ones_kept(shared: Server) -> None:
    bad = [
        chat(30, "partial", gen_ai__usage__input_tokens=-1),
        chat(31, "partial", gen_ai__usage__input_tokens="many"),
        {**chat(32, "partial"), "traceId": "XEE1jcxK+A227edp1S5jEg=="},
        {**chat(33, "partial"), "spanId": ""},
        {**chat(34, "partial"), "endTimeUnixNano": "9999999999999999999"},
        {**chat(35, "partial"), "endTimeUnixNano": "soon"},
        span(36, pairs(**{f"a{number}": 1 for number in range(1_001)})),
        chat(37, "par\x00tial"),
    ]
    answer = post(shared, "traces", traces(*bad, chat(38, "partial", 4)))
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "8"
    assert "whole number of tokens" in answer.json()["partialSuccess"]["errorMessage"]
    assert units_of(shared, "partial") == 4 * INPUT


def test_a_span_without_an_end_counts_when_it_arrives(shared: Server) -> None:
    for _ in range(2):
        assert post(shared, "traces", traces({**chat(39, "endless", 4), "endTimeUnixNano": "0"})).json() == {}
    assert int(shared.usage(window="7", user="endless")["total"]["units"]) == 4 * INPUT


@pytest.mark.parametrize(("said", "times"), [("traces", 1), ("logs", 0), ("metrics", 0), ("none", 0), ("nonsense", 1)])
def test_a_resource_may_choose_the_signal_that_counts(shared: Server, said: str, times: int) -> None:
    assert post(shared, "traces", traces(chat(40 + len(said), f"chose {said}", 2), tallyboard__count=said)).json() == {}
    assert units_of(shared, f"chose {said}") == 2 * INPUT * times


@pytest.mark.parametrize("resource", [{"service__name": "gemini-cli"}, {"service__name": "codex_cli_rs"}, {"service__name": "claude-code"}])
def test_spans_of_agents_whose_logs_count_are_passed_over(shared: Server, resource: dict[str, str]) -> None:
    assert post(shared, "traces", traces(chat(50, "agents"), **resource)).json() == {}
    assert units_of(shared, "agents") == 0


def test_large_requests_are_decided_by_the_worker_alike(shared: Server) -> None:
    many = [chat(10_000 + number, f"many {number % 3}", 10, gen_ai__response__id=f"r{number}") for number in range(2_000)]
    body = traces(*many)
    assert len(json.dumps(body)) > 500_000
    for _ in range(2):
        assert post(shared, "traces", body).json() == {}
    assert sum(units_of(shared, f"many {number}") for number in range(3)) == 20_000 * INPUT


FAILURES: list[tuple[str, Any, dict[str, str], int, int]] = [
    ("no key", traces(), {"Authorization": ""}, 401, 16),
    ("not JSON", b"{", {}, 400, 3),
    ("not OTLP", b'{"resourceSpans": 7}', {}, 400, 3),
    ("not UTF-8", b'{"x": "\xff"}', {}, 400, 3),
    ("another type", b"", {"Content_Type": "text/plain"}, 415, 3),
    ("not gzip", b"{}", {"Content_Encoding": "gzip"}, 400, 3),
    ("too many", traces(*[{}] * 10_001), {}, 413, 3),
]


@pytest.mark.parametrize(("content", "headers", "status", "code"), [each[1:] for each in FAILURES], ids=[each[0] for each in FAILURES])
def test_a_failure_is_a_status_that_says_why(shared: Server, content: Any, headers: dict[str, str], status: int, code: int) -> None:
    answer = post(shared, "traces", content, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["message"]
    assert "Retry-After" not in answer.headers


def test_a_key_needs_the_scope_ingest(shared: Server) -> None:
    answer = post(shared, "traces", traces(), Authorization=f"Bearer {shared.keys['read']}")
    assert (answer.status_code, answer.json()["code"]) == (403, 7)


def test_a_failure_in_protobuf_is_answered_in_protobuf(shared: Server) -> None:
    answer = post(shared, "traces", b"\x0a\xff", Content_Type="application/x-protobuf")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/x-protobuf")
    assert answer.content[:3] == b"\x08\x03\x12"
    assert answer.content[4:] == b"the body is not the protobuf message that this path takes, or it ends too early"


def test_only_posts_are_taken(shared: Server) -> None:
    answer = shared.client.get(f"{shared.url}/v1/traces")
    assert (answer.status_code, answer.headers["Allow"], answer.json()["code"]) == (405, "POST", 12)


@pytest.mark.parametrize(
    ("media_type", "body"), [("application/json", json.dumps(traces(chat(1, "alice"))).encode()), ("application/x-protobuf", None)]
)
def test_an_overload_is_answered_with_a_time_to_come_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch, media_type: str, body: bytes | None
) -> None:
    """Clients drop what is answered 429 or 500, and send again what is answered 503."""
    content = body or (RECORDED / "otlp-http-1.45-plain" / "000_POST_v1_traces.body").read_bytes()
    with App(engines.settings_of(folder)) as app:
        with app.ledger.writing() as session:
            secret, _ = keys.create(session, FIRST_ACCOUNT_ID, "app", frozenset({Scope.INGEST}), "test", clock.now_us())
        monkeypatch.setattr(writer, "QUEUE_ITEMS_MAX", 0)
        answer = asyncio.run(knock(app, content, {"Authorization": f"Bearer {secret}", "Content-Type": media_type}))
        monkeypatch.undo()
    assert (answer.status_code, answer.headers["Content-Type"]) == (503, media_type)
    assert 1 <= int(answer.headers["Retry-After"]) <= 5
    assert b"send them again in a moment" in answer.content
    assert answer.content[:2] in {b"\x08\x0e", b'{"'}


async def knock(app: App, content: bytes, headers: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=with_lane(app, nobody)), base_url="http://127.0.0.1") as client:
        return await client.post("/v1/traces", content=content, headers=headers)


async def nobody(*_: Any) -> None:
    raise AssertionError("the framework has no such address")
