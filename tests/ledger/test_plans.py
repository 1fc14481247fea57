"""The statements behind a page and behind intake find their rows by the intended index, on a ledger of a million user-days.

Plans are those of the engine itself for the statements as they are run, with their values.
"""

import re
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from tallyboard import clock, days
from tallyboard.days import DayRange
from tallyboard.errors import Unavailable
from tallyboard.ledger import rollups, sqlite
from tallyboard.ledger.contract import Engine, Line, Session
from tallyboard.ledger.locking import lock
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.seen import find_on
from tallyboard.people import accounts, aliases, keys, members
from tallyboard.policy import allowance, holds
from tallyboard.policy.holds import Grant
from tallyboard.policy.limits import Origin
from tallyboard.policy.reach import reach
from tallyboard.usage.question import Question, answer
from tests import engines

USERS, DAYS_KEPT, EVENTS = 2_800, 360, 100_000
TODAY = days.to_number(days.today(clock.now_us(), days.zone("UTC")))
WINDOW = DayRange(days.from_number(TODAY - 29), days.from_number(TODAY))
HOLDS, OVERRIDES = 50_000, 5_000
LARGE = ("day_usage", "slot_usage", "event", "app_user", "hold", "policy_override")


class Undone(Exception):
    """Ends a transaction of which nothing is to be kept."""


class Watched:
    """A session that notes what it was asked, with the values."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.remembered: dict[Any, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def all(self, sql: str, **values: Any) -> list[Line]:
        self.asked.append((sql, values))
        return self._session.all(sql, **values)

    def one(self, sql: str, **values: Any) -> Line | None:
        self.asked.append((sql, values))
        return self._session.one(sql, **values)

    def among(self, sql: str, keys: Any, **values: Any) -> list[Line]:
        one_key = re.sub(r"IN \$(point_)?keys", "IN (:key)", sql)
        self.asked += [(one_key, {**values, "key": key}) for key in keys[:1]]
        return self._session.among(sql, keys, **values)

    def run(self, sql: str, **values: Any) -> int:
        self.asked.append((sql, values))
        return self._session.run(sql, **values)

    def many(self, sql: str, lines: Any) -> None:
        self._session.many(sql, lines)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A ledger with a year of 2,800 users, filled past Tallyboard as fast as the engine can."""
    folder = tmp_path_factory.mktemp("plans") / "data"
    with closing(engines.open_on(folder)) as opened:
        migrate(opened)
        with opened.writing() as session:
            accounts.ensure_first(session, clock.now_us())
            _fill(session)
        with opened.writing() as session:
            session.run("ANALYZE")
        yield opened
    engines.drop(folder)


def _fill(session: Session) -> None:
    """Days come in their order, as they do in life; each user-day is one quarter hour."""
    numbers = "WITH RECURSIVE n (v) AS (SELECT CAST(:least AS $int) UNION ALL SELECT v + 1 FROM n WHERE v < :most)".replace(
        "$int", "integer" if engines.NAME == "sqlite" else "bigint"
    )
    session.run(
        f"INSERT INTO app_user (account_id, user_id, key) {numbers} SELECT 1, v, 'user-' || v FROM n",
        least=1,
        most=USERS,
    )
    span = {"least": TODAY - DAYS_KEPT + 1, "most": TODAY}
    session.run(
        f"""
        INSERT INTO day_usage (account_id, zone_version, user_id, day, units, events)
        {numbers} SELECT 1, 1, user_id, v, user_id * v, 1 FROM n CROSS JOIN app_user
        """,
        **span,
    )
    session.run(
        f"""
        INSERT INTO slot_usage (account_id, recent, slot, user_id, units, events, unrated)
        {numbers} SELECT 1, 0, v * 96 + user_id % 96, user_id, user_id * v, 1, 0 FROM n CROSS JOIN app_user
        """,
        **span,
    )
    key = "CAST(printf('%016d', v) AS blob)" if engines.NAME == "sqlite" else "convert_to(lpad(v::text, 16, '0'), 'UTF8')"
    session.run(
        f"INSERT INTO event {numbers} SELECT 1, 0, {key}, v, 1, v, v, 1, 1, '', '', '', '', '{{}}' FROM n",
        least=1,
        most=EVENTS,
    )
    session.run(
        f"""
        INSERT INTO hold {numbers} SELECT 1, 'hold-' || v, 'user-' || (v % 2800), 7, :now_us - v, :now_us + 900000000 + v,
               CASE WHEN v % 50 > 0 THEN :now_us END, CASE WHEN v % 50 > 0 THEN 'settled' END, 'test' FROM n
        """,
        least=1,
        most=HOLDS,
        now_us=clock.now_us(),
    )
    session.run(
        f"INSERT INTO policy_override {numbers} SELECT 1, 'user-' || v, 1, v, '', NULL, 0, CASE WHEN v > 2800 THEN 1 END, 'test' FROM n",
        least=1,
        most=OVERRIDES,
    )
    session.run("INSERT INTO day_total SELECT 1, 1, day, sum(units), sum(events), 0, 0 FROM day_usage GROUP BY day")


def plan(session: Session, sql: str, values: dict[str, Any]) -> str:
    """How the engine would find the rows of a statement."""
    if engines.NAME == "sqlite":
        return "\n".join(line[3] for line in session.all(f"EXPLAIN QUERY PLAN {sql}", **values))
    return "\n".join(line for (line,) in session.all(f"EXPLAIN {sql}", **values))


def scans(plan: str) -> list[str]:
    """The large tables that a plan reads from end to end."""
    whole = r"\bSCAN (\w+)(?! USING (?:PRIMARY KEY|INDEX \w+ \())" if engines.NAME == "sqlite" else r"Seq Scan on (\w+)"
    return [table for table in re.findall(whole, plan) if table in LARGE]


