"""A copy is its source, row for row, on whichever engine; one that is not finished is used by nobody, and goes on."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from tallyboard import days
from tallyboard.errors import Invalid, NewerSchema, NotFound
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import append, arrivals, buckets, copying, counters, rollups
from tallyboard.ledger.arrivals import Kind, Note
from tallyboard.ledger.buckets import Bucket
from tallyboard.ledger.contract import Batch, Engine, Line, Outcome, Session
from tallyboard.ledger.copying import TABLES, Copied, copy
from tallyboard.ledger.counters import Reading
from tallyboard.ledger.migrate import migrate, migrations, version_of
from tallyboard.ledger.sqlite import SqliteEngine
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts, aliases, directory, identities, journey, keys, members, persons, scim, source_of_record, throttle
from tallyboard.people.directory import User
from tallyboard.people.identity import Identity
from tallyboard.people.keys import Scope
from tallyboard.people.members import Role
from tallyboard.policy import holds, overrides, policy
from tallyboard.policy.holds import End, Ending, Grant
from tallyboard.policy.overrides import Wanted
from tallyboard.settings import OpenId
from tests import engines
from tests.ledger.books import AT_US, CHARGER, CONTOSO, NORTHWIND, NOW_US, Books, Sent, hash_of, open_ledger, result

PROVIDER = OpenId("https://id.example.com", "tallyboard", "", "ID", "openid", frozenset(), False, "", frozenset())
DAY_US = 86_400_000_000
Contents = dict[str, list[Line]]
Open = Callable[[str], Engine]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows fill a shelf, and a transaction of the copy."""
    monkeypatch.setattr(append, "SHELF_EVENTS", 15)
    monkeypatch.setattr(copying, "TABLES", tuple(replace(table, rows_at_once=min(table.rows_at_once, 17)) for table in TABLES))


@pytest.fixture
def opened(folder: Path) -> Iterator[Open]:
    """Opens the ledger of a folder by name on the engine of this run, `plain …` on SQLite; closed when the test ends."""
    held: list[tuple[Path, Engine]] = []

    def opens(name: str) -> Engine:
        path = folder.with_name(name)
        held.append((path, SqliteEngine(path) if name.startswith("plain") else engines.open_on(path)))
        return held[-1][1]

    yield opens
    for path, engine in held:
        engine.close()
        engines.drop(path)


def usage(account_id: int, sent: list[Sent]) -> Batch:
    """Events of the last days, through the real intake."""
    items = []
    for source, name, user, amount in sent:
        data = {"conversations": amount, "response_id": name, **({"reason": "counted twice"} if amount < 0 else {})}
        time = days.instant(AT_US - hash_of(name) % 9 * DAY_US).isoformat()
        items.append(CloudEvent("1.0", name, source, "ai.usage.recorded", user, time, data))
    return Batch(account_id, accept(items, Sender(may_adjust=True), CHARGER, NOW_US).entries, NOW_US, "test")


def sent(chance: Random, count: int) -> list[Sent]:
    """Events with all kinds of texts, some of them corrections."""
    users = ["alice", "bob", "zoë", "李", "=1+1"]
    return [
        (f"/{chance.choice('ab')}", f"é{chance.randrange(10**9)}", chance.choice(users), chance.choice([1, 2, 600, -1]))
        for _ in range(count)
    ]


def take(ledger: Writer, books: Books, account_id: int, events: list[Sent]) -> None:
    assert result(ledger.append(usage(account_id, events))) == books.expect(account_id, events)


def fill(folder: Path) -> Books:
    """Two accounts with everything there is: one in the middle of a rebuild, one before its old days are swept away."""
    ledger, books, chance = open_ledger(folder), Books(), Random(4)
    ledger.change(lambda session: directory.name_user(session, NORTHWIND, User("later", None, None))).result()
    for _ in range(12):
        for account_id in (NORTHWIND, CONTOSO):
            take(ledger, books, account_id, sent(chance, 13))
    ledger.change(people).result()
    ledger.change(limits).result()
    ledger.change(counted).result()
    for account_id, zone, steps in ((NORTHWIND, "America/New_York", 4), (CONTOSO, "Asia/Kathmandu", 10)):
        ledger.change(lambda session, of=account_id, to=zone: accounts.change(session, of, "test", NOW_US, timezone=to)).result()
        for _ in range(steps):
            assert ledger.change(lambda session, of=account_id: rollups.rebuild_some(session, of)).result()
    with ledger.reading() as session:
        assert set(rollups.left_to_do(session)) == {NORTHWIND, CONTOSO}
        assert session.all("SELECT zone_version - days_version FROM account ORDER BY account_id") == [(1,), (0,)]
    ledger.close()
    return books


