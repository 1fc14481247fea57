"""Programs of our own that run as processes beside the server and answer messages, one after the other.

What one does not answer is left to the caller: nothing depends on them, and they may die at any time. They end when their
standard input does, which is when the server ends, however that ends.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TypeVar

from msgspec import MsgspecError

from tallyboard import __version__

Answer = TypeVar("Answer")
LOSSES_MAX = 3
_LENGTH_BYTES = 8
_NICENESS = 10
"""Where processors are scarce, whoever waits for an answer of the server goes before whatever comes in bulk."""


class Subprogram:
    """One process, started by the first message and again after it was lost, but not when that keeps happening. One thread asks it.

    `module` is what it runs; `greeting` is the first message it gets, which it does not answer.
    """

    def __init__(self, module: str, greeting: bytes | None = None) -> None:
        self._module = module
        self._greeting = greeting
        self._process: subprocess.Popen[bytes] | None = None
        self._losses = 0
        self._closed = False

    def ask(self, message: bytes, understood: Callable[[bytes], Answer]) -> Answer | None:
        """Its answer as it is understood, None where there is none. Whatever goes wrong, no answer is left for the next message."""
        answered = self._ask(message)
        try:
            return understood(answered) if answered else None
        except MsgspecError:  # The program's files were exchanged under a running server.
            return None

    def close(self) -> None:
        """End the process, from any thread and also while it is asked."""
        self._closed = True
        self._lose()

    def _ask(self, message: bytes) -> bytes:
        if self._closed or self._losses >= LOSSES_MAX:
            return b""
        try:
            process = self._process = self._process or self._start()
            if self._closed:  # Meanwhile, when there was nothing to end yet.
                raise EOFError
            assert process.stdin is not None
            assert process.stdout is not None
            _write(process.stdin, message)
            answered = _read(process.stdout)
        except Exception:  # noqa: BLE001  The caller goes on without it.
            self._losses += 1
            self._lose()
            return b""
        self._losses = 0
        return answered

    def _start(self) -> subprocess.Popen[bytes]:
        # A process group of its own: Ctrl+C is for the server, which then ends its programs.
        command = (sys.executable, "-P", "-m", self._module, __version__)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)  # noqa: S603
        if self._greeting is not None:
            self._process = process  # So that it is ended where it does not take the greeting.
            assert process.stdin is not None
            _write(process.stdin, self._greeting)
        return process

    def _lose(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


def greeting() -> bytes:
    """In the program: the first message."""
    return _read(sys.stdin.buffer)


def answer_messages(answer: Callable[[bytes], bytes]) -> None:
    """In the program: answer messages until there are no more; none where the server is of another version, which speaks differently."""
    if sys.argv[1:] != [__version__]:
        return
    os.nice(_NICENESS)
    with suppress(EOFError, BrokenPipeError):
        while True:
            _write(sys.stdout.buffer, answer(_read(sys.stdin.buffer)))


def _write(file: IO[bytes], message: bytes) -> None:
    """Write a message, its length first."""
    file.write(len(message).to_bytes(_LENGTH_BYTES))
    file.write(message)
    file.flush()


def _read(file: IO[bytes]) -> bytes:
    """Read a message; EOFError where there is none, or not all of it."""
    return _exactly(file, int.from_bytes(_exactly(file, _LENGTH_BYTES)))


def _exactly(file: IO[bytes], size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise EOFError
    return found
