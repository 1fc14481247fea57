"""A middleware for an app that calls an LLM: asks before each request, and answers at the limit what the caller's SDK understands.

    app = Limit(app, client, user=lambda scope: scope["state"]["user"])

With `estimate` each request holds credits meanwhile; the app records its usage by `await scope["tallyboard.hold"].settle(data=…)`,
and a request that ends without it gives the credits back.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Any

from tallyboard.client.answers import LimitReached, Unreachable
from tallyboard.client.awaiting import AsyncClient, AsyncHold

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

HOLD = "tallyboard.hold"
RETRY_AFTER_S = 5
_ANTHROPIC = ("/v1/messages",)
_OPENAI = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")
_UNREACHABLE = "The credit limit cannot be checked now. Please try again in a moment."
_POLICY_VIOLATION = 1008


class Limit:
    """An app behind the limit.

    `user` names the user of a request from its scope; None lets the request pass unasked. `estimate`, an upper bound in credits,
    makes each request take a hold.
    """

    def __init__(
        self,
        app: ASGIApp,
        client: AsyncClient,
        *,
        user: Callable[[Scope], str | None],
        estimate: Callable[[Scope], str | Decimal] | None = None,
    ) -> None:
        self._app = app
        self._client = client
        self._user = user
        self._estimate = estimate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask, then let the request through or answer it."""
        user = self._user(scope) if scope["type"] in {"http", "websocket"} else None
        if user is None:
            await self._app(scope, receive, send)
            return
        try:
            hold = await self._ask(user, scope)
        except LimitReached as reached:
            await _answer(scope, receive, send, 429, reached.headers, _refusal(scope["path"], reached))
            return
        except Unreachable:
            await _answer(scope, receive, send, 503, {"Retry-After": str(RETRY_AFTER_S)}, _outage(scope["path"]))
            return
        if hold is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._app({**scope, HOLD: hold}, receive, send)
        finally:
            await hold.release()

    async def _ask(self, user: str, scope: Scope) -> AsyncHold | None:
        if self._estimate is None:
            await self._client.check(user)
            return None
        return await self._client.hold(user, credits=self._estimate(scope)).take()


def _refusal(path: str, reached: LimitReached) -> tuple[str, bytes]:
    """Media type and body of a refusal, in the words of the API that the route belongs to."""
    if _is_route(path, _ANTHROPIC):
        return _json({"type": "error", "error": {"type": "rate_limit_error", "message": reached.message}})
    if _is_route(path, _OPENAI):
        kind = "insufficient_quota"
        return _json({"error": {"message": reached.message, "type": kind, "param": None, "code": kind}})
    return "application/problem+json", reached.problem


def _outage(path: str) -> tuple[str, bytes]:
    if _is_route(path, _ANTHROPIC):
        return _json({"type": "error", "error": {"type": "api_error", "message": _UNREACHABLE}})
    if _is_route(path, _OPENAI):
        return _json({"error": {"message": _UNREACHABLE, "type": "server_error", "param": None, "code": None}})
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": _UNREACHABLE}
    return "application/problem+json", json.dumps(problem).encode()


def _is_route(path: str, routes: tuple[str, ...]) -> bool:
    """Whether a path is one of these, wherever the app is mounted."""
    return path.rstrip("/").endswith(routes)


def _json(shape: Mapping[str, Any]) -> tuple[str, bytes]:
    return "application/json", json.dumps(shape).encode()


async def _answer(scope: Scope, receive: Receive, send: Send, status: int, headers: Mapping[str, str], content: tuple[str, bytes]) -> None:
    media_type, body = content
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "the daily credit limit does not allow it"})
        return
    lines = {**headers, "Content-Type": media_type, "Content-Length": str(len(body)), "Cache-Control": "no-store"}
    start = [(name.lower().encode(), value.encode("latin-1")) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
