"""Users who are one: after any intake, merge, undo, change of the zone or hold, all answers equal a naive recount from the events.

The machine of holds does all that it does, and users are merged and taken apart meanwhile. TALLYBOARD_TEST_EXAMPLES=500 tries more.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from tests.laws.books_of_holds import Books
from tests.laws.test_holds import ACCOUNT, CHARGER, CONVERSATION, ESTIMATES, EXAMPLES, LIMITS, PICKS, STARTS, USERS, ZONES, HoldsMachine

from tallyboard import days
from tallyboard.days import DayRange
from tallyboard.errors import Invalid, NotFound, Taken
from tallyboard.ledger import audit
from tallyboard.people import aliases, directory
from tallyboard.people.directory import User
from tallyboard.policy import history, preview
from tallyboard.policy.holds import Grant
from tallyboard.usage import events, meters, overview
from tallyboard.usage.overview import View
from tallyboard.usage.question import Question, answer

KEYS = ("alice", "bob", "zoë")
SECONDS = 60


@dataclass
class Family(Books):
    """Books that know who was merged into whom: a key means whoever is at the end."""

    into: dict[str, str] = field(default_factory=dict)
    limits: list[tuple[int, dict[str, int | None]]] = field(default_factory=list)
    """Everybody's limit from an instant on."""

    def whom(self, user: str) -> str:
        while user in self.into:
            user = self.into[user]
        return user

    def days_of_all(self, zone: ZoneInfo, span: DayRange) -> dict[str, dict[date, int]]:
        found: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
        for each in self.events:
            day = days.instant(each.at_us).astimezone(zone).date()
            if day in span:
                found[self.whom(each.user)][day] += each.units
        return found


