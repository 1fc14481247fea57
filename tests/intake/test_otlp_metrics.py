"""Metrics count only where a source says so; what a cumulative counter added since its last value counts once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests import engines
from tests.conftest import Server
from tests.intake.telemetry import (
    CACHE_READ,
    CACHE_WRITE,
    INPUT,
    OUTPUT,
    SMALL_INPUT,
    SMALL_OUTPUT,
    chat,
    counter,
    kept,
    metrics,
    pairs,
    post,
    replay,
    traces,
    units_of,
)

NEW = "gen_ai.client.inference.usage.input_tokens"


RECORDED = [
    ("otlp-http-1.45-metrics-cumulative", (0, 1, 2, 3), "alice", 360 * INPUT),
    ("otlp-http-1.45-metrics-delta", (0, 1, 2), "alice", 360 * INPUT),
    ("claude-code-2.1.197-protobuf", (0, 1), "alice@example.com", 310 * INPUT + 1_000 * CACHE_READ + 50 * CACHE_WRITE + 42 * OUTPUT),
    ("codex-0.169.0", (0, 1), "alice@example.com", 180 * INPUT + 40 * CACHE_READ + 33 * OUTPUT),
    ("copilot-cli-1.0.102", (0, 1), "alice@example.com", 100 * INPUT + 20 * CACHE_READ + 30 * OUTPUT),
    ("genai-genai_openai", (0, 1, 2), "unattributed", 460 * SMALL_INPUT + 93 * SMALL_OUTPUT),
    ("genai-traceloop", (0, 1, 2), "unattributed", 240 * SMALL_INPUT + 60 * SMALL_OUTPUT),
]


@pytest.mark.parametrize(("name", "numbers", "user", "units"), RECORDED, ids=[each[0] for each in RECORDED])
def test_recorded_metrics_count_once_where_metrics_count(
    priced: Server, name: str, numbers: tuple[int, ...], user: str, units: int
) -> None:
    """The same source's spans and logs, which are sent along, then count for nothing."""
    for _ in range(2):
        for number in numbers:
            answer = replay(priced, name, number, count="metrics")
            assert (answer.status_code, answer.content) in {(200, b""), (200, b"{}")}
        assert units_of(priced, user) == units
    assert engines.look(priced.folder, "SELECT sum(units) FROM event") == [(units,)]


@pytest.mark.parametrize("name", ["otlp-http-1.45-metrics-cumulative", "otlp-http-1.45-metrics-delta"])
def test_metrics_count_for_nothing_where_nobody_says_so(shared: Server, name: str) -> None:
    assert replay(shared, name, 0).content == b""
    assert kept(shared) == 0


def of(user: str, **more: Any) -> list[dict[str, Any]]:
    return pairs(user__id=user, gen_ai__request__model="gpt-4o", **more)


def shown(server: Server, user: str, value: int, at_s: float, *, start_s: float = 0) -> None:
    """Send what a cumulative counter shows."""
    assert post(server, "metrics", metrics(counter(NEW, value, at_s, of(user), start_s=start_s))).json() == {}


def test_a_counter_that_restarts_counts_from_nothing(shared: Server) -> None:
    for value, at_s, start_s in [(10, 1, 0), (25, 2, 0), (25, 3, 0), (4, 5, 4), (6, 6, 4)]:
        shown(shared, "restarts", value, at_s, start_s=start_s)
    assert units_of(shared, "restarts") == 31 * INPUT


def test_a_counter_that_falls_without_saying_so_has_restarted(shared: Server) -> None:
    for value, at_s in [(10, 1), (3, 2), (5, 3)]:
        shown(shared, "falls", value, at_s)
    assert units_of(shared, "falls") == 15 * INPUT


def test_a_value_that_was_overtaken_adds_nothing(shared: Server) -> None:
    for value, at_s in [(10, 1), (30, 3), (20, 2), (10, 1), (30, 3), (35, 4)]:
        shown(shared, "overtaken", value, at_s)
    assert units_of(shared, "overtaken") == 35 * INPUT


