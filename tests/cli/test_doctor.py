"""When something is wrong with disk, port, database or clock, people are told what and how to mend it, and nothing is lost."""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import engines
from tests.conftest import Server, event, refusal, serving, tallyboard

Findings = dict[str, tuple[bool, str]]


def examined(folder: Path, port: int = 0) -> tuple[int, Findings]:
    """The exit code of the doctor, and by subject whether all is well and what it says."""
    done = tallyboard("doctor", "--port", port, "--json", data=folder, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, {each["subject"]: (each["ok"], each["message"]) for each in json.loads(done.stdout)}


def sql(folder: Path, statement: str) -> None:
    engines.look(folder, statement)


@pytest.fixture
def filled(folder: Path) -> Path:
    """A data folder with a little usage."""
    tallyboard("import", "-", data=folder, stdin=json.dumps(event("1")).encode())
    return folder


def test_all_is_well_before_and_after_the_first_start(folder: Path) -> None:
    for _ in range(2):
        code, findings = examined(folder)
        assert (code, [subject for subject, (ok, _) in findings.items() if not ok]) == (0, [])
        there = {"data folder", "disk"} if engines.NAME == "sqlite" else {"clocks", "schema"}
        assert {"database", "port", "clock"} | there <= findings.keys()
        tallyboard("account", "show", data=folder)
    assert "WRONG" not in tallyboard("doctor", "--port", 0, data=folder).stdout


@engines.embedded_only
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Below a file, because root may write everywhere else."""
    (tmp_path / "file").write_text("")
    code, findings = examined(tmp_path / "file" / "data")
    assert code == 1
    assert not findings["data folder"][0]
    assert "--data" in findings["data folder"][1]
    assert "data folder" in refusal("account", "show", folder=tmp_path / "file" / "data")


def test_a_busy_port_is_told(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, findings = examined(folder, port)
        assert (code, findings["port"][0]) == (1, False)
        assert f"port {port}" in findings["port"][1]
        assert "--port" in findings["port"][1]
    assert examined(folder, port)[0] == 0


@engines.embedded_only
def test_an_old_schema_is_told(filled: Path) -> None:
    sql(filled, "DELETE FROM schema_version")
    code, findings = examined(filled)
    assert (code, findings["schema"][0]) == (1, False)
    assert "old (schema 0" in findings["schema"][1]


def test_a_schema_of_a_newer_version_is_told_and_not_touched(filled: Path) -> None:
    sql(filled, "INSERT INTO schema_version (version, needs) VALUES (99, 99)")
    code, findings = examined(filled)
    assert (code, findings["schema"][0]) == (1, False)
    assert "newer Tallyboard" in findings["schema"][1]
    for command in (("serve", "--port", "0"), ("import", "-")):
        assert "newer Tallyboard" in refusal(*command, folder=filled)


@engines.embedded_only
def test_a_file_that_is_no_database_is_told(filled: Path) -> None:
    for more in ("-wal", "-shm"):
        (filled / f"tallyboard.db{more}").unlink(missing_ok=True)
    (filled / "tallyboard.db").write_bytes(b"not a database" * 1_000)
    code, findings = examined(filled)
    assert (code, findings["database"][0]) == (1, False)
    assert "backup" in findings["database"][1]
    for command in (("serve", "--port", "0"), ("import", "-")):
        assert "database" in refusal(*command, folder=filled)


@engines.embedded_only
def test_a_damaged_database_is_told(filled: Path) -> None:
    lines = b"\n".join(json.dumps(event(f"{number}", f"user {number}")).encode() for number in range(2_000))
    tallyboard("import", "-", data=filled, stdin=lines)
    with (filled / "tallyboard.db").open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(40 * 4_096, size, 2 * 4_096):
            file.seek(place)
            file.write(b"\xa5" * 4_096)
    code, findings = examined(filled)
    assert (code, findings["database"][0]) == (1, False)
    assert "backup" in findings["database"][1]
    refusal("reconcile", folder=filled)


@engines.embedded_only
def test_something_written_in_the_future_is_told(filled: Path) -> None:
    sql(filled, "UPDATE rate_card SET set_us = set_us + 864000000000")
    code, findings = examined(filled)
    assert (code, findings["history"][0]) == (1, False)
    assert "clock" in findings["history"][1]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_server_ends_in_order_when_asked(server: Server, name: str) -> None:
    """What it took is in the database file then, and the log beside it is gone."""
    server.send(*(event(f"{number}") for number in range(100)))
    server.process.send_signal(getattr(signal, name))
    assert server.process.wait(20) in {0, -getattr(signal, name), 128 + getattr(signal, name)}
    assert "Traceback" not in server.log
    assert not (server.folder / "tallyboard.db-wal").exists()
    tallyboard("reconcile", data=server.folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB; skips, saying why, where none can be mounted."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a full disk needs root, to mount a small one")
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a full disk cannot be made here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True, capture_output=True)


@engines.embedded_only
@pytest.mark.parametrize("log_there_too", [False, True], ids=["log elsewhere", "log on it too"])
def test_a_full_disk_is_answered_with_503_and_intake_recovers(small_disk: Path, log_there_too: bool) -> None:
    """Also where the server cannot write its log any more: its output goes beside the data folder."""
    with serving(small_disk / "data" if log_there_too else small_disk) as server:
        acknowledged = refused = 0

        def send(number: int) -> int:
            body = json.dumps([event(f"{number}-{place}", f"user {place}", conversations=1, note="x" * 500) for place in range(100)])
            answer = server.request(
                "POST", "/api/v1/events", "ingest", headers={"Content-Type": "application/cloudevents-batch+json"}, content=body
            )
            assert answer.status_code in {204, 503}, answer.text
            if answer.status_code == 503:
                assert 1 <= int(answer.headers["retry-after"]) <= 5
                assert answer.headers["content-type"] == "application/problem+json"
            return answer.status_code

        server.send(event("first"))
        server.usage()
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 65_536)
            except OSError:
                pass
        for number in range(60):
            status = send(number)
            acknowledged += status == 204
            refused += status == 503
        assert refused > 0
        assert server.client.get(f"{server.url}/healthz").status_code == 200
        assert server.usage(first="2026-11-01", last="2026-11-01")["total"]["units"] == 1_000_000 * (1 + 100 * acknowledged)
        code, findings = examined(server.folder)
        assert (code, findings["disk"][0]) == (1, False)
        ballast.unlink()
        assert [send(number) for number in range(60)] == [204] * 60
        assert server.usage(first="2026-11-01", last="2026-11-01")["total"]["units"] == 1_000_000 * (1 + 100 * 60)
        tallyboard("reconcile", data=server.folder)
