"""What LiteLLM's generic logger sends is taken: each call once, by tokens, for the person it is of, and nothing of what was said."""

import gzip
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import engines
from tests.conftest import DATA, Server, environment
from tests.environments import python_of

REQUEST = 200_000
"""Units of one request by the default card."""
DOOR = "/api/v1/litellm"
RECORDED = DATA / "litellm" / "000_POST_litellm"
DAY = "2026-11-22"
_made = 0


def record(user: str | None = None, *, tokens: tuple[int, int] = (120, 30), **more: Any) -> dict[str, Any]:
    """A record of a call of its own, as LiteLLM's proxy logs it for a key's owner."""
    global _made  # noqa: PLW0603  Every record gets another number.
    _made += 1
    return {
        "id": "chat-1",
        "litellm_call_id": f"call {_made}",
        "status": "success",
        "call_type": "acompletion",
        "custom_llm_provider": "openai",
        "startTime": 1795338490.5 + _made,
        "endTime": 1795338491.5 + _made,
        "model": "gpt-4o-mini",
        "metadata": {"user_api_key_user_id": user},
        "response_cost": 1.35e-05,
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "messages": [{"role": "user", "content": "canary"}],
        "response": {"choices": [{"message": {"content": "canary"}}]},
        "error_str": "canary",
        **more,
    }