def people(session: Session) -> None:
    """Names, colours, keys, members, links and sessions, each with and without what may be left out."""
    for account_id in (NORTHWIND, CONTOSO):
        directory.name_user(session, account_id, User("alice", "alice@example.com", "Alice"))
        directory.name_user(session, account_id, User("new", None, "Who comes later"))
        source_of_record.choose_for(session, account_id, "new", "litellm", "test", NOW_US)
        directory.name_user(session, account_id, User("alice's laptop", None, None))
        aliases.merge(session, account_id, "alice's laptop", "alice", "test", NOW_US)
        session.run("UPDATE app_user SET colour = 3, visible_day = 20000 WHERE account_id = :id AND key = 'bob'", id=account_id)
        for user, expires_days in (("bob", None), (None, 30)):
            _, key = keys.create(
                session, account_id, "app", frozenset({Scope.INGEST}), "test", NOW_US, user=user, expires_days=expires_days
            )
        keys.revoke(session, account_id, key.id, "test", NOW_US)
        alice = members.add(session, account_id, f"alice@{account_id}.example", Role.ADMIN, "test", NOW_US)
        members.invite(session, alice, NOW_US)
        assert members.sign_in(session, members.invite(session, alice, NOW_US), NOW_US, "Firefox on Linux")
        members.keep_password(session, alice, "$argon2id$")
        persons.part(session, members.add(session, account_id, f"parted@{account_id}.example", Role.MEMBER, "test", NOW_US), "$argon2id$")
        scim.create(session, account_id, scim.User(user_name="eve@scim.example", external_id="e1"), "test", NOW_US)
        scim.create(session, account_id, scim.User(user_name="nobody's email"), "test", NOW_US)
        known = Identity("https://id.example.com", f"subject ✗ {account_id}", alice.email, True, None)
        identities.member_of(session, known, PROVIDER, NOW_US)
        identities.spend(session, journey.begin("/usage", NOW_US), NOW_US)
        throttle.take(session, (throttle.of_email(alice.email), throttle.of_address("::1")), NOW_US)
        accounts.set_card(session, account_id, accounts.card_of(session, account_id)[1] + "# ✓\n", "test", NOW_US)


def counted(session: Session) -> None:
    """Cumulative counters, and lines of reports."""
    for account_id in (NORTHWIND, CONTOSO):
        lines = [Bucket(bytes(16), user, bytes([number]) * 16, bytes(16), NOW_US, 1, "{}", NOW_US) for number, user in enumerate("aé")]
        buckets.keep(session, account_id, lines)
        counters.advance(session, account_id, [Reading(bytes([number]) * 16, NOW_US, NOW_US, number) for number in range(3)], NOW_US)


def limits(session: Session) -> None:
    """Limits with and without an end, holds that are outstanding and that have ended, and what was the matter with events."""
    for account_id in (NORTHWIND, CONTOSO):
        arrivals.note(session, account_id, [Note(Kind.REFUSED, "key 1", "bad_time", "", 2, NOW_US, "no time ✗")])
        for default_units in (None, 0, 600_000_000_000):
            timezone = policy.of(session, account_id).timezone
            policy.change(session, account_id, "test", NOW_US, default_units=default_units, timezone=timezone)
        for units, expires_us in ((None, None), (7, NOW_US + DAY_US)):
            overrides.put(session, account_id, [Wanted("zoë", units, "because", expires_us)], "test", NOW_US)
        grants: list[tuple[holds.Request, Outcome | None]] = [(Grant(f"{n}", "zoë", 1, DAY_US, "test"), None) for n in range(3)]
        decisions, _ = holds.decide(session, account_id, [*grants, (End("0", Ending.SETTLED), None)], lambda: NOW_US)
        assert [decision.fresh for decision in decisions] == [True, True, True, False]
        holds.decide(session, account_id, [(End("0", Ending.SETTLED), None)], lambda: NOW_US)


def contents(engine: Engine) -> Contents:
    """Every row of every table, and the schema."""
    with engine.reading() as session:
        held = {
            table.name: session.all(f"SELECT {', '.join(table.columns)} FROM {table.name} ORDER BY {', '.join(table.key)}")
            for table in TABLES
        }
        return held | {"schema_version": session.all("SELECT version, needs FROM schema_version")}


