"""The preview on real usage equals a naive recount over the file, for policies of all kinds, in several zones, at several instants.

The files and the rates are those of tests/laws/test_real_usage.py; the recount knows nothing of Tallyboard.
"""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tallyboard import days
from tallyboard.ledger import rollups
from tallyboard.ledger.contract import Engine, Session
from tallyboard.people import accounts
from tallyboard.policy import overrides, policy
from tallyboard.policy.overrides import Wanted
from tallyboard.policy.preview import WHO_MAX, Preview, preview
from tests import engines
from tests.conftest import DATA, tallyboard

ACCOUNT = accounts.FIRST_ACCOUNT_ID
UNITS_A_REQUEST = 200_000
FILES = ("ai-commits", "entire-claude-code", "servegen-small")
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham")
DAY = timedelta(days=1)


@dataclass
class Case:
    """A ledger that holds one file, and the file's events: user, instant, requests."""

    engine: Engine
    events: list[tuple[str, datetime, int]]

    def recount(self, zone: str, now: datetime) -> Counter[tuple[str, date]]:
        """Requests by user and day of the last 30 days in a zone, today included."""
        last = now.astimezone(ZoneInfo(zone)).date()
        found: Counter[tuple[str, date]] = Counter()
        for user, at, requests in self.events:
            day = at.astimezone(ZoneInfo(zone)).date()
            if last - 29 * DAY <= day <= last:
                found[user, day] += requests
        return found


@pytest.fixture(scope="module", params=FILES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("preview") / "data"
    path = DATA / f"{request.param}.ndjson.gz"
    tallyboard("import", path, data=folder)
    engine = engines.open_on(folder)
    yield Case(engine, [_read(line) for line in gzip.decompress(path.read_bytes()).splitlines()])
    engine.close()
    engines.drop(folder)


def _read(line: bytes) -> tuple[str, datetime, int]:
    event = json.loads(line)
    assert isinstance(event["data"]["requests"], int)
    return event["subject"], datetime.fromisoformat(event["time"]), event["data"]["requests"]


@pytest.mark.parametrize("from_days", [True, False], ids=["from days", "from slots"])
@pytest.mark.parametrize("zone", ZONES)
def test_the_preview_is_what_a_recount_says(case: Case, zone: str, from_days: bool) -> None:
    chance = Random(f"{zone} {from_days}")
    _move(case.engine, zone, rebuild=from_days)
    first, last = (edge(at for _, at, _ in case.events) for edge in (min, max))
    for _ in range(6):
        now = first + (last - first) * chance.random()
        counted = case.recount(zone, now)
        amounts = sorted(counted.values()) or [1]
        default = chance.choice([None, 0, 1, chance.choice(amounts), chance.choice(amounts) + 1, amounts[-1], 2**60 // UNITS_A_REQUEST])
        own = _some_overrides(chance, sorted({user for user, _ in counted}), amounts)
        now_us = days.instant_us(now)
        with case.engine.writing() as session:
            _set_overrides(session, own, now_us)
            found = preview(session, ACCOUNT, None if default is None else default * UNITS_A_REQUEST, now_us)
            for user in own:
                overrides.remove(session, ACCOUNT, user, "test", now_us)
        _compare(found, counted, default, own, now.astimezone(ZoneInfo(zone)).date())


def test_an_override_that_has_expired_does_not_count_and_one_that_will_does(case: Case) -> None:
    _move(case.engine, "UTC", rebuild=True)
    now = max(at for _, at, _ in case.events).astimezone(UTC)
    counted = case.recount("UTC", now)
    user = max(counted)[0]
    for ahead_us, expected in ((1, {}), (2, {user: None})):
        with case.engine.writing() as session:
            now_us = days.instant_us(now)
            overrides.put(session, ACCOUNT, [Wanted(user, None, "", now_us + ahead_us)], "test", now_us)
            found = preview(session, ACCOUNT, 0, now_us + 1)
            overrides.remove(session, ACCOUNT, user, "test", now_us)
        _compare(found, counted, 0, expected, now.date())


def _some_overrides(chance: Random, users: list[str], amounts: list[int]) -> dict[str, int | None]:
    """Limits of users with usage and of some without: none at all, nothing, small, just reached, just not, huge. In requests."""
    own: dict[str, int | None] = {}
    for user in [*chance.sample(users, min(len(users), chance.choice([0, 3, 300]))), "never seen", "nor this one"]:
        own[user] = chance.choice([None, 0, 1, chance.choice(amounts), chance.choice(amounts) + 1, amounts[-1] + 1, 10**12])
    return own


def _set_overrides(session: Session, own: dict[str, int | None], now_us: int) -> None:
    wanted = [Wanted(user, None if limit is None else limit * UNITS_A_REQUEST) for user, limit in own.items()]
    overrides.put(session, ACCOUNT, wanted, "test", now_us)


def _compare(found: Preview, counted: Counter[tuple[str, date]], default: int | None, own: dict[str, int | None], today: date) -> None:
    limits = {user: own.get(user, default) for user, _ in counted}
    paused = {(user, day): used for (user, day), used in counted.items() if (limit := limits[user]) is not None and used >= limit}
    by_user = Counter(user for user, _ in paused)
    assert (found.users, found.user_days) == (len(by_user), len(paused))
    assert (found.all_users, found.all_user_days) == (len(limits), len(counted))
    assert dict(found.by_day) == {today - back * DAY: sum(day == today - back * DAY for _, day in paused) for back in range(30)}
    assert [day for day, _ in found.by_day] == [today - back * DAY for back in range(29, -1, -1)]
    expected = sorted(by_user, key=lambda user: (-by_user[user], user))[:WHO_MAX]
    assert [one.user for one in found.who] == expected
    for one in found.who:
        mine = {day: used for (user, day), used in paused.items() if user == one.user}
        assert (one.days, one.most_units) == (tuple(sorted(mine)), max(mine.values()) * UNITS_A_REQUEST)


def _move(engine: Engine, zone: str, *, rebuild: bool) -> None:
    """Give the account the zone, with all its days to be rebuilt; rebuild them or leave them so."""
    with engine.writing() as session:
        for name in ("Asia/Tokyo", zone):
            policy.change(session, ACCOUNT, "test", 0, default_units=None, timezone=name)
    more = rebuild
    while more:
        with engine.writing() as session:
            more = rollups.rebuild_some(session, ACCOUNT)
    with engine.reading() as session:
        assert rollups.zone_of(session, ACCOUNT).ready == rebuild
