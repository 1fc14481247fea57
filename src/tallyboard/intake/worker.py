"""Has large bodies decided in another process, so that the threads that answer and write need not share the processor with it.

A worker is the module `answering`, run as a program. It does what the server does with a small body, by the same functions. What
it does not answer is left to the caller: nothing depends on a worker.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

from tallyboard.intake.accept import Sender
from tallyboard.intake.event import Refusal
from tallyboard.intake.otlp.usage import Signal
from tallyboard.ledger.contract import Packed
from tallyboard.subprogram import Subprogram

_PROGRAM = "tallyboard.intake.answering"


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
    """What a request's events became."""

    packed: Packed
    refused: tuple[Refusal, ...]


_encode = Encoder().encode
_answer = Decoder(Answer).decode


class Worker:
    """One process, and the thread that waits for it."""

    def __init__(self) -> None:
        self._program = Subprogram(_PROGRAM)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ask-worker")

    def ask(self, question: Question) -> "Future[Answer | None]":
        """What a request's events became, None where the caller must see to that itself."""
        return self._thread.submit(lambda: self._program.ask(_encode(question), _answer))

    def close(self) -> None:
        """End the process, also while it is asked."""
        self._program.close()
        self._thread.shutdown(cancel_futures=True)
