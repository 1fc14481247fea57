"""Intake under load while something is killed: clients that send until they are acknowledged, and what must be true afterwards."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from tests.conftest import Server, event, tallyboard, wait_until

CLIENTS = 4
USERS = ("alice", "bob", "zoë", None)
CONVERSATION = 1_000_000
WAIT_SECONDS = 0.05
TRIED_AGAIN = "tallyboard_transactions_tried_again_total "


class Client(threading.Thread):
    """Sends batch after batch, each as often as it takes until it is acknowledged; now and then one that was before.

    With several servers each try goes to one of them, so a batch may reach two.
    """

    def __init__(self, servers: Sequence[Server], number: int, key: str) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.batches = 0
        self.sent_again = 0
        self.mistake = ""
        self.ending = threading.Event()
        self._servers = servers
        self._number = number
        self._random = random.Random(number)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}

    def run(self) -> None:
        """Send until told to end; the last batch too is acknowledged."""
        with httpx.Client(timeout=30) as http:
            while not self.ending.is_set() and not self.mistake:
                batch = self._batch()
                while not self._send(http, batch) and not self.mistake:
                    self.sent_again += 1
                    threading.Event().wait(WAIT_SECONDS)
                if not self.mistake:
                    self.acknowledged.update({each["id"]: each for each in batch})
                    self.batches += 1

    def _batch(self) -> list[dict[str, Any]]:
        known = list(self.acknowledged.values())
        again = self._random.sample(known, min(len(known), self._random.randrange(3)))
        ids = [f"{self._number}-{self.batches}-{place}" for place in range(self._random.choice((1, 1, 3, 40, 400)))]
        return again + [
            event(
                name,
                self._random.choice(USERS),
                conversations=1 + place % 9,
                time=f"2026-1{place % 2}-0{1 + place % 9}T{place % 24:02}:59:59.999Z",
            )
            for place, name in enumerate(ids)
        ]

    def _send(self, http: httpx.Client, batch: list[dict[str, Any]]) -> bool:
        server = self._random.choice(self._servers)
        try:
            answer = http.post(f"{server.url}/api/v1/events", headers=self._headers, content=json.dumps(batch))
        except httpx.TransportError:
            return False
        if answer.status_code not in {204, 503}:
            self.mistake = answer.text
        return answer.status_code == 204


def under_load(servers: Sequence[Server], kill: Callable[[random.Random], object], kills: int) -> dict[str, dict[str, Any]]:
    """Kill something so many times at random moments of intake; every event that was acknowledged, by id."""
    chance = random.Random(2_026)
    clients = [Client(servers, number, servers[0].keys["ingest"]) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        for _ in range(kills):
            enough = sum(client.batches for client in clients) + chance.randrange(1, 25)
            wait_until(lambda enough=enough: _batches(clients) >= enough or _mistakes(clients) != [], "batches are acknowledged")
            kill(chance)
    finally:
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join(60)
    assert not any(client.is_alive() for client in clients)
    assert _mistakes(clients) == []
    noticed = sum(client.sent_again for client in clients) + sum(map(_tried_again, servers))
    assert noticed >= kills // len(servers), "the kills hit requests that were under way"
    return {name: each for client in clients for name, each in client.acknowledged.items()}


def wait_until_ready(servers: Sequence[Server]) -> None:
    """Until each of them can use its ledger again."""
    for server in servers:
        wait_until(lambda server=server: server.client.get(f"{server.url}/readyz").status_code == 200, "it is ready again")


def check(server: Server, acknowledged: dict[str, dict[str, Any]], stored: Counter[str], **more: str) -> None:
    """Each acknowledged event is `stored` once and nothing else is, the answer is their sum, and rollups equal events."""
    assert stored == Counter(acknowledged.keys())
    expected: Counter[str] = Counter()
    for each in acknowledged.values():
        expected[each.get("subject", "unattributed")] += each["data"]["conversations"] * CONVERSATION
    answer = server.usage(first="2026-10-01", last="2026-11-30")
    assert {line["user"]: line["units"] for line in answer["users"]} == dict(expected)
    tallyboard("reconcile", data=server.folder, **more)


def _tried_again(server: Server) -> int:
    """How many transactions a server has tried again, so that its clients noticed nothing."""
    (line,) = [line for line in server.client.get(f"{server.url}/metrics").text.splitlines() if line.startswith(TRIED_AGAIN)]
    return int(float(line.removeprefix(TRIED_AGAIN)))


def _batches(clients: Sequence[Client]) -> int:
    return sum(client.batches for client in clients)


def _mistakes(clients: Sequence[Client]) -> list[str]:
    return [client.mistake for client in clients if client.mistake]
