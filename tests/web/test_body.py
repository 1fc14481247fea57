"""Bodies that take too long are given up; one timer watches over all of them."""

import asyncio

import pytest

from tallyboard.web import body
from tallyboard.web.problems import Problem


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS_MAX", 0.05)
    monkeypatch.setattr(body, "_LOOK_SECONDS", 0.01)


async def never() -> object:
    await asyncio.Event().wait()
    return None


def whole(content: bytes) -> object:
    async def receive() -> object:
        return {"type": "http.request", "body": content, "more_body": False}

    return receive


async def outcome(receive: object) -> object:
    try:
        return await body.received(receive, 100)  # type: ignore[arg-type]
    except Problem as problem:
        return problem.status


def test_a_body_that_does_not_come_is_given_up_and_others_are_not() -> None:
    async def many() -> list[object]:
        waiting = [asyncio.create_task(outcome(never)) for _ in range(3)]
        quick = [await outcome(whole(b"here")) for _ in range(3)]
        return quick + [await task for task in waiting]

    assert asyncio.run(many()) == [b"here", b"here", b"here", 408, 408, 408]
    assert asyncio.run(many()) == [b"here", b"here", b"here", 408, 408, 408], "the watch goes on after it had nothing to do"


def test_a_task_that_somebody_else_cancels_stays_cancelled() -> None:
    async def cancelled() -> bool:
        task = asyncio.create_task(outcome(never))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancelled())


def test_a_body_beyond_its_limit_is_refused() -> None:
    assert asyncio.run(outcome(whole(b"x" * 101))) == 413


def test_the_framework_sees_a_body_only_when_all_of_it_is_there() -> None:
    seen: list[object] = []
    sent: list[dict[str, object]] = []

    async def framework(_: object, receive: object, __: object) -> None:
        seen.append(await receive())  # type: ignore[operator]

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    async def pieces(*parts: bytes) -> None:
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages[-1]["more_body"] = False

        async def receive() -> object:
            return messages.pop(0)

        await body.with_whole_bodies(framework, 10)({"type": "http", "method": "POST"}, receive, send)  # type: ignore[arg-type, typeddict-item]

    asyncio.run(pieces(b"first ", b"last"))
    assert seen == [{"type": "http.request", "body": b"first last", "more_body": False}]
    asyncio.run(pieces(b"first ", b"and then too much"))
    asyncio.run(body.with_whole_bodies(framework, 10)({"type": "http", "method": "PUT"}, never, send))  # type: ignore[arg-type, typeddict-item]
    assert len(seen) == 1
    assert [message["status"] for message in sent if message["type"] == "http.response.start"] == [413, 408]
