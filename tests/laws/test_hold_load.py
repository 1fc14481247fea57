"""Law 6 under load: 64 clients race for few users' credits while servers and clients are killed, one server or three on one database.

At no moment is more used and held than the limit, no refusal is false, and in the end every hold has ended once.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote

import pytest
from tests import engines
from tests.conftest import Server, environment, tallyboard, wait_until
from tests.laws.hold_clients import LIMIT, LONG_SECONDS, USERS, Client, take_hold

from tallyboard import clock, days, settings
from tallyboard.app import open_engine
from tallyboard.ledger.contract import Session
from tallyboard.policy import allowance

SEED = 2_026
KILLS = 20
CLIENTS, CLIENT_PROCESSES = 64, 4
RACES = 3


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> list[Server]:
    """One server on SQLite, three on one PostgreSQL."""
    return [request.getfixturevalue("server")] if engines.NAME == "sqlite" else list(request.getfixturevalue("servers"))


class Observer(threading.Thread):
    """Looks at the database all the time, each time at one snapshot."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.engine = open_engine(settings.read({"data": server.folder}, {**engines.variables(server.folder), **server.variables}))
        self.ending = threading.Event()
        self.looks = 0
        self.highest = 0
        self.mistake = ""

    def run(self) -> None:
        while not self.ending.is_set() and not self.mistake:
            now_us = clock.now_us()
            with self.engine.reading() as session:
                told = allowance.of_users(session, 1, USERS, now_us)
                counted = {user: sums(session, user, now_us) for user in USERS}
            for user, (used, held) in counted.items():
                self.highest = max(self.highest, used + held)
                if used + held > LIMIT or (told[user].used, told[user].held) != (used, held):
                    self.mistake = f"{user}: {used:,} used, {held:,} held, but told {told[user]}"
            self.looks += 1


def sums(session: Session, user: str, now_us: int) -> tuple[int, int]:
    """What a user has used and what is set aside, from events and holds alone: all of it is of today."""
    (used,) = session.one(
        """
        SELECT coalesce(sum(units), 0) FROM event JOIN app_user
        ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id
        WHERE event.account_id = :account_id AND app_user.key = :user
        """,
        account_id=1,
        user=user,
    ) or (0,)
    (held,) = session.one(
        """
        SELECT coalesce(sum(units), 0) FROM hold
        WHERE account_id = :account_id AND user_key = :user AND ended_us IS NULL AND expires_us > :now_us
        """,
        account_id=1,
        user=user,
        now_us=now_us,
    ) or (0,)
    return int(used), int(held)