class AliasMachine(HoldsMachine):
    """Some of the users are others now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.books: Family = Family(**{name: getattr(self.books, name) for name in ("timezone", "now_us", "account")})

    @initialize(
        start=st.sampled_from(STARTS),
        zone=st.sampled_from(ZONES),
        limit=LIMITS,
        own=st.lists(st.tuples(USERS, LIMITS), max_size=2),
        first=st.lists(st.tuples(USERS, USERS), max_size=3),
    )
    def begin(self, start: int, zone: str, limit: int | None, own: list[tuple[str, int | None]], first: list[tuple[str, str]]) -> None:
        """Everybody is known, and some are one already."""
        super().begin(start=start, zone=zone, limit=limit)
        with self.ledger.writing() as session:
            for key in KEYS:
                directory.name_user(session, ACCOUNT, User(key, None, None))
        for user, units in own:
            self.override(user, units, None)
        for user, into in first:
            self.merge(user, into)

    @rule(estimates=st.lists(st.tuples(USERS, ESTIMATES), min_size=2, max_size=5))
    def together_under_any_key(self, estimates: list[tuple[str, int]]) -> None:
        """Grants in one transaction, under several keys that may be one user's."""
        self.ask([Grant(self._new_id(), user, units, 900_000_000, "test") for user, units in estimates])

    @rule(user=USERS, into=USERS)
    def merge(self, user: str, into: str) -> None:
        books = self.books
        whom = books.whom(into)
        with self.ledger.writing() as session:
            if books.whom(user) == whom and user not in books.into:
                with pytest.raises(Invalid, match="are one user already"):
                    aliases.merge(session, ACCOUNT, user, into, "test", books.now_us)
            elif user in books.into and (books.whom(user) != whom or whom == user):
                with pytest.raises(Taken, match="is an alias of"):
                    aliases.merge(session, ACCOUNT, user, into, "test", books.now_us)
            else:
                along = {key for key in KEYS if books.whom(key) == books.whom(user) and user in self._way(key)} - {user}
                merged = aliases.merge(session, ACCOUNT, user, into, "test", books.now_us)
                assert (merged.user, merged.alias_of, merged.kept_limit) == (user, whom, user in books.overrides)
                if user not in books.into:
                    assert set(merged.aliases) == along
                    books.into[user] = whom

    @precondition(lambda self: self.books.into)
    @rule(pick=PICKS)
    def undo(self, pick: int) -> None:
        user = sorted(self.books.into)[pick % len(self.books.into)]
        along = {key for key in KEYS if user in self._way(key)} - {user}
        was = self.books.whom(user)
        with self.ledger.writing() as session:
            undone = aliases.undo(session, ACCOUNT, user, "test", self.books.now_us)
            with pytest.raises(NotFound, match="is no alias"):
                aliases.undo(session, ACCOUNT, user, "test", self.books.now_us)
        assert (undone.user, undone.was_alias_of, set(undone.aliases)) == (user, was, along)
        del self.books.into[user]

    @invariant()
    def all_answers_are_a_recount(self) -> None:
        """Chart, table, export, preview and meters say what the events say of whoever they are of now."""
        self.looks += 1
        books, timezone, least = self.books, ("Asia/Tokyo", None)[self.looks % 2], self.looks % 7
        today = days.instant(books.now_us).astimezone(ZoneInfo(timezone or books.timezone)).date()
        span = days.window(30, today)
        naive = books.days_of_all(ZoneInfo(timezone or books.timezone), span)
        with self.ledger.reading() as session:
            report = answer(session, ACCOUNT, Question(span, top=None, timezone=timezone), books.now_us)
            assert {line.user: dict(zip(span.days(), line.days, strict=True)) for line in report.users} == {
                user: {day: of_days.get(day, 0) for day in span.days()} for user, of_days in naive.items()
            }
            assert report.units == sum(sum(of_days.values()) for of_days in naive.values())
            top = answer(session, ACCOUNT, Question(span, top=1, timezone=timezone), books.now_us)
            assert (top.user_count, top.units) == (len(naive), report.units)
            if timezone is None:
                self._look_at_limits(session, naive, span, least * CONVERSATION)
                shown = overview.overview(session, ACCOUNT, View(30, user="bob", search="zo"), {}, books.now_us)
                assert shown.person is not None
                assert shown.person.usage.user == shown.view.user == books.whom("bob")
                assert {row.user for row in shown.rows} == {books.whom("zoë")} & naive.keys()
            else:
                asked = meters.Asked(from_us=books.now_us // days.SLOT_US * days.SLOT_US - 20 * 86_400_000_000, by_user=True, by_model=True)
                for rows in (asked, meters.Asked(asked.from_us, by_user=True), meters.Asked(asked.from_us, by_user=True, users=("bob",))):
                    self._look_at_meter(session, rows)
            kept = events.newest(session, ACCOUNT, events.Wanted("bob", limit=1_000))
            assert sorted(each.id for each in kept) == sorted(
                each.name[1] for each in books.events if books.whom(each.user) == books.whom("bob")
            )

    @invariant()
    def which_limit_applied_stays_known(self) -> None:
        """At any time since the beginning, by whom the key meant then."""
        self.books.limits.append((self.books.now_us, {key: self.books.standing(key).limit for key in KEYS}))
        at_us, _ = self.books.limits[self.looks * 7 % len(self.books.limits)]
        expected = [limits for from_us, limits in self.books.limits if from_us <= at_us][-1]
        with self.ledger.reading() as session:
            assert {key: history.limit_at(session, ACCOUNT, key, at_us).units for key in KEYS} == expected

    @invariant()
    def the_directory_says_who_is_whom(self) -> None:
        books = self.books
        with self.ledger.reading() as session:
            if not directory.find(session, ACCOUNT):
                return
            listed = {each.user: (each.alias_of, set(each.aliases)) for each in directory.find(session, ACCOUNT)}
            assert listed == {
                key: (books.whom(key) if key in books.into else None, {other for other in books.into if books.whom(other) == key})
                for key in KEYS
            }
            assert [each.user for each in directory.persons(session, ACCOUNT)] == [key for key in KEYS if key not in books.into]
            assert directory.count(session, ACCOUNT) == len(KEYS) - len(books.into)

    def teardown(self) -> None:
        with self.ledger.reading() as session:
            assert audit.verify(session, ACCOUNT).broken_at is None
        super().teardown()

    def _way(self, key: str) -> list[str]:
        way = [key]
        while way[-1] in self.books.into:
            way.append(self.books.into[way[-1]])
        return way

    def _look_at_limits(self, session: object, naive: dict[str, dict[date, int]], span: DayRange, least: int) -> None:
        found = preview.preview(session, ACCOUNT, max(least, 0), self.books.now_us)
        assert (found.all_users, found.all_user_days) == (len(naive), sum(map(len, naive.values())))
        limits = {user: self.books.standing(user) for user in naive}
        units = {user: standing.limit if standing.origin == "override" else max(least, 0) for user, standing in limits.items()}
        paused = {
            user: {day for day, used in of_days.items() if units[user] is not None and used >= (units[user] or 0)}
            for user, of_days in naive.items()
        }
        assert {one.user: set(one.days) for one in found.who} == {user: on for user, on in paused.items() if on}
        assert found.by_day == tuple((day, sum(day in on for on in paused.values())) for day in span.days())

    def _look_at_meter(self, session: object, asked: meters.Asked) -> None:
        books = self.books
        wanted = None if asked.users is None else {books.whom(user) for user in asked.users}
        sums: dict[str, int] = defaultdict(int)
        for each in books.events:
            if each.at_us >= asked.from_us and wanted in (None, {books.whom(each.user)}):
                sums[books.whom(each.user)] += each.units
        found = meters.answer(session, ACCOUNT, CHARGER, "units", asked, books.now_us)
        assert {row.user: row.quantity for row in found.rows} == sums


TestAliases = AliasMachine.TestCase
TestAliases.settings = settings(
    max_examples=int(EXAMPLES or 60),
    stateful_step_count=40,
    deadline=None,
    derandomize=not EXAMPLES,
    suppress_health_check=list(HealthCheck),
)
