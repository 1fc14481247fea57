"""The middleware in front of an app, and what the SDKs of OpenAI and Anthropic make of its answers."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tallyboard.client import FAIL_CLOSED, FAIL_OPEN, AsyncClient, WhenUnreachable
from tallyboard.client.asgi import HOLD, Limit
from tests.client.conftest import REQUEST, REQUESTS_MAX, Limited
from tests.client.llm import LLM, listening

ASKED = [{"role": "user", "content": "Hello?"}]


class Door:
    """An app, and how many requests came to it. It closes its client when it ends, as an app should."""

    def __init__(self, app: Any, client: AsyncClient) -> None:
        self.requests = 0
        self._app = app
        self._client = client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._client.close()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.requests += 1
        await self._app(scope, receive, send)


class Shop:
    """An LLM behind the limit: `url`, the `door` that counts, the `llm` that is asked in the end."""

    def __init__(self, url: str, door: Door, llm: LLM) -> None:
        self.url = url
        self.door = door
        self.llm = llm


def user_of(scope: Any) -> str | None:
    """Whose key the request carries; nobody's asks for nothing."""
    headers = dict(scope["headers"])
    key = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
    return key.decode() or None


OpenShop = Callable[..., Shop]


@pytest.fixture
def open_shop(limited: Limited) -> Iterator[OpenShop]:
    """Opens shops; they close when the test ends."""
    with ExitStack() as stack:

        def open_one(
            url: str = limited.url, when_unreachable: WhenUnreachable = FAIL_CLOSED, app: Any = None, patience_s: float = 0.4, **more: Any
        ) -> Shop:
            llm = LLM()
            client = AsyncClient(url, limited.key, when_unreachable=when_unreachable, timeout_s=patience_s, patience_s=patience_s)
            door = Door(Limit(app or llm, client, user=user_of, **more), client)
            return Shop(stack.enter_context(listening(door)), door, llm)

        yield open_one


def test_openais_sdk_gives_up_at_once_and_shows_the_message(open_shop: OpenShop) -> None:
    shop = open_shop()
    with openai.OpenAI(base_url=f"{shop.url}/v1", api_key="petra") as client:
        with pytest.raises(openai.RateLimitError, match="petra has used 0 of their own daily limit of 0 credits") as caught:
            client.chat.completions.create(model="small", messages=ASKED)  # type: ignore[arg-type]
        with pytest.raises(openai.RateLimitError):
            client.responses.create(model="small", input="Hello?")
    assert (caught.value.code, caught.value.response.headers["x-should-retry"]) == ("insufficient_quota", "false")
    assert (shop.door.requests, shop.llm.asked) == (2, [])


def test_anthropics_sdk_gives_up_at_once_and_shows_the_message(open_shop: OpenShop) -> None:
    shop = open_shop()
    with anthropic.Anthropic(base_url=shop.url, api_key="petra") as client, pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(model="small", max_tokens=10, messages=ASKED)  # type: ignore[arg-type]
    assert "petra has used 0 of their own daily limit of 0 credits" in str(caught.value)
    assert (shop.door.requests, shop.llm.asked) == (1, [])


def test_whoever_has_credits_left_notices_nothing(open_shop: OpenShop, user: str) -> None:
    shop = open_shop()
    with openai.OpenAI(base_url=f"{shop.url}/v1", api_key=user) as client:
        chat = client.chat.completions.create(model="small", messages=ASKED)  # type: ignore[arg-type]
    with anthropic.Anthropic(base_url=shop.url, api_key=user) as other:
        message = other.messages.create(model="small", max_tokens=10, messages=ASKED)  # type: ignore[arg-type]
    assert (chat.choices[0].message.content, message.content[0].text) == ("Hello.", "Hello.")  # type: ignore[union-attr]
    assert shop.llm.asked == ["/v1/chat/completions", "/v1/messages"]


