"""`tallyboard pull anthropic` and `cursor`, whose reports come by rank and by event: every hour counts once, with the sums of its rows."""

import json
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic as Sdk
from msgspec.structs import replace

from tallyboard.pulls import asking, cursor
from tallyboard.pulls.asking import Asker
from tallyboard.pulls.windows import Names, Stretch
from tests import engines
from tests.conftest import tallyboard
from tests.pulls.fakes import KEY, Anthropic, Cursor, Provider, Trouble, running

HOUR_S = 3_600
BEGAN_S = int(time.time()) // HOUR_S * HOUR_S - 30 * HOUR_S


def pull(what: str, provider: Provider, folder: Path, *more: object, check: bool = True) -> Any:
    variable = {"anthropic": "ANTHROPIC_ADMIN_KEY", "cursor": "CURSOR_API_KEY"}[what]
    done = tallyboard("pull", what, "--base-url", provider.url, "--json", *more, data=folder, check=check, **{variable: KEY})
    assert KEY not in done.stdout + done.stderr
    return {name: count for name, count in json.loads(done.stdout).items() if count} if check else done.stderr


def kept(folder: Path) -> list[tuple[str, int, dict[str, Any]]]:
    """Whose events there are, of which hour after the first, with what they say."""
    lines = engines.look(
        folder,
        """
        SELECT app_user.key, event.at_us, event.data FROM event
        JOIN app_user ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id ORDER BY 2, 1, event.received_us
        """,
    )
    said = [(user, (at_us // 1_000_000 - BEGAN_S) // HOUR_S, json.loads(data, parse_float=Decimal)) for user, at_us, data in lines]
    return sorted(said, key=lambda each: (each[1], each[0], each[2].get("model", ""), each[2].get("kind", "")))


def row(hour: int, email: str | None, model: str | None, *, read: int = 0, output: int = 10) -> dict[str, Any]:
    """A row of Anthropic's report."""
    starts, ends = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(BEGAN_S + each * HOUR_S)) for each in (hour, hour + 1))
    return {
        "actor": {"type": "user_actor", "user_id": "user_01", "email_address": email, "name": None, "deleted": email is None},
        "starting_at": starts,
        "ending_at": ends,
        "model": model,
        "product": "claude_code",
        "uncached_input_tokens": 100,
        "cache_read_input_tokens": read,
        "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 5},
        "output_tokens": output,
        "requests": 2,
        "server_tool_use": {"web_search_requests": 1},
        "total_tokens": 125 + read + output,
    }


def event(hour: int, email: str, model: str = "claude-4-opus", *, seconds: int = 0, tokens: dict[str, Any] | None = None) -> dict[str, Any]:
    """An event of Cursor's."""
    told = {
        "timestamp": str((BEGAN_S + hour * HOUR_S + seconds) * 1_000 + 7),
        "model": model,
        "kind": "Usage-based" if tokens else "Included in Business",
        "maxMode": True,
        "requestsCosts": 1.4,
        "isTokenBasedCall": tokens is not None,
        "isFreeBugbot": False,
        "userEmail": email,
    }
    return {**told, "tokenUsage": tokens} if tokens else told


TOKENS = {"inputTokens": 126, "outputTokens": 450, "cacheWriteTokens": 6112, "cacheReadTokens": 11964, "totalCents": 20.18232}


def test_anthropics_rows_count_in_their_hours_with_cached_tokens_as_part_of_the_input(folder: Path) -> None:
    provider = Anthropic(
        [
            row(0, "alice@example.com", "claude-sonnet-4-5", read=1_000),
            row(0, "alice@example.com", "claude-opus-5-5"),
            row(1, "alice@example.com", "claude-sonnet-4-5"),
            row(1, "bob@example.com", None),
            row(1, None, "claude-sonnet-4-5"),
        ]
    )
    with running(provider):
        provider.troubles = [Trouble(503)]
        assert pull("anthropic", provider, folder) == {"windows": 72, "lines": 5, "new": 5}
        said = kept(folder)
        assert [(user, hour) for user, hour, _ in said] == [
            *(("alice@example.com", 0), ("alice@example.com", 0)),
            *(("alice@example.com", 1), ("bob@example.com", 1), ("user_01", 1)),
        ]
        assert said[1][2] == {
            "model": "claude-sonnet-4-5",
            "provider": "anthropic",
            "product": "claude_code",
            "requests": 2,
            "web_searches": 1,
            "input_tokens": 1_125,
            "uncached_input_tokens": 100,
            "cache_read_tokens": 1_000,
            "cache_write_tokens": 25,
            "output_tokens": 10,
        }
        provider.rows[0]["output_tokens"], provider.rows[1:2] = 12, []
        again = pull("anthropic", provider, folder)
        assert (again["changed"], again["gone"], again["unchanged"]) == (1, 1, 3)
        provider.troubles = [None, Trouble(200, b'{"data": [{"actor": {}}]}')]
        assert "not the JSON that is expected" in pull("anthropic", provider, folder, check=False)
        assert len(kept(folder)) == 7


def test_the_anthropic_of_these_tests_answers_its_own_sdk_and_is_asked_as_by_it(folder: Path) -> None:
    """The request of anthropic-python 2.12: the same path, header of version, and names of parameters."""
    provider = Anthropic([row(0, f"{name}@example.com", "claude-sonnet-4-5") for name in "abc"])
    with running(provider):
        with Sdk(auth_token=KEY, base_url=provider.url, max_retries=0) as sdk:
            starts, ends = provider.rows[0]["starting_at"], provider.rows[0]["ending_at"]
            found = sdk.beta.organization.analytics.user_usage_report.list(
                starting_at=starts, ending_at=ends, bucket_width="1h", group_by=["model", "product"], limit=1_000
            )
            assert [item.actor.email_address for item in found] == ["a@example.com", "b@example.com", "c@example.com"]
        mark = len(provider.asked)
        pull("anthropic", provider, folder)
    (path, by_sdk, _), (_, by_us, _) = provider.asked[0], provider.asked[mark]
    assert path == provider.asked[mark][0]
    assert sorted(name for name, _ in by_us) == sorted(name for name, _ in by_sdk)
    for name in ("authorization", "anthropic-version"):
        assert provider.headers[mark][name] == provider.headers[0][name]


def test_cursors_events_are_added_up_by_hour_user_model_and_kind(folder: Path) -> None:
    provider = Cursor(
        [
            event(0, "alice@example.com", tokens=TOKENS),
            event(0, "alice@example.com", seconds=3_599, tokens=TOKENS),
            event(0, "alice@example.com"),
            event(1, "alice@example.com", tokens=TOKENS),
            event(1, "bob@example.com", "auto"),
        ]
    )
    provider.arriving = [event(1, "bob@example.com", "auto", seconds=9)]
    with running(provider):
        assert pull("cursor", provider, folder) == {"windows": 72, "lines": 4, "new": 4}
        said = kept(folder)
        assert [(user, hour, data["requests"]) for user, hour, data in said] == [
            *(("alice@example.com", 0, 1), ("alice@example.com", 0, 2)),
            *(("alice@example.com", 1, 1), ("bob@example.com", 1, 2)),
        ]
        assert said[1][2] == {
            "model": "claude-4-opus",
            "provider": "cursor",
            "kind": "Usage-based",
            "requests": 2,
            "input_tokens": 36_404,
            "uncached_input_tokens": 252,
            "cache_read_tokens": 23_928,
            "cache_write_tokens": 12_224,
            "output_tokens": 900,
            "cost_usd": Decimal("0.4036464"),
        }
        assert pull("cursor", provider, folder) == {"windows": 72, "lines": 4, "unchanged": 4}
        provider.arriving = [event(1, "bob@example.com", seconds=each) for each in range(8)]
        assert "a number of events that changes each time" in pull("cursor", provider, folder, check=False)


def test_no_more_requests_are_sent_in_a_minute_than_a_provider_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MINUTE", 0.5)
    provider = Cursor([])
    with running(provider), Asker(replace(cursor.place(KEY, provider.url), requests_a_minute=2)) as asker:
        began = time.monotonic()
        for _ in range(5):
            assert [list(windows) for _, windows in cursor.reports(asker, Stretch(0, 3_600_000_000), Names())] != []
    assert time.monotonic() - began >= 1.0, "five requests, of which two may be sent in half a second"
