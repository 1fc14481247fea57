"""The hook in LiteLLM's real proxy, in an environment of its own, between real SDKs and a tiny LLM; nothing leaves this machine."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tallyboard.client.exchange import TRIES_MAX
from tests import engines
from tests.client.conftest import REQUEST, REQUESTS_MAX, Limited
from tests.client.llm import INPUT_TOKENS, LLM, OUTPUT_TOKENS, listening
from tests.client.road import Road, Says, road_to
from tests.conftest import environment, wait_until
from tests.environments import ROOT, python_of

pytestmark = [pytest.mark.slow, engines.once]

ASKED: Any = [{"role": "user", "content": "a secret question"}]
START_SECONDS = 120.0
MASTER_KEY = "sk-4f1c27d6b0a9e8f35b7d1c2e"
RECORDS = "/api/v1/litellm"
_HOLD = "0.00066667"
"""Credits: a little more than two requests."""
_AUTH = """
from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth

async def by_key(request, api_key):
    '''The key is the user's name; `nobody:NAME` is a key without an owner whose caller names NAME.'''
    kind, _, name = api_key.removeprefix("sk-").partition(":")
    return UserAPIKeyAuth(api_key=api_key, user_id=None if kind == "nobody" else kind, end_user_id=name or None)
"""


class Proxy:
    """A running LiteLLM: `url`, the `llm` behind it, the `road` from it to Tallyboard, the `log` of what it said."""

    def __init__(self, url: str, llm: LLM, road: Road, log: Path) -> None:
        self.url = url
        self.llm = llm
        self.road = road
        self.log = log

    def ask(self, owner: str, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        """One call; always with the same call id, which its caller is free to choose."""
        body = {"model": "good", "messages": ASKED, **more}
        headers = {"Authorization": f"Bearer sk-{owner}", "x-litellm-call-id": "mine"}
        return httpx.post(self.url + path, json=body, headers=headers, timeout=30)


@pytest.fixture(scope="module")
def proxy(limited: Limited, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy that fails closed, with a model that works, one that breaks, and one that falls back."""
    llm = LLM()
    with listening(llm) as llm_url, road_to(limited.url) as road:
        folder = tmp_path_factory.mktemp("litellm")
        with _running(folder, _configuration(llm_url), road.url, limited.server.keys["check,ingest"], "closed") as url:
            yield Proxy(url, llm, road, folder / "proxy.log")


@pytest.fixture(scope="module")
def logged(limited: Limited, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A proxy with LiteLLM's own logger, and without our hook."""
    llm = LLM()
    with listening(llm) as llm_url, road_to(limited.url) as road:
        folder, key = tmp_path_factory.mktemp("logged"), limited.server.keys["check,ingest"]
        configuration = _configuration(llm_url)
        configuration["litellm_settings"]["callbacks"] = ["generic_api"]
        with _running(folder, configuration, road.url, key, "closed", **_logger(road, key)) as url:
            yield Proxy(url, llm, road, folder / "proxy.log")


def _logger(road: Road, key: str) -> dict[str, str]:
    return {
        "GENERIC_LOGGER_ENDPOINT": f"{road.url}{RECORDS}",
        "GENERIC_LOGGER_HEADERS": f"Authorization=Bearer {key}",
        "DEFAULT_FLUSH_INTERVAL_SECONDS": "1",
    }


@contextmanager
def _running(folder: Path, configuration: dict[str, Any], url: str, key: str, when_unreachable: str, **more: str) -> Iterator[str]:
    (folder / "config.yaml").write_text(json.dumps(configuration))
    (folder / "owners.py").write_text(_AUTH)
    port = _free_port()
    variables = {
        "PYTHONPATH": str(ROOT / "src"),
        "LITELLM_MASTER_KEY": MASTER_KEY,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "TALLYBOARD_URL": url,
        "TALLYBOARD_KEY": key,
        "TALLYBOARD_WHEN_UNREACHABLE": when_unreachable,
        "TALLYBOARD_HOLD_CREDITS": _HOLD,
        **more,
    }
    program = python_of("litellm").with_name("litellm")
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--config", folder / "config.yaml", "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(**variables),
            cwd=folder,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: _lives(process, address, folder / "proxy.log"), "the proxy listens", START_SECONDS)
        yield address
    finally:
        process.kill()
        process.wait()


