"""The blocking and the awaiting client against a real server, and against a road on which things go wrong."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC
from decimal import Decimal
from typing import Any

import pytest

from tallyboard.client import (
    FAIL_CLOSED,
    FAIL_OPEN,
    AsyncClient,
    AsyncHold,
    Client,
    Counts,
    Hold,
    LimitReached,
    NotSettled,
    Rejected,
    Unreachable,
)
from tallyboard.client import exchange as rules
from tests.client.conftest import LIMIT, REQUEST, REQUESTS_MAX, Limited
from tests.client.road import Lost, Road, Says

USED = {"requests": 1, "model": "small"}
QUICK = {"patience_s": 1.0}


class Awaited:
    """An AsyncClient, or a hold of one, with the face of the blocking one, so that every test runs with both."""

    def __init__(self, awaiting: AsyncClient | AsyncHold, runner: asyncio.Runner) -> None:
        self._awaiting = awaiting
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._awaiting, name)
        return self._call(found) if callable(found) else found

    def __enter__(self) -> Any:
        self._runner.run(self._awaiting.__aenter__())
        return self

    def __exit__(self, *how: object) -> None:
        self._runner.run(self._awaiting.__aexit__(*how))

    def _call(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            made = method(*given, **named)
            answer = self._runner.run(made) if asyncio.iscoroutine(made) else made
            return Awaited(answer, self._runner) if isinstance(answer, AsyncHold) else answer

        return call


Connect = Callable[..., Any]


@pytest.fixture(params=["blocking", "awaiting"])
def connect(request: pytest.FixtureRequest, limited: Limited) -> Iterator[Connect]:
    """Makes clients, blocking or awaiting; by default of the server, with a key that may check, failing closed."""
    with asyncio.Runner() as runner, contextmanager(_closing)() as opened:

        def make(url: str = limited.url, key: str = limited.key, when_unreachable: Any = FAIL_CLOSED, **more: Any) -> Any:
            if request.param == "blocking":
                client: Any = Client(url, key, when_unreachable=when_unreachable, **more)
            else:
                client = Awaited(AsyncClient(url, key, when_unreachable=when_unreachable, **more), runner)
            opened.append(client)
            return client

        yield make


def _closing() -> Iterator[list[Any]]:
    opened: list[Any] = []
    yield opened
    for client in opened:
        client.close()


# --- asking -----------------------------------------------------------------------------------------------------------


def test_a_user_with_credits_left_may_go_on(connect: Connect, user: str) -> None:
    client = connect()
    allowance = client.check(user)
    assert (allowance.user, allowance.used.units, allowance.held.units) == (user, 0, 0)
    assert allowance.limit.credits == allowance.remaining.credits == Decimal(LIMIT)
    assert allowance.limit.units == REQUESTS_MAX * REQUEST
    assert allowance.resets_at.tzinfo == UTC
    assert client.counts == Counts(granted=1)


def test_a_user_at_the_limit_is_told_so_and_everything_is_there_to_pass_on(connect: Connect) -> None:
    client = connect()
    with pytest.raises(LimitReached, match=r"^petra has used 0 of their own daily limit of 0 credits") as caught:
        client.check("petra")
    reached = caught.value
    assert set(reached.headers) == {"Retry-After", "RateLimit", "RateLimit-Policy", "x-should-retry"}
    assert reached.headers["x-should-retry"] == "false"
    assert reached.headers["Retry-After"] == str(reached.retry_after_s)
    assert 0 < reached.retry_after_s <= 86_400
    assert reached.resets_at == reached.allowance.resets_at
    assert client.counts == Counts(refused=1)


def test_a_key_that_is_bound_to_a_user_needs_none_named(connect: Connect, limited: Limited, user: str) -> None:
    client = connect(key=limited.server.keys.make("check", "--user", user))
    assert client.check().user == user
    with client.hold(units=REQUEST) as hold:
        assert hold.settle(data=USED).allowance.user == user


# --- holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("much", [{"units": 600_000}, {"credits": "0.001"}, {"credits": Decimal("0.001")}, {"data": {"requests": 3}}])
def test_a_hold_sets_credits_aside_and_settling_records_what_was_used(
    connect: Connect, limited: Limited, user: str, much: dict[str, Any]
) -> None:
    client = connect()
    with client.hold(user, **much) as hold:
        assert hold.allowance.held.units == 3 * REQUEST
        settled = hold.settle(data=USED)
    assert (settled.state, settled.charged.units) == ("settled", REQUEST)
    assert limited.used(user) == (REQUEST, 0)
    assert client.counts == Counts(granted=1, settled=1)


def test_leaving_without_settling_gives_the_credits_back(connect: Connect, limited: Limited, user: str) -> None:
    client = connect()
    with client.hold(user, units=REQUEST):
        assert limited.used(user) == (0, REQUEST)
    assert limited.used(user) == (0, 0)
    assert client.counts == Counts(granted=1, released=1)


def test_an_exception_gives_the_credits_back_and_goes_on(connect: Connect, limited: Limited, user: str) -> None:
    with pytest.raises(ZeroDivisionError), connect().hold(user, units=REQUEST):
        _ = 1 // 0
    assert limited.used(user) == (0, 0)


def test_what_does_not_fit_is_refused(connect: Connect, user: str) -> None:
    client = connect()
    with client.hold(user, units=8 * REQUEST), pytest.raises(LimitReached, match="this request needs up to"):
        client.hold(user, units=2 * REQUEST).take()
    assert client.counts == Counts(granted=1, refused=1, released=1)


def test_a_hold_covers_one_request(connect: Connect, user: str) -> None:
    client = connect()
    with client.hold(user, units=REQUEST, id=f"{user}/1") as hold:
        hold.settle(data=USED)
    with pytest.raises(Rejected, match="is settled already; every request needs an id of its own"):
        client.hold(user, units=REQUEST, id=f"{user}/1").take()


def test_refused_usage_is_an_error_and_gives_the_credits_back(connect: Connect, limited: Limited, user: str) -> None:
    client = connect()
    with pytest.raises(Rejected, match="bad_quantity"), client.hold(user, units=REQUEST) as hold:
        hold.settle(data={"requests": "many"})
    assert limited.used(user) == (0, 0)
    assert client.counts == Counts(granted=1, settle_failed=1, released=1)


@pytest.mark.parametrize("much", [{}, {"units": 1, "credits": "1"}])
def test_how_much_is_said_in_one_way(connect: Connect, much: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one way"):
        connect().hold("alice", **much)


def test_credits_are_no_float(connect: Connect) -> None:
    with pytest.raises(TypeError, match="credits are exact"):
        connect().hold("alice", credits=0.1)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Client, AsyncClient])
def test_what_to_do_without_an_answer_must_be_said(make: Any) -> None:
    with pytest.raises(TypeError, match="when_unreachable"):
        make("http://127.0.0.1:1", "tb_key")
    with pytest.raises(TypeError, match="FAIL_OPEN or FAIL_CLOSED"):
        make("http://127.0.0.1:1", "tb_key", when_unreachable=True)


def test_an_address_says_how_it_is_reached(connect: Connect) -> None:
    with pytest.raises(ValueError, match="http"):
        connect(url="127.0.0.1:8321")


@pytest.mark.parametrize("key", ["tb_wrong", "ingest"])
def test_a_key_that_opens_nothing_never_fails_open(connect: Connect, limited: Limited, user: str, key: str) -> None:
    client = connect(key=limited.server.keys[key] if key == "ingest" else key, when_unreachable=FAIL_OPEN)
    with pytest.raises(Rejected, match=r"Tallyboard answered 40[13]"):
        client.check(user)
    with pytest.raises(Rejected):
        client.hold(user, units=1).take()
    assert client.counts == Counts()


# --- no answer --------------------------------------------------------------------------------------------------------


def test_failing_closed_turns_requests_away_and_counts_them(connect: Connect, nowhere: str) -> None:
    client = connect(nowhere, **QUICK)
    with pytest.raises(Unreachable):
        client.check("alice")
    with pytest.raises(Unreachable), client.hold("alice", units=1):
        pytest.fail("the request was let through")
    assert client.counts == Counts(turned_away_unreachable=2)


def test_failing_open_lets_requests_through_and_counts_them(connect: Connect, nowhere: str) -> None:
    client = connect(nowhere, when_unreachable=FAIL_OPEN, **QUICK)
    assert client.check("alice") is None
    with client.hold("alice", units=1) as hold:
        assert hold.allowance is None
    assert client.counts == Counts(let_through_unreachable=2)


def test_overload_that_passes_is_waited_for(connect: Connect, road: Road, user: str) -> None:
    road.mishaps += [Says(503, {"Retry-After": "1"}), Says(502)]
    assert connect(road.url).check(user).user == user
    assert len(road.seen) == 3


def test_nobody_waits_longer_than_said(connect: Connect, road: Road, user: str) -> None:
    road.always = Says(503, {"Retry-After": "3600"})
    with pytest.raises(Unreachable, match="answered 503"):
        connect(road.url).check(user)
    assert len(road.seen) == 1


def test_tries_are_bounded(connect: Connect, road: Road, user: str) -> None:
    road.close(500)
    with pytest.raises(Unreachable):
        connect(road.url).check(user)
    assert len(road.seen) == rules.TRIES_MAX


@pytest.mark.parametrize(
    "stranger",
    [
        Says(200, {}, b"<html>Welcome to the hotel's network</html>"),
        Says(200, {}, b'{"allowance": {"user": "alice"}}'),
        Says(200, {}, b" " * (rules.ANSWER_BYTES_MAX + 1)),
        Says(200, {}, b"[" * 100_000),
        Says(429, {"Retry-After": "0"}, b"slow down"),
    ],
    ids=["a page", "half an answer", "too much", "too deep", "a throttle"],
)
def test_a_stranger_that_answers_is_no_answer(connect: Connect, road: Road, stranger: Says) -> None:
    road.always = stranger
    with pytest.raises(Unreachable):
        connect(road.url, **QUICK).check("alice")


def test_a_refusal_is_one_also_where_its_headers_got_lost(connect: Connect, road: Road, limited: Limited) -> None:
    refusal = limited.server.request("POST", "/api/v1/check", "check", json={"user": "petra"})
    road.always = Says(429, {}, refusal.content)
    with pytest.raises(LimitReached) as caught:
        connect(road.url, when_unreachable=FAIL_OPEN).check("petra")
    assert (caught.value.headers, caught.value.retry_after_s) == ({}, None)


def test_another_address_is_a_mistake(connect: Connect, road: Road) -> None:
    road.always = Says(308, {"Location": "https://example.com/"})
    with pytest.raises(Rejected, match="308"):
        connect(road.url, when_unreachable=FAIL_OPEN).check("alice")


def test_a_release_that_fails_is_counted_and_raises_nothing(connect: Connect, road: Road, user: str) -> None:
    client = connect(road.url, **QUICK)
    with client.hold(user, units=REQUEST):
        road.close()
    assert client.counts == Counts(granted=1, release_failed=1)


# --- lost answers, lost usage -----------------------------------------------------------------------------------------


def test_a_hold_whose_answer_got_lost_is_taken_once(connect: Connect, road: Road, limited: Limited, user: str) -> None:
    road.mishaps.append(Lost)
    with connect(road.url).hold(user, units=REQUEST) as hold:
        assert hold.allowance.held.units == REQUEST
        assert limited.used(user) == (0, REQUEST)
    assert road.seen[:2] == ["POST /api/v1/holds"] * 2


def test_usage_whose_acknowledgement_got_lost_counts_once(connect: Connect, road: Road, limited: Limited, user: str) -> None:
    with connect(road.url).hold(user, units=REQUEST) as hold:
        road.mishaps.append(Lost)
        hold.settle(data=USED)
    assert limited.used(user) == (REQUEST, 0)
    assert len(road.seen) == 3


def test_usage_that_cannot_be_delivered_is_kept_and_said(connect: Connect, road: Road, limited: Limited, user: str) -> None:
    client = connect(road.url, **QUICK)
    with client.hold(user, units=REQUEST) as hold:
        road.close()
        with pytest.raises(NotSettled, match="kept for settle_kept") as caught:
            hold.settle(data=USED)
    assert caught.value.event["data"] == USED
    assert (client.kept, client.settle_kept(), limited.used(user)) == (1, 1, (0, REQUEST))
    road.open()
    assert (client.settle_kept(), limited.used(user)) == (0, (REQUEST, 0))
    assert client.counts == Counts(granted=1, settle_failed=1, settled=1)


def test_usage_that_a_stranger_takes_is_kept(connect: Connect, road: Road, user: str) -> None:
    client = connect(road.url)
    with client.hold(user, units=REQUEST) as hold:
        road.mishaps.append(Says(200, {}, b"<html>Welcome to the hotel's network</html>"))
        with pytest.raises(NotSettled):
            hold.settle(data=USED)
    assert client.kept == 1


def test_data_that_are_no_json_give_the_credits_back(connect: Connect, limited: Limited, user: str) -> None:
    with pytest.raises(TypeError), connect().hold(user, units=REQUEST) as hold:
        hold.settle(data={"requests": object()})
    assert limited.used(user) == (0, 0)


def test_kept_usage_goes_along_with_the_next(connect: Connect, road: Road, limited: Limited, user: str) -> None:
    client = connect(road.url, **QUICK)
    first, second = client.hold(user, units=REQUEST).take(), client.hold(user, units=REQUEST).take()
    road.close()
    with pytest.raises(NotSettled):
        first.settle(data=USED)
    road.open()
    second.settle(data=USED)
    assert (client.kept, limited.used(user)) == (0, (2 * REQUEST, 0))


def test_usage_of_a_request_that_was_let_through_is_recorded(connect: Connect, road: Road, limited: Limited, user: str) -> None:
    client = connect(road.url, limited.server.keys["check,ingest"], FAIL_OPEN, **QUICK)
    road.close()
    with client.hold(user, units=REQUEST) as hold:
        road.open()
        assert hold.settle(data=USED).state == "recorded"
        assert hold.settle(data=USED).state == "recorded"
    assert limited.used(user) == (REQUEST, 0)


def test_a_key_that_may_not_send_usage_says_so(connect: Connect, road: Road, user: str) -> None:
    client = connect(road.url, when_unreachable=FAIL_OPEN, **QUICK)
    road.close()
    with client.hold(user, units=REQUEST) as hold:
        road.open()
        with pytest.raises(Rejected, match="ingest"):
            hold.settle(data=USED)


def test_what_is_kept_is_bounded(nowhere: str) -> None:
    with Client(nowhere, "tb_key", when_unreachable=FAIL_OPEN, patience_s=0.01) as client:
        for number in range(rules.KEPT_MAX):
            with pytest.raises(NotSettled):
                client.settle(f"hold {number}", data=USED)
        with pytest.raises(NotSettled, match="too much is kept already") as caught:
            client.settle("one too many", data=USED)
        assert not caught.value.kept
        assert client.kept == rules.KEPT_MAX
        assert client.counts == Counts(settle_failed=rules.KEPT_MAX + 1, usage_dropped=1)


async def _cancelled_while_settling(url: str) -> AsyncClient:
    client = AsyncClient(url, "tb_key", when_unreachable=FAIL_CLOSED)
    settling = asyncio.create_task(client.settle("hold", data=USED))
    while not settling.done():
        await asyncio.sleep(0)
        settling.cancel()
    await client.close()
    return client


def test_usage_is_kept_where_the_task_is_cancelled_meanwhile(nowhere: str) -> None:
    client = asyncio.run(_cancelled_while_settling(nowhere))
    assert (client.kept, client.counts.settle_failed) == (1, 1)


def test_a_program_may_hold_from_many_threads(limited: Limited, user: str) -> None:
    """Nine of twelve fit, whoever comes first."""
    with Client(limited.url, limited.key, when_unreachable=FAIL_CLOSED) as client, ThreadPoolExecutor(12) as threads:

        def use(_: int) -> bool:
            try:
                with client.hold(user, data=USED) as hold:
                    hold.settle(data=USED)
            except LimitReached:
                return False
            return True

        assert sum(threads.map(use, range(12))) == REQUESTS_MAX
        assert client.counts == Counts(granted=REQUESTS_MAX, settled=REQUESTS_MAX, refused=12 - REQUESTS_MAX)
    assert limited.used(user) == (REQUESTS_MAX * REQUEST, 0)


def test_both_clients_say_the_same() -> None:
    for blocking, awaiting in ((Client, AsyncClient), (Hold, AsyncHold)):
        assert _public(blocking) == _public(awaiting)


def _public(kind: type) -> dict[str, Any]:
    named = {name: value for name, value in vars(kind).items() if not name.startswith("_")}
    return {name: str(inspect.signature(value)).replace("AsyncHold", "Hold") for name, value in named.items() if callable(value)}
