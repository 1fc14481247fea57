"""OpenAI's client with each of the instrumentations in use, unmodified, against a model that is made up: its calls count once."""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from tests.conftest import Server, environment
from tests.environments import python_of
from tests.intake.telemetry import CACHE_READ, INPUT, OUTPUT, everything

CALLS = 3
CALL = 100 * INPUT + 20 * CACHE_READ + 30 * OUTPUT
USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 30,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 20},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


@pytest.mark.slow
@pytest.mark.parametrize("which", ["genai", "traceloop", "openinference"])
def test_the_calls_of_an_instrumented_client_count_once(priced: Server, which: str) -> None:
    with Model() as model:
        call(priced, model, which, "app")
    assert charged(priced) == CALLS * CALL
    assert model.asked == CALLS
    stored = everything(priced)
    assert "gpt-4o" in stored  # Else the search would prove nothing.
    assert "canary" not in stored


@pytest.mark.slow
def test_a_call_that_two_instrumented_services_tell_counts_once(priced: Server) -> None:
    """A gateway and the app before it: both see the model's answer, so both name its id."""
    for which, service in (("genai", "app"), ("traceloop", "gateway")):
        with Model() as model:
            call(priced, model, which, service)
    assert charged(priced) == CALLS * CALL


def call(server: Server, model: "Model", which: str, service: str) -> None:
    client = Path(__file__).with_name("instrumented_client.py")
    line = [python_of("instrumented"), client, server.url, server.keys["ingest"], model.url, which, service]
    done = subprocess.run(line, capture_output=True, timeout=120, check=False, env=environment())
    assert done.returncode == 0, done.stderr.decode()


def charged(server: Server) -> int:
    return int(server.usage(window="7", user="alice@example.com")["total"]["units"])


class Model:
    """Answers as OpenAI does, always with the same ids; `asked` how often."""

    def __init__(self) -> None:
        self.asked = 0
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model.asked += 1
                kind, content = _answer(self.path, wish)
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _answer(path: str, wish: dict[str, Any]) -> tuple[str, bytes]:
    if path == "/v1/responses":
        return "application/json", json.dumps(_response(wish["model"])).encode()
    about = {"id": "chatcmpl-2" if wish.get("stream") else "chatcmpl-1", "created": 1_795_000_000, "model": wish["model"]}
    if not wish.get("stream"):
        message = {"role": "assistant", "content": "a canary answers"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return "application/json", json.dumps({**about, "object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    chunk = {**about, "object": "chat.completion.chunk"}
    delta = {"role": "assistant", "content": "a canary answers"}
    parts = [
        {**chunk, "choices": [{"index": 0, "finish_reason": "stop", "delta": delta}]},
        {**chunk, "choices": [], "usage": USAGE},
    ]
    return "text/event-stream", "".join(f"data: {json.dumps(part)}\n\n" for part in parts).encode() + b"data: [DONE]\n\n"


def _response(model: str) -> dict[str, Any]:
    text = {"type": "output_text", "text": "a canary answers", "annotations": []}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_795_000_000,
        "status": "completed",
        "model": model,
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": 120,
            "input_tokens_details": {"cached_tokens": 20},
            "output_tokens": 30,
            "output_tokens_details": {"reasoning_tokens": 5},
            "total_tokens": 150,
        },
    }
