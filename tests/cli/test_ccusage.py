"""Reports of ccusage: dates of a machine's own zone, by model, counted for the user that is said; a newer report replaces its dates."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests import engines
from tests.conftest import DATA, refusal, tallyboard

DAILY = DATA / "ccusage" / "daily.json"
ALICE = ("--format", "ccusage", "--user", "alice@example.com")


def take(folder: Path, file: Path, *more: object) -> dict[str, int]:
    told = json.loads(tallyboard("import", *ALICE, *more, file, "--json", data=folder).stdout)
    return {name: count for name, count in told.items() if count}


def kept(folder: Path) -> list[tuple[int, dict[str, Any]]]:
    lines = engines.look(folder, "SELECT at_us, data FROM event ORDER BY received_us, id")
    return [(at_us, json.loads(data)) for at_us, data in lines]


def noon_us(zone: str) -> int:
    return int(datetime(2026, 11, 22, 12, tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


def test_a_recorded_report_counts_at_noon_of_the_machines_date_and_only_once(folder: Path) -> None:
    assert take(folder, DAILY, "--timezone", "asia/tokyo") == {"windows": 1, "lines": 1, "new": 1, "unrated": 1}
    assert kept(folder) == [
        (
            noon_us("Asia/Tokyo"),
            {
                "model": "claude-sonnet-4-5",
                "provider": "anthropic",
                "product": "claude_code",
                "input_tokens": 1_360,
                "uncached_input_tokens": 310,
                "cache_read_tokens": 1_000,
                "cache_write_tokens": 50,
                "output_tokens": 42,
                "cost_usd": 0.0020475,
            },
        )
    ]
    for zone in ("Asia/Tokyo", "America/New_York"):
        assert take(folder, DAILY, "--timezone", zone) == {"windows": 1, "lines": 1, "unchanged": 1}, "a date is a date in any zone"


def test_a_newer_report_replaces_its_dates_of_the_same_machine(folder: Path) -> None:
    take(folder, DAILY, "--machine", "laptop")
    newer = json.loads(DAILY.read_text())
    breakdowns = newer["daily"][0]["modelBreakdowns"]
    breakdowns[0]["outputTokens"] = 50
    breakdowns.append({**breakdowns[0], "modelName": "claude-opus-5-5"})
    file = folder.parent / "newer.json"
    file.write_text(json.dumps(newer))
    assert take(folder, file, "--machine", "laptop") == {"windows": 1, "lines": 2, "new": 1, "changed": 1, "unrated": 2}
    assert take(folder, file, "--machine", "desktop") == {"windows": 1, "lines": 2, "new": 2, "unrated": 2}
    assert sorted((said["model"], said["output_tokens"]) for _, said in kept(folder)) == [
        *(("claude-opus-5-5", 50), ("claude-opus-5-5", 50)),
        *(("claude-sonnet-4-5", 8), ("claude-sonnet-4-5", 42), ("claude-sonnet-4-5", 50)),
    ]


def test_a_date_of_which_usage_was_told_live_is_set_aside_unless_that_is_wanted_otherwise(folder: Path) -> None:
    live = {"specversion": "1.0", "id": "1", "source": "/app", "type": "ai.usage.recorded", "subject": "alice@example.com"}
    live["time"] = "2026-11-22T01:00:00Z"
    tallyboard("import", "-", data=folder, stdin=json.dumps({**live, "data": {"requests": 1}}).encode())
    assert take(folder, DAILY) == {"windows": 1, "lines": 1, "set_aside": 1}
    assert "set aside: 1 lines, already told live" in tallyboard("import", *ALICE, DAILY, data=folder).stdout
    assert take(folder, DAILY, "--beside-live")["new"] == 1


def test_a_date_is_told_live_under_any_key_of_the_user(folder: Path) -> None:
    """The agent on a machine names the machine, the report its user: merged, one fills the gaps of the other."""
    live = {"specversion": "1.0", "id": "1", "source": "/app", "type": "ai.usage.recorded", "subject": "laptop"}
    live["time"] = "2026-11-22T01:00:00Z"
    tallyboard("import", "-", data=folder, stdin=json.dumps({**live, "data": {"requests": 1}}).encode())
    tallyboard("user", "set", "alice@example.com", data=folder)
    tallyboard("user", "merge", "laptop", "alice@example.com", data=folder)
    assert take(folder, DAILY) == {"windows": 1, "lines": 1, "set_aside": 1}
    tallyboard("user", "unmerge", "laptop", data=folder)
    assert take(folder, DAILY) == {"windows": 1, "lines": 1, "new": 1, "unrated": 1}


def test_what_is_no_daily_report_is_refused_in_a_sentence(folder: Path) -> None:
    told = refusal("import", *ALICE, DATA / "ccusage" / "session.json", folder=folder)
    assert "a report by sessions, which repeats the usage of the daily one; import what `ccusage daily --json` prints" in told
    file = folder.parent / "report.json"
    for text, why in (
        ('{"monthly": []}', "another report of ccusage, which repeats"),
        ('{"daily": [{"date": "2026-02-30", "modelBreakdowns": []}]}', "there is no such date: '2026-02-30'"),
        ('{"daily": [{"date": "2026-11-22"}]}', "it is not ccusage's daily report"),
        ("[" * 100_000, "it is not ccusage's JSON"),
        ('{"daily": [{"date": "2024-01-01", "modelBreakdowns": []}]}', "a report may go back 399 days"),
    ):
        file.write_text(text)
        assert why in refusal("import", *ALICE, file, folder=folder)
    assert "is not an IANA timezone" in refusal("import", *ALICE, DAILY, "--timezone", "Mars", folder=folder)
    assert kept(folder) == []
    for arguments, why in ((["--format", "ccusage", DAILY], "ccusage names nobody"), ([*ALICE, DAILY, DAILY], "is imported alone")):
        wrong = tallyboard("import", *arguments, data=folder, check=False)
        assert (wrong.returncode, why in wrong.stderr.replace("\n", " ")) == (2, True), wrong.stderr
