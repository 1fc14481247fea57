"""The model of docs/scaling.md: a few loads worked out by hand, and that more load never needs less."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.capacity import CITUS, EXAMPLES, POSTGRESQL, SQLITE, Load, Plan, plan, table
from hypothesis import given
from hypothesis import strategies as st

SCALING = Path(__file__).parents[1] / "docs" / "scaling.md"
YEAR = 365 * 86_400


def test_a_small_organization_needs_one_process_on_sqlite() -> None:
    found = plan(Load(1, 200))
    assert (found.engine, found.accounts_min, found.processes, found.database_cores, found.nodes, found.shards) == (SQLITE, 1, 1, 0, 0, 0)
    assert found.disk_bytes == YEAR * 285 + 200 * 365 * 21
    assert found.filter_bytes == YEAR * 5
    assert found.page_ms == pytest.approx(14.8 + 200 * 0.00498)


def test_a_short_history_is_limited_by_time_alone() -> None:
    # 451 / 100 + 7 + 22 µs and hardly any history: half a second of work at 14,920 events/s.
    assert plan(Load(14_800, 1_000, accounts=100_000, days=1)).engine == SQLITE
    beyond = plan(Load(15_200, 1_000, accounts=100_000, days=1))
    assert (beyond.engine, beyond.processes, beyond.database_cores, beyond.nodes) == (POSTGRESQL, 2, 1, 1)


def test_a_long_history_of_one_account_ends_what_it_can_carry() -> None:
    assert plan(Load(161, 1_000)).accounts_min == 1
    assert plan(Load(162, 1_000)).accounts_min == 2


def test_filters_are_spread_over_processes() -> None:
    # 1,000 accounts with a million events each: 5 MB of filters for each, 214 of them in a process.
    found = plan(Load(1_000_000 * 1_000 / YEAR, 1_000, accounts=1_000))
    assert (found.processes, found.processes_by_time) == (5, 1)
    # Below the first full shelf there are no filters.
    assert plan(Load(20_000 * 1_000 / YEAR, 1_000, accounts=1_000)).processes == 1


def test_a_cluster_holds_what_one_server_cannot() -> None:
    found = plan(Load(1_000, 100_000, 100))
    assert (found.engine, found.nodes, found.shards) == (CITUS, 2, 32)
    assert found.disk_bytes == 1_000 * YEAR * 505 + 100_000 * 365 * 170
    assert plan(Load(10_000, 1_000_000, 2_000)).shards == 64  # 16 servers, 4 shards each.


LOADS = st.builds(
    Load,
    st.floats(0.001, 1e7),
    st.integers(1, 10**9),
    st.integers(1, 10**7),
    st.integers(1, 3_650),
    st.integers(1, 10_000),
)


@given(LOADS, st.floats(1, 1_000), st.sampled_from(["events_per_second", "users", "days"]))
def test_more_load_never_needs_less(load: Load, times: float, what: str) -> None:
    more = getattr(load, what) * times
    heavier = replace(load, **{what: more if what == "events_per_second" else int(more)})
    assert all(least <= most for least, most in zip(_needs(plan(load)), _needs(plan(heavier)), strict=True))


@given(LOADS, st.integers(1, 1_000))
def test_smaller_requests_never_need_less(load: Load, parts: int) -> None:
    smaller = replace(load, events_a_request=max(1, load.events_a_request // parts))
    assert all(least <= most for least, most in zip(_needs(plan(load)), _needs(plan(smaller)), strict=True))


def test_the_document_shows_what_the_model_says() -> None:
    assert "\n".join(table(EXAMPLES)) in SCALING.read_text()


def test_the_examples_are_spread_over_enough_accounts() -> None:
    assert all(plan(load).accounts_min <= load.accounts for load in EXAMPLES)


def test_the_command_prints_the_plan_of_a_load() -> None:
    asked = ["--events-per-second", "500", "--users", "20000", "--accounts", "40"]
    done = subprocess.run([sys.executable, "-m", "benchmarks.capacity", *asked], cwd=SCALING.parents[1], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == table([Load(500, 20_000, 40)])
    wrong = subprocess.run(
        [sys.executable, "-m", "benchmarks.capacity", "--users", "0"], cwd=SCALING.parents[1], capture_output=True, check=False
    )
    assert wrong.returncode == 2


def _needs(found: Plan) -> tuple[float, ...]:
    return (
        [SQLITE, POSTGRESQL, CITUS].index(found.engine),
        found.accounts_min,
        found.processes,
        found.processes_by_time,
        found.database_cores,
        found.nodes,
        found.shards,
        found.disk_bytes,
        found.filter_bytes,
        found.page_ms,
    )