def copied(source: Engine, target: Engine) -> Copied:
    return copy(source, target, lambda *_: None)


class Dying:
    """An engine whose process is killed when it begins one transaction too many."""

    def __init__(self, engine: Engine, transactions: int) -> None:
        self._engine = engine
        self._left = transactions

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        with self._engine.writing() as session:
            yield session


def killed(source: Engine, target: Engine, transactions: int) -> bool:
    """Copy with a process that dies after some transactions; whether it died before it had finished."""
    try:
        copied(source, Dying(target, transactions))  # type: ignore[arg-type]
    except KeyboardInterrupt:
        return True
    return False


def test_every_table_and_column_is_copied(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path)
    migrate(engine)
    with engine.reading() as session:
        there = {
            name: session.all("SELECT name, pk FROM pragma_table_info(:name) ORDER BY cid", name=name)
            for (name,) in session.all("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
            if name != "schema_version"
        }
    engine.close()
    assert {table.name: set(table.columns) for table in TABLES} == {name: {column for column, _ in found} for name, found in there.items()}
    in_key = {name: tuple(column for column, pk in sorted(found, key=lambda each: each[1]) if pk) for name, found in there.items()}
    assert {table.name: table.key for table in TABLES} == in_key


def test_there_and_back_every_row_is_the_same(folder: Path, opened: Open) -> None:
    fill(folder)
    source, there, back = opened("data"), opened("plain there"), opened("back")
    before = contents(source)
    rows = {name: len(lines) for name, lines in before.items() if name != "schema_version"}
    assert all(rows.values())
    assert copied(source, there) == Copied(rows, 0, False)
    assert contents(there) == before
    assert copied(there, back) == Copied(rows, 0, False)
    assert contents(back) == contents(source) == before


def test_intake_goes_on_exactly_in_the_copy(folder: Path, opened: Open) -> None:
    books = fill(folder)
    copied(opened("data"), opened("plain there"))
    copied(opened("plain there"), opened("back"))
    for name in ("plain there", "back"):
        ledger, kept, chance = Writer(opened(name)), Books(), Random(7)
        kept.events |= books.events
        for account_id in (NORTHWIND, CONTOSO):
            before = [
                (source, event, user, amount) for (owner, source, event), (user, amount) in books.events.items() if owner == account_id
            ]
            for start in range(0, len(before), 50):
                take(ledger, kept, account_id, before[start : start + 50] + sent(chance, 20))
        for account_id in (NORTHWIND, CONTOSO):
            while ledger.change(lambda session, of=account_id: rollups.rebuild_some(session, of)).result():
                take(ledger, kept, account_id, sent(chance, 5))
        check(ledger, kept)
        ledger.close()


def check(ledger: Writer, books: Books) -> None:
    """Rollups agree with the events, and the events with the books."""
    with ledger.reading() as session:
        for account_id in (NORTHWIND, CONTOSO):
            units = sum(amount * 1_000_000 for (owner, _, _), (_, amount) in books.events.items() if owner == account_id)
            events = sum(owner == account_id for owner, _, _ in books.events)
            assert rollups.reconcile(session, account_id) == []
            assert rollups.totals(session, account_id) == (events, units)


def test_a_copy_that_is_killed_again_and_again_goes_on(folder: Path, opened: Open) -> None:
    fill(folder)
    source, target = opened("data"), opened("plain there" if engines.NAME != "sqlite" else "there")
    deaths = 0
    while killed(source, target, len(migrations()) + 2):  # Each migration is a transaction of the first try.
        deaths += 1
        with target.reading() as session, pytest.raises(NewerSchema, match="has not finished"):
            version_of(session)
    assert deaths > 3
    assert contents(target) == contents(source)


@pytest.mark.parametrize("transactions", [0, 1, 2, 30])
def test_a_killed_copy_is_used_by_nobody_and_tells_what_it_found(folder: Path, opened: Open, transactions: int) -> None:
    fill(folder)
    source, target = opened("plain source"), opened("there")
    copied(opened("data"), source)
    with pytest.raises(KeyboardInterrupt):
        copied(source, Dying(target, len(migrations()) + transactions))  # type: ignore[arg-type]
    if transactions:
        with pytest.raises(NewerSchema, match="has not finished"):
            migrate(target)
        with pytest.raises(Invalid, match="has not finished"):
            copied(target, opened("another"))
    done = copied(source, target)
    assert (done.rows_found > 0) == (transactions > 1)
    assert contents(target) == contents(source)


def test_a_killed_copy_starts_over_where_the_source_has_changed(folder: Path, opened: Open) -> None:
    """Whatever changed: usage, or only who may sign in."""
    books = fill(folder)
    source, target, chance = opened("data"), opened("plain there"), Random(8)
    assert killed(source, target, 30)
    ledger = open_ledger(folder)
    take(ledger, books, NORTHWIND, sent(chance, 1))
    assert killed(source, target, 30)
    assert contents(target)["account"] == contents(source)["account"]
    with ledger.writing() as session:
        session.run("UPDATE api_key SET revoked_us = 1 WHERE revoked_us IS NULL")
    ledger.close()
    assert copied(source, target).rows_found == 0
    assert contents(target) == contents(source)


def test_what_is_written_to_the_source_meanwhile_is_told_and_not_in_the_copy(folder: Path, opened: Open) -> None:
    books = fill(folder)
    source, target = opened("data"), opened("plain there")
    before = contents(source)
    ledger, chance = open_ledger(folder), Random(8)

    def write(doing: str, *_: int) -> None:
        if doing == "Copying":
            take(ledger, books, CONTOSO, sent(chance, 3))

    done = copy(source, target, write)
    ledger.close()
    assert done.source_changed
    assert contents(target) == before != contents(source)


DAMAGE = {
    "DELETE FROM event WHERE account_id = 2 AND shelf = 1": "event has",
    "UPDATE event SET units = units + 1 WHERE account_id = 2 AND shelf = 1": "event has",
    "UPDATE slot_usage SET units = units + 1 WHERE account_id = 2": "slot_usage of account 2",
    "UPDATE day_usage SET units = units + 1 WHERE account_id = 2 AND zone_version = 2": "day_usage of account 2",
    "UPDATE day_total SET events = 0 WHERE account_id = 2 AND zone_version = 2": "day_total of account 2",
    "UPDATE api_key SET revoked_us = NULL": "api_key holds other rows",
    "DELETE FROM seen_filter WHERE account_id = 1": "seen_filter has",
}


def test_a_copy_that_is_not_equal_fails_is_not_used_and_starts_over(folder: Path, opened: Open) -> None:
    fill(folder)
    source, target = opened("data"), opened("plain there")
    for damage, named in DAMAGE.items():

        def spoil(doing: str, *_: int, damage: str = damage) -> None:
            if doing == "Checking the copy":
                with target.writing() as session:
                    assert session.run(damage)

        with pytest.raises(Invalid, match=named):
            copy(source, target, spoil)
        with pytest.raises(NewerSchema):
            migrate(target)
    assert copied(source, target).rows_found == 0
    assert contents(target) == contents(source)


def test_what_is_in_the_way_of_a_row_is_named(folder: Path, opened: Open) -> None:
    """A server that was left running on the target gives a user's number to somebody else."""
    fill(folder)
    source, target = opened("data"), opened("plain there")
    taken = iter([True])

    def take_a_number(doing: str, *_: int) -> None:
        if doing == "Copying" and next(taken, False):
            with target.writing() as session:
                session.run("INSERT INTO app_user (account_id, user_id, key) VALUES (1, 2, 'mallory')")

    with pytest.raises(Invalid, match="equal: app_user "):
        copy(source, target, take_a_number)
    copied(source, target)
    assert contents(target) == contents(source)


def test_of_two_copies_into_the_same_target_one_stops(folder: Path, opened: Open) -> None:
    fill(folder)
    source, target = opened("data"), opened("plain there")
    others = iter([opened("plain there")])

    def copy_too(doing: str, done: int, of: int) -> None:
        if doing == "Copying" and done > of // 2:
            for other in others:
                copied(source, other)

    with pytest.raises(Invalid, match="another copy"):
        copy(source, target, copy_too)
    assert contents(target) == contents(source)


def test_a_source_that_does_not_reconcile_is_not_copied(folder: Path, opened: Open) -> None:
    fill(folder)
    engines.look(folder, "UPDATE slot_usage SET units = units + 7 WHERE account_id = 2")
    with pytest.raises(Invalid, match="in the source slot_usage of account 2"):
        copied(opened("data"), opened("plain there"))


# What may be copied over


def started(engine: Engine) -> AbstractContextManager[Session]:
    """A ledger as the first start of a server leaves it, somebody having signed in."""
    migrate(engine)
    with engine.writing() as session:
        accounts.ensure_first(session, NOW_US)
        admin = members.ensure_admin(session, accounts.FIRST_ACCOUNT_ID, NOW_US)
        members.invite(session, admin, NOW_US)
        assert members.sign_in(session, members.invite(session, admin, NOW_US), NOW_US)
    return engine.writing()


def test_what_a_first_start_leaves_is_copied_over(folder: Path, opened: Open) -> None:
    fill(folder)
    source, between, target = opened("data"), opened("plain there"), opened("back")
    for engine in (between, target):
        with started(engine):
            pass
    copied(source, between)
    copied(between, target)
    assert contents(target) == contents(source)


USES: dict[str, Callable[[Session], object]] = {
    "app_user 1": lambda session: directory.name_user(session, 1, User("alice", None, None)),
    "api_key 1": lambda session: keys.create(session, 1, "app", frozenset({Scope.INGEST}), "test", NOW_US),
    "member 2": lambda session: members.add(session, 1, "bob@example.com", Role.MEMBER, "test", NOW_US),
    "rate_card 2": lambda session: accounts.set_card(session, 1, accounts.card_of(session, 1)[1], "setup", NOW_US),
    "audit 4": lambda session: accounts.change(session, 1, "test", NOW_US, name="Northwind"),
    "account 2": lambda session: session.run(
        "INSERT INTO account (account_id, name, timezone, zone_version, days_version, revision, user_count, shelf, shelf_events, created_us) "
        "VALUES (2, 'Contoso', 'UTC', 1, 1, 1, 0, 0, 0, 0)"
    ),
}


@pytest.mark.parametrize("found", USES)
@pytest.mark.parametrize("name", ["plain there", "back"])
def test_what_anybody_has_used_is_not_copied_over(folder: Path, opened: Open, name: str, found: str) -> None:
    open_ledger(folder).close()
    target = opened(name)
    with started(target) as session:
        USES[found](session)
    before = contents(target)
    with pytest.raises(Invalid, match=rf"in use \(rows: .*\b{found}\b"):
        copied(opened("data"), target)
    assert contents(target) == before


def test_a_ledger_with_usage_is_not_copied_over_not_even_by_the_same(folder: Path, opened: Open) -> None:
    fill(folder)
    source, target = opened("data"), opened("plain there")
    copied(source, target)
    with pytest.raises(Invalid, match=r"in use \(rows: account 2, .*event 312"):
        copied(source, target)
    assert contents(target) == contents(source)


def test_an_unfinished_copy_of_another_ledger_is_left_alone(folder: Path, opened: Open) -> None:
    fill(folder)
    another = opened("plain another")
    migrate(another)
    with another.writing() as session:
        accounts.ensure_first(session, NOW_US + 1)
    target = opened("there")
    assert killed(opened("data"), target, 30)
    before = contents(target)
    with pytest.raises(Invalid, match="another ledger"):
        copied(another, target)
    assert contents(target) == before


def test_a_ledger_is_not_copied_onto_itself(folder: Path, opened: Open) -> None:
    """Nor is an empty one, which could be copied over."""
    open_ledger(folder).close()
    before = contents(opened("data"))
    with pytest.raises(Invalid, match="the same ledger"):
        copied(opened("data"), opened("data"))
    assert contents(opened("data")) == before


@pytest.mark.parametrize("side", ["source", "target"])
def test_another_schema_is_refused(folder: Path, opened: Open, monkeypatch: pytest.MonkeyPatch, side: str) -> None:
    """A newer one even where it lets this version write: it may hold what this one does not know."""
    open_ledger(folder).close()
    ready, other = opened("data"), opened("plain there")
    with started(other):
        pass
    source, target = (other, ready) if side == "source" else (ready, other)
    with monkeypatch.context() as patch:
        known = copying.migrations()
        with ready.writing() as session:
            session.run("INSERT INTO schema_version (version, needs) VALUES (:version, 1)", version=len(known) + 1)
        patch.setattr(copying, "migrations", lambda: [*known, *known[:1]])
        with pytest.raises(Invalid, match=f"schema of the {side} is old"):
            copied(source, target)
    with other.writing() as session:
        session.run("INSERT INTO schema_version (version, needs) VALUES (99, 1)")
    with ready.writing() as session:
        session.run("DELETE FROM schema_version WHERE version = :version", version=len(known) + 1)
    with pytest.raises(NewerSchema, match=f"the {side} was written by a newer Tallyboard"):
        copied(source, target)


def test_a_source_without_a_ledger_is_told(opened: Open) -> None:
    with pytest.raises(NotFound, match="no ledger"):
        copied(opened("data"), opened("plain there"))
