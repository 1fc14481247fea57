"""Real usage comes out right to the unit: by user, by day, top 200, Others and totals, in four zones, under two rates.

The expected answers were computed apart from Tallyboard (tests/data/SOURCES.md).
"""

import gzip
import json
import random
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests import engines
from tests.conftest import DATA, Server, environment, read_json, serving, tallyboard
from tests.program import PROGRAM

FILES = ("ai-commits", "aider-2024-08_2025-02", "azure2023-code", "entire-claude-code", "servegen-small")
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Asia/Kathmandu")
TOP = 200
RANGE_DAYS_MAX = 400
SPARSE_DAYS = 60
"""A range of the long file in which no more than 200 users appear, so that an answer shows all of them."""

TOKEN_CARD = """
[[meters]]
name = "input"
type = "ai.usage.recorded"
value = "input_tokens"
rates = [{ per_credit = 1_000_000 }]

[[meters]]
name = "output"
type = "ai.usage.recorded"
value = "output_tokens"
rates = [{ per_credit = 1_000_000 }]
"""

UserDay = tuple[str, str]
Merged = tuple[list[tuple[str, int]], dict[UserDay, int], dict[str, int]]


@dataclass
class Case:
    """A server that holds one file charged by one rate, and what it should answer."""

    server: Server
    expected: dict[str, Any]
    rate: str

    def user_days(self, zone: str) -> dict[UserDay, int]:
        """Units by day and user, also where they are 0."""
        found = self.expected["zones"][zone]
        column = found["user_day_columns"].index(f"units_{self.rate}")
        return {(row[0], row[1]): row[column] for row in found["user_day"]}

    def window(self, zone: str, name: str) -> tuple[date, date, dict[str, Any]]:
        """First day, last day and answer of the window `all` or `last30`."""
        found = self.expected["zones"][zone]["windows"][name]
        return date.fromisoformat(found["from"]), date.fromisoformat(found["to"]), found[self.rate]


@pytest.fixture(scope="module", params=[(name, rate) for name in FILES for rate in ("conversation", "token")], ids="-".join)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    name, rate = request.param
    folder = tmp_path_factory.mktemp("real") / "data"
    if rate == "token":
        card = folder.with_name("card.toml")
        card.write_text(TOKEN_CARD)
        tallyboard("rates", "set", card, data=folder)
    expected = read_json(f"expected-{name}.json.gz")
    counts = json.loads(tallyboard("import", DATA / f"{name}.ndjson.gz", "--json", data=folder).stdout)
    assert (counts["accepted"], counts["duplicate"], counts["conflict"], counts["refused"]) == (expected["events"], 0, 0, 0)
    with serving(folder) as server:
        yield Case(server, expected, rate)


@pytest.mark.parametrize("zone", ZONES)
def test_the_accounts_own_days_are_right(case: Case, zone: str) -> None:
    tallyboard("account", "set", "--timezone", zone, data=case.server.folder)
    for window in ("all", "last30"):
        _check_window(case, zone, window, {})


def test_days_of_what_if_zones_are_right(case: Case) -> None:
    tallyboard("account", "set", "--timezone", "Pacific/Auckland", data=case.server.folder)
    for zone in ZONES:
        for window in ("all", "last30"):
            _check_window(case, zone, window, {"timezone": zone})


def test_users_beyond_the_top_200_are_right_one_by_one(case: Case) -> None:
    zone = "America/New_York"
    first, last, answer = case.window(zone, "all")
    by_user: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (day, user), units in case.user_days(zone).items():
        by_user[user][day] = units
    shown = {user for user, _ in answer["top200"]}
    hidden = sorted(by_user.keys() - shown)
    assert len(hidden) == answer["others_users"]
    for user in random.Random(7).sample(hidden, min(25, len(hidden))) + sorted(shown)[:3]:
        found: dict[str, int] = {}
        for part in _parts(first, last, RANGE_DAYS_MAX):
            asked = case.server.usage(first=str(part[0]), last=str(part[-1]), user=user, timezone=zone)
            assert asked["others"]["users"] == 0
            assert [line["user"] for line in asked["users"]] in ([user], [])
            found |= {day["day"]: day["units"] for day in asked["days"] if day["units"]}
        assert found == {day: units for day, units in by_user[user].items() if units}


@pytest.mark.parametrize("name", ["ai-commits", "entire-claude-code"])
def test_importing_again_or_shuffled_changes_nothing(name: str, tmp_path: Path) -> None:
    lines = gzip.decompress((DATA / f"{name}.ndjson.gz").read_bytes()).splitlines(keepends=True)
    ordered, shuffled = tmp_path / "ordered", tmp_path / "shuffled"
    assert _import(ordered, DATA / f"{name}.ndjson.gz")["accepted"] == len(lines)
    once = _everything(name, ordered)
    assert _import(ordered, DATA / f"{name}.ndjson.gz") == Counter(duplicate=len(lines))
    assert _everything(name, ordered) == once
    random.Random(20_261_122).shuffle(lines)
    (tmp_path / "shuffled.ndjson.gz").write_bytes(gzip.compress(b"".join(lines), 1))
    assert _import(shuffled, tmp_path / "shuffled.ndjson.gz")["accepted"] == len(lines)
    assert _everything(name, shuffled) == once


