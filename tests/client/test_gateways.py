"""The real nginx and the real Envoy, each with exactly its file of docs/examples, between SDKs, Tallyboard and a tiny LLM.

In those files Alice may go on; Bob is paused here.
"""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest

from tests import engines
from tests.client.conftest import Limited
from tests.client.llm import LLM, listening
from tests.conftest import tallyboard, wait_until
from tests.environments import ROOT, python_of

pytestmark = engines.once

EXAMPLES = ROOT / "docs" / "examples"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
ASKED: Any = [{"role": "user", "content": "Hello?"}]
_MAIN = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    include {folder}/limit.conf;
}}
"""


class Gateway:
    """A running gateway: `url`, the `llm` behind it."""

    def __init__(self, url: str, llm: LLM) -> None:
        self.url = url
        self.llm = llm

    def ask(self, person: str, path: str = "/v1/chat/completions", **headers: str) -> httpx.Response:
        """One request with a person's key."""
        lines = {"Authorization": f"Bearer sk-{person}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.post(self.url + path, json={"model": "small", "messages": ASKED}, headers=lines, timeout=30)


OpenGateway = Callable[..., Gateway]


@pytest.fixture(scope="module", autouse=True)
def _bob_is_paused(limited: Limited) -> None:
    tallyboard("user", "override", "bob", "--limit", "0", "--reason", "paused", data=limited.server.folder)


@pytest.fixture(params=["nginx", "envoy"])
def open_gateway(request: pytest.FixtureRequest, limited: Limited, tmp_path: Path) -> Iterator[OpenGateway]:
    """Opens gateways that fail closed or open; they end when the test does."""
    with ExitStack() as stack:

        def open_one(tallyboard_url: str = limited.url, key: str = limited.key, *, fails_open: bool = False) -> Gateway:
            llm = LLM()
            llm_url = stack.enter_context(listening(llm))
            start = _nginx if request.param == "nginx" else _envoy
            return Gateway(stack.enter_context(start(tmp_path, tallyboard_url, llm_url, key, fails_open=fails_open)), llm)

        yield open_one


@contextmanager
def _nginx(folder: Path, tallyboard_url: str, llm_url: str, key: str, *, fails_open: bool) -> Iterator[str]:
    port = _free_port()
    values = {
        "127.0.0.1:8321": urlsplit(tallyboard_url).netloc,
        "127.0.0.1:9000": urlsplit(llm_url).netloc,
        "127.0.0.1:8080": f"127.0.0.1:{port}",
        "tb_your_key": key,
    }
    if fails_open:
        values["error_page 500 = @closed;"] = "error_page 500 = @open;"
    (folder / "limit.conf").write_text(_filled((EXAMPLES / "nginx.conf").read_text(), values))
    (folder / "main.conf").write_text(_MAIN.format(folder=folder))
    assert NGINX, "nginx is missing; on Debian: apt-get install nginx-light"
    with _running([NGINX, "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "main.conf")], port, folder / "log") as url:
        yield url


@contextmanager
def _envoy(folder: Path, tallyboard_url: str, llm_url: str, key: str, *, fails_open: bool) -> Iterator[str]:
    port, there, llm = _free_port(), urlsplit(tallyboard_url), urlsplit(llm_url)
    values = {
        "address: tallyboard, port_value: 8321": f"address: 127.0.0.1, port_value: {there.port}",
        "address: llm, port_value: 9000": f"address: 127.0.0.1, port_value: {llm.port}",
        "port_value: 8080": f"port_value: {port}",
        "tb_your_key": key,
    }
    if fails_open:
        values["failure_mode_allow: false"] = "failure_mode_allow: true"
    (folder / "envoy.yaml").write_text(_filled((EXAMPLES / "envoy.yaml").read_text(), values))
    program = python_of("envoy").with_name("envoy")
    line = [str(program), "-c", str(folder / "envoy.yaml"), "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning"]
    with _running(line, port, folder / "log") as url:
        yield url


def _filled(text: str, values: dict[str, str]) -> str:
    for placeholder, value in values.items():
        assert placeholder in text, f"the example has no {placeholder!r} any more"
        text = text.replace(placeholder, value)
    return text


@contextmanager
def _running(line: list[str], port: int, log: Path) -> Iterator[str]:
    with log.open("ab") as said:
        process = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: _listens(process, port, log), "the gateway listens")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_whoever_has_credits_left_notices_nothing(open_gateway: OpenGateway) -> None:
    gateway = open_gateway()
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-alice") as client:
        assert client.chat.completions.create(model="small", messages=ASKED).choices[0].message.content == "Hello."
    with anthropic.Anthropic(base_url=gateway.url, api_key="sk-alice") as other:
        assert other.messages.create(model="small", max_tokens=10, messages=ASKED).content[0].text == "Hello."  # type: ignore[union-attr]
    assert gateway.llm.asked == ["/v1/chat/completions", "/v1/messages"]


def test_at_the_limit_openais_sdk_gives_up_at_once_and_shows_the_message(open_gateway: OpenGateway) -> None:
    gateway = open_gateway()
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-bob") as client,
        pytest.raises(openai.RateLimitError, match="bob has used 0 of their own daily limit of 0 credits") as caught,
    ):
        client.chat.completions.create(model="small", messages=ASKED)
    headers = caught.value.response.headers
    assert headers["x-should-retry"] == "false"
    assert headers["retry-after"] in headers["ratelimit"]
    assert headers["ratelimit-policy"].startswith('"daily-credits"')
    assert gateway.llm.asked == []


def test_at_the_limit_anthropics_sdk_gives_up_at_once_and_shows_the_message(open_gateway: OpenGateway) -> None:
    gateway = open_gateway()
    with anthropic.Anthropic(base_url=gateway.url, api_key="sk-bob") as client, pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model="small", max_tokens=10, messages=ASKED)
    assert "bob has used 0 of their own daily limit of 0 credits" in str(caught.value)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert gateway.llm.asked == []


def test_nobody_is_somebody_else_by_saying_so(open_gateway: OpenGateway) -> None:
    gateway = open_gateway()
    assert gateway.ask("bob", "/v1/messages?user=alice", X_Tallyboard_User="alice").status_code == 429
    assert gateway.ask("charlie", X_Tallyboard_User="alice").status_code == 401
    assert gateway.llm.asked == []


def test_failing_closed_asks_to_come_back(open_gateway: OpenGateway, nowhere: str) -> None:
    gateway = open_gateway(nowhere)
    assert gateway.ask("alice").status_code == 503
    assert gateway.llm.asked == []


def test_failing_open_lets_requests_through(open_gateway: OpenGateway, nowhere: str) -> None:
    gateway = open_gateway(nowhere, fails_open=True)
    assert gateway.ask("alice").status_code == 200
    assert gateway.ask("charlie").status_code == 401


@pytest.mark.parametrize("key", ["tb_wrong", "ingest"])
def test_a_key_that_may_not_ask_neither_lets_through_nor_looks_like_a_limit(open_gateway: OpenGateway, limited: Limited, key: str) -> None:
    gateway = open_gateway(key=limited.server.keys[key] if key == "ingest" else key, fails_open=True)
    assert gateway.ask("alice").status_code in {401, 403, 500}
    assert gateway.llm.asked == []


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, f"the gateway has ended:\n{log.read_text()}"
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
