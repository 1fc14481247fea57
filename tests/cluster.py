"""A throw-away PostgreSQL cluster: Debian's server binaries, a temporary folder, an unprivileged user."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

USER = "tallyboard"
UNPRIVILEGED = "nobody"
DEADLINE_SECONDS = 30.0
_MISSING = "PostgreSQL's server binaries are missing; on Debian: apt-get install postgresql"


class Cluster:
    """A running server: `url`, `process`. It may be killed and started again.

    One that is not `durable` does not wait for the disk: enough where nobody cuts the power of a whole machine.
    """

    def __init__(self, *, durable: bool = True) -> None:
        self._durable = durable
        self._as_user: dict[str, Any] = {}
        root = os.geteuid() == 0
        # PostgreSQL refuses to run as root; who it runs as instead may not reach a temporary folder of root's own.
        self._folder = Path(tempfile.mkdtemp(prefix="tallyboard-postgresql-", dir="/tmp" if root else None))  # noqa: S108
        if root:
            nobody = pwd.getpwnam(UNPRIVILEGED)
            self._as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        self._data = self._folder / "data"
        self._port = _free_port()
        self.url = f"postgresql://{USER}@127.0.0.1:{self._port}/postgres"
        self.process: subprocess.Popen[bytes]
        self._run("initdb", "-D", self._data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8", "--no-sync")
        self.start()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = {
            "port": self._port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._folder,
            "max_connections": 400,
            "logging_collector": "off",
            "fsync": "on" if self._durable else "off",
        }
        line = [_program("postgres"), "-D", str(self._data), *(f"--{name}={value}" for name, value in options.items())]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=log, cwd=self._folder, **self._as_user)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                ended = self.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not start:\n{(self._folder / 'log').read_text()}") from None
                time.sleep(0.05)

    def kill(self) -> None:
        """End all of it at once, as kill -9 of every process does."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False).stdout.split()
        for pid in [str(self.process.pid), *children]:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()

    def close(self) -> None:
        """End it and delete its folder."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(DEADLINE_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, name: str, *arguments: object) -> None:
        done = subprocess.run(
            [_program(name), *map(str, arguments)], capture_output=True, text=True, check=False, cwd=self._folder, **self._as_user
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stdout}{done.stderr}")


def _program(name: str) -> str:
    """Debian keeps them out of PATH, one folder a version: the newest counts."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, versions), os.environ.get("PATH", "")]))
    if found is None:
        raise RuntimeError(_MISSING)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
