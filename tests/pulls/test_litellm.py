"""`tallyboard pull litellm`: the calls of a proxy's spend logs, each once, also where its generic logger has told them."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tallyboard.pulls import litellm
from tests import engines
from tests.conftest import DATA, Server, tallyboard
from tests.pulls.fakes import KEY, LiteLLM, Trouble, running

YESTERDAY_S = int(time.time()) // 3_600 * 3_600 - 24 * 3_600


def pull(provider: LiteLLM, folder: Path, *more: object, check: bool = True) -> Any:
    done = tallyboard("pull", "litellm", "--json", *more, data=folder, check=check, LITELLM_MASTER_KEY=KEY, LITELLM_BASE_URL=provider.url)
    assert KEY not in done.stdout + done.stderr
    return {name: count for name, count in json.loads(done.stdout).items() if count} if check else done.stderr


@pytest.fixture
def calls() -> list[dict[str, Any]]:
    """Two calls as LiteLLM logs and as it stores them, moved to yesterday."""
    recorded: list[dict[str, Any]] = json.loads((DATA / "litellm" / "spend_logs.json").read_text())
    for number, call in enumerate(recorded):
        begins_s = YESTERDAY_S + number * 3_600 + 59.123456
        call["record"].update(startTime=begins_s, endTime=begins_s + 1)
        for name, at_s in (("startTime", begins_s), ("endTime", begins_s + 1), ("completionStartTime", begins_s)):
            call["row"][name] = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    return recorded


def test_a_call_of_spend_logs_counts_once_also_where_the_logger_told_it(server: Server, calls: list[dict[str, Any]]) -> None:
    logged = server.request("POST", "/api/v1/litellm", "ingest", json=[calls[0]["record"]])
    assert logged.status_code == 200, logged.text
    provider = LiteLLM([each["row"] for each in calls])
    with running(provider):
        assert pull(provider, server.folder) == {"accepted": 1, "set_aside": 1}
        assert pull(provider, server.folder) == {"duplicate": 1, "set_aside": 1}
    later = server.request("POST", "/api/v1/litellm", "ingest", json=[calls[1]["record"]])
    assert later.status_code == 200
    said = engines.look(server.folder, "SELECT source, at_us, data FROM event ORDER BY at_us")
    assert [source for source, _, _ in said] == ["litellm", "litellm-report"]
    assert json.loads(said[1][2]) == {
        "model": "gpt-4o-mini",
        "requests": 1,
        "input_tokens": 8,
        "uncached_input_tokens": 8,
        "output_tokens": 1,
        "response_id": calls[1]["row"]["request_id"],
        "provider": "openai",
        "operation": "acompletion",
        "cost_usd": 0.0000018,
    }
    assert server.usage(window="7")["users"][0]["user"] == "alice@example.com"


def test_failed_cached_and_unreadable_rows_and_several_pages(
    folder: Path, calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = calls[0]["row"]
    rows = [{**row, "request_id": f"chatcmpl-{number}", "user": "bob", "metadata": None} for number in range(1_002)]
    rows += [{**row, "request_id": "failed", "status": "failure", "prompt_tokens": 0, "completion_tokens": 0, "spend": 0.0}]
    rows += [
        {**row, "request_id": "chatcmpl-1_cache_hit1795538718.6", "cache_hit": "True"},
        {**row, "request_id": "odd", "prompt_tokens": -1},
    ]
    names = folder.parent / "map.json"
    names.write_text('{"bob": "bob@example.com"}')
    provider = LiteLLM(rows)
    with running(provider):
        provider.troubles = [Trouble(502)]
        assert pull(provider, folder, "--user-map", names) == {"accepted": 1_002, "refused": 1}
        assert max(dict(parameters)["page"] for _, parameters, _ in provider.asked) == "2"
        provider.troubles = [Trouble(401)]
        assert "LiteLLM does not know the key (401): look at LITELLM_MASTER_KEY" in pull(provider, folder, check=False)
    assert engines.look(folder, "SELECT key FROM app_user") == [("bob@example.com",)]
    assert litellm.ROWS_A_PAGE == 1_000
    monkeypatch.delenv("LITELLM_BASE_URL", raising=False)
    assert "set LITELLM_BASE_URL" in tallyboard("pull", "litellm", data=folder, check=False, LITELLM_MASTER_KEY=KEY).stderr
