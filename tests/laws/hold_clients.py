"""Clients that race for holds: `python -m tests.laws.hold_clients FOLDER KEY SEED CLIENTS` goes on until FOLDER/stop is there.

FOLDER/addresses says where the servers are now. Each answered settlement becomes a line of FOLDER/settled-SEED; a client that gets an
answer that cannot be true ends the process with an error.
"""

import asyncio
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

LIMIT = 100_000_000
USERS = ("alice", "bob", "zoë")
WAIT_SECONDS = 0.05
LONG_SECONDS = 3_600
FATES = {"settle": 55, "settle twice": 10, "settle and release": 5, "release": 15, "expire": 15}
_GONE = (OSError, asyncio.IncompleteReadError)


@dataclass
class Answer:
    """Status and JSON of an answer."""

    status: int
    said: Any


class Client:
    """Sends requests to one of the servers, again to any of them where it is not answered; remembers where the last answer came from."""

    def __init__(self, folder: Path, key: str, chance: Random) -> None:
        self._folder = folder
        self._key = key
        self.chance = chance
        self._streams: dict[int, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self.last = -1

    async def ask(self, method: str, path: str, said: object = None, *, elsewhere: bool = False) -> Answer:
        """The answer of some server; with `elsewhere` not of the one that answered before, where there are several."""
        body = json.dumps(said).encode() if said is not None else b""
        lines = [f"{method} /api/v1{path} HTTP/1.1", "host: x", f"authorization: Bearer {self._key}", f"content-length: {len(body)}"]
        request = "\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + body
        while True:
            ports = [int(port) for port in (self._folder / "addresses").read_text().split()]
            port = self.chance.choice([port for port in ports if not elsewhere or port != self.last] or ports)
            try:
                answer = await self._once(port, request)
            except _GONE:
                self._streams.pop(port, None)
            else:
                if answer.status != 503:
                    self.last = port
                    return answer
            await asyncio.sleep(WAIT_SECONDS)

    def close(self) -> None:
        """Drop every connection."""
        for _, writer in self._streams.values():
            writer.close()

    async def _once(self, port: int, request: bytes) -> Answer:
        if port not in self._streams:
            self._streams[port] = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._streams[port]
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(head.split(" ", 2)[1])
        if status == 204:
            return Answer(status, None)
        size = int(head.partition("content-length:")[2].split("\r\n", 1)[0])
        return Answer(status, json.loads(await reader.readexactly(size)))


async def take_hold(client: Client, user: str, hold_id: str, units: int, ttl_s: int) -> bool:
    """Ask for a hold; whether it was granted. A refusal must say why it does not fit."""
    answer = await client.ask("POST", "/holds", {"user": user, "id": hold_id, "units": units, "ttl_s": ttl_s})
    if answer.status == 429:
        told = answer.said["allowance"]
        assert told["used"]["units"] + told["held"]["units"] + units > told["limit"]["units"], f"refused although it fits: {answer.said}"
        return False
    assert answer.status in {200, 201}, answer
    assert (answer.said["user"], answer.said["units"]) == (user, units), answer
    return True


async def _live(client: Client, folder: Path, name: str, settled: Any) -> None:
    """Take holds and end them in all ways there are."""
    for number in itertools.count():
        if (folder / "stop").exists():
            return
        user, hold_id = client.chance.choice(USERS), f"{name}/{number}"
        units = client.chance.choice((client.chance.randrange(1, 9) * 1_000_000, client.chance.randrange(9_000_000)))
        fate = client.chance.choices(list(FATES), list(FATES.values()))[0]
        if not await take_hold(client, user, hold_id, units, 1 if fate == "expire" else LONG_SECONDS):
            continue
        path = f"/holds/{quote(hold_id, safe='')}"
        used = units if client.chance.random() < 0.002 else min(client.chance.randrange(5_000), units)
        settle = {"data": {"conversations": used / 1_000_000}}
        if fate.startswith("settle"):
            await _settle(client, path, settle, used, hold_id, settled)
        if fate == "settle twice":
            await _settle(client, path, settle, used, hold_id, settled)
        if fate in {"settle and release", "release"}:
            answer = await client.ask("DELETE", path, elsewhere=True)
            assert answer.status == 204, answer


async def _settle(client: Client, path: str, said: object, used: int, hold_id: str, settled: Any) -> None:
    """By another server than granted the hold."""
    answer = await client.ask("POST", f"{path}/settle", said, elsewhere=True)
    assert answer.status == 200, answer
    assert (answer.said["state"], answer.said["charged"]["units"], answer.said["conflict"]) == ("settled", used, 0), answer
    assert answer.said["accepted"] + answer.said["duplicate"] == 1, answer
    settled.write(f"{json.dumps([hold_id, answer.said['user'], used])}\n")
    settled.flush()


async def main(folder: Path, key: str, seed: int, clients: int) -> None:
    """Let clients live side by side."""
    with (folder / f"settled-{seed}").open("a") as settled:
        await asyncio.gather(
            *(_live(Client(folder, key, Random(seed * 1_000 + number)), folder, f"{seed}/{number}", settled) for number in range(clients))
        )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
