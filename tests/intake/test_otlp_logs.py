"""Coding agents tell their tokens several times; each call counts once, by the one signal that counts."""

from typing import Any

from tests import engines
from tests.conftest import Server
from tests.intake.telemetry import CACHE_READ, CACHE_WRITE, END_NS, INPUT, OUTPUT, kept, logs, pairs, post, replay, units_of

CLAUDE_CODE = "claude-code-2.1.197-protobuf"
CODEX = "codex-0.169.0"


def test_claude_codes_request_counts_once_though_logs_and_metrics_tell_it(priced: Server) -> None:
    """Input, cache reads and cache writes are stated apart; user.id is the hash of a device."""
    for _ in range(2):
        for number in (0, 1):
            answer = replay(priced, CLAUDE_CODE, number)
            assert (answer.status_code, answer.content) == (200, b"")
        assert units_of(priced, "alice@example.com") == 310 * INPUT + 1_000 * CACHE_READ + 50 * CACHE_WRITE + 42 * OUTPUT
        assert kept(priced) == 1
    (data,) = engines.look(priced.folder, "SELECT data, source, id, model, at_us FROM event")
    assert '"input_tokens":1360' in data[0]
    assert '"uncached_input_tokens":310' in data[0]
    assert '"cost_usd":0.0020475' in data[0]
    assert data[1:] == ("claude-code", "req_fake_0001", "claude-sonnet-4-5", 1_795_337_671_419_000)


def test_codexs_response_counts_once_though_two_records_and_metrics_tell_it(priced: Server) -> None:
    """Its records have no time but an attribute. Its metrics are a request of 143,703 bytes."""
    for _ in range(2):
        for number in (0, 1):
            answer = replay(priced, CODEX, number)
            assert (answer.status_code, answer.content) == (200, b"")
        assert units_of(priced, "alice@example.com") == 180 * INPUT + 40 * CACHE_READ + 33 * OUTPUT
        assert kept(priced) == 1
    assert engines.look(priced.folder, "SELECT at_us FROM event") == [(1_795_338_349_463_000,)]


def test_events_of_the_conventions_are_passed_over_where_spans_count(shared: Server) -> None:
    assert replay(shared, "otlp-http-1.45-logs", 0).content == b""
    assert units_of(shared, "alice") == 0


def gemini(user: str, **more: Any) -> dict[str, Any]:
    """A log record as Gemini CLI writes it: numbers are plain, and it has no event name but an attribute."""
    said = {
        "event__name": "gemini_cli.api_response",
        "event__timestamp": "2026-11-22T09:00:00.000Z",
        "session__id": "s1",
        "prompt_id": "p1",
        "model": "gemini-3-pro",
        "input_token_count": {"intValue": 400},
        "output_token_count": {"intValue": 25},
        "cached_content_token_count": {"intValue": 100},
        "thoughts_token_count": {"intValue": 15},
        "tool_token_count": {"intValue": 0},
        "total_token_count": {"intValue": 440},
        "user__email": user,
    }
    return {"timeUnixNano": END_NS, "observedTimeUnixNano": END_NS, "attributes": pairs(**{**said, **more})}


def test_gemini_clis_thoughts_come_on_top_of_output(shared: Server) -> None:
    repeat = {
        **gemini("gemini"),
        "attributes": [*pairs(event__name="gen_ai.client.inference.operation.details", gen_ai__usage__input_tokens=400)],
    }
    for _ in range(2):
        assert post(shared, "logs", logs(gemini("gemini"), repeat, service__name="gemini-cli")).json() == {}
        assert units_of(shared, "gemini") == 300 * INPUT + 100 * CACHE_READ + 40 * OUTPUT


def claude(request: str, user: str, **more: Any) -> dict[str, Any]:
    said = {"event__name": "api_request", "model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 2, "user__email": user}
    return {
        "timeUnixNano": END_NS,
        "body": {"stringValue": "claude_code.api_request"},
        "attributes": pairs(**{**said, "request_id": request, **more}),
    }


def test_claude_code_is_known_by_its_scope_where_the_service_has_another_name(shared: Server) -> None:
    sent = logs(claude("r1", "renamed"), scope="com.anthropic.claude_code.events", service__name="team-7")
    assert post(shared, "logs", sent).json() == {}
    assert units_of(shared, "renamed") == 10 * INPUT + 2 * OUTPUT


def test_claude_codes_event_is_known_by_its_body_or_its_event_name(shared: Server) -> None:
    first, second = claude("r2", "named"), claude("r3", "named")
    for record in (first, second):
        record["attributes"] = [each for each in record["attributes"] if each["key"] != "event.name"]
    second["body"], second["eventName"] = {"stringValue": "…"}, "claude_code.api_request"
    assert post(shared, "logs", logs(first, second, service__name="claude-code")).json() == {}
    assert units_of(shared, "named") == 20 * INPUT + 4 * OUTPUT


def test_requests_without_an_id_are_told_apart_by_session_and_sequence(shared: Server) -> None:
    records = [claude("", "no id", session__id="s", event__sequence=number) for number in (1, 2, 2)]
    assert post(shared, "logs", logs(*records, service__name="claude-code")).json() == {}
    assert units_of(shared, "no id") == 20 * INPUT + 4 * OUTPUT


def test_the_hash_of_a_device_is_nobody(shared: Server) -> None:
    record = claude("r4", "", user__id="886be42954b47741c2a9b582c705791de59f6391f92410b5174bfc0b30f45202")
    before = units_of(shared, "unattributed")
    assert post(shared, "logs", logs(record, service__name="claude-code")).json() == {}
    assert units_of(shared, "unattributed") == before + 10 * INPUT + 2 * OUTPUT


def test_an_api_request_of_anybody_else_is_no_usage(shared: Server) -> None:
    assert post(shared, "logs", logs(claude("r5", "anybody") | {"body": {"stringValue": "request"}})).json() == {}
    assert units_of(shared, "anybody") == 0


def test_a_source_may_count_its_events_instead_of_its_spans(shared: Server) -> None:
    said = {"event__name": "gen_ai.client.inference.operation.details", "gen_ai__usage__input_tokens": 5, "user__id": "by events"}
    record = {"timeUnixNano": str(END_NS), "traceId": "a" * 32, "spanId": "b" * 16, "attributes": pairs(**said)}
    for _ in range(2):
        assert post(shared, "logs", logs(record, tallyboard__count="logs")).json() == {}
    assert units_of(shared, "by events") == 5 * INPUT


def test_bad_records_are_rejected_and_the_good_ones_kept(shared: Server) -> None:
    bad = [claude("r6", "rejects", input_tokens=-5), {**claude("r7", "rejects"), "timeUnixNano": "4102444800000000000"}]
    answer = post(shared, "logs", logs(*bad, claude("r8", "rejects"), service__name="claude-code"))
    assert answer.json()["partialSuccess"]["rejectedLogRecords"] == "2"
    assert "2 log records were refused" in answer.json()["partialSuccess"]["errorMessage"]
    assert units_of(shared, "rejects") == 10 * INPUT + 2 * OUTPUT
