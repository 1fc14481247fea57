"""A tiny LLM API, the thing that all of this stands in front of: it answers every call the same and remembers what it was asked."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.conftest import wait_until

INPUT_TOKENS, OUTPUT_TOKENS = 120, 30
_TOKENS = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}
_CHAT = {
    "id": "chat-1",
    "object": "chat.completion",
    "created": 1,
    "model": "small",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
    "usage": _TOKENS,
}
_MESSAGE = {
    "id": "message-1",
    "type": "message",
    "role": "assistant",
    "model": "small",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
}


class LLM:
    """The API as an ASGI app. A model named `broken` fails; `asked` are the paths in order, `url` is where it listens."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        said = json.loads(await _body(receive) or b"{}")
        if said.get("model") == "broken":
            await _answer(send, 500, b'{"error": {"message": "it broke"}}')
        elif scope["path"].endswith("/messages"):
            await _answer(send, 200, json.dumps(_MESSAGE).encode())
        elif said.get("stream"):
            await _answer(send, 200, _stream(), "text/event-stream")
        else:
            await _answer(send, 200, json.dumps(_CHAT).encode())


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """An ASGI app on a free port, in a thread of this process; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the app listens")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Any, status: int, body: bytes, media_type: str = "application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media_type.encode())]})
    await send({"type": "http.response.body", "body": body})


def _stream() -> bytes:
    chunk = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "small"}
    chunks = [
        {**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello."}}]},
        {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**chunk, "choices": [], "usage": _TOKENS},
    ]
    return b"".join(b"data: %b\n\n" % part for part in [*(json.dumps(each).encode() for each in chunks), b"[DONE]"])
