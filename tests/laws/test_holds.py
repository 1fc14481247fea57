"""Law 6: used + held never exceeds the limit through holds, whatever fits is granted, and every hold ends exactly once.

A machine does anything in any order with a real ledger, moves the clock, and after every step compares all that the ledger says
with naive books. TALLYBOARD_TEST_EXAMPLES=500 lets it try more, each time others.
"""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import psycopg
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests import engines
from tests.conftest import wait_until
from tests.laws.books_of_holds import Books, Event, Request

from tallyboard import clock, days
from tallyboard.app import App
from tallyboard.days import DayRange
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch, Outcome, Session
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts
from tallyboard.policy import allowance, holds, overrides, policy
from tallyboard.policy.holds import Decision, End, Ending, Grant
from tallyboard.policy.overrides import Wanted
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage.question import Question, answer

ACCOUNT = accounts.FIRST_ACCOUNT_ID
CHARGER = Charger(card.read(card.default_text()))
CONVERSATION = 1_000_000
EXAMPLES = os.environ.get("TALLYBOARD_TEST_EXAMPLES")
SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
STARTS = [
    days.instant_us(datetime.fromisoformat(text))
    for text in ("2026-11-01T02:00:00Z", "2026-03-08T04:30:00Z", "2026-04-04T13:00:00Z", "2026-09-26T11:44:59Z", "2026-11-22T18:14:00Z")
]
"""Hours before midnight or a change of the clock in one of the zones."""
ZONES = ("America/New_York", "Australia/Lord_Howe", "Pacific/Chatham", "Asia/Kathmandu", "UTC")
USERS = st.sampled_from(["alice", "bob", "zoë"])
LIMITS = st.one_of(st.none(), st.integers(0, 12 * CONVERSATION), st.integers(0, 12).map(lambda number: number * CONVERSATION))
ESTIMATES = st.one_of(st.integers(0, 4).map(lambda number: number * CONVERSATION), st.integers(0, 5 * CONVERSATION))
TTLS_US = st.sampled_from([SECOND_US, 60 * SECOND_US, 900 * SECOND_US, DAY_US])
PICKS = st.integers(0, 10**6)
MOVES = st.one_of(
    st.sampled_from(["midnight - 1", "midnight", "midnight + 1", "expiry - 1", "expiry", "expiry of an override"]),
    st.integers(0, 3_600 * SECOND_US),
)


