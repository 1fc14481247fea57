"""Three processes on one PostgreSQL: right beside each other, and whatever is killed comes back by itself."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
from tests import engines
from tests.cluster import Cluster
from tests.conftest import Server, event, serving, tallyboard, wait_until
from tests.laws.conftest import PROCESSES
from tests.laws.load import wait_until_ready

pytestmark = engines.server_only


def test_while_the_database_is_away_everything_says_so_and_comes_back(servers: list[Server], cluster: Cluster) -> None:
    server = servers[0]
    server.send(event("1"))
    cluster.kill()
    try:
        ready = server.client.get(f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["type"]) == (503, "urn:tallyboard:problem:unavailable")
        assert server.client.get(f"{server.url}/healthz").text == "ok"
        answer = server.request("POST", "/api/v1/events", "ingest", json=event("2"))
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 5
        page = server.client.get(f"{server.url}/usage", headers={"Cookie": "tallyboard_session=x"})
        assert page.status_code == 503
        assert "<h1>" in page.text
        assert "password" not in page.text
        doctor = tallyboard("doctor", "--port", 0, "--json", check=False, TALLYBOARD_DATABASE_URL=cluster.url)
        assert doctor.returncode == 1
        assert "TALLYBOARD_DATABASE_URL" in next(each["message"] for each in json.loads(doctor.stdout) if each["subject"] == "database")
    finally:
        cluster.start()
    wait_until_ready(servers)
    assert server.send(event("1"), event("2")) == {"accepted": 1, "duplicate": 1, "conflict": 0, "refused": []}


def test_a_server_may_start_before_its_database(folder: Path, cluster: Cluster, address: dict[str, str]) -> None:
    cluster.kill()
    try:
        with serving(folder, ready=False, **address) as server:
            wait_until(lambda: "answered 503" in server.log, "it says what it waits for")
            assert server.client.get(f"{server.url}/readyz").status_code == 503
            cluster.start()
            wait_until(lambda: server.client.get(f"{server.url}/readyz").status_code == 200, "it is ready")
            wait_until(lambda: "/sign-in?token=" in server.log, "the link is printed")
            assert server.send(event("1"))["accepted"] == 1
    finally:
        if cluster.process.poll() is not None:
            cluster.start()


def test_ready_tells_migrating_from_away(folder: Path, address: dict[str, str]) -> None:
    """Somebody else is in the middle of the first migration; it then gives up, and the waiting process does it."""
    url = address["TALLYBOARD_DATABASE_URL"]
    with psycopg.connect(url) as other:
        other.execute("CREATE TABLE schema_version (version bigint NOT NULL PRIMARY KEY, needs bigint NOT NULL)")
        other.commit()
        other.execute("INSERT INTO schema_version VALUES (1, 1)")
        with serving(folder, ready=False, **address) as server:
            wait_until(lambda: server.client.get(f"{server.url}/readyz").json().get("type", "").endswith(":migrating"), "it says so")
            other.rollback()
            wait_until(lambda: server.client.get(f"{server.url}/readyz").status_code == 200, "it is ready")
    assert tallyboard("migrate", "--check", **address).stdout == "up to date\n"


def test_processes_that_start_at_once_on_an_empty_database_agree(folder: Path, address: dict[str, str]) -> None:
    started: list[Server] = []

    def start(number: int) -> None:
        started.append(Server(folder, name=f"-{number}", **address))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(PROCESSES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    try:
        assert len(started) == PROCESSES
        assert [server.send(event(str(number)))["accepted"] for number, server in enumerate(started)] == [1] * PROCESSES
        totals = {server.usage(first="2026-11-01", last="2026-11-01")["total"]["units"] for server in started}
        assert totals == {PROCESSES * 1_000_000}
    finally:
        for server in started:
            server.kill()
            server.client.close()


def test_what_one_process_does_the_others_know(servers: list[Server]) -> None:
    """Keys, sessions, zones, live news and duplicates: nothing is kept in one process only."""
    first, second, third = servers
    with httpx.Client() as browser:
        link = httpx.URL(first.sign_in_link())
        signed_in = browser.get(f"{second.url}{link.raw_path.decode()}")
        assert signed_in.status_code == 303
        cookie = signed_in.headers["set-cookie"].split(";")[0]
        assert browser.get(f"{third.url}/usage", headers={"Cookie": cookie}).status_code == 200
        assert browser.get(f"{third.url}{link.raw_path.decode()}").status_code == 403
    with third.client.stream("GET", f"{third.url}/api/v1/stream", headers={"Authorization": f"Bearer {first.keys['read']}"}) as stream:
        lines = stream.iter_lines()
        assert "event: usage" in _until_blank(lines)
        assert first.send(event("1"))["accepted"] == 1
        assert "event: usage" in _until_blank(lines)
    assert second.send(event("1"))["duplicate"] == 1
    tallyboard("account", "set", "--timezone", "Asia/Tokyo", data=first.folder, **first.variables)
    assert {server.usage()["account"]["timezone"] for server in servers} == {"Asia/Tokyo"}
    key = first.keys.make("ingest")
    (listed,) = [
        each for each in json.loads(tallyboard("key", "list", "--json", **first.variables).stdout) if each["scopes"] == ["ingest"]
    ][:1]
    headers = {"Authorization": f"Bearer {key}"}
    assert second.client.post(f"{second.url}/api/v1/events", headers=headers, json=event("2")).status_code == 204
    tallyboard("key", "revoke", listed["id"], **first.variables)
    assert second.client.post(f"{second.url}/api/v1/events", headers=headers, json=event("3")).status_code == 401


def _until_blank(lines: Iterator[str]) -> str:
    found = ""
    for line in lines:
        if not line and found and found[0] != ":":
            return found
        found += line + "\n" if line else ""
    return found
