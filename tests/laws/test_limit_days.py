"""A limit's day is the chart's day: they agree at every midnight, on short and long days, and right after the zone was changed.

Every change counts at the very next check, also where the server has just answered the same check from memory.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from tests import engines
from tests.conftest import Server, event, tallyboard, wait_until

from tallyboard import clock, days
from tallyboard.days import DayRange
from tallyboard.intake.accept import Sender, accept
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Batch
from tallyboard.ledger.migrate import migrate
from tallyboard.ledger.writer import Writer
from tallyboard.people import accounts
from tallyboard.policy import allowance, holds, policy
from tallyboard.policy.holds import Decision, End, Ending, Grant
from tallyboard.policy.limits import Standing
from tallyboard.rates import card
from tallyboard.rates.charge import Charger
from tallyboard.usage.question import Question, answer

ACCOUNT = accounts.FIRST_ACCOUNT_ID
CONVERSATION = 1_000_000
HOUR_US = 3_600_000_000
LIMIT = 100 * CONVERSATION
CHARGER = Charger(card.read(card.default_text()))
DAYS = [
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ("Australia/Lord_Howe", "2026-10-04", 23.5),
    ("Pacific/Chatham", "2026-04-05", 25),
    ("Pacific/Chatham", "2026-09-27", 23),
    ("Asia/Kathmandu", "2026-11-22", 24),
    ("UTC", "2026-11-22", 24),
]
"""Zone, a day in it, and the day's hours."""
OTHERS = {"America/New_York": "Asia/Kathmandu", "Asia/Kathmandu": "America/New_York"}


class Account:
    """A ledger whose clock is moved by the test."""

    def __init__(self, folder: Path) -> None:
        engine = engines.open_on(folder)
        migrate(engine)
        with engine.writing() as session:
            accounts.ensure_first(session, 0)
        self.now_us = 0
        self.sent = 0
        self.ledger = Writer(
            engine, lambda session, account_id, requests: holds.decide(session, account_id, requests, lambda: self.now_us)[0]
        )

    def move(self, zone: str, default_units: int | None = LIMIT) -> None:
        with self.ledger.writing() as session:
            policy.change(session, ACCOUNT, "test", self.now_us, default_units=default_units, timezone=zone)

    def rebuild(self) -> None:
        while self.ledger.change(lambda session: rollups.rebuild_some(session, ACCOUNT)).result(30):
            pass

    def use(self, at_us: int, conversations: int, source: str = "/test") -> Batch:
        """An event of Bob's, kept; its batch."""
        self.sent += 1
        data = {"conversations": conversations}
        item = CloudEvent("1.0", f"{self.sent}", source, "ai.usage.recorded", "bob", days.instant(at_us).isoformat(), data)
        accepted = accept([item], Sender(), CHARGER, max(self.now_us, at_us))
        assert not accepted.refused
        return Batch(ACCOUNT, accepted.entries, self.now_us, "test")

    def keep(self, at_us: int, conversations: int) -> None:
        assert self.ledger.append(self.use(at_us, conversations)).result(30).accepted == 1

    def hold(self, name: str, conversations: int, ttl_us: int = HOUR_US) -> Decision:
        return self.ledger.decide(ACCOUNT, Grant(name, "bob", conversations * CONVERSATION, ttl_us, "test")).result(30)

    def settle(self, name: str, granted_us: int, conversations: int) -> Decision:
        return self.ledger.decide(ACCOUNT, End(name, Ending.SETTLED), self.use(granted_us, conversations, "urn:tallyboard:hold")).result(30)

    def look(self) -> Standing:
        """How Bob stands now: the chart's today says the same, and rollups equal events."""
        with self.ledger.reading() as session:
            standing = allowance.of_user(session, ACCOUNT, "bob", self.now_us)
            report = answer(session, ACCOUNT, Question(DayRange(standing.day, standing.day), user="bob"), self.now_us)
            assert rollups.reconcile(session, ACCOUNT) == []
        assert (report.days[0].units, report.days[0].ends_at_us) == (standing.used, standing.resets_us)
        assert report.days[0].starts_at_us <= self.now_us < report.days[0].ends_at_us
        assert not report.days[0].complete
        return standing

    def charted(self, day: date) -> int:
        with self.ledger.reading() as session:
            return answer(session, ACCOUNT, Question(DayRange(day, day), user="bob"), self.now_us).units


