"""The program as a process of its own, forked from one that has loaded it: a command costs what it does, not its imports.

What is forked becomes what the installed script becomes, and ends as that does, interpreter included. (The fork server of
multiprocessing ends what it forked with os._exit, passes over imports that fail, and loses exit codes where threads wait.)
"""

import gc
import json
import os
import pkgutil
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

PROGRAM = Path(sys.executable).with_name("tallyboard")
TIMEOUT_SECONDS = 120.0
LOADED = (
    "tallyboard.cli",
    "tallyboard.ledger.postgres",
    "tallyboard.people.provider",
    "tallyboard.web.scim_answers",
    "tallyboard.web.server",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
"""With every module below tallyboard.cli; each with all it imports."""
_NUMBER = struct.Struct("q")

_starting = threading.Lock()
_parent: tuple["subprocess.Popen[bytes]", socket.socket] | None = None


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Tallyboard."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYBOARD_")}
    return {**kept, "TERM": "dumb", **more}


class Process:
    """A command at work, with what subprocess.Popen has: `pid`, `returncode`, `poll`, `wait`, `send_signal`, `kill`."""

    def __init__(self, *arguments: object, env: Mapping[str, str], stdin: int | IO[Any], stdout: IO[Any], stderr: IO[Any]) -> None:
        self.args = [str(PROGRAM), *map(str, arguments)]
        self.returncode: int | None = None
        self._listening = threading.Lock()
        self._told, telling = os.pipe()
        weakref.finalize(self, os.close, self._told)
        asked, asking = os.pipe()
        try:
            files = [file if isinstance(file, int) else file.fileno() for file in (stdin, stdout, stderr)]
            socket.send_fds(_forking(), [b"."], [*files, asked, telling])
        finally:
            os.close(asked)
            os.close(telling)
        with os.fdopen(asking, "w") as request:
            json.dump([self.args, dict(env), str(Path.cwd())], request)
        self.pid = _hear(self._told)

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        with self._listening:
            if self.returncode is None and self._has_ended(0):
                self.returncode = _hear(self._told)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, once there is one; subprocess.TimeoutExpired after so many seconds."""
        if not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.poll()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _has_ended(self, timeout: float | None) -> bool:
        """Also true ever after: the pipe is closed then."""
        return bool(select.select([self._told], [], [], timeout)[0])


def run(*arguments: object, stdin: bytes, env: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end, as subprocess.run does. Variables that Python itself reads are for one that starts anew."""
    if any(name.startswith("PYTHON") and os.environ.get(name) != value for name, value in env.items()):
        line = [str(PROGRAM), *map(str, arguments)]
        return subprocess.run(line, input=stdin, capture_output=True, timeout=TIMEOUT_SECONDS, check=False, env=env)
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        typed, typing = os.pipe()
        try:
            process = Process(*arguments, env=env, stdin=typed, stdout=stdout, stderr=stderr)
        finally:
            os.close(typed)
        threading.Thread(target=_type, args=(typing, stdin), daemon=True).start()
        try:
            process.wait(TIMEOUT_SECONDS)
        finally:
            process.kill()
        said = []
        for file in (stdout, stderr):
            file.seek(0)
            said.append(file.read())
    return subprocess.CompletedProcess(process.args, process.wait(), *said)


def close() -> None:
    """End the process that forks; what it forked goes on."""
    global _parent  # noqa: PLW0603  One for the process that runs tests.
    if _parent:
        process, requests = _parent
        requests.close()
        process.wait()
        _parent = None


def _forking() -> socket.socket:
    """Where to ask for a fork; the process that forks is started when first asked, and ends with this one."""
    global _parent  # noqa: PLW0603  Likewise.
    with _starting:
        if _parent is None:
            ours, theirs = socket.socketpair()
            with theirs:
                # Without -P the modules of this folder would be importable, which the installed script's are not.
                line = [sys.executable, "-P", __file__, str(theirs.fileno())]
                process = subprocess.Popen(
                    line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=environment()
                )
            _parent = process, ours
        return _parent[1]


def _hear(told: int) -> int:
    """A number that the process that forks tells. It tells none where it has ended: what it said is on stderr."""
    heard = os.read(told, _NUMBER.size)
    assert heard, "the process that forks has ended"
    return int(_NUMBER.unpack(heard)[0])


def _type(typing: int, text: bytes) -> None:
    with suppress(BrokenPipeError), os.fdopen(typing, "wb") as file:
        file.write(text)


# In the process that forks.


def _load() -> None:
    for name in LOADED:
        import_module(name)
    for module in pkgutil.walk_packages(import_module("tallyboard.cli").__path__, "tallyboard.cli."):
        import_module(module.name)
    gc.collect()
    gc.freeze()  # Else each process that is forked copies nearly all of this one's memory when it ends.


def _serve(requests: socket.socket) -> None:
    """Fork when asked, and tell the pid and how each ends; returns in what was forked."""
    telling: dict[int, int] = {}

    def tell(*_: object) -> None:
        while telling:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _tell(telling[pid], os.waitstatus_to_exitcode(status))
            os.close(telling.pop(pid))

    signal.signal(signal.SIGCHLD, tell)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for those that ask.
    while True:
        asked, files, _, _ = socket.recv_fds(requests, 1, 5)
        if not asked:
            sys.exit()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # Else one might end before it is known.
        pid = os.fork()
        if not pid:
            requests.close()
            _become(*files, *telling.values())
            return
        telling[pid] = files.pop()
        _tell(telling[pid], pid)
        for file in files:
            os.close(file)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])


def _tell(told: int, number: int) -> None:
    with suppress(BrokenPipeError):  # Who asked may have gone.
        os.write(told, _NUMBER.pack(number))


def _become(stdin: int, stdout: int, stderr: int, asked: int, *others: int) -> None:
    """Take on the files, arguments, variables and folder of the process that was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    for number, file in enumerate((stdin, stdout, stderr)):
        os.dup2(file, number)
    for file in (stdin, stdout, stderr, *others):
        os.close(file)
    with os.fdopen(asked) as request:
        sys.argv, variables, folder = json.load(request)
    os.environ.clear()  # Not another mapping: modules have this one.
    os.environ.update(variables)
    time.tzset()
    os.chdir(folder)


if __name__ == "__main__":
    _load()
    _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.exit(import_module("tallyboard.cli").main())