def _configuration(llm_url: str, *callbacks: str) -> dict[str, Any]:
    def model(name: str, **more: str) -> dict[str, Any]:
        return {"model_name": name, "litellm_params": {"api_base": f"{llm_url}/v1", "api_key": "none", **more}}

    return {
        "model_list": [
            model("good", model="openai/small"),
            model("broken", model="openai/broken"),
            model("falls back", model="openai/broken"),
            model("claude", model="anthropic/claude-sonnet-4-5", api_base=llm_url),
            model("made up", model="openai/small", mock_response="Hello."),
        ],
        "litellm_settings": {
            "callbacks": [*callbacks, "tallyboard.client.litellm.limit"],
            "fallbacks": [{"falls back": ["good"]}],
            "num_retries": 1,
        },
        "router_settings": {"disable_cooldowns": True},
        "general_settings": {"custom_auth": "owners.by_key"},
    }


def test_at_the_limit_openais_sdk_gives_up_at_once_and_shows_the_message(proxy: Proxy) -> None:
    asked = len(proxy.road.seen)
    with (
        openai.OpenAI(base_url=f"{proxy.url}/v1", api_key="sk-petra") as client,
        pytest.raises(openai.RateLimitError, match="petra has used 0 of their own daily limit of 0 credits") as caught,
    ):
        client.chat.completions.create(model="good", messages=ASKED)
    headers = caught.value.response.headers
    assert headers["retry-after"] in headers["ratelimit"]
    assert headers["ratelimit-policy"].startswith('"daily-credits"')
    assert proxy.road.seen[asked:] == ["POST /api/v1/holds"]


def test_at_the_limit_anthropics_sdk_gives_up_at_once_and_shows_the_message(proxy: Proxy) -> None:
    asked = len(proxy.road.seen)
    with anthropic.Anthropic(base_url=proxy.url, auth_token="sk-petra") as client, pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model="good", max_tokens=10, messages=ASKED)
    assert "petra has used 0 of their own daily limit of 0 credits" in str(caught.value)
    assert proxy.road.seen[asked:] == ["POST /api/v1/holds"]


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/chat/completions", {"no-log": True}),
        ("/v1/chat/completions", {"model": "made up"}),
        ("/v1/chat/completions", {"model": "falls back"}),
        ("/v1/chat/completions", {"metadata": {"tallyboard_hold": "made-up somebody"}}),
        ("/v1/messages", {"model": "claude", "max_tokens": 10}),
        ("/v1/responses", {"model": "claude", "input": "a secret question"}),
    ],
    ids=["chat", "stream", "no-log", "mocked", "fallback", "forged", "messages", "responses"],
)
def test_a_call_counts_once(proxy: Proxy, limited: Limited, user: str, path: str, more: dict[str, Any]) -> None:
    """However it is made and whatever its caller says about it; twice, and it counts twice, although the call ids are the same."""
    for calls in (1, 2):
        answer = proxy.ask(user, path, **more)
        assert (answer.status_code, "Hello." in answer.text) == (200, True), answer.text
        wait_until(lambda calls=calls: limited.used(user) == (calls * REQUEST, 0), f"{calls} calls are settled")  # type: ignore[misc]


def test_what_is_recorded_is_counts_and_the_model(proxy: Proxy, limited: Limited, user: str) -> None:
    assert proxy.ask(user).status_code == 200
    wait_until(lambda: limited.used(user) == (REQUEST, 0), "the call is settled")
    mine = f"u.user_id = event.user_id AND u.account_id = event.account_id AND u.key = '{user}'"
    ((data,),) = engines.look(limited.server.folder, f"SELECT data FROM event JOIN app_user u ON {mine}")
    assert json.loads(data) == {
        "model": "openai/small",
        "requests": 1,
        "input_tokens": INPUT_TOKENS,
        "uncached_input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "response_id": "chat-1",
    }


def test_a_call_that_fails_gives_its_credits_back(proxy: Proxy, limited: Limited, user: str) -> None:
    before = len(proxy.llm.asked)
    assert proxy.ask(user, model="broken").status_code == 500
    assert len(proxy.llm.asked) - before == 2, "it was tried again"
    wait_until(lambda: limited.used(user) == (0, 0), "the hold is released")


def test_calls_go_through_until_the_limit_and_no_further(proxy: Proxy, limited: Limited, user: str) -> None:
    statuses = []
    for number in range(1, REQUESTS_MAX + 1):
        statuses.append(proxy.ask(user).status_code)
        settled = min(number, REQUESTS_MAX - 2) * REQUEST
        wait_until(lambda settled=settled: limited.used(user) == (settled, 0), "the call is settled")  # type: ignore[misc]
    assert statuses == [200] * (REQUESTS_MAX - 2) + [429] * 2, "a hold is a little more than two requests"


