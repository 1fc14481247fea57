"""The program that a keeper runs: groups of batches in, what became of them out; each is one transaction."""

from collections.abc import Sequence
from contextlib import closing

from msgspec.msgpack import Decoder, Encoder

from tallyboard import garbage, subprogram
from tallyboard.errors import AlreadyKept
from tallyboard.ledger.append import Appender, add_recent_slots
from tallyboard.ledger.contract import Batch, Engine, Outcome
from tallyboard.ledger.keeper import Kept, PackedBatch, Task
from tallyboard.ledger.opening import Place, open_engine
from tallyboard.ledger.packed import unpack

_encode = Encoder().encode
_task = Decoder(Task).decode
_place = Decoder(Place).decode


def main() -> None:
    """Keep groups until there are no more."""
    with closing(open_engine(_place(subprogram.greeting()), checkpoints=False)) as engine:
        garbage.collect_rarely()
        subprogram.answer_messages(Keeping(engine).answer)


class Keeping:
    """Keeps groups of batches."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._appender = Appender()

    def answer(self, message: bytes) -> bytes:
        """What became of a group; nothing where it could not be kept: the writer will find out the same."""
        try:
            asked = _task(message)
            if asked.recent_slots_of is not None:
                with self._engine.writing() as session:
                    add_recent_slots(session, asked.recent_slots_of)
            outcomes = self._keep(asked.batches) if asked.batches else ()
            closed, self._appender.shelf_closed = self._appender.shelf_closed, False
            return _encode(Kept(tuple(outcomes), closed))
        except Exception:  # noqa: BLE001  Whatever it is, the writer meets it again where it can be told and tried again.
            self._appender.forget()
            return b""

    def _keep(self, packed: Sequence[PackedBatch]) -> Sequence[Outcome]:
        batches = [Batch(each.account_id, unpack(each.packed), each.received_us, each.actor) for each in packed]
        try:
            return self._append(batches, look_first=False)
        except AlreadyKept:
            return self._append(batches, look_first=True)

    def _append(self, batches: Sequence[Batch], *, look_first: bool) -> Sequence[Outcome]:
        with self._engine.writing() as session:
            return self._appender.append(session, batches, look_first=look_first)


if __name__ == "__main__":
    main()