class HoldsMachine(RuleBasedStateMachine):
    """One account of a real ledger, and the books of what it must say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="tallyboard-holds-")) / "data"
        self.engine = engines.open_on(self.folder)
        migrate(self.engine)
        with self.engine.writing() as session:
            accounts.ensure_first(session, STARTS[0])
        self.ledger = Writer(self.engine, self._decide)
        self.books = Books("UTC", STARTS[0], accounts.FIRST_NAME)
        self.sent = 0
        self.expired = 0

    def teardown(self) -> None:
        self.ledger.close()
        engines.drop(self.folder)

    @initialize(start=st.sampled_from(STARTS), zone=st.sampled_from(ZONES), limit=LIMITS)
    def begin(self, start: int, zone: str, limit: int | None) -> None:
        self.books.now_us = start
        self.change_policy(limit, zone)
        while self._rebuild_some():
            pass

    @rule(user=USERS, units=ESTIMATES, ttl_us=TTLS_US)
    def grant(self, user: str, units: int, ttl_us: int) -> None:
        self.ask([Grant(self._new_id(), user, units, ttl_us, "test")])

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICKS, user=USERS, units=ESTIMATES)
    def grant_again_by_an_id_that_is_known(self, pick: int, user: str, units: int) -> None:
        self.ask([Grant(self._pick(pick), user, units, SECOND_US, "test")])

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICKS, part=st.sampled_from([0, 0.5, 1, 1, 2]))
    def settle(self, pick: int, part: float) -> None:
        """For less than was held, as much or more; again, with the same or another amount; after expiry or release."""
        self.ask([End(self._pick(pick), Ending.SETTLED)], [part])

    @precondition(lambda self: self.books.holds)
    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        self.ask([End(self._pick(pick), Ending.RELEASED)])

    @rule(estimates=st.lists(ESTIMATES, min_size=1, max_size=5), ends=st.lists(st.tuples(PICKS, st.booleans()), max_size=4), user=USERS)
    def together(self, estimates: list[int], ends: list[tuple[int, bool]], user: str) -> None:
        """Requests that find themselves in one transaction, ends among grants, perhaps two ends of one hold."""
        requests: list[Request] = [Grant(self._new_id(), user, units, 900 * SECOND_US, "test") for units in estimates]
        for pick, settled in ends if self.books.holds else ():
            requests.insert(pick % len(requests), End(self._pick(pick), Ending.SETTLED if settled else Ending.RELEASED))
        self.ask(requests, [1] * len(requests))

    @rule(user=USERS, amount=st.integers(-3, 5), ago_us=st.one_of(st.integers(-4 * 60 * SECOND_US, 3 * DAY_US), st.none()), pick=PICKS)
    def plain_event(self, user: str, amount: int, ago_us: int | None, pick: int) -> None:
        """Usage without a hold: now, late, a little ahead, right at a midnight; or a correction."""
        midnight_us = self.books.midnight_us(self.books.day_of(self.books.now_us))
        at_us = midnight_us + pick % 3 - 1 if ago_us is None else self.books.now_us - ago_us
        event = Event(("/test", self._new_id()), user, at_us, amount * CONVERSATION)
        assert self.ledger.append(self._batch([event])).result(30) == self.books.add([event])

    @rule(limit=LIMITS, zone=st.one_of(st.none(), st.none(), st.sampled_from(ZONES)))
    def change_policy(self, limit: int | None, zone: str | None) -> None:
        zone = zone or self.books.timezone
        with self.ledger.writing() as session:
            policy.change(session, ACCOUNT, "test", self.books.now_us, default_units=limit, timezone=zone)
        self.books.default, self.books.timezone = limit, zone

    @rule(steps=st.integers(1, 9))
    def rebuild(self, steps: int) -> None:
        """Some days of a new zone, or all of them."""
        for _ in range(steps):
            self._rebuild_some()

    @rule(user=USERS, limit=LIMITS, expires=st.one_of(st.none(), st.sampled_from([1, SECOND_US, 3_600 * SECOND_US, 2 * DAY_US])))
    def override(self, user: str, limit: int | None, expires: int | None) -> None:
        expires_us = None if expires is None else self.books.now_us + expires
        with self.ledger.writing() as session:
            overrides.put(session, ACCOUNT, [Wanted(user, limit, "", expires_us)], "test", self.books.now_us)
        self.books.overrides[self.books.whom(user)] = (limit, expires_us)

    @precondition(lambda self: self._with_limits())
    @rule(pick=PICKS)
    def remove_override(self, pick: int) -> None:
        user = self._with_limits()[pick % len(self._with_limits())]
        with self.ledger.writing() as session:
            overrides.remove(session, ACCOUNT, user, "test", self.books.now_us)
        del self.books.overrides[user]

    @rule(move=MOVES)
    def wait(self, move: str | int) -> None:
        books = self.books
        expiries = [hold.expires_us for hold in books.outstanding().values()] or [books.now_us]
        limits_expire = [expires for _, expires in books.overrides.values() if expires is not None] or [books.now_us]
        moments = {
            "midnight - 1": books.resets_us - 1,
            "midnight": books.resets_us,
            "midnight + 1": books.resets_us + 1,
            "expiry - 1": min(expiries) - 1,
            "expiry": min(expiries),
            "expiry of an override": max(limits_expire),
        }
        books.now_us = max(books.now_us, moments[move] if isinstance(move, str) else books.now_us + move)

    @precondition(lambda self: self.books.outstanding())
    @rule(pick=PICKS, near=st.sampled_from([-1, 0, 1]), how=st.sampled_from([Ending.SETTLED, Ending.RELEASED]))
    def end_at_the_edge_of_its_life(self, pick: int, near: int, how: Ending) -> None:
        """The last microsecond in which a hold is outstanding, or the first in which it is not."""
        outstanding = list(self.books.outstanding().items())
        hold_id, hold = outstanding[pick % len(outstanding)]
        self.books.now_us = max(self.books.now_us, hold.expires_us + near)
        self.ask([End(hold_id, how)])

    @rule()
    def sweep(self) -> None:
        expired, more = self.ledger.change(lambda session: holds.sweep(session, ACCOUNT, self.books.now_us)).result(30)
        assert (expired, more) == (self.books.note_expired(), False)

    @invariant()
    def the_ledger_says_what_the_books_say(self) -> None:
        books = self.books
        with self.ledger.reading() as session:
            for user in ("alice", "bob", "zoë"):
                standing = allowance.of_user(session, ACCOUNT, user, books.now_us)
                assert standing == books.standing(user)
                keys = [key for key in ("alice", "bob", "zoë") if books.whom(key) == standing.user]
                assert standing.used == self._charted(session, user) == sum(self._sum_of_events(session, key) for key in keys)
            assert allowance.of_users(session, ACCOUNT, ["zoë", "bob", "never seen"], books.now_us) == {
                user: books.standing(user) for user in ("zoë", "bob", "never seen")
            }
            listed = {hold.hold_id: (hold.user, hold.units) for hold in holds.outstanding(session, ACCOUNT, books.now_us, 1_000)}
            assert listed == {hold_id: (hold.user, hold.units) for hold_id, hold in books.outstanding().items()}
            for hold_id, known in books.holds.items():
                found = holds.of(session, ACCOUNT, hold_id)
                assert found is not None
                assert (found.state(books.now_us), found.granted_us, found.units) == (
                    known.state(books.now_us),
                    known.granted_us,
                    known.units,
                )
            assert rollups.reconcile(session, ACCOUNT) == []

    def ask(self, requests: list[Request], parts: Sequence[float] = ()) -> None:
        """Send requests so that one transaction decides them all; compare every answer."""
        settles = [
            self._usage(request.hold_id, part) if isinstance(request, End) and request.how is Ending.SETTLED else None
            for request, part in zip(requests, parts or [1] * len(requests), strict=True)
        ]
        futures = self._in_one_transaction(
            [(request, self._batch([event]) if event else None) for request, event in zip(requests, settles, strict=True)]
        )
        outcomes = [self.books.add([event]) if event else None for event in settles]
        limits = {user: self.books.standing(user).limit for user in ("alice", "bob", "zoë")}
        expected = self.books.decide(requests)
        for request, outcome, (hold, fresh), future in zip(requests, outcomes, expected, futures, strict=True):
            decision: Decision = future.result(30)
            assert (decision.outcome, decision.fresh, decision.hold is None) == (outcome, fresh, hold is None)
            if hold is not None:
                assert decision.hold is not None
                assert (decision.hold.user, decision.hold.units, decision.hold.ending) == (hold.user, hold.units, hold.ending)
            others = isinstance(request, Grant) and hold is not None and self.books.whom(hold.user) != self.books.whom(request.user)
            assert decision.others == others
            assert decision.standing == self.books.standing(request.user if isinstance(request, Grant) else hold.user if hold else "?")
            if fresh and limits[decision.standing.user] is not None:
                assert decision.standing.used + decision.standing.held <= limits[decision.standing.user], "beyond the limit"

    def _with_limits(self) -> list[str]:
        """The users whose limit of their own is in force, or was."""
        return sorted(user for user in self.books.overrides if self.books.whom(user) == user)

    def _rebuild_some(self) -> bool:
        return self.ledger.change(lambda session: rollups.rebuild_some(session, ACCOUNT)).result(30)

    def _in_one_transaction(self, items: Sequence[tuple[Request, Batch | None]]) -> list[Future[Any]]:
        """The writer is kept busy until all of them wait."""
        go_on = threading.Event()
        busy = self.ledger.change(lambda _: go_on.wait(30))
        futures = [self.ledger.decide(ACCOUNT, request, batch) for request, batch in items]
        go_on.set()
        assert busy.result(30)
        return futures

    def _decide(self, session: Session, account_id: int, requests: Sequence[tuple[Any, Outcome | None]]) -> list[Decision]:
        decisions, expired = holds.decide(session, account_id, requests, lambda: self.books.now_us)
        self.expired += expired
        return decisions

    def _usage(self, hold_id: str, part: float) -> Event:
        """The event that settles a hold, in whole conversations."""
        hold = self.books.holds[hold_id]
        units = int(hold.units * part) // CONVERSATION * CONVERSATION
        return Event(("urn:tallyboard:hold", hold_id), hold.user, hold.granted_us, units)

    def _batch(self, events: Sequence[Event]) -> Batch:
        items = []
        for event in events:
            source, name = event.name
            data = {"conversations": event.units // CONVERSATION, **({"reason": "counted twice"} if event.units < 0 else {})}
            items.append(CloudEvent("1.0", name, source, "ai.usage.recorded", event.user, days.instant(event.at_us).isoformat(), data))
        accepted = accept(items, Sender(may_adjust=True), CHARGER, self.books.now_us)
        assert not accepted.refused, accepted.refused
        return Batch(ACCOUNT, accepted.entries, self.books.now_us, "test")

    def _charted(self, session: Session, user: str) -> int:
        """What the chart draws for today; its day ends when the limit resets."""
        today = self.books.day_of(self.books.now_us)
        report = answer(session, ACCOUNT, Question(DayRange(today - timedelta(days=1), today), user=user), self.books.now_us)
        assert report.days[-1].ends_at_us == self.books.resets_us
        assert report.days[-2].units == self.books.used_on(user, today - timedelta(days=1))
        return report.days[-1].units

    def _sum_of_events(self, session: Session, user: str) -> int:
        today = self.books.day_of(self.books.now_us)
        (units,) = session.one(
            """
            SELECT coalesce(sum(event.units), 0) FROM event JOIN app_user
            ON app_user.account_id = event.account_id AND app_user.user_id = event.user_id
            WHERE event.account_id = :account_id AND app_user.key = :user AND at_us >= :starts_us AND at_us < :ends_us
            """,
            account_id=ACCOUNT,
            user=user,
            starts_us=self.books.midnight_us(today),
            ends_us=self.books.resets_us,
        ) or (0,)
        return int(units)

    def _new_id(self) -> str:
        self.sent += 1
        return f"hold/{self.sent} %é"

    def _pick(self, pick: int) -> str:
        return list(self.books.holds)[pick % len(self.books.holds)]


TestHolds = HoldsMachine.TestCase
TestHolds.settings = settings(
    max_examples=int(EXAMPLES or 40),
    stateful_step_count=40,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)


@engines.server_only
def test_a_hold_lives_from_when_its_turn_has_come(folder: Path) -> None:
    """Another process has the account's row meanwhile: a second of life must not be over before the hold is granted."""
    with App(engines.settings_of(folder)) as app, psycopg.connect(engines.url(folder)) as other:
        other.execute("UPDATE account SET revision = revision")
        asked_us = clock.now_us()
        granted = app.ledger.decide(ACCOUNT, Grant("1", "alice", 1, SECOND_US, "test"))
        with psycopg.connect(engines.url(folder), autocommit=True) as watcher:
            blocked = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)))"
            wait_until(lambda: watcher.execute(blocked, [other.info.backend_pid]).fetchone() != (0,), "it waits for its turn")
        wait_until(lambda: clock.now_us() > asked_us + SECOND_US, "a second has passed")
        turn_us = clock.now_us()
        other.rollback()
        hold = granted.result(30).hold
        assert hold is not None
        assert (hold.granted_us >= turn_us, hold.expires_us - hold.granted_us) == (True, SECOND_US)
