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