def test_a_call_counts_for_the_keys_owner_or_else_for_whom_its_caller_names(proxy: Proxy, limited: Limited, user: str) -> None:
    assert proxy.ask(user, user="somebody else").status_code == 200
    wait_until(lambda: limited.used(user) == (REQUEST, 0), "the owner pays")
    assert proxy.ask(f"nobody:named {user}").status_code == 200
    wait_until(lambda: limited.used(f"named {user}") == (REQUEST, 0), "the named one pays")
    assert proxy.ask("nobody", user=f"said {user}").status_code == 200
    wait_until(lambda: limited.used(f"said {user}") == (REQUEST, 0), "the named one pays")
    assert proxy.ask("nobody").status_code == 200
    wait_until(lambda: limited.used("unattributed") == (REQUEST, 0), "who is not named is not attributed")
    assert limited.used("somebody else") == (0, 0)


def test_usage_that_could_not_be_delivered_goes_along_with_the_next(proxy: Proxy, limited: Limited, user: str) -> None:
    proxy.road.mishaps += [None, *[Says(503)] * TRIES_MAX]
    assert proxy.ask(user).status_code == 200
    wait_until(lambda: not proxy.road.mishaps, "settling has failed")
    assert limited.used(user)[0] == 0
    assert proxy.ask(user).status_code == 200
    wait_until(lambda: limited.used(user) == (2 * REQUEST, 0), "both are settled")


def test_failing_closed_asks_to_come_back(proxy: Proxy) -> None:
    proxy.road.close()
    try:
        answer = proxy.ask("alice")
    finally:
        proxy.road.open()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "cannot be checked now" in answer.text


def test_failing_open_lets_calls_through_and_records_them(limited: Limited, tmp_path: Path, user: str) -> None:
    with listening(LLM()) as llm_url, road_to(limited.url) as road:
        key = limited.server.keys["check,ingest"]
        with _running(tmp_path, _configuration(llm_url), road.url, key, "open") as url:
            road.close()
            proxy = Proxy(url, LLM(), road, tmp_path / "proxy.log")
            assert proxy.ask(user).status_code == 200
            road.open()
            assert proxy.ask(user).status_code == 200
            wait_until(lambda: limited.used(user) == (2 * REQUEST, 0), "both are recorded")
            assert "let a request through" in proxy.log.read_text()


def test_what_the_generic_logger_sends_of_the_same_calls_counts_no_more(limited: Limited, tmp_path: Path, user: str) -> None:
    with listening(LLM()) as llm_url, road_to(limited.url) as road:
        key = limited.server.keys["check,ingest"]
        with _running(tmp_path, _configuration(llm_url, "generic_api"), road.url, key, "closed", **_logger(road, key)) as url:
            proxy = Proxy(url, LLM(), road, tmp_path / "proxy.log")
            for calls in (1, 2):  # One batch is answered before the next is sent.
                assert proxy.ask(user).status_code == 200
                wait_until(lambda calls=calls: road.seen.count(f"POST {RECORDS}") == calls, "the logger has sent")  # type: ignore[misc]
    assert limited.used(user) == (2 * REQUEST, 0)
    mine = f"u.user_id = event.user_id AND u.account_id = event.account_id AND u.key = '{user}'"
    found = engines.look(limited.server.folder, f"SELECT source, data FROM event JOIN app_user u ON {mine}")
    assert [(source, "operation" in data) for source, data in found] == [("litellm", False)] * 2, "they are the hook's"


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/messages", {"model": "claude", "max_tokens": 10}),
        ("/v1/responses", {"model": "claude", "input": "a secret question"}),
    ],
    ids=["chat", "stream", "messages", "responses"],
)
def test_the_generic_logger_alone_tells_every_call_once(
    logged: Proxy, limited: Limited, user: str, path: str, more: dict[str, Any]
) -> None:
    for calls in (1, 2):  # One batch is answered before the next is sent: LiteLLM forgets what it notes while it sends.
        answer = logged.ask(user, path, **more)
        assert (answer.status_code, "Hello." in answer.text) == (200, True), answer.text
        wait_until(lambda calls=calls: limited.used(user) == (calls * REQUEST, 0), "the call is told")  # type: ignore[misc]


def test_nothing_starts_without_being_told_what_to_do(tmp_path: Path) -> None:
    line = [python_of("litellm"), "-c", "import tallyboard.client.litellm"]
    done = subprocess.run(line, capture_output=True, check=False, cwd=tmp_path, env=environment(PYTHONPATH=str(ROOT / "src")))
    assert done.returncode == 1
    wanted = "set TALLYBOARD_URL, TALLYBOARD_KEY, TALLYBOARD_WHEN_UNREACHABLE, TALLYBOARD_HOLD_CREDITS for Tallyboard's limit"
    assert wanted in done.stderr.decode()


def _lives(process: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    assert process.poll() is None, f"the proxy has ended:\n{log.read_text()}"
    try:
        return httpx.get(f"{address}/health/liveliness", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
