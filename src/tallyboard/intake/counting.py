"""Metrics on their way in: checked like any event beforehand, worked out in the transaction that knows the last values."""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.event import Refusal, Refused
from tallyboard.intake.otlp.counters import Group, event
from tallyboard.ledger.contract import Batch, Entry, Session
from tallyboard.ledger.counters import Reading, advance
from tallyboard.rates.charge import Charger


class From(Struct, frozen=True):
    """Where a request came from and when: the account, the key, what it may say, the rates, now."""

    account_id: int
    actor: str
    sender: Sender
    charger: Charger
    now_us: int


def batch(found: Iterable[Group | Refused], origin: From) -> tuple[Batch, tuple[Refusal, ...]]:
    """A batch that makes its entries when it is kept, and what is refused already."""
    items = list(found)
    tried = [each if isinstance(each, Refused) else event(each, [count.value for count in each.counts]) for each in items]
    refused = accept(tried, origin.sender, origin.charger, origin.now_us).refused
    bad = {refusal.index for refusal in refused}
    good = [each for index, each in enumerate(items) if index not in bad and isinstance(each, Group)]

    def make(session: Session) -> tuple[Entry, ...]:
        return _entries(session, good, origin)

    return Batch(origin.account_id, (), origin.now_us, origin.actor, make if good else None, len(good)), refused


def _entries(session: Session, groups: Sequence[Group], origin: From) -> tuple[Entry, ...]:
    """What the groups add to what was counted before. A counter that stood still is no event."""
    readings = [
        Reading(count.series, count.start_us, count.at_ns // 1_000, count.value)
        for group in groups
        for count in group.counts
        if count.cumulative
    ]
    added = iter(advance(session, origin.account_id, readings, origin.now_us) if readings else ())
    events = []
    for group in groups:
        numbers = [next(added) if count.cumulative else count.value for count in group.counts]
        if any(numbers):
            events.append(event(group, numbers))
    accepted = accept(events, origin.sender, origin.charger, origin.now_us)
    assert not accepted.refused, accepted.refused[0].reason  # The same events were taken with larger numbers.
    return accepted.entries
