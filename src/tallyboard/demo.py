"""A believable account for `tallyboard demo`: people, weekdays and weekends, a long tail, one runaway day.

The same seed and the same instant give the same events. They go through the real intake.
"""

import math
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard import days
from tallyboard.intake.cloudevents import CloudEvent
from tallyboard.people.directory import User

ACCOUNT = "Northwind"
TIMEZONE = "America/New_York"
SOURCE = "urn:tallyboard:demo"
USERS = 240
DAYS = 75
RUNAWAY_DAYS_AGO = 12
SEED = 8321

_FIRST = (
    "Amara Andrés Anouk Arjun Astrid Ayşe Beatriz Björn Camila Chen Chioma Clara Dmitri Elena Elif Emeka Fatima Felix Freya Gabriel Greta Hana "
    "Hugo Ingrid Isla Ivan Jonas Jun Kaia Kenji Lars Leila Lena Liam Lucía Mads Mai Malik Maren Mateo Mina Nadia Nils Noah Noor Olga Omar Oskar "
    "Paloma Priya Rafael Rania Rosa Ruben Saanvi Samir Sofia Sven Tariq Tessa Tomás Uma Valeria Viktor Wei Yara Yusuf Zoe"
).split()
_LAST = (
    "Abara Alves Andersen Baker Becker Berg Castillo Chen Costa Dahl Demir Díaz Eriksen Farouk Fischer García Haddad Hansen Ibrahim Ito Jansen "
    "Karim Kaur Keller Kim Kowalski Larsen Lindqvist López Mensah Meyer Moreau Müller Nakamura Nguyen Novak Okafor Olsen Park Patel Petrova "
    "Raman Reyes Rossi Sato Schmidt Silva Singh Tanaka Torres Vega Wagner Weber Yamada Yılmaz Zhang"
).split()
_SERVICES = "nightly-summaries ticket-triage ci-review-bot search-indexer".split()
_MODELS = ("gpt-5-mini", "claude-sonnet-5", "gemini-3-flash", "gpt-5")
_PLAIN = str.maketrans("áéíóúñöşığüç", "aeiounosiguc")


class Limit(Struct, frozen=True):
    """A limit that somebody set so many days ago: of the persona with a rank, or the default where that is None."""

    days_ago: int
    actor: str
    credits: str
    rank: int | None = None
    reason: str = ""
    expires_in_days: int | None = None


_MARA, _OLE = "mara.lindqvist@northwind.example", "ole.hansen@northwind.example"
LIMITS = (
    Limit(41, _MARA, "1000"),
    Limit(40, _MARA, "2500", 0, "Migrates the archive until the end of the quarter", 60),
    Limit(33, _OLE, "unlimited", 9, "Nightly summaries must not stop"),
    Limit(26, _MARA, "600"),
    Limit(19, _OLE, "1200", 1, "Pilot of the support desk", 14),
    Limit(11, _MARA, "240", 4, "After the runaway script of last week"),
    Limit(6, _OLE, "900", 2, "Quarterly report"),
    Limit(2, _MARA, "400"),
)
"""In the order they were set. A few users come near the default, one or two over it."""


class Persona(Struct, frozen=True):
    """A made-up user: conversations on a typical weekday, how often active, whether at work on weekends too."""

    user: User
    conversations: float
    presence: float
    weekends: float


def personas(random: Random) -> list[Persona]:
    """Everybody, heaviest first: a few heavy users, a long tail, some without email, four services."""
    names = random.sample([(first, last) for first in _FIRST for last in _LAST], USERS)
    made = []
    for rank, (first, last) in enumerate(names):
        size = 1_400_000 / (rank + 2) ** 1.2 * math.exp(random.gauss(0, 0.3))
        name = f"{first} {last}"
        email = f"{first}.{last}@northwind.example".lower().translate(_PLAIN)
        service = rank % 60 == 9
        if service:
            user = User(f"svc-{_SERVICES[rank // 60]}", None, None)
        elif rank % 9 == 7:
            user = User(f"{random.getrandbits(128):032x}", None, None)
        else:
            user = User(email, email, name)
        presence = 0.97 if service else random.uniform(0.85, 0.97) if rank < 12 else random.uniform(0.35, 0.95)
        made.append(Persona(user, size, presence, 0.9 if service else random.uniform(0.02, 0.22)))
    return made


def history(now_us: int, seed: int = SEED) -> Iterator[CloudEvent]:
    """Every event of the 75 days up to now, in order of day."""
    random = Random(seed)
    everybody = personas(random)
    zone = ZoneInfo(TIMEZONE)
    last = days.today(now_us, zone)
    runaway = _weekday_before(last, RUNAWAY_DAYS_AGO)
    for offset in range(DAYS):
        day = last - timedelta(days=DAYS - 1 - offset)
        mood = random.uniform(0.85, 1.15) * (0.75 + 0.35 * offset / DAYS)
        for rank, persona in enumerate(everybody):
            excess = 26.0 if day == runaway and rank == 4 else 1.0
            yield from _day_of(random, persona, day, mood, excess, zone, now_us)


def set_at_us(limit: Limit, now_us: int) -> int:
    """When a limit was set: during that day's working hours."""
    zone = ZoneInfo(TIMEZONE)
    day = days.today(now_us, zone) - timedelta(days=limit.days_ago)
    return days.starts_at_us(day, zone) + (9 * 60 + limit.days_ago * 37 % 480) * 60_000_000


def trickle(random: Random, everybody: list[Persona], number: int, at_us: int) -> CloudEvent:
    """One more event, now."""
    persona = random.choices(everybody, weights=[each.conversations * each.presence for each in everybody])[0]
    return _event(random, persona, f"live-{at_us}-{number}", at_us, persona.conversations / 12)


def _day_of(random: Random, persona: Persona, day: date, mood: float, excess: float, zone: ZoneInfo, now_us: int) -> Iterator[CloudEvent]:
    weekend = day.weekday() >= 5
    if random.random() > (persona.weekends if weekend else persona.presence) and excess == 1.0:
        return
    sessions = 1 + int(random.triangular(0, 8, 2))
    amount = persona.conversations * mood * excess * math.exp(random.gauss(0, 0.4)) * (0.4 if weekend else 1.0) / sessions
    starts_at_us = days.starts_at_us(day, zone)
    for session in range(sessions):
        hour = min(23.5, max(0.1, random.gauss(13.2, 3.4)))
        at_us = starts_at_us + int(hour * 3_600_000_000) + random.randrange(1_000_000)
        share = amount * random.uniform(0.5, 1.5)
        event = _event(random, persona, f"{day}-{persona.user.user}-{session}", at_us, share)
        if at_us <= now_us:
            yield event


def _event(random: Random, persona: Persona, id: str, at_us: int, conversations: float) -> CloudEvent:
    stated = Decimal(max(1, round(conversations * 100))).scaleb(-2)
    tokens = int(stated * random.randrange(9, 50))
    return CloudEvent(
        specversion="1.0",
        id=id,
        source=SOURCE,
        type="ai.usage.recorded",
        subject=persona.user.user,
        time=days.instant(at_us).isoformat(),
        data={
            "model": random.choice(_MODELS),
            "conversations": stated,
            "input_tokens": tokens,
            "output_tokens": tokens // random.randrange(6, 30),
        },
    )


def _weekday_before(day: date, days_ago: int) -> date:
    found = day - timedelta(days=days_ago)
    while found.weekday() >= 5:
        found -= timedelta(days=1)
    return found