def post(server: Server, body: Any, scopes: str = "ingest", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return server.request("POST", DOOR, scopes, headers=lines, content=content)


def taken(server: Server, body: Any, **headers: str) -> tuple[int, int, int, int, int]:
    """Accepted, duplicate, conflict, skipped, and how many are refused."""
    answer = post(server, body, **headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    return told["accepted"], told["duplicate"], told["conflict"], told["skipped"], len(told["refused"])


def used(server: Server, user: str) -> int:
    return int(server.usage(first=DAY, last=DAY, user=user)["total"]["units"])


def kept(server: Server, user: str) -> list[dict[str, Any]]:
    """The data of a user's events, oldest first."""
    mine = f"u.user_id = event.user_id AND u.account_id = event.account_id AND u.key = '{user}'"
    found = engines.look(server.folder, f"SELECT at_us, data FROM event JOIN app_user u ON {mine}")
    return [json.loads(data) for _, data in sorted(found)]


def test_a_recorded_batch_counts_each_call_that_worked_once(server: Server) -> None:
    body = RECORDED.with_suffix(".body").read_bytes()
    assert taken(server, body) == (3, 0, 0, 1, 0)
    assert taken(server, body) == (0, 3, 0, 1, 0)
    assert used(server, "alice@example.com") == 3 * REQUEST
    assert [each["input_tokens"] for each in kept(server, "alice@example.com")] == [10, 8, 120]
    assert kept(server, "alice@example.com")[2] == {
        "model": "gpt-4o-mini",
        "requests": 1,
        "input_tokens": 120,
        "uncached_input_tokens": 100,
        "cache_read_tokens": 20,
        "output_tokens": 30,
        "reasoning_tokens": 5,
        "provider": "openai",
        "response_id": "chatcmpl-c33c3c08",
        "operation": "acompletion",
        "cost_usd": 0.0000345,
    }


@pytest.mark.parametrize("shape", ["array", "single", "ndjson", "gzip"])
def test_a_batch_comes_in_every_format_of_the_logger(shared_server: Server, shape: str) -> None:
    records = [record(shape), record(shape)]
    lines = [json.dumps(each).encode() for each in records]
    if shape == "single":
        assert [taken(shared_server, json.dumps(each, indent=2).encode()) for each in records] == [(1, 0, 0, 0, 0)] * 2
    elif shape == "gzip":
        assert taken(shared_server, gzip.compress(b"[%b]" % b",".join(lines)), Content_Encoding="gzip") == (2, 0, 0, 0, 0)
    else:
        assert taken(shared_server, b"\n".join(lines) if shape == "ndjson" else records) == (2, 0, 0, 0, 0)
    assert used(shared_server, shape) == 2 * REQUEST


@pytest.mark.slow
@engines.once
@pytest.mark.parametrize("log_format", ["json_array", "ndjson", "single"])
def test_litellm_itself_gets_its_calls_in_once(server: Server, log_format: str) -> None:
    user = f"{log_format}@example.com"
    variables = {
        "GENERIC_LOGGER_ENDPOINT": server.url + DOOR,
        "GENERIC_LOGGER_HEADERS": f"Authorization=Bearer {server.keys['ingest']}",
        "DEFAULT_FLUSH_INTERVAL_SECONDS": "3600",  # It sends when it is told to.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    line = [python_of("litellm"), Path(__file__).with_name("litellm_calls.py"), log_format, user]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False, env=environment(**variables))
    assert (done.returncode, done.stdout) == (0, b"4"), done.stderr.decode()
    assert server.usage(user=user)["total"]["units"] == 3 * REQUEST
    assert [(each["model"], each["input_tokens"] > 0) for each in kept(server, user)] == [
        ("gpt-4o-mini", True),
        ("gpt-4o-mini", True),
        ("text-embedding-3-small", True),
    ]
    assert b"secret" not in everything(server)


def test_nothing_of_what_was_said_is_kept(server: Server) -> None:
    secrets = [
        record("eve", error_information={"traceback": "canary"}, model_parameters={"user": "u", "tools": ["canary"]}),
        record("eve", metadata={"user_api_key_user_id": "eve", "requester_metadata": {"note": "canary"}, "user_agent": "canary"}),
        record("eve", request_tags=["canary"], trace_id="canary", session_id="canary", api_base="canary", hidden_params={"a": "canary"}),
    ]
    assert taken(server, secrets) == (3, 0, 0, 0, 0)
    assert b"canary" not in everything(server)
    assert b"gpt-4o-mini" in everything(server)


def everything(server: Server) -> bytes:
    """All that the event table holds."""
    return repr(engines.look(server.folder, "SELECT source, id, type, model, data FROM event")).encode()


@pytest.mark.parametrize(
    ("says", "user"),
    [
        ({"metadata": {"user_api_key_user_id": "owner", "user_api_key_user_email": "o@example.com"}, "end_user": "end"}, "owner"),
        ({"metadata": {"user_api_key_user_id": "default_user_id"}, "end_user": "end of the administrator"}, "end of the administrator"),
        ({"metadata": {"user_api_key_user_email": "mail@example.com"}, "end_user": "end"}, "mail@example.com"),
        ({"metadata": None, "end_user": "end", "model_parameters": {"user": "said"}}, "end"),
        ({"metadata": {"user_api_key_end_user_id": "end of key"}}, "end of key"),
        ({"metadata": {}, "model_parameters": {"user": "said"}}, "said"),
        ({"metadata": {}, "end_user": "e" * 300, "model_parameters": {"user": "instead"}}, "instead"),
        ({"metadata": {}, "end_user": "new\nline", "model_parameters": {"user": ["a", "list"]}}, "unattributed"),
    ],
)
def test_a_call_counts_for_the_keys_owner_or_else_for_whom_it_names(shared_server: Server, says: dict[str, Any], user: str) -> None:
    before = used(shared_server, user)
    assert taken(shared_server, [record(**says)]) == (1, 0, 0, 0, 0)
    assert used(shared_server, user) - before == REQUEST


def test_a_key_that_is_bound_to_a_user_speaks_for_that_one(shared_server: Server) -> None:
    bound = shared_server.keys.make("ingest", "--user", "bound")
    headers = {"Authorization": f"Bearer {bound}"}
    assert shared_server.client.post(shared_server.url + DOOR, headers=headers, json=[record("somebody")]).json()["accepted"] == 1
    assert used(shared_server, "bound") == REQUEST


def test_a_caller_who_chooses_the_calls_id_is_counted_each_time(shared_server: Server) -> None:
    for chosen in ("mine", "x" * 2_000, "\u00fc\n"):
        calls = [record(f"chooser of {len(chosen)}", litellm_call_id=chosen) for _ in range(2)]
        assert taken(shared_server, calls) == (2, 0, 0, 0, 0)
        assert taken(shared_server, calls) == (0, 2, 0, 0, 0)


def test_what_used_nothing_is_passed_over_and_what_did_is_kept(shared_server: Server) -> None:
    nothing = {"tokens": (0, 0), "response_cost": 0.0}
    assert taken(shared_server, [record("failed", status="failure", **nothing), record("failed", call_type="list_files", **nothing)]) == (
        *(0, 0, 0),
        2,
        0,
    )
    broken_off = record("broken off", status="failure", tokens=(120, 5))
    speech = record("speaker", call_type="aspeech", tokens=(0, 0), response_cost=0.002)
    hidden = record("silent", **nothing)
    assert taken(shared_server, [broken_off, speech, hidden]) == (3, 0, 0, 0, 0)
    assert (used(shared_server, "broken off"), kept(shared_server, "broken off")[0]["output_tokens"]) == (0, 5)
    assert (used(shared_server, "speaker"), kept(shared_server, "speaker")[0]["cost_usd"]) == (0, 0.002)
    assert used(shared_server, "silent") == REQUEST


@pytest.mark.parametrize(
    ("usage", "classes"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 100, "cache_creation_tokens": 15}}, (120, 5, 100, 15)),
        ({"cache_read_input_tokens": 100, "cache_creation_input_tokens": 15}, (120, 5, 100, 15)),
        ({"prompt_tokens_details": {"cached_tokens": 500}}, (620, 120, 500, None)),
        ({"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}}, (120, 120, None, None)),
    ],
)
def test_classes_of_tokens_are_disjoint_beside_the_whole(
    shared_server: Server, usage: dict[str, Any], classes: tuple[int | None, ...]
) -> None:
    user = f"classes {classes} {len(usage)} {sorted(usage)}".replace("'", "")
    assert taken(shared_server, [record(user, metadata={"user_api_key_user_id": user, "usage_object": usage})]) == (1, 0, 0, 0, 0)
    (data,) = kept(shared_server, user)
    assert tuple(data.get(f"{name}_tokens") for name in ("input", "uncached_input", "cache_read", "cache_write")) == classes


def test_what_the_hook_settles_is_not_counted_again(shared_server: Server) -> None:
    """The event is the same. What a caller may write into a call's metadata keeps none from counting."""
    call = record("held")
    hold = shared_server.request("POST", "/api/v1/holds", "check", json={"user": "held", "units": 1}).json()["id"]
    settled = {"source": "litellm", "id": f"{call['litellm_call_id']}@{call['startTime']:.6f}", "data": {"requests": 1}}
    assert shared_server.request("POST", f"/api/v1/holds/{hold}/settle", "check,ingest", json=settled).json()["accepted"] == 1
    assert taken(shared_server, [call]) == (0, 0, 1, 0, 0)
    assert shared_server.usage(user="held")["total"]["units"] == REQUEST
    marked = record("held", litellm_call_id="another")
    marked["metadata"]["tallyboard_hold"] = hold
    assert taken(shared_server, [marked]) == (1, 0, 0, 0, 0)


def test_a_bad_record_keeps_no_good_one_out(shared_server: Server) -> None:
    bad = [
        None,
        7,
        record("mixed", prompt_tokens="many"),
        record("mixed", prompt_tokens=-1),
        record("mixed", prompt_tokens=1.5),
        record("mixed", endTime=1e300),
        record("mixed", endTime=4e9),
        record("mixed", litellm_call_id=None, id=None),
        record("mixed", metadata=[]),
    ]
    answer = post(shared_server, [*bad, record("mixed")])
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert [each["index"] for each in answer.json()["refused"]] == list(range(len(bad)))
    assert used(shared_server, "mixed") == REQUEST
    lines = b"\n".join([b"{not json", json.dumps(record("line")).encode(), b"\xff"])
    assert taken(shared_server, lines) == (1, 0, 0, 0, 2)


def test_what_callers_write_cannot_keep_a_batch_out(shared_server: Server) -> None:
    deep: Any = "deep"
    for _ in range(90):
        deep = [deep]
    strange = [
        record("strange", messages=[{"content": "\ud83d lone and \x00 zero"}], model_parameters={"user": "\ud83d", "tools": deep}),
        record("strange", model="\x07bell", model_group=["a list"], response_cost=-1.0, call_type="c" * 300),
        record("strange", model_parameters="redacted", end_user={"an": "object"}, custom_llm_provider="p" * 300, litellm_call_id=["odd"]),
    ]
    assert taken(shared_server, strange) == (3, 0, 0, 0, 0)
    assert used(shared_server, "strange") == 3 * REQUEST


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"[{}", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"[" + b"{}," * 10_000 + b"{}]", {}, 413),
        (b"\n".join([b"{}"] * 10_001), {}, 413),
        (b" " * (10 * 1024 * 1024 + 1), {}, 413),
        (b"[]", {"Content_Type": "text/xml"}, 415),
    ],
    ids=["empty", "cut off", "deep", "too many", "too many lines", "too large", "no json"],
)
def test_a_body_that_holds_no_records_is_refused(shared_server: Server, body: bytes, headers: dict[str, str], status: int) -> None:
    answer = post(shared_server, body, **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "retry-after" not in answer.headers


def test_a_large_batch_is_taken_too(shared_server: Server) -> None:
    calls = [record("large", messages=[{"content": "canary" * 10_000}]) for _ in range(100)]
    assert taken(shared_server, calls) == (100, 0, 0, 0, 0)
    assert used(shared_server, "large") == 100 * REQUEST
