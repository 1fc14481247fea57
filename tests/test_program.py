"""The installed script, as a newcomer starts it; and that what the tests fork in its place does as it does."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import typer

from tallyboard import cli
from tests import engines, program
from tests.conftest import event, wait_until
from tests.program import PROGRAM, Process, environment

COMMANDS = typer.main.get_command(cli.program).list_commands(None)  # type: ignore[attr-defined,arg-type]
LINES: dict[str, tuple[list[str], bytes]] = {
    "version": (["--version"], b""),
    "nothing": ([], b""),
    "no such command": (["fly"], b""),
    "an option missing": (["key", "create"], b""),
    "a refusal": (["usage", "--window", "8"], b""),
    "standard input": (["import", "-", "--json"], json.dumps(event("1")).encode() + b"\nnot json\n" + b"\xff" * 200_000),
    **{name: ([name, "--help"], b"") for name in COMMANDS},
}
Start = Callable[[Path], "Process | subprocess.Popen[bytes]"]


@engines.once
@pytest.mark.parametrize("name", LINES)
def test_a_command_says_and_answers_the_same_installed_and_forked(folder: Path, name: str) -> None:
    """Also, each loads what it needs where nothing is loaded already."""
    line, stdin = LINES[name]
    places = [environment(TALLYBOARD_DATA=str(folder.with_name(each))) for each in ("installed", "forked")]
    installed = subprocess.run([PROGRAM, *line], input=stdin, capture_output=True, check=False, env=places[0])
    forked = program.run(*line, stdin=stdin, env=places[1])
    assert (forked.returncode, forked.stdout, forked.stderr) == (installed.returncode, installed.stdout, installed.stderr)
    assert forked.stdout + forked.stderr


def installed_server(folder: Path) -> "subprocess.Popen[bytes]":
    # Tests that a shell runs in its background ignore Ctrl+C, and so would what they start; a handler of one's own is not inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with folder.with_name("log").open("wb") as log:
            return subprocess.Popen([PROGRAM, "serve", "--port", "0"], stdout=log, stderr=log, env=environment(TALLYBOARD_DATA=str(folder)))
    finally:
        signal.signal(signal.SIGINT, before)


def forked_server(folder: Path) -> Process:
    with folder.with_name("log").open("wb") as log, Path(os.devnull).open("rb") as nothing:
        return Process("serve", "--port", "0", env=environment(TALLYBOARD_DATA=str(folder)), stdin=nothing, stdout=log, stderr=log)


@engines.once
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGKILL", -9)])
@pytest.mark.parametrize("start", [installed_server, forked_server])
def test_a_server_starts_answers_and_ends_the_same_installed_and_forked(folder: Path, start: Start, name: str, code: int) -> None:
    server = start(folder)
    try:
        wait_until(lambda: "Nobody has signed in yet" in folder.with_name("log").read_text() or server.poll() is not None, "it is ready")
        _, _, rest = folder.with_name("log").read_text().partition("listens on ")
        assert httpx.get(f"{rest.split()[0]}/readyz").status_code == 200
        server.send_signal(getattr(signal, name))
        assert server.wait(30) == code
        assert "Traceback" not in folder.with_name("log").read_text()
    finally:
        server.kill()
        server.wait()


@engines.once
def test_threads_may_start_commands_at_once(folder: Path) -> None:
    codes: list[int] = []
    line = ["rates", "check", str(folder / "missing.toml")]
    threads = [
        threading.Thread(target=lambda: codes.append(program.run(*line, stdin=b"", env=environment()).returncode)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [1] * 20
