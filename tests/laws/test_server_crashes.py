"""kill -9 of a process, of a backend and of all of PostgreSQL: nothing acknowledged is lost or doubled, and service comes back."""

import os
import random
import signal
import time
from collections import Counter

import psycopg
from tests import engines
from tests.cluster import Cluster
from tests.conftest import Server
from tests.laws.load import check, under_load, wait_until_ready

pytestmark = engines.server_only

KILLS = 20


def test_kills_of_a_process_lose_and_double_nothing(servers: list[Server], address: dict[str, str]) -> None:
    def kill(chance: random.Random) -> None:
        server = chance.choice(servers)
        server.kill()
        server.start()

    check(servers[1], under_load(servers, kill, KILLS), _stored(address), **address)


def test_kills_of_a_backend_lose_and_double_nothing(servers: list[Server], address: dict[str, str], cluster: Cluster) -> None:
    """PostgreSQL then ends every other connection too and recovers; Tallyboard's processes go on."""

    def kill(chance: random.Random) -> None:
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            pids = [pid for (pid,) in connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'tallyboard'")]
        os.kill(chance.choice(pids), signal.SIGKILL)
        wait_until_ready(servers)

    check(servers[2], under_load(servers, kill, KILLS), _stored(address), **address)


def test_kills_of_all_of_postgresql_lose_and_double_nothing(servers: list[Server], address: dict[str, str], cluster: Cluster) -> None:
    def kill(chance: random.Random) -> None:
        cluster.kill()
        time.sleep(chance.random() / 4)
        cluster.start()
        wait_until_ready(servers)

    check(servers[0], under_load(servers, kill, KILLS), _stored(address), **address)
    assert all(server.process.poll() is None for server in servers)


def _stored(address: dict[str, str]) -> Counter[str]:
    with psycopg.connect(address["TALLYBOARD_DATABASE_URL"]) as connection:
        return Counter(name for (name,) in connection.execute("SELECT id FROM event"))
