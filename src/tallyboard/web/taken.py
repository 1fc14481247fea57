"""What a request's events become: by the worker where they are many, noted for operators and administrators, told to whoever sent them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tallyboard.app import App, Caller
from tallyboard.intake.event import Refusal
from tallyboard.intake.worker import Question
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.web import metrics
from tallyboard.web.problems import Problem

Understood = tuple[Batch, tuple[Refusal, ...]]
"""What of a request is to be kept, and what is refused."""


async def by_worker(app: App, who: Caller, question: Question, here: Callable[[], Understood]) -> Understood:
    """What the worker makes of a request; where it does not answer, what is made of it `here`, in a thread."""
    answer = await asyncio.wrap_future(app.worker.ask(question))
    if answer is None:
        return await asyncio.to_thread(here)
    return Batch(who.key.account_id, (), question.now_us, who.key.actor, packed=answer.packed), answer.refused


@contextmanager
def noting_refusal(app: App, who: Caller) -> Iterator[None]:
    """A request that is refused as a whole within this context is noted like a refused event, and refused."""
    try:
        yield
    except Problem as problem:
        app.refused(who.key.account_id, who.key.actor, problem.name, 1, problem.detail)
        raise


def note_refused(app: App, who: Caller, refused: tuple[Refusal, ...]) -> None:
    """Count what was refused by reason, each with an example."""
    metrics.refused(refused)
    for reason, events in Counter(each.reason for each in refused).items():
        example = next(each.detail for each in refused if each.reason is reason)
        app.refused(who.key.account_id, who.key.actor, reason, events, example)


def representation(outcome: Outcome, refused: Sequence[Refusal]) -> dict[str, object]:
    """What became of a request's events, as `Prefer: return=representation` shows it."""
    return {
        "accepted": outcome.accepted,
        "duplicate": outcome.duplicate,
        "conflict": outcome.conflict,
        **({"set_aside": outcome.set_aside} if outcome.set_aside else {}),
        "refused": listed(refused),
    }


def listed(refused: Sequence[Refusal]) -> list[dict[str, object]]:
    """Refusals as an answer lists them."""
    return [{"index": each.index, "reason": each.reason, "detail": each.detail} for each in refused]