@pytest.fixture
def account(folder: Path) -> Iterator[Account]:
    opened = Account(folder)
    yield opened
    opened.ledger.close()


def bounds(zone: str, day: date) -> tuple[int, int]:
    """First instant of a day and of the next, by the definition."""
    starts, ends = (datetime(each.year, each.month, each.day, tzinfo=ZoneInfo(zone)) for each in (day, day + timedelta(days=1)))
    return days.instant_us(starts), days.instant_us(ends)


@pytest.mark.parametrize(("zone", "text", "hours"), DAYS, ids=str)
@pytest.mark.parametrize("path", ["days", "slots", "rebuilt"])
def test_limit_chart_and_reset_agree_at_midnight(account: Account, zone: str, text: str, hours: float, path: str) -> None:
    """A microsecond before and after midnight an event lands on its day, from the day table and from the slots."""
    day = date.fromisoformat(text)
    starts_us, ends_us = bounds(zone, day)
    assert (ends_us - starts_us) / HOUR_US == hours
    account.now_us = starts_us - HOUR_US
    account.move(zone if path == "days" else OTHERS.get(zone, "Asia/Kathmandu"))
    account.rebuild()
    for at_us, conversations in ((starts_us - 1, 1), (starts_us, 10), (ends_us - 1, 20), (ends_us, 40)):
        account.keep(at_us, conversations)
    if path != "days":
        account.now_us = starts_us + int(hours * HOUR_US / 2)
        account.move(zone)
    if path == "rebuilt":
        account.rebuild()
    expected = {starts_us - 1: (1, -1, starts_us), starts_us: (30, 0, ends_us), ends_us - 1: (30, 0, ends_us), ends_us: (40, 1, None)}
    for now_us, (conversations, offset, resets_us) in expected.items():
        account.now_us = now_us
        standing = account.look()
        assert (standing.used, standing.day) == (conversations * CONVERSATION, day + timedelta(days=offset))
        assert resets_us is None or standing.resets_us == resets_us
        assert account.charted(day) == 30 * CONVERSATION


@pytest.mark.parametrize(("zone", "text"), [each[:2] for each in DAYS], ids=str)
@pytest.mark.parametrize("moved", [False, True], ids=["same zone", "zone changed meanwhile"])
def test_a_hold_granted_before_midnight_and_settled_after_stays_on_its_day(account: Account, zone: str, text: str, moved: bool) -> None:
    day = date.fromisoformat(text)
    starts_us, ends_us = bounds(zone, day)
    account.now_us = starts_us + HOUR_US
    account.move(zone)
    account.rebuild()
    account.now_us = ends_us - 1
    assert account.hold("1", 60).fresh
    assert not account.hold("2", 41).fresh
    assert account.hold("3", 40).fresh
    account.now_us = ends_us
    assert (account.look().held, account.look().used) == (0, 0)
    assert account.hold("4", 100).fresh
    if moved:
        account.move(OTHERS.get(zone, "Asia/Kathmandu"))
        account.move(zone)
    settled = account.settle("1", ends_us - 1, 55)
    assert settled.standing is not None
    assert (settled.standing.used, settled.standing.held) == (0, 100 * CONVERSATION)
    assert account.charted(day) == 55 * CONVERSATION
    account.rebuild()
    assert account.charted(day) == 55 * CONVERSATION
    account.now_us = ends_us - 1
    assert (account.look().used, account.look().held) == (55 * CONVERSATION, 40 * CONVERSATION)