@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"], ids=["own zone", "what-if"])
@pytest.mark.parametrize("user", [None, "user-1234"], ids=["all users", "one user"])
def test_no_answer_reads_a_history_from_end_to_end(engine: Engine, zone: str | None, user: str | None) -> None:
    with engine.reading() as session:
        watched = Watched(session)
        report = answer(watched, 1, Question(WINDOW, user=user, timezone=zone), clock.now_us())
        assert report.units > 0
        assert len(watched.asked) >= 4
        plans = {sql: plan(session, sql, values) for sql, values in watched.asked}
    read = {sql: [table for table in scans(text) if table in {"day_usage", "slot_usage", "event"}] for sql, text in plans.items()}
    assert not any(read.values()), "\n\n".join(f"{sql}\n{plans[sql]}" for sql, tables in read.items() if tables)
    expected = "slot_usage" if zone else "day_usage"
    found = "\n".join(plans.values())
    index = f"{expected} USING PRIMARY KEY" if engines.NAME == "sqlite" else rf"{expected}_(pkey|window)"
    assert re.search(index, found), found


def test_what_every_request_asks_is_looked_up(engine: Engine) -> None:
    now_us = clock.now_us()
    with engine.writing() as session:
        watched = Watched(session)
        accounts.state(watched, 1, now_us)
        rollups.zone_of(watched, 1)
        keys.recognize(watched, "tb_nothing", now_us)
        members.recognize(watched, "nothing", now_us)
        find_on(watched, 1, 0, [b"0" * 16])
        watched.among("SELECT key, user_id FROM app_user WHERE account_id = :account_id AND key IN $point_keys", ["user-7"], account_id=1)
        lock(watched, 1)
        plans = {sql: plan(session, sql, values) for sql, values in watched.asked}
    assert len(plans) >= 6
    assert not any(scans(text) for text in plans.values()), plans


@pytest.mark.parametrize("rebuilt", [True, False], ids=["days at hand", "days being rebuilt"])
def test_what_a_limit_asks_is_looked_up(engine: Engine, rebuilt: bool) -> None:
    """A check and a hold, whatever the number of users, days, overrides and holds that have ended."""
    now_us = clock.now_us()
    with suppress(Undone), engine.writing() as session:
        if not rebuilt:
            session.run("UPDATE account SET zone_version = 2 WHERE account_id = 1")
        watched = Watched(session)
        standing = allowance.of_user(watched, 1, "user-1234", now_us)
        assert (standing.used, standing.origin) == (1234 * TODAY, Origin.OVERRIDE)
        (decision,), _ = holds.decide(watched, 1, [(Grant("hold-0", "nobody", 1, 60_000_000, "test"), None)], lambda: now_us)
        assert decision.fresh
        assert holds.of(watched, 1, "hold-7") is not None
        plans = {sql: plan(session, sql, values) for sql, values in watched.asked}
        assert len(plans) >= 5
        assert not any(scans(text) for text in plans.values()), plans
        raise Undone


def test_where_some_users_are_one_everything_is_looked_up_as_before(engine: Engine) -> None:
    """And where there are none, a check asks no more than before: the account's row says so."""
    now_us = clock.now_us()
    with suppress(Undone), engine.writing() as session:
        alone = Watched(session)
        allowance.of_user(alone, 1, "user-1234", now_us)
        answer(alone, 1, Question(WINDOW), now_us)
        assert not [sql for sql, _ in alone.asked if "alias_of" in sql]
        for user in range(1, 1_001):
            aliases.merge(session, 1, f"user-{user}", f"user-{1_001 + user % 500}", "test", now_us)
        watched = Watched(session)
        assert allowance.of_user(watched, 1, "user-3", now_us).used == (3 + 503 + 1_004) * TODAY
        report = answer(watched, 1, Question(WINDOW, top=1), now_us)
        assert report.user_count == USERS - 1_000
        answer(watched, 1, Question(WINDOW, user="user-3", timezone="Asia/Tokyo"), now_us)
        holds.decide(watched, 1, [(Grant("hold-0", "user-3", 1, 60_000_000, "test"), None)], lambda: now_us)
        plans = {sql: plan(session, sql, values) for sql, values in watched.asked}
        whole = {sql: text for sql, text in plans.items() if set(scans(text)) - {"app_user"}}
        assert not whole, whole
        of_aliases = [text for sql, text in plans.items() if "alias_of IN" in sql]
        assert of_aliases
        assert all("app_user_alias" in text for text in of_aliases), of_aliases
        raise Undone


def test_who_reached_a_limit_on_a_day_costs_a_look_at_each_user_not_at_each_day(engine: Engine) -> None:
    now_us = clock.now_us()
    with engine.reading() as session:
        watched = Watched(session)
        found = reach(watched, 1, ["user-1"], WINDOW.last, now_us)
        assert found is not None
        plans = [(sql, plan(session, sql, values)) for sql, values in watched.asked]
    assert not [sql for sql, text in plans if "day_usage" in scans(text)], plans


def test_the_reader_of_plans_knows_a_bad_one(engine: Engine) -> None:
    with engine.reading() as session:
        bad = plan(session, "SELECT sum(units) FROM day_usage WHERE events = 7", {})
        assert scans(bad) == ["day_usage"], bad
    with pytest.raises(Unavailable), engine.reading() as session:
        plan(session, "SELECT nothing FROM nowhere", {})


def test_the_engines_differ_only_where_they_say_so() -> None:
    assert sqlite.dialect("$heap_index x ON y (z)").startswith("--")
