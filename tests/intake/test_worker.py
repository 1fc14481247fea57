"""A worker gives what the server itself would give, and nothing depends on it: it may die at any time."""

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from tests.conftest import Server, event, wait_until

from tallyboard.intake.accept import Accepted, Sender, accept
from tallyboard.intake.cloudevents import decode
from tallyboard.intake.event import UsageEvent
from tallyboard.intake.worker import Question, Worker
from tallyboard.ledger.packed import unpack
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.subprogram import LOSSES_MAX

NOW_US = 1_795_000_000_000_000
BATCH = {"content-type": "application/cloudevents-batch+json"}
ONE = {"content-type": "application/cloudevents+json"}
BINARY = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/s%C3%A9",
    "ce-type": "ai.usage.recorded",
}
BASE64 = {**event("base64"), "data": None, "data_base64": b64encode(b'{"conversations": 0.5}').decode()}
MANY = [event(f"{number}", f"usér {number % 7}", conversations=number, note="x" * 50, exact=0.1) for number in range(400)]
WRONG: list[Any] = [
    event("", conversations=1),
    event("no time", time="yesterday"),
    event("ahead", time="2036-01-01T00:00:00Z"),
    event("no number", conversations="two"),
    event("correction", conversations=-1),
    event("correction", conversations=-2, reason="counted twice"),
    {**event("old"), "specversion": "0.3"},
    {"id": "what"},
    7,
    event("deep", tree=json.loads("[" * 40 + "]" * 40)),
    event("large", text="x" * 70_000),
    BASE64,
]


@pytest.fixture
def asked() -> Iterator[Worker]:
    running = Worker()
    yield running
    running.close()


def question(body: object, headers: dict[str, str] = BATCH, sender: Sender | None = None) -> Question:
    return Question(
        headers, body if isinstance(body, bytes) else json.dumps(body).encode(), sender or Sender(), card.default_text(), NOW_US
    )


@pytest.mark.parametrize("sender", [Sender(), Sender("bound"), Sender(may_adjust=True)], ids=["plain", "bound", "adjusting"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [(BATCH, MANY), (BATCH, WRONG), (BATCH, [*MANY, *WRONG, *MANY]), (BATCH, []), (ONE, BASE64), (BINARY, {"conversations": 3})],
)
def test_a_worker_decides_as_the_server_does(asked: Worker, headers: dict[str, str], body: object, sender: Sender) -> None:
    about = question(body, headers, sender)
    answer = asked.ask(about).result(30)
    assert answer is not None
    entries = unpack(answer.packed)
    assert Accepted(entries, answer.refused) == accept(decode(headers, about.body), sender, Charger(card.read(about.rates)), NOW_US)
    assert answer.packed.size == len(entries)
    assert all(type(entry.event) is UsageEvent for entry in entries)


@pytest.mark.parametrize("body", [b"[", b"7", b"\xff", b"[" * 100_000, b"[{}" + b",{}" * 10_000 + b"]"])
def test_what_holds_no_events_is_left_to_the_server(asked: Worker, body: bytes) -> None:
    assert asked.ask(question(body)).result(30) is None
    assert asked.ask(question(MANY)).result(30) is not None


def test_a_worker_that_was_lost_is_started_again(asked: Worker) -> None:
    assert asked.ask(question(MANY)).result(30) is not None
    for _ in range(LOSSES_MAX + 2):
        process = asked._program._process
        assert process is not None
        process.kill()
        process.wait()
        assert asked.ask(question(MANY)).result(30) is None
        assert asked.ask(question(MANY)).result(30) is not None


def test_a_worker_that_is_lost_while_it_is_asked_leaves_no_answer_behind(asked: Worker) -> None:
    """Stopped, so that it holds a question; then ended. The next answer belongs to the next question."""
    assert asked.ask(question(MANY)).result(30) is not None
    process = asked._program._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    futures = [asked.ask(question(MANY[:number])) for number in (100, 200, 300)]
    process.kill()
    found = [future.result(30) for future in futures]
    assert None in found
    assert all(each is None or each.packed.size == number for each, number in zip(found, (100, 200, 300), strict=True))
    assert asked._program._losses < LOSSES_MAX


def test_a_worker_that_cannot_start_is_not_tried_for_ever(asked: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    monkeypatch.setattr(sys, "executable", "/bin/false")
    start = asked._program._start
    monkeypatch.setattr(asked._program, "_start", lambda: tries.append(1) or start())
    assert [asked.ask(question(MANY)).result(30) for _ in range(10)] == [None] * 10
    assert len(tries) == LOSSES_MAX


def test_a_worker_ends_with_the_server_however_that_ends() -> None:
    lines = "import sys; from tests.intake.test_worker import *; w = Worker(); w.ask(question(MANY)).result(); print(w._program._process.pid, flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", lines], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert runs(pid)
        server.kill()
    wait_until(lambda: not runs(pid), "the worker has ended")


def test_a_large_request_is_answered_like_a_small_one(shared_server: Server) -> None:
    padding = "x" * 80_000
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    for wrong in ([event("a", time="yesterday"), event("b")], [{"id": 1}], {"not": "a list"}, [event("c", conversations="two")]):
        for lenient in ({}, {"Prefer": "handling=lenient"}):
            answers = [
                shared_server.request(
                    "POST", "/api/v1/events", "ingest", headers={**headers, **lenient}, content=json.dumps(wrong) + spaces
                )
                for spaces in ("", " " * len(padding))
            ]
            told = [{name: value for name, value in answer.json().items() if name not in {"accepted", "duplicate"}} for answer in answers]
            assert (answers[0].status_code, told[0]) == (answers[1].status_code, told[1])
    assert shared_server.send(*(event(f"padded {number}", note=padding[:1_000]) for number in range(100)))["accepted"] == 100


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