def test_a_zone_change_in_the_middle_of_a_day_moves_used_held_and_reset_together(account: Account) -> None:
    """What was held and used before the new midnight no longer counts; back in the old zone it does again."""
    noon_us = days.instant_us(datetime(2026, 11, 22, 12, tzinfo=UTC))
    account.now_us = noon_us
    account.move("UTC")
    account.keep(noon_us, 30)
    assert account.hold("1", 70, 20 * HOUR_US).fresh
    account.now_us = noon_us + 4 * HOUR_US
    for zone, expected in (("Asia/Tokyo", (0, 0, date(2026, 11, 23))), ("UTC", (30, 70, date(2026, 11, 22)))) * 2:
        account.move(zone)
        for _ in range(2):
            standing = account.look()
            assert (standing.used // CONVERSATION, standing.held // CONVERSATION, standing.day) == expected
            assert standing.fits(LIMIT) == (zone == "Asia/Tokyo")
            account.rebuild()


def checked(server: Server) -> int:
    """The status of the very next check; before it, the server had any number of times to remember the last one."""
    return server.request("POST", "/api/v1/check", "check", json={"user": "bob"}).status_code


def warm(server: Server, status: int) -> None:
    assert [checked(server) for _ in range(5)] == [status] * 5


def put_policy(server: Server, **change: object) -> None:
    tag = server.request("GET", "/api/v1/policy", "read").headers["etag"]
    answered = server.request("PUT", "/api/v1/policy", "admin", json=change, headers={"If-Match": tag})
    assert answered.status_code == 200, answered.text


def instant(us: int) -> str:
    return days.instant(us).isoformat()


SET_LIMIT: dict[str, Callable[[Server, str], object]] = {
    "API": lambda server, limit: put_policy(server, default_limit=None if limit == "unlimited" else {"credits": limit}),
    "command line": lambda server, limit: tallyboard("policy", "set", "--limit", limit, data=server.folder, **server.variables),
}
SET_OVERRIDE: dict[str, Callable[[Server, str], object]] = {
    "API": lambda server, limit: server.request(
        "PUT", "/api/v1/policy/overrides/bob", "admin", json={"limit": None if limit == "unlimited" else {"credits": limit}}
    ).raise_for_status(),
    "command line": lambda server, limit: tallyboard("user", "override", "bob", "--limit", limit, data=server.folder, **server.variables),
}
REMOVE_OVERRIDE: dict[str, Callable[[Server], object]] = {
    "API": lambda server: server.request("DELETE", "/api/v1/policy/overrides/bob", "admin").raise_for_status(),
    "command line": lambda server: tallyboard("user", "override", "bob", "--remove", data=server.folder, **server.variables),
}
SET_ZONE: dict[str, Callable[[Server, str], object]] = {
    "API": lambda server, zone: put_policy(server, timezone=zone),
    "command line": lambda server, zone: tallyboard("account", "set", "--timezone", zone, data=server.folder, **server.variables),
}


@pytest.mark.parametrize("way", SET_LIMIT)
def test_a_limit_lowered_or_raised_counts_at_the_very_next_check(server: Server, way: str) -> None:
    server.send(event("1", "bob", time=instant(clock.now_us()), conversations=600))
    warm(server, 200)
    for limit, status in (("1", 429), ("1.00000001", 200), ("0.5", 429), ("unlimited", 200), ("0", 429), ("2", 200)):
        SET_LIMIT[way](server, limit)
        assert checked(server) == status
        warm(server, status)


@pytest.mark.parametrize("way", SET_OVERRIDE)
def test_an_override_counts_at_the_very_next_check(server: Server, way: str) -> None:
    server.send(event("1", "bob", time=instant(clock.now_us()), conversations=600))
    put_policy(server, default_limit={"credits": "1"})
    warm(server, 429)
    for limit, status in (("2", 200), ("0.5", 429), ("unlimited", 200)):
        SET_OVERRIDE[way](server, limit)
        assert checked(server) == status
        warm(server, status)
    REMOVE_OVERRIDE[way](server)
    assert checked(server) == 429


def test_an_override_that_expires_no_longer_counts_at_the_very_next_check(server: Server) -> None:
    """Nothing is written when it expires: the clock alone makes what was remembered wrong."""
    put_policy(server, default_limit={"credits": "1"})
    server.keys["check"], server.keys["admin"]
    expires_us = clock.now_us() + 2_000_000
    answered = server.request(
        "PUT", "/api/v1/policy/overrides/bob", "admin", json={"limit": {"units": 0}, "expires_at": instant(expires_us)}
    )
    assert answered.json()["in_force"] is True
    seen = [(checked(server), clock.now_us()) for _ in range(5)]
    assert {status for status, at_us in seen if at_us < expires_us} <= {429}
    wait_until(lambda: clock.now_us() >= expires_us, "it expires")
    assert checked(server) == 200
    left = server.request("GET", "/api/v1/policy/overrides/bob", "read")
    assert left.status_code == 404 or left.json()["in_force"] is False  # Housekeeping ends what has expired, sooner or later.


def test_a_hold_that_expires_no_longer_counts_at_the_very_next_check(server: Server) -> None:
    put_policy(server, default_limit={"units": 10})
    held = server.request("POST", "/api/v1/holds", "check", json={"user": "bob", "units": 10, "ttl_s": 1})
    assert held.status_code == 201
    expires_us = days.instant_us(datetime.fromisoformat(held.json()["expires_at"])) + 1_000  # It is shown in milliseconds.
    seen = [(checked(server), clock.now_us()) for _ in range(5)]
    assert {status for status, at_us in seen if at_us < expires_us - 1_000} <= {429}
    wait_until(lambda: clock.now_us() >= expires_us, "it expires")
    assert checked(server) == 200


@pytest.mark.parametrize("way", SET_ZONE)
def test_a_zone_change_counts_at_the_very_next_check_for_limit_chart_and_reset(server: Server, way: str) -> None:
    """Usage of some hours ago is of today in one zone and of yesterday in the other; so it is before and after the rebuild."""
    now_us = clock.now_us()
    used_us = now_us - 9 * HOUR_US
    late, early = _zone_at(now_us, 16), _zone_at(now_us, 4)
    put_policy(server, default_limit={"credits": "1"}, timezone=early)
    server.send(event("1", "bob", time=instant(used_us), conversations=600))
    warm(server, 200)
    for _ in range(2):
        for zone, status, units in ((late, 429, 600 * CONVERSATION), (early, 200, 0)):
            SET_ZONE[way](server, zone)
            assert checked(server) == status
            for _ in range(2):
                told = server.request("GET", "/api/v1/users/bob/allowance", "check").json()
                today = server.usage(window="7", user="bob")["days"][-1]
                assert told["used"]["units"] == today["units"] == units
                assert told["day"] == today["day"]
                assert told["resets_at"].removesuffix(".000Z") == today["ends_at"].removesuffix("Z")
                rebuilt = "SELECT count(*) FROM account WHERE days_version < zone_version"
                wait_until(lambda rebuilt=rebuilt: engines.look(server.folder, rebuilt) == [(0,)], "its days are rebuilt")
    tallyboard("reconcile", data=server.folder)


def test_in_refusals_the_seconds_lead_to_the_reset(server: Server) -> None:
    put_policy(server, default_limit={"units": 0}, timezone="Australia/Lord_Howe")
    before_us = clock.now_us()
    refused = server.request("POST", "/api/v1/check", "check", json={"user": "bob"})
    after_us = clock.now_us()
    resets_us = days.ends_at_us(before_us, days.zone("Australia/Lord_Howe"))
    seconds = int(refused.headers["retry-after"])
    assert before_us + (seconds - 1) * 1_000_000 < resets_us <= after_us + seconds * 1_000_000
    assert json.loads(refused.content)["allowance"]["resets_at"] == days.instant_text(resets_us)


def _zone_at(now_us: int, hour: int) -> str:
    """A zone on whose clock it is so late now."""
    offset = (hour - days.instant(now_us).hour + 12) % 24 - 12
    return f"Etc/GMT{'-' if offset >= 0 else '+'}{abs(offset)}"
