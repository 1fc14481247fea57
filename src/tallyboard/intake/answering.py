"""The program that a worker runs: reads questions from its standard input and writes answers to its standard output.

It ends when the input does, which is when the server ends, however that ends.
"""

import sys
from contextlib import suppress
from functools import lru_cache

from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder

from tallyboard.intake.accept import accept
from tallyboard.intake.cloudevents import decode
from tallyboard.intake.otlp import request as otlp
from tallyboard.intake.worker import Answer, Question, read, write
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

_PART_ENTRIES = 250
_CARDS_REMEMBERED_MAX = 100

_encode = Encoder().encode
_question = Decoder(Question).decode


def main() -> None:
    """Answer questions until there are no more."""
    with suppress(EOFError, BrokenPipeError):
        while True:
            write(sys.stdout.buffer, answer(_question(read(sys.stdin.buffer))))


def answer(question: Question) -> bytes:
    """What a request's events became; nothing where they are no events or anything else is wrong: the caller will find out the same."""
    try:
        items = (
            otlp.decode(question.signal, question.headers, question.body) if question.signal else decode(question.headers, question.body)
        )
        accepted = accept(items, question.sender, _charger(question.rates), question.now_us)
        entries = accepted.entries
        parts = [Raw(_encode(entries[start : start + _PART_ENTRIES])) for start in range(0, len(entries), _PART_ENTRIES)]
        return _encode(Answer(accepted.refused, parts))
    except Exception:  # noqa: BLE001  Whatever it is, the caller meets it again where it can be answered and logged.
        return b""


@lru_cache(maxsize=_CARDS_REMEMBERED_MAX)
def _charger(rates: str) -> Charger:
    return Charger(card.read(rates))


if __name__ == "__main__":
    main()
