"""Northwind: an account with everything a page may meet, made through the real intake; the same at every run but for its dates.

Its zone is one where it is about noon now, so that no midnight falls into a test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from tests.conftest import Server, event, tallyboard

ZONES = (
    "Pacific/Auckland", "Asia/Tokyo", "Asia/Bangkok", "Asia/Kolkata", "Asia/Dubai", "Europe/Berlin",
    "Atlantic/Azores", "America/Sao_Paulo", "America/New_York", "America/Los_Angeles", "Pacific/Honolulu",
)  # fmt: skip
DAYS = 62
CROWD = 230
SEED = 20261122

ALICE, BOB = "alice", "bob"
HOSTILE = '<img src=x onerror="window.struck=1">'
HOSTILE_NAME = "<script>window.struck=1</script>"
HOSTILE_EMAIL = '"><svg/onload=window.struck=1>@example.com'
ARABIC = "مستخدم-١"
FOX = "🦊 agent"
AWKWARD = "team/a b?window=7&day=x#z%41+ü"
HASH = "0123456789abcdef0123456789abcdef"
NEWCOMER = "only-today"
LAST_OF_ALL = "crowd-229"
NAMED: dict[str, dict[str, str]] = {
    ALICE: {"name": "Alice Anderson", "email": "alice@northwind.example"},
    BOB: {"email": "bob@northwind.example"},
    HOSTILE: {"name": HOSTILE_NAME, "email": HOSTILE_EMAIL},
    ARABIC: {"name": "ليلى حداد", "email": "layla@northwind.example"},
    "crowd-100": {
        "name": "Zoë Okafor-Lindqvist of the Department of Exceptionally Long Names",
        "email": "zoe.okafor-lindqvist@northwind.example",
    },
}
HEAVY: dict[str | None, int] = {
    ALICE: 90_000,
    HOSTILE: 60_000,
    BOB: 45_000,
    ARABIC: 33_000,
    FOX: 27_000,
    None: 22_000,
    AWKWARD: 19_000,
    HASH: 16_000,
}
"""Conversations a day of those the chart draws individually; None is usage without a user."""


@dataclass(frozen=True)
class Northwind:
    """The account's server, its zone and its present day; `cookies` are of a signed-in administrator."""

    server: Server
    zone: ZoneInfo
    today: date
    cookies: list[Any]

    def address(self, **state: object) -> str:
        """The page in a state, such as `address(window=7, user="alice")`."""
        return f"{self.server.url}/usage" + (f"?{urlencode(state)}" if state else "")

    def ago(self, days: int) -> date:
        """The day so many days before today."""
        return self.today - timedelta(days=days)

    @property
    def weekday(self) -> date:
        """A weekday within the last seven days, but neither today nor the first of them."""
        return next(day for day in map(self.ago, range(2, 6)) if day.weekday() < 5)

    @property
    def quiet(self) -> date:
        """A day without any usage."""
        return _quiet_saturday(self.today)


def zone_at_noon() -> ZoneInfo:
    """The zone where it is nearest to noon."""
    return min(map(ZoneInfo, ZONES), key=lambda zone: abs(datetime.now(zone).hour * 60 + datetime.now(zone).minute - 720))


def fill(server: Server, zone: ZoneInfo) -> date:
    """Make the account; its present day."""
    tallyboard("account", "set", "--name", "Northwind", "--timezone", zone.key, data=server.folder)
    server.keys.update(dict.fromkeys(("ingest", "read", "admin", "ingest,adjust"), server.keys.make("ingest,read,adjust,admin")))
    today = datetime.now(zone).date()
    sent = server.send(*history(today, zone))
    assert not sent["refused"]
    for user, profile in NAMED.items():
        answer = server.request("PUT", f"/api/v1/users/{quote(user, safe='')}", "admin", json=profile)
        assert answer.status_code == 200, answer.text
    return today


def history(today: date, zone: ZoneInfo) -> Iterator[dict[str, Any]]:
    """Everybody's usage, all of today's before nine in the morning; one weekend is quiet, and one event matches no meter."""
    random = Random(SEED)
    quiet = _quiet_saturday(today)
    crowd: dict[str | None, int] = {f"crowd-{rank:03}": 30_000 // (rank + 3) + 250 for rank in range(CROWD)}
    crowd[LAST_OF_ALL] = 3
    for offset in range(DAYS):
        day = today - timedelta(days=offset)
        for user, conversations in {**HEAVY, **crowd}.items():
            amount = round(conversations * random.uniform(0.6, 1.4) * (0.3 if day.weekday() >= 5 and offset else 1.0), 2)
            present = user in HEAVY or (random.random() < 0.35 if user != LAST_OF_ALL else offset == 1)
            if present and day not in {quiet, quiet + timedelta(days=1)}:
                yield event(f"{user}-{day}", user, time=_at(day, random.randrange(60, 540), zone), conversations=amount)
    yield event("newcomer", NEWCOMER, time=_at(today, 480, zone), conversations=1800)
    yield {**event("unrated", BOB, time=_at(today, 480, zone), pages=3), "type": "paper.printed"}


def _at(day: date, minute: int, zone: ZoneInfo) -> str:
    local = datetime.combine(day, time(minute // 60, minute % 60), zone)
    return local.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _quiet_saturday(today: date) -> date:
    """The last Saturday that is over since more than a week."""
    return next(day for day in (today - timedelta(days=ago) for ago in range(9, 16)) if day.weekday() == 5)
