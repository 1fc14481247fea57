"""Has large bodies decided in another process, so that the threads that answer and write need not share the processor with it.

A worker is the module `answering`, run as a program. It does what the server does with a small body, by the same functions. What
it does not answer is left to the caller: nothing depends on a worker.
"""

import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import IO

from msgspec import MsgspecError, Raw, Struct
from msgspec.msgpack import Decoder, Encoder

from tallyboard.intake.accept import Accepted, Sender
from tallyboard.intake.event import Refusal
from tallyboard.intake.otlp.usage import Signal
from tallyboard.ledger.contract import Entry

LOSSES_MAX = 3
_PROGRAM = "tallyboard.intake.answering"
_LENGTH_BYTES = 8


class Question(Struct, frozen=True, array_like=True):
    """A request's body, and all else that its entries depend on. `rates` is the text of the rate card.

    `signal` says that it is a request in OTLP, and of what.
    """

    headers: Mapping[str, str]
    body: bytes
    sender: Sender
    rates: str
    now_us: int
    signal: Signal | None = None


class Answer(Struct, frozen=True, array_like=True):
    """What a request's events became, in parts of which each is read in a fraction of a millisecond.

    Whoever reads keeps the interpreter to itself, and with it every other request waits: no longer than for one part.
    """

    refused: tuple[Refusal, ...]
    parts: list[Raw]


_encode = Encoder().encode
_answer = Decoder(Answer).decode
_entries = Decoder(tuple[Entry, ...]).decode


class Worker:
    """One process, started by the first question and again after it was lost, but not when that keeps happening."""

    def __init__(self) -> None:
        # Of two threads one can read an answer while the other has its question answered.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="ask-worker")
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._losses = 0

    def ask(self, question: Question) -> "Future[Accepted | None]":
        """What a request's events became, None where the caller must see to that itself."""
        return self._threads.submit(self._ask, question)

    def close(self) -> None:
        """End the process, also while it is asked."""
        self._losses = LOSSES_MAX
        self._lose()
        self._threads.shutdown(cancel_futures=True)

    def _ask(self, question: Question) -> Accepted | None:
        asked = _encode(question)
        with self._turn:
            answered = self._answer(asked)
        try:
            return _read_answer(answered) if answered else None
        except MsgspecError:  # The program's files were exchanged under a running server.
            return None

    def _answer(self, asked: bytes) -> bytes:
        """The process's answer; nothing where there is none. Whatever goes wrong, no answer is left for the next question."""
        if self._losses >= LOSSES_MAX:
            return b""
        try:
            process = self._process = self._process or _start()
            assert process.stdin is not None
            assert process.stdout is not None
            write(process.stdin, asked)
            answered = read(process.stdout)
        except Exception:  # noqa: BLE001  The caller goes on without a worker.
            self._losses += 1
            self._lose()
            return b""
        self._losses = 0
        return answered

    def _lose(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]


def _start() -> subprocess.Popen[bytes]:
    # A process group of its own: Ctrl+C is for the server, which then ends its worker.
    return subprocess.Popen((sys.executable, "-P", "-m", _PROGRAM), stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0)  # noqa: S603


def _read_answer(answered: bytes) -> Accepted:
    found = _answer(answered)
    return Accepted(tuple(chain.from_iterable([_entries(part) for part in found.parts])), found.refused)


def write(file: IO[bytes], message: bytes) -> None:
    """Write a message, its length first."""
    file.write(len(message).to_bytes(_LENGTH_BYTES))
    file.write(message)
    file.flush()


def read(file: IO[bytes]) -> bytes:
    """Read a message; EOFError where there is none, or not all of it."""
    return _exactly(file, int.from_bytes(_exactly(file, _LENGTH_BYTES)))


def _exactly(file: IO[bytes], size: int) -> bytes:
    found = file.read(size)
    if len(found) < size:
        raise EOFError
    return found
