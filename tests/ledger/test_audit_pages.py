"""The log read newest first, by who did what and when: the same lines as a plain filter finds, by an index, page after page."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from tallyboard.ledger import audit
from tallyboard.ledger.audit import Entry, Wanted
from tallyboard.ledger.contract import Engine, Line, Session
from tests import engines
from tests.ledger.books import CONTOSO, NORTHWIND, NOW_US, open_ledger

ACTORS, ACTIONS = ("alice", "bob", "key 1"), ("key.created", "override.set", "policy.changed")
LINES = 400
SOON_US = NOW_US + LINES


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Two accounts' logs, with several lines of one instant, and instants that go back a little."""
    folder: Path = tmp_path_factory.mktemp("log") / "data"
    ledger, chance = open_ledger(folder), Random(6)
    with ledger.writing() as session:
        for number in range(LINES):
            for account_id in (NORTHWIND, CONTOSO):
                at_us = NOW_US + number // 3 * 3 - chance.choice((0, 0, 0, 5))
                audit.note(session, account_id, chance.choice(ACTORS), chance.choice(ACTIONS), {"of": account_id}, at_us)
    ledger.close()
    with closing(engines.open_on(folder)) as opened:
        yield opened
    engines.drop(folder)


@pytest.mark.parametrize("action", [None, "override.set", "nothing"])
@pytest.mark.parametrize("actor", [None, "alice", "nobody"])
@pytest.mark.parametrize(("from_us", "until_us"), [(None, None), (NOW_US + 30, None), (None, NOW_US + 90), (NOW_US + 30, NOW_US + 90)])
@pytest.mark.parametrize("most", [7, 1_000])
def test_pages_hold_the_wanted_lines_once_and_newest_first(
    engine: Engine, action: str | None, actor: str | None, from_us: int | None, until_us: int | None, most: int
) -> None:
    with engine.reading() as session:
        expected = [
            line
            for line in audit.entries(session, NORTHWIND)
            if action in {None, line.action} and actor in {None, line.actor} and (from_us or 0) <= line.at_us < (until_us or 1 << 62)
        ]
        expected.sort(key=audit.place_of, reverse=True)
        assert _all_pages(session, Wanted(action, actor, from_us, until_us), most) == expected
        assert all(line.detail == '{"of":1}' for line in expected if line.action in ACTIONS)


def _all_pages(session: Session, wanted: Wanted, most: int) -> list[Entry]:
    found: list[Entry] = []
    while True:
        lines = audit.newest(session, NORTHWIND, wanted, audit.place_of(found[-1]) if found else None, most)
        found += lines
        if len(lines) < most:
            return found


def test_there_is_a_choice_of_every_action_and_actor(engine: Engine) -> None:
    with engine.reading() as session:
        actions, actors = audit.choices(session, NORTHWIND)
    assert (set(ACTIONS) <= set(actions), set(ACTORS) <= set(actors)) == (True, True)
    assert (actions, actors) == (sorted(set(actions)), sorted(set(actors)))


class Watched:
    """A session that notes what it was asked, with the values."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.asked: list[tuple[str, dict[str, object]]] = []

    def all(self, sql: str, **values: object) -> list[Line]:
        self.asked.append((sql, values))
        return self._session.all(sql, **values)  # type: ignore[arg-type]

    def one(self, sql: str, **values: object) -> Line | None:
        self.asked.append((sql, values))
        return self._session.one(sql, **values)  # type: ignore[arg-type]


@engines.embedded_only
@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), "audit_at"),
        (Wanted(from_us=1, until_us=SOON_US), "audit_at"),
        (Wanted(action="key.created"), "audit_action_at"),
        (Wanted(actor="bob", until_us=SOON_US), "audit_actor_at"),
        (Wanted(action="key.created", actor="bob"), "audit_actor_action_at"),
    ],
)
def test_a_page_is_one_stretch_of_an_index_without_sorting(engine: Engine, wanted: Wanted, index: str) -> None:
    with engine.reading() as session:
        watched = Watched(session)
        audit.newest(watched, NORTHWIND, wanted, (SOON_US, 7))  # type: ignore[arg-type]
        ((sql, values),) = watched.asked
        plan = " / ".join(str(line[-1]) for line in session.all(f"EXPLAIN QUERY PLAN {sql}", **values))  # type: ignore[arg-type]
    assert f"SEARCH audit USING INDEX {index} " in plan
    assert "at_us>? AND (at_us,audit_id)<(?,?)" in plan
    assert "TEMP B-TREE" not in plan


@engines.embedded_only
def test_a_choice_is_looked_up_by_steps_through_an_index(engine: Engine) -> None:
    with engine.reading() as session:
        watched = Watched(session)
        actions, actors = audit.choices(watched, NORTHWIND)  # type: ignore[arg-type]
        assert len(watched.asked) == len(actions) + len(actors) + 2
        for sql, values in watched.asked:
            plan = " / ".join(str(line[-1]) for line in session.all(f"EXPLAIN QUERY PLAN {sql}", **values))  # type: ignore[arg-type]
            assert "USING COVERING INDEX" in plan
