"""`tallyboard pull openai` against a provider that answers in OpenAI's own types."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI as Sdk

from tests import engines
from tests.conftest import tallyboard
from tests.pulls.fakes import KEY, OpenAI, Trouble, running

HOUR_S = 3_600
TODAY_S = int(time.time()) // HOUR_S * HOUR_S - 30 * HOUR_S
"""The start of an hour that ended a day ago."""
TOKENS = {"input_tokens": 1_000, "output_tokens": 200, "num_model_requests": 3, "input_cached_tokens": 400, "input_cache_write_tokens": 100}
EMAILS = {"user-a": "alice@example.com", "user-b": "bob@example.com", "user-c": "charlie@example.com"}


@pytest.fixture
def provider() -> Iterator[OpenAI]:
    said = [
        ("completions", TODAY_S, {**TOKENS, "user_id": "user-a", "model": "gpt-4o"}),
        ("completions", TODAY_S, {**TOKENS, "user_id": "user-gone", "model": "gpt-4o"}),
        ("completions", TODAY_S - 40 * HOUR_S, {**TOKENS, "user_id": None, "model": "gpt-4o"}),
        ("embeddings", TODAY_S, {"input_tokens": 50, "num_model_requests": 1, "user_id": "user-c", "model": "text-embedding-3-small"}),
        ("images", TODAY_S, {"images": 2, "num_model_requests": 1, "user_id": "user-b", "model": "gpt-image-1"}),
    ]
    fake = OpenAI(said, EMAILS)
    with running(fake):
        yield fake


def pull(provider: OpenAI, folder: Path, *more: object, check: bool = True, key: str = KEY) -> Any:
    done = tallyboard(
        "pull",
        "openai",
        "--base-url",
        provider.url,
        "--json",
        *more,
        data=folder,
        check=check,
        OPENAI_ADMIN_KEY=key,
        PYTHONWARNINGS="error",
    )
    assert KEY not in done.stdout + done.stderr
    return {name: count for name, count in json.loads(done.stdout).items() if count} if check else done


def kept(folder: Path) -> list[tuple[Any, ...]]:
    """Whose events there are, with what they say."""
    lines = engines.look(
        folder,
        """
        SELECT app_user.key, event.model, event.at_us, event.data FROM event
        JOIN app_user ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id ORDER BY 1, 3, event.id
        """,
    )
    return [(user, model, at_us, json.loads(data)) for user, model, at_us, data in lines]


def test_every_hour_counts_at_its_middle_for_whom_the_organization_knows_by_that_id(provider: OpenAI, folder: Path) -> None:
    assert pull(provider, folder) == {"windows": 6 * 72, "lines": 5, "new": 5, "unattributed": 1}
    said = kept(folder)
    assert [(user, model) for user, model, _, _ in said] == [
        ("alice@example.com", "gpt-4o"),
        ("bob@example.com", "gpt-image-1"),
        ("charlie@example.com", "text-embedding-3-small"),
        ("unattributed", "gpt-4o"),
        ("user-gone", "gpt-4o"),
    ]
    assert said[0][2:] == (
        (TODAY_S + HOUR_S // 2) * 1_000_000,
        {
            "model": "gpt-4o",
            "provider": "openai",
            "operation": "completions",
            "requests": 3,
            "input_tokens": 1_000,
            "uncached_input_tokens": 500,
            "cache_read_tokens": 400,
            "cache_write_tokens": 100,
            "output_tokens": 200,
        },
    )
    assert said[1][3] == {"model": "gpt-image-1", "provider": "openai", "operation": "images", "requests": 1, "images": 2}
    assert provider.count("/completions") == 3, "24 hours a page"
    assert provider.count("/users") == 2
    assert pull(provider, folder) == {"windows": 6 * 72, "lines": 5, "unchanged": 5}
    assert len(kept(folder)) == 5


def test_the_provider_of_these_tests_answers_its_own_sdk_and_is_asked_as_by_it(provider: OpenAI, folder: Path) -> None:
    """The requests of openai-python 3.54: the same path, the same names of parameters."""
    with Sdk(admin_api_key=KEY, api_key="none", base_url=f"{provider.url}/v1", max_retries=0) as sdk:
        page = sdk.admin.organization.usage.completions(
            start_time=TODAY_S, end_time=TODAY_S + HOUR_S, bucket_width="1h", group_by=["user_id", "model"], limit=24
        )
        assert [result.user_id for result in page.data[0].results] == ["user-a", "user-gone"]  # type: ignore[union-attr]
        assert [user.email for user in sdk.admin.organization.users.list(limit=100)] == sorted(EMAILS.values())
    (by_sdk, *_), mark = provider.asked, len(provider.asked)
    pull(provider, folder)
    by_us = next(asked for asked in provider.asked[mark:] if asked[0] == by_sdk[0])
    assert sorted(name for name, _ in by_us[1]) == sorted(name for name, _ in by_sdk[1])
    assert provider.headers[-1]["authorization"] == provider.headers[0]["authorization"]


def test_an_hour_that_is_reported_otherwise_is_replaced_and_one_on_a_live_day_is_set_aside(provider: OpenAI, folder: Path) -> None:
    live = {"specversion": "1.0", "id": "1", "source": "/app", "type": "ai.usage.recorded", "subject": "bob@example.com"}
    live["time"] = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(TODAY_S))
    tallyboard("import", "-", data=folder, stdin=json.dumps({**live, "data": {"requests": 1}}).encode())
    first = pull(provider, folder)
    assert (first["new"], first["set_aside"]) == (4, 1)
    provider.said[0][2]["output_tokens"] = 150
    provider.said.pop(1)
    second = pull(provider, folder)
    assert (second["changed"], second["gone"], second["unchanged"], second["set_aside"]) == (1, 1, 2, 1)
    assert [said["output_tokens"] for user, _, _, said in kept(folder) if user == "alice@example.com"] == [200, -200, 150]
    text = tallyboard("pull", "openai", "--base-url", provider.url, data=folder, OPENAI_ADMIN_KEY=KEY).stdout
    assert text.splitlines()[1:] == ["set aside: 1 lines, already told live"]
    tallyboard("reconcile", data=folder)


def test_users_go_by_the_keys_that_a_map_gives_them_and_organizations_by_their_names(provider: OpenAI, folder: Path) -> None:
    names = folder.parent / "map.json"
    names.write_text(json.dumps({"alice@example.com": "u-1", "user-gone": "u-1", "user-b": "u-2"}))
    merged = pull(provider, folder, "--user-map", names, "--name", "emea")
    assert merged["lines"] == 4
    assert [said["requests"] for user, model, _, said in kept(folder) if (user, model) == ("u-1", "gpt-4o")] == [6]
    assert pull(provider, folder, "--name", "apac")["new"] == 5
    assert {source for (source,) in engines.look(folder, "SELECT source FROM event")} == {"openai-report/emea", "openai-report/apac"}


def test_what_passes_is_tried_again(provider: OpenAI, folder: Path) -> None:
    provider.troubles = [Trouble(429, headers={"Retry-After": "0"}), Trouble(500), Trouble(200, b'{"data": [', cut=True)]
    assert pull(provider, folder)["new"] == 5


AFTER_A_PAGE: list[tuple[list[Trouble], str]] = [
    ([Trouble(429, headers={"Retry-After": "0"})] * 5, "OpenAI answers 429, after 5 tries; what came before is counted"),
    ([Trouble(429, headers={"Retry-After": "3600"})], "asks to be left alone for 3,600 seconds"),
    ([Trouble(200, b'{"data": [{"start_time": "never"}]}')], "not the JSON that is expected"),
    ([Trouble(200, b"[" * 100_000)], "not the JSON that is expected"),
    ([Trouble(200, b"x" * (65 * 1_048_576))], "more than 64 MiB at once"),
    ([Trouble(302, headers={"Location": "http://127.0.0.1:1/"})], "OpenAI answers 302"),
    ([Trouble(403)], "does not let the key read usage (403): look at what OPENAI_ADMIN_KEY may do"),
    (
        [Trouble(200, b'{"data": [{"start_time": 0, "end_time": 3600, "results": []}], "has_more": false}')],
        "completions of other hours than those asked for",
    ),
    ([Trouble(200, b'{"data": [], "has_more": true}')], "has more pages, but does not say which"),
    ([Trouble(200, b'{"data": [], "has_more": true, "next_page": "%b"}' % (b"x" * 70_000))], "a next page that cannot be asked for"),
]


def test_what_came_before_a_failure_stays_and_the_failure_is_told_in_a_sentence(provider: OpenAI, folder: Path) -> None:
    """The users and a first page with an hour of usage have come when the next page cannot be had."""
    for troubles, told in AFTER_A_PAGE:
        provider.troubles = [None, None, None, *troubles]
        done = pull(provider, folder, check=False)
        assert (done.returncode, done.stdout, provider.troubles) == (1, "", []), told
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert [user for user, _, _, _ in kept(folder)] == ["unattributed"], told
    assert provider.count("/embeddings") == 0
    assert pull(provider, folder)["new"] == 4


def test_a_key_is_asked_for_kept_to_itself_and_sent_only_to_who_keeps_it(provider: OpenAI, folder: Path) -> None:
    done = pull(provider, folder, check=False, key="sk-admin-wrong")
    assert "OpenAI does not know the key (401): look at OPENAI_ADMIN_KEY" in done.stderr
    assert "set OPENAI_ADMIN_KEY, or name a file" in pull(provider, folder, check=False, key="").stderr
    file = folder.parent / "key"
    file.write_text(f"{KEY}\n")
    assert pull(provider, folder, "--key-file", file, key="")["new"] == 5
    file.write_text("two\nlines")
    assert "does not hold a key" in pull(provider, folder, "--key-file", file, check=False).stderr
    for address in ("http://api.example.com", "ftp://127.0.0.1", "http://me:secret@127.0.0.1"):
        refused = tallyboard("pull", "openai", "--base-url", address, data=folder, check=False, OPENAI_ADMIN_KEY=KEY)
        assert (refused.returncode, "asked by https only" in refused.stderr) == (1, True)


def test_a_stretch_of_time_is_whole_days_that_have_begun(provider: OpenAI, folder: Path) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(TODAY_S))
    assert pull(provider, folder, "--from", day, "--to", day)["windows"] == 6 * 24
    for more, told in ((["--from", "2100-01-01"], "nothing is to be pulled"), (["--from", "2001-01-01"], "may go back 366 days")):
        assert told in pull(provider, folder, *more, check=False).stderr
    assert pull(provider, folder, "--from", "yesterday", check=False).returncode == 2