def test_two_processes_at_once_count_every_event_once(tmp_path: Path) -> None:
    """Each imports three fifths of the file, so that both meet the fifth in the middle, into a folder that neither made before."""
    name = "servegen-small"
    lines = gzip.decompress((DATA / f"{name}.ndjson.gz").read_bytes()).splitlines(keepends=True)
    random.Random(5).shuffle(lines)
    fifth = len(lines) // 5
    (tmp_path / "first.ndjson").write_bytes(b"".join(lines[: 3 * fifth]))
    (tmp_path / "second.ndjson").write_bytes(b"".join(lines[2 * fifth :]))
    together, alone = tmp_path / "together", tmp_path / "alone"
    importers = [
        subprocess.Popen(
            [PROGRAM, "import", tmp_path / file, "--json", "--data", together],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**engines.variables(together)),
        )
        for file in ("first.ndjson", "second.ndjson")
    ]
    counts: Counter[str] = Counter()
    for importer in importers:
        out, err = importer.communicate(timeout=120)
        assert importer.returncode == 0, err.decode()
        counts.update(json.loads(out))
    assert +counts == Counter(accepted=len(lines), duplicate=fifth)
    _import(alone, DATA / f"{name}.ndjson.gz")
    assert _everything(name, together) == _everything(name, alone)


def _check_window(case: Case, zone: str, window: str, query: dict[str, str]) -> None:
    """Ask for a window, in parts where it is too long for one answer, and compare everything."""
    first, last, answer = case.window(zone, window)
    within = {key: units for key, units in case.user_days(zone).items() if str(first) <= key[0] <= str(last)}
    for part in _parts(first, last, RANGE_DAYS_MAX):
        asked = case.server.usage(first=str(part[0]), last=str(part[-1]), **query)
        assert asked["account"]["timezone"] == zone
        _check_answer(asked, part, {key: units for key, units in within.items() if str(part[0]) <= key[0] <= str(part[-1])})
    if len(part) == (last - first).days + 1:
        assert [[line["user"], line["units"]] for line in asked["users"]] == answer["top200"]
        assert (asked["others"]["users"], asked["others"]["units"]) == (answer["others_users"], answer["others_units"])
        assert _not_zero(_others_by_day(asked)) == _not_zero(dict(answer["others_by_day"]))
        assert asked["total"]["units"] == answer["total_units"]
    else:
        _check_merged(case, _parts(first, last, SPARSE_DAYS), query, answer)


def _check_answer(asked: dict[str, Any], part: list[date], within: dict[UserDay, int]) -> None:
    """One answer against the expected units by day and user."""
    names = [str(day) for day in part]
    sums: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for (day, user), units in within.items():
        sums[user] += units
        totals[day] += units
    ranked = sorted(sums.items(), key=lambda line: (-line[1], line[0].encode()))
    assert [(line["user"], line["units"]) for line in asked["users"]] == ranked[:TOP]
    assert [(day["day"], day["units"]) for day in asked["days"]] == [(day, totals[day]) for day in names]
    for line in asked["users"]:
        assert line["days"] == [within.get((day, line["user"]), 0) for day in names]
    hidden = {user for user, _ in ranked[TOP:]}
    assert asked["others"]["users"] == len(hidden)
    assert asked["others"]["units"] == sum(units for _, units in ranked[TOP:])
    assert asked["others"]["days"] == [sum(within.get((day, user), 0) for user in hidden) for day in names]
    assert asked["total"]["units"] == sum(within.values())
    assert asked["truncated"] == bool(hidden)


def _check_merged(case: Case, parts: list[list[date]], query: dict[str, str], answer: dict[str, Any]) -> None:
    """Parts that show every user add up to the expected answer of the whole (law 5)."""
    sums: Counter[str] = Counter()
    by_user_day: dict[UserDay, int] = {}
    for part in parts:
        asked = case.server.usage(first=str(part[0]), last=str(part[-1]), **query)
        assert asked["others"]["users"] == 0
        for line in asked["users"]:
            sums[line["user"]] += line["units"]
            by_user_day |= {(day["day"], line["user"]): units for day, units in zip(asked["days"], line["days"], strict=True)}
    ranked = sorted(sums.items(), key=lambda line: (-line[1], line[0].encode()))
    assert [[user, units] for user, units in ranked[:TOP]] == answer["top200"]
    hidden = dict(ranked[TOP:])
    assert (len(hidden), sum(hidden.values())) == (answer["others_users"], answer["others_units"])
    others: Counter[str] = Counter()
    for (day, user), units in by_user_day.items():
        others[day] += units if user in hidden else 0
    assert _not_zero(others) == _not_zero(dict(answer["others_by_day"]))
    assert sum(sums.values()) == answer["total_units"]


def _parts(first: date, last: date, days_max: int) -> list[list[date]]:
    days = [first + timedelta(days=offset) for offset in range((last - first).days + 1)]
    return [days[start : start + days_max] for start in range(0, len(days), days_max)]


def _others_by_day(asked: dict[str, Any]) -> dict[str, int]:
    return {day["day"]: units for day, units in zip(asked["days"], asked["others"]["days"], strict=True)}


def _not_zero(units: dict[str, int]) -> dict[str, int]:
    return {day: amount for day, amount in units.items() if amount}


def _import(folder: Path, file: Path) -> Counter[str]:
    return +Counter(json.loads(tallyboard("import", file, "--json", data=folder).stdout))


def _everything(name: str, folder: Path) -> list[dict[str, Any]]:
    """All of a file's history as the command line tells it; the rollups agree with the events."""
    tallyboard("reconcile", data=folder)
    zone = "America/New_York"
    window = read_json(f"expected-{name}.json.gz")["zones"][zone]["windows"]["all"]
    answers = []
    for part in _parts(date.fromisoformat(window["from"]), date.fromisoformat(window["to"]), RANGE_DAYS_MAX):
        line = ("usage", "--from", part[0], "--to", part[-1], "--timezone", zone, "--json")
        answer = json.loads(tallyboard(*line, data=folder).stdout)
        del answer["complete_through"]
        answers.append(answer)
    return answers
