"""A power cut loses nothing that was acknowledged (law 1); with synchronous=NORMAL it does, so the test has teeth.

The ledger lies on an ext4 in a file. While its writer is stopped, the file is copied: the copy holds what
ext4 has submitted to its disk, and nothing of what is still in the page cache above, as after a power cut.
The file system is not synced nor unmounted before. The copy is then mounted, which replays its journal.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import environment, wait_until

from tallyboard.ledger import rollups, sqlite
from tallyboard.ledger.migrate import migrate

ROUNDS = 4
DISK_BYTES = 96 * 1024 * 1024
WRITER = Path(__file__).with_name("power_cut_writer.py")


@pytest.fixture(scope="module", autouse=True)
def _loop_devices(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skips, saying why, where ext4 cannot be mounted from a file."""
    if os.geteuid() != 0:
        pytest.skip("the power-cut test needs root, to mount an ext4 from a file")
    for tool in ("mkfs.ext4", "losetup", "mount"):
        if not shutil.which(tool):
            pytest.skip(f"the power-cut test needs {tool}")
    folder = tmp_path_factory.mktemp("probe")
    try:
        with _mounted(_disk(folder / "disk"), folder / "mounted"):
            pass
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the power-cut test cannot mount an ext4 from a file here: {error.stderr.decode().strip()}")


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_power_cut_loses_nothing_acknowledged(tmp_path: Path, round_: int) -> None:
    acknowledged, stored = _cut(tmp_path, "FULL", round_)
    assert acknowledged - stored == set()


def test_the_control_without_full_sync_loses_what_was_acknowledged(tmp_path: Path) -> None:
    lost = []
    for round_ in range(ROUNDS):
        acknowledged, stored = _cut(tmp_path / str(round_), "NORMAL", round_)
        lost.append(len(acknowledged - stored))
    assert sum(lost) > 0, "the power cut cuts nothing: the test above proves nothing"


def _cut(folder: Path, synchronous: str, round_: int) -> tuple[set[str], set[str]]:
    """Write, cut the power, look: the ids that were acknowledged and those that are there after."""
    folder.mkdir(exist_ok=True)
    notes = folder / "acknowledged"
    enough = random.Random(round_).randrange(100, 400)
    with _mounted(_disk(folder / "disk"), folder / "mounted") as mounted:
        line = [sys.executable, str(WRITER), str(mounted / "data"), synchronous, str(notes)]
        with subprocess.Popen(line, stdin=subprocess.DEVNULL, env=environment()) as writer:
            try:
                wait_until(
                    lambda: writer.poll() is not None or (notes.exists() and notes.read_bytes().count(b"\n") >= enough),
                    "batches are written",
                )
                writer.send_signal(signal.SIGSTOP)
                _, status = os.waitpid(writer.pid, os.WUNTRACED)
                assert os.WIFSTOPPED(status)
                subprocess.run(["cp", "--sparse=always", folder / "disk", folder / "after"], check=True, capture_output=True)
                acknowledged = set(notes.read_text().rpartition("\n")[0].split())
            finally:
                writer.kill()
    with _mounted(folder / "after", folder / "mounted") as mounted:
        stored = _stored(mounted / "data")
    (folder / "disk").unlink()
    (folder / "after").unlink()
    assert len(acknowledged) >= enough
    return acknowledged, stored


def _stored(data: Path) -> set[str]:
    """The ids in the ledger, whose rollups must agree with them whatever was lost."""
    if not (data / sqlite.FILE_NAME).exists():
        return set()
    engine = sqlite.SqliteEngine(data)
    try:
        migrate(engine)
        with engine.reading() as session:
            assert session.all("PRAGMA integrity_check") == [("ok",)]
            if session.one("SELECT 1 FROM account"):
                assert rollups.reconcile(session, 1) == []
            lines = session.all("SELECT id FROM event")
        assert len(set(lines)) == len(lines)
        return {name for (name,) in lines}
    finally:
        engine.close()


def _disk(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True, capture_output=True)
    return path


@contextmanager
def _mounted(disk: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", disk, place], check=True, capture_output=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True, capture_output=True)
