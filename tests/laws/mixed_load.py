"""One process of the mixed load: `python -m tests.laws.mixed_load FOLDER SEED SECONDS` does everything at once for some seconds.

Prints what was acknowledged, and stops with an error at the first answer that contradicts itself.
"""

import json
import sys
import time
from collections import defaultdict
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from random import Random

from tests import engines

from tallyboard import clock, days
from tallyboard.days import DayRange
from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts, aliases, directory
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage.question import Question, answer

ACCOUNTS = (1, 2, 3, 4)
ZONES = ("UTC", "Asia/Tokyo", "America/New_York", "Australia/Lord_Howe")
EVENTS = 100_000
"""Ids are drawn from so many, so that processes often send the same event."""
SPAN_DAYS = 40
AHEAD = 8
_CHARGER = Charger(card.read(card.default_text()))


def amount(number: int) -> int:
    """Conversations of an event: the same in every process, so that a re-send says the same."""
    return 1 + number % 5


def span_of(first_us: int) -> DayRange:
    """The days of all events, in whatever zone."""
    first = days.to_number(days.instant(first_us).date())
    return DayRange(days.from_number(first - 1), days.from_number(first + SPAN_DAYS + 2))


def batch(account_id: int, numbers: list[int], first_us: int) -> Batch:
    """Events by number, through the real intake."""
    items = [
        CloudEvent(
            "1.0",
            f"{number}",
            "/mixed",
            "ai.usage.recorded",
            f"user {number % 97}",
            days.instant_text(first_us + number * (SPAN_DAYS * 86_400_000_000 // EVENTS)),
            {"conversations": amount(number)},
        )
        for number in numbers
    ]
    accepted = accept(items, Sender(), _CHARGER, clock.now_us())
    assert not accepted.refused, accepted.refused
    return Batch(account_id, accepted.entries, clock.now_us(), "mixed load")


class Load:
    """What one process does, and what was acknowledged to it."""

    def __init__(self, ledger: Writer, chance: Random, first_us: int) -> None:
        self._ledger = ledger
        self._chance = chance
        self._first_us = first_us
        self._ahead: list[tuple[int, list[int], Future[Outcome]]] = []
        self.acknowledged: defaultdict[int, set[int]] = defaultdict(set)
        self.done: defaultdict[str, int] = defaultdict(int)

    def run(self, seconds: float) -> None:
        """Do one thing after another, each drawn by lot."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            deed = self._chance.choices((self._send, self._ask, self._move, self._rebuild, self._name, self._merge), (60, 20, 2, 15, 3, 4))[
                0
            ]
            deed(self._chance.choice(ACCOUNTS))
            self.done[deed.__name__.strip("_")] += 1
        self._settle(0)

    def _send(self, account_id: int) -> None:
        numbers = [self._chance.randrange(EVENTS) for _ in range(self._chance.choice((1, 3, 30, 300)))]
        self._ahead.append((account_id, numbers, self._ledger.append(batch(account_id, numbers, self._first_us))))
        self._settle(AHEAD)

    def _settle(self, leave: int) -> None:
        while len(self._ahead) > leave:
            account_id, numbers, future = self._ahead.pop(0)
            outcome = future.result(60)
            assert outcome.conflict == 0, outcome
            self.acknowledged[account_id].update(numbers)

    def _ask(self, account_id: int) -> None:
        """Any answer is of one moment: its parts add up, and all that was acknowledged before is in it."""
        sure = sum(amount(number) for number in self.acknowledged[account_id]) * 1_000_000
        with self._ledger.reading() as session:
            report = answer(session, account_id, Question(span_of(self._first_us), top=self._chance.choice((5, None))), clock.now_us())
        assert report.others.users > 0 or report.others.units == 0, "every user is shown, and all of them are the total"
        assert report.units == sum(day.units for day in report.days) == sum(line.units for line in report.users) + report.others.units
        assert report.units >= sure, (report.units, sure)

    def _move(self, account_id: int) -> None:
        zone = self._chance.choice(ZONES)
        self._ledger.change(lambda session: accounts.change(session, account_id, "mixed load", clock.now_us(), timezone=zone)).result(60)

    def _rebuild(self, account_id: int) -> None:
        self._ledger.change(lambda session: rollups.rebuild_some(session, account_id)).result(60)

    def _name(self, account_id: int) -> None:
        user = directory.User(f"user {self._chance.randrange(97)}", None, f"Name {self._chance.random()}")
        self._ledger.change(lambda session: directory.name_user(session, account_id, user)).result(60)

    def _merge(self, account_id: int) -> None:
        """Two users are one from now on, or one is two again; another process may have done either meanwhile."""
        user, into = (f"user {self._chance.randrange(97)}" for _ in range(2))
        with suppress(Invalid, NotFound, Taken):
            if self._chance.random() < 0.4:
                self._ledger.change(lambda session: aliases.undo(session, account_id, user, "mixed load", clock.now_us())).result(60)
            else:
                self._ledger.change(lambda session: aliases.merge(session, account_id, user, into, "mixed load", clock.now_us())).result(60)


def main(folder: Path, seed: int, seconds: float, first_us: int) -> None:
    """Run, then print what was acknowledged."""
    ledger = Writer(engines.open_on(folder))
    load = Load(ledger, Random(seed), first_us)
    try:
        load.run(seconds)
    finally:
        ledger.close()
    acknowledged = {account_id: sorted(numbers) for account_id, numbers in load.acknowledged.items()}
    sys.stdout.write(json.dumps({"acknowledged": acknowledged, "done": load.done}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
