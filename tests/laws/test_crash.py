"""kill -9 loses nothing that was acknowledged and counts nothing twice (laws 1, 2 and 3)."""

import json
import random
import threading
from collections import Counter
from typing import Any

import httpx
from tests import engines
from tests.conftest import Server, event, tallyboard, wait_until

KILLS = 20
CLIENTS = 4
USERS = ("alice", "bob", "zoë", None)
CONVERSATION = 1_000_000


class Client(threading.Thread):
    """Sends batch after batch, each as often as it takes until it is acknowledged; now and then one that was before."""

    def __init__(self, server: Server, number: int, key: str) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.acknowledged: dict[str, dict[str, Any]] = {}
        self.batches = 0
        self.sent_again = 0
        self.mistake = ""
        self.ending = threading.Event()
        self._server = server
        self._number = number
        self._random = random.Random(number)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/cloudevents-batch+json"}

    def run(self) -> None:
        with httpx.Client(timeout=10) as http:
            while not self.ending.is_set() and not self.mistake:
                batch = self._batch()
                while not self._send(http, batch):
                    self.sent_again += 1
                    if self.mistake or self._server_is_gone_for_good():
                        return
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
        try:
            answer = http.post(f"{self._server.url}/api/v1/events", headers=self._headers, content=json.dumps(batch))
        except httpx.TransportError:
            self._server.came_back.wait(30)
            return False
        if answer.status_code not in {204, 503}:
            self.mistake = answer.text
        return answer.status_code == 204

    def _server_is_gone_for_good(self) -> bool:
        return self.ending.is_set() and not self._server.came_back.is_set()


class CrashingServer(Server):
    """A server whose clients can wait until it is back."""

    came_back: threading.Event

    def crash(self) -> None:
        """Kill it in the middle of whatever it does, and start it again."""
        self.came_back.clear()
        self.kill()
        self.start()
        self.came_back.set()


def test_twenty_kills_during_intake_lose_and_double_nothing(folder: Any) -> None:
    CrashingServer.came_back = threading.Event()
    server = CrashingServer(folder)
    server.came_back.set()
    chance = random.Random(2_026)
    clients = [Client(server, number, server.keys["ingest"]) for number in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        for _ in range(KILLS):
            enough = sum(client.batches for client in clients) + chance.randrange(1, 60)
            wait_until(
                lambda enough=enough: sum(client.batches for client in clients) >= enough or _mistakes(clients) != [],
                "batches are acknowledged",
            )
            server.crash()
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join(60)
            assert not client.is_alive()
        assert _mistakes(clients) == []
        assert sum(client.sent_again for client in clients) >= KILLS  # The kills hit requests that were under way.
        _check(server, {name: each for client in clients for name, each in client.acknowledged.items()})
    finally:
        server.kill()
        server.client.close()


def _check(server: Server, acknowledged: dict[str, dict[str, Any]]) -> None:
    stored = Counter(name for (name,) in engines.look(server.folder, "SELECT id FROM event"))
    assert stored == Counter(acknowledged.keys())
    expected: Counter[str] = Counter()
    for each in acknowledged.values():
        expected[each.get("subject", "unattributed")] += each["data"]["conversations"] * CONVERSATION
    answer = server.usage(first="2026-10-01", last="2026-11-30")
    assert {line["user"]: line["units"] for line in answer["users"]} == dict(expected)
    tallyboard("reconcile", data=server.folder)


def _mistakes(clients: list[Client]) -> list[str]:
    return [client.mistake for client in clients if client.mistake]