def test_other_routes_are_refused_with_the_problem_itself(open_shop: OpenShop) -> None:
    answer = httpx.post(f"{open_shop().url}/ask", headers={"x-api-key": "petra"})
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert answer.json()["type"].endswith("#quota-exceeded")
    assert answer.headers["retry-after"] in answer.headers["ratelimit"]
    assert answer.headers["ratelimit-policy"].startswith('"daily-credits"')


def test_a_request_of_nobody_is_not_asked_about(open_shop: OpenShop) -> None:
    assert httpx.get(f"{open_shop().url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("path", "member"), [("/v1/messages", "api_error"), ("/v1/chat/completions", "server_error"), ("/ask", "Service Unavailable")]
)
def test_failing_closed_asks_to_come_back(open_shop: OpenShop, nowhere: str, path: str, member: str) -> None:
    shop = open_shop(nowhere, FAIL_CLOSED)
    answer = httpx.post(shop.url + path, headers={"x-api-key": "alice"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert member in answer.text
    assert shop.llm.asked == []


def test_failing_open_lets_requests_through(open_shop: OpenShop, nowhere: str) -> None:
    shop = open_shop(nowhere, FAIL_OPEN)
    assert httpx.post(f"{shop.url}/v1/messages", headers={"x-api-key": "alice"}).status_code == 200


class Settling:
    """An app that records what it has used, unless the path says that it does not or cannot."""

    def __init__(self, limited: Limited, user: str) -> None:
        self.meanwhile: list[tuple[int, int]] = []
        self._used = lambda: limited.used(user)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.meanwhile.append(await asyncio.to_thread(self._used))
        if scope["path"] == "/breaks":
            raise ZeroDivisionError
        if scope["path"] == "/uses":
            await scope[HOLD].settle(data={"requests": 1})
        await LLM()(scope, receive, send)


def test_with_an_estimate_each_request_holds_credits(open_shop: OpenShop, limited: Limited, user: str) -> None:
    app = Settling(limited, user)
    shop = open_shop(app=app, estimate=lambda _: "0.001")
    headers = {"x-api-key": user}
    assert httpx.post(f"{shop.url}/uses", headers=headers).status_code == 200
    assert limited.used(user) == (REQUEST, 0)
    assert httpx.post(f"{shop.url}/uses-nothing", headers=headers).status_code == 200
    assert httpx.post(f"{shop.url}/breaks", headers=headers).status_code == 500
    assert limited.used(user) == (REQUEST, 0)
    assert app.meanwhile == [(0, 3 * REQUEST), (REQUEST, 3 * REQUEST), (REQUEST, 3 * REQUEST)]


def test_no_more_than_the_limit_is_used_by_any_number_of_requests_at_once(open_shop: OpenShop, limited: Limited, user: str) -> None:
    # Patient: a server that is busy is not to count as one that cannot be reached, whose answer comes when nobody waits any more.
    shop = open_shop(app=Settling(limited, user), estimate=lambda _: "0.00033334", patience_s=30)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(headers={"x-api-key": user}, timeout=30) as client:
            answers = await asyncio.gather(*(client.post(f"{shop.url}/uses") for _ in range(3 * REQUESTS_MAX)))
        return sorted(answer.status_code for answer in answers)

    statuses = asyncio.run(ask())
    used, held = limited.used(user)
    let_through = statuses.count(200)
    assert (used, held) == (let_through * REQUEST, 0)
    assert REQUESTS_MAX - 1 <= let_through <= REQUESTS_MAX, "an estimate is a little more than a request"
    assert statuses.count(429) == len(statuses) - let_through


def test_a_websocket_is_closed_before_it_is_opened(limited: Limited) -> None:
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        said.append(message)

    async def call() -> None:
        async with AsyncClient(limited.url, limited.key, when_unreachable=FAIL_CLOSED) as client:
            await Limit(LLM(), client, user=lambda _: "petra")({"type": "websocket", "path": "/live"}, receive, send)

    asyncio.run(call())
    assert [(message["type"], message["code"]) for message in said] == [("websocket.close", 1008)]
