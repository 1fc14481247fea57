"""Usage events as an AI gateway sends them: 200 users, a few models, tokens and round trips, every id unique and random."""

from collections.abc import Sequence
from random import Random
from uuid import UUID

import orjson

from tallyboard import clock, days
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger.contract import Batch
from tallyboard.rates import card
from tallyboard.rates.charge import Charger

USERS = 200
DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
SOURCE = "/gateway/eu-1"
TYPE = "ai.usage.recorded"
MODELS = ("claude-sonnet-5", "claude-haiku-5", "gpt-5", "gpt-5-mini", "gemini-3-pro")


def event(random: Random, user: int, now_us: int, spread_us: int) -> dict[str, object]:
    """One CloudEvent of a user that happened within `spread_us` before `now_us`."""
    return {
        "specversion": "1.0",
        "id": str(UUID(int=random.getrandbits(128), version=4)),
        "source": SOURCE,
        "type": TYPE,
        "subject": f"user-{user:06}",
        "time": days.instant_text(now_us - random.randrange(spread_us)),
        "data": {
            "model": random.choice(MODELS),
            "input_tokens": random.randrange(200, 20_000),
            "output_tokens": random.randrange(20, 2_000),
            "requests": 1,
        },
    }


def body(random: Random, now_us: int, spread_us: int, size: int) -> bytes:
    """A batch of events as the body of a request."""
    return orjson.dumps([event(random, random.randrange(USERS), now_us, spread_us) for _ in range(size)])


def batch(random: Random, now_us: int, spread_us: int, size: int) -> Batch:
    """A batch of events, checked and charged, as the ledger takes it."""
    return batch_of(random, [random.randrange(USERS) for _ in range(size)], now_us, spread_us)


def batch_of(random: Random, users: Sequence[int], latest_us: int, spread_us: int) -> Batch:
    """The same with one event for each of these users, `latest_us` at the latest."""
    items = [CloudEvent(**event(random, user, latest_us, spread_us)) for user in users]  # type: ignore[arg-type]
    now_us = clock.now_us()
    accepted = accept(items, Sender(), CHARGER, now_us)
    assert not accepted.refused, accepted.refused[0]
    return Batch(1, accepted.entries, now_us, "benchmark")


CHARGER = Charger(card.read(card.default_text()))