def test_two_processes_that_look_alike_are_told_apart_by_their_start(shared: Server) -> None:
    for value, at_s in [(10, 1), (20, 2), (30, 3)]:
        shown(shared, "twins", value, at_s, start_s=0)
        shown(shared, "twins", value + 1, at_s, start_s=0.5)
    assert units_of(shared, "twins") == 61 * INPUT


def test_two_values_in_one_request_add_up(shared: Server) -> None:
    sent = metrics(counter(NEW, 30, 2, of("both")), counter(NEW, 10, 1, of("both")))
    for _ in range(2):
        assert post(shared, "metrics", sent).json() == {}
    assert units_of(shared, "both") == 30 * INPUT
    assert engines.look(shared.folder, "SELECT count(*) FROM event WHERE user_id IN (SELECT user_id FROM app_user WHERE key = 'both')") == [
        (2,)
    ]


def test_a_counter_that_began_long_ago_counts_from_its_first_value_on(shared: Server) -> None:
    for value, at_s in [(1_000, 1), (1_005, 2)]:
        shown(shared, "long ago", value, at_s, start_s=-40 * 86_400)
    assert units_of(shared, "long ago") == 5 * INPUT


def test_classes_that_were_read_together_are_one_event(shared: Server) -> None:
    """Each counter starts at an instant of its own."""
    found = [
        counter(NEW, 100, 1, of("together"), start_s=0),
        counter("gen_ai.client.inference.usage.cache_read.input_tokens", 40, 1, of("together"), start_s=0.1),
        counter("gen_ai.client.inference.usage.output_tokens", 7, 1, of("together"), start_s=0.2),
        counter("gen_ai.client.inference.usage.reasoning.output_tokens", 5, 1, of("together"), start_s=0.3),
    ]
    old = counter("gen_ai.client.token.usage", 100, 1, of("together", gen_ai__token__type="input"))
    assert post(shared, "metrics", metrics(*found, old)).json() == {}
    assert units_of(shared, "together") == 60 * INPUT + 40 * CACHE_READ + 7 * OUTPUT


def test_deltas_are_told_apart_by_their_time(shared: Server) -> None:
    for at_s in (1, 2, 2, 1):
        sent = metrics(counter(NEW, 10, at_s, of("deltas"), start_s=at_s - 1, temporality=1))
        assert post(shared, "metrics", sent).json() == {}
    assert units_of(shared, "deltas") == 20 * INPUT


def test_many_exports_at_once_count_once(shared: Server) -> None:
    """The same values, in any order and several times, as collectors that send again would."""
    values = [(number * 10, number) for number in range(1, 21)] * 3
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda each: shown(shared, "at once", *each), values))
    assert units_of(shared, "at once") == 200 * INPUT


def test_a_source_that_counts_by_metrics_does_not_count_its_spans(shared: Server) -> None:
    assert post(shared, "traces", traces(chat(1, "spans too"), tallyboard__count="metrics")).json() == {}
    assert units_of(shared, "spans too") == 0


def test_what_may_fall_says_nothing_of_usage(shared: Server) -> None:
    gauge = counter(NEW, 10, 1, of("gauge"))
    gauge["sum"]["isMonotonic"] = False
    assert post(shared, "metrics", metrics(gauge, counter("requests.total", 5, 1, of("gauge")))).json() == {}
    assert units_of(shared, "gauge") == 0


def test_bad_points_are_rejected_and_the_good_ones_kept(shared: Server) -> None:
    half = counter(NEW, 1, 1, of("points"), start_s=-1)
    half["sum"]["dataPoints"][0] |= {"asInt": None, "asDouble": 0.5}
    bad = [half, counter(NEW, -1, 1, of("points"), start_s=-2), counter(NEW, 1, 10**8, of("points"), start_s=-3)]
    answer = post(shared, "metrics", metrics(*bad, counter(NEW, 6, 1, of("points")))).json()
    assert answer["partialSuccess"]["rejectedDataPoints"] == "3"
    assert units_of(shared, "points") == 6 * INPUT


def test_the_shipped_card_says_that_it_does_not_price_tokens(server: Server) -> None:
    answer = post(server, "metrics", metrics(counter(NEW, 6, 1, of("unpriced")))).json()
    assert answer["partialSuccess"]["rejectedDataPoints"] == "0"
    assert "kept as unrated" in answer["partialSuccess"]["errorMessage"]