class Load:
    """Client processes on a fleet of servers, and what is killed."""

    def __init__(self, fleet: list[Server], folder: Path) -> None:
        self.fleet = fleet
        self.folder = folder
        self.key = fleet[0].keys["check"]
        self.chance = Random(SEED)
        self.clients: list[subprocess.Popen[bytes]] = []
        self.started = 0
        self.tell_addresses()

    def tell_addresses(self) -> None:
        """Where the servers are: written beside and put in place at once."""
        draft = self.folder / "addresses.new"
        draft.write_text(" ".join(server.url.rpartition(":")[2] for server in self.fleet))
        draft.rename(self.folder / "addresses")

    def start_client(self) -> None:
        self.started += 1
        arguments = [str(self.folder), self.key, str(SEED + self.started), str(CLIENTS // CLIENT_PROCESSES)]
        self.clients.append(
            subprocess.Popen([sys.executable, "-m", "tests.laws.hold_clients", *arguments], stderr=subprocess.PIPE, env=environment())
        )

    def kill_something(self, number: int) -> None:
        """A server, which comes back, or a client process, in whose place another one comes."""
        if number % 2 == 0:
            server = self.chance.choice(self.fleet)
            server.kill()
            server.start()
            self.tell_addresses()
        else:
            victim = self.clients.pop(self.chance.randrange(len(self.clients)))
            victim.kill()
            victim.communicate()
            free_everything(self.fleet[0], f"{victim.args[-2]}/")  # type: ignore[index]  Else nobody would for an hour.
            self.start_client()

    def settled(self) -> dict[str, tuple[str, int]]:
        """What was acknowledged to be settled: user and units by hold. A line that was cut short was not."""
        lines = [line for file in self.folder.glob("settled-*") for line in file.read_text().splitlines(keepends=True)]
        return {hold_id: (user, units) for hold_id, user, units in map(json.loads, (line for line in lines if line.endswith("\n")))}

    def all_live(self) -> bool:
        return all(client.poll() is None for client in self.clients)

    def last_words(self) -> str:
        """What those said that ended by themselves: they met an answer that cannot be true."""
        return f"seed {SEED}: " + "".join(client.communicate()[1].decode() for client in self.clients if client.poll() is not None)

    def stop(self) -> None:
        (self.folder / "stop").touch()
        for client in self.clients:
            _, said = client.communicate(timeout=60)
            assert client.returncode == 0, f"seed {SEED}: {said.decode()}"


@contextmanager
def clients_at_work(load: Load) -> Iterator[None]:
    with ExitStack() as stack:
        stack.callback(lambda: [client.kill() for client in load.clients])
        for _ in range(CLIENT_PROCESSES):
            load.start_client()
        yield
        load.stop()


def set_limit(server: Server, user: str, units: int) -> None:
    answered = server.request("PUT", f"/api/v1/policy/overrides/{user}", "admin", json={"limit": {"units": units}})
    assert answered.status_code == 200, answered.text


def race(load: Load, user: str, parts: int, asked_each: int) -> int:
    """All clients at once want a user's credits, of which exactly so many parts fit; how many were granted, whoever got them."""
    units = 1_234_567
    set_limit(load.fleet[0], user, parts * units)

    async def one(client: Client, number: int) -> int:
        try:
            return sum([await take_hold(client, user, f"{user}/{number}/{part}", units, LONG_SECONDS) for part in range(asked_each)])
        finally:
            client.close()

    async def run() -> int:
        return sum(await asyncio.gather(*(one(Client(load.folder, load.key, Random(SEED + number)), number) for number in range(CLIENTS))))

    return asyncio.run(run())


def free_everything(server: Server, prefix: str = "") -> None:
    """Release what clients that were killed have left behind, and wait for what nobody has to release."""

    def none_is_left() -> bool:
        listed = server.request("GET", "/api/v1/holds", "read").json()["holds"]
        left = [each["id"] for each in listed if each["id"].startswith(prefix)]
        for hold_id in left:
            assert server.request("DELETE", f"/api/v1/holds/{quote(hold_id, safe='')}", "check").status_code == 204
        return not left

    wait_until(none_is_left, "no hold is outstanding")


def test_used_and_held_never_exceed_the_limit_whatever_is_killed(fleet: list[Server], tmp_path: Path) -> None:
    server = fleet[0]
    noon = f"Etc/GMT{days.instant(clock.now_us()).hour - 12:+}"  # So that no midnight comes between.
    tallyboard("account", "set", "--timezone", noon, data=server.folder, **server.variables)
    for user in USERS:
        set_limit(server, user, LIMIT)
    load, observer = Load(fleet, tmp_path), Observer(server)
    for number in range(RACES):
        assert race(load, f"all fit {number}", CLIENTS * 2, 2) == CLIENTS * 2
        assert race(load, f"some fit {number}", CLIENTS // 2 + number, 1) == CLIENTS // 2 + number
    observer.start()
    with clients_at_work(load):
        for number in range(KILLS):
            enough = len(load.settled()) + load.chance.randrange(5, 40)
            wait_until(
                lambda enough=enough: observer.mistake != "" or not load.all_live() or len(load.settled()) >= enough, "holds are settled"
            )
            assert load.all_live(), load.last_words()
            load.kill_something(number)
    observer.ending.set()
    observer.join(30)
    assert observer.mistake == "", f"seed {SEED}"
    assert observer.looks > KILLS
    assert observer.highest > LIMIT * 3 // 4, "clients came close to the limit"
    assert race(load, "after all", CLIENTS, 1) == CLIENTS
    free_everything(server)
    check_the_end(load, observer)


def check_the_end(load: Load, observer: Observer) -> None:
    """Every hold has ended once, what was settled is there once, nothing is held, and used is what the events say."""
    server = load.fleet[-1]
    with observer.engine.reading() as session:
        holds: dict[str, tuple[str, int, str]] = {
            hold_id: (user, units, how)
            for hold_id, user, units, how in session.all("SELECT hold_id, user_key, units, ended_how FROM hold WHERE account_id = 1")
        }
        events: list[tuple[str, str, int]] = session.all(
            """
            SELECT id, app_user.key, units FROM event JOIN app_user
            ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id WHERE event.account_id = 1
            """
        )
        standings = allowance.of_users(session, 1, USERS, clock.now_us())
    observer.engine.close()
    assert {how for _, _, how in holds.values()} == {"settled", "released", "expired"}
    stored = {name: (user, units) for name, user, units in events}
    assert len(stored) == len(events)
    assert load.settled().items() <= stored.items()
    for name, (user, units) in stored.items():
        assert (holds[name][0], holds[name][2]) == (user, "settled")
        assert units <= holds[name][1]
    assert {name for name, (_, _, how) in holds.items() if how == "settled"} == stored.keys()
    for user in USERS:
        assert (standings[user].held, standings[user].used) == (0, sum(units for who, units in stored.values() if who == user))
    tallyboard("reconcile", data=server.folder, **server.variables)
    assert len(load.settled()) > KILLS * 5
