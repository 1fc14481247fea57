"""The program that a worker runs: requests in, what their events became out."""

from functools import lru_cache

from msgspec.msgpack import Decoder, Encoder

from tallyboard import subprogram
from tallyboard.intake.accept import accept
from tallyboard.intake.cloudevents import decode
from tallyboard.intake.otlp import request as otlp
from tallyboard.intake.worker import Answer, Question
from tallyboard.ledger.packed import pack
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

_CARDS_REMEMBERED_MAX = 100

_encode = Encoder().encode
_question = Decoder(Question).decode


def main() -> None:
    """Answer questions until there are no more."""
    subprogram.answer_messages(lambda message: answer(_question(message)))


def answer(question: Question) -> bytes:
    """What a request's events became; nothing where they are no events or anything else is wrong: the caller will find out the same."""
    try:
        items = (
            otlp.decode(question.signal, question.headers, question.body) if question.signal else decode(question.headers, question.body)
        )
        accepted = accept(items, question.sender, _charger(question.rates), question.now_us)
        return _encode(Answer(pack(accepted.entries), accepted.refused))
    except Exception:  # noqa: BLE001  Whatever it is, the caller meets it again where it can be answered and logged.
        return b""


@lru_cache(maxsize=_CARDS_REMEMBERED_MAX)
def _charger(rates: str) -> Charger:
    return Charger(card.read(rates))


if __name__ == "__main__":
    main()
