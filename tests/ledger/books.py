"""Two accounts in one ledger, and beside them a plain dict of what they must hold."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, date, datetime
from pathlib import Path

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch, Outcome
from tallyboard.ledger.keeper import Keeper
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage.question import Question, answer
from tests import engines

NORTHWIND, CONTOSO = 1, 2
"""Alice and Bob belong to the first, Charlie to the second."""
NOW_US = days.instant_us(datetime(2026, 11, 22, 12, tzinfo=UTC))
AT_US = NOW_US - 86_400_000_000
SPAN = DayRange(date(2026, 11, 1), date(2026, 11, 22))
CHARGER = Charger(card.read(card.default_text()))
CONVERSATION = 1_000_000

Sent = tuple[str, str, str, int]
"""source, id, user, conversations"""


def open_ledger(folder: Path, keeper: Keeper | None = None) -> Writer:
    """A ledger with both accounts; opening it again finds what it held."""
    engine = engines.open_on(folder)
    migrate(engine)
    with engine.writing() as session:
        if accounts.ensure_first(session, NOW_US):
            session.run(
                """
                INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us)
                VALUES (2, 'Contoso', 'Asia/Tokyo', 1, 1, 1, 0, 0, 0, 0)
                """
            )
            accounts.set_card(session, CONTOSO, card.default_text(), "test", NOW_US)
    return Writer(engine, keeper=keeper)


def batch(account_id: int, sent: Sequence[Sent], may_adjust: bool = False) -> Batch:
    """Events through the real intake."""
    items = []
    for source, name, user, amount in sent:
        data = {"conversations": amount, **({"reason": "counted twice"} if amount < 0 else {})}
        time = days.instant(AT_US + 1_000_000 * (len(name) + abs(hash_of(name)) % 5_000)).isoformat()
        items.append(CloudEvent("1.0", name, source, "ai.usage.recorded", user, time, data))
    accepted = accept(items, Sender(may_adjust=may_adjust), CHARGER, NOW_US)
    assert not accepted.refused, accepted.refused
    return Batch(account_id, accepted.entries, NOW_US, "test")


def hash_of(text: str) -> int:
    """The same in every process."""
    return int.from_bytes(text.encode()[-4:])


class Books:
    """What a ledger must say: the first event of each (account, source, id) counts."""

    def __init__(self) -> None:
        self.events: dict[tuple[int, str, str], tuple[str, int]] = {}

    def expect(self, account_id: int, sent: Sequence[Sent]) -> Outcome:
        """Enter a batch; what the ledger must answer."""
        found: Counter[str] = Counter()
        for source, name, user, amount in sent:
            known = self.events.get((account_id, source, name))
            if known is None:
                self.events[account_id, source, name] = (user, amount)
            found["accepted" if known is None else "duplicate" if known == (user, amount) else "conflict"] += 1
        return Outcome(found["accepted"], found["duplicate"], found["conflict"])

    def check(self, ledger: Writer) -> None:
        """Compare answers of both accounts, and rollups with events."""
        for account_id in (NORTHWIND, CONTOSO):
            by_user: defaultdict[str, int] = defaultdict(int)
            for (owner, _, _), (user, amount) in self.events.items():
                if owner == account_id:
                    by_user[user] += amount * CONVERSATION
            with ledger.reading() as session:
                assert rollups.reconcile(session, account_id) == []
                report = answer(session, account_id, Question(SPAN, top=None), NOW_US)
                (users,) = session.one("SELECT user_count FROM account WHERE account_id = :account_id", account_id=account_id) or (0,)
            assert {line.user: line.units for line in report.users} == by_user
            assert users == len(by_user)


def result(future: "Future[Outcome]") -> Outcome:
    """Wait for an acknowledgement, not forever."""
    return future.result(timeout=30)
