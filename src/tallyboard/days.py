"""Account days, windows and quarter-hour slots (law 4: one interval for everything).

An account day runs from the first instant its date is read on the account's clock to the first
instant of the next date, so it has 23, 24 or 25 hours where the clock changes. All instants are
whole microseconds of UTC since 1970; a slot is a quarter hour of UTC, counted from 1970 too.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

SLOT_US = 900_000_000
WINDOWS = (7, 14, 30)
RANGE_DAYS_MAX = 400
EVENT_AT_US_MIN = 2 * 365 * 86_400_000_000
"""The start of 1972, from when on midnights are whole quarter hours.

Two zones were later: Monrovia by a week, Kiritimati until October 1979. Their days before are cut at the quarter hour.
"""
EVENT_AHEAD_US_MAX = 5 * 60 * 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DayRange:
    """Consecutive account days `first..last`, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError("the range ends before it begins")

    def __len__(self) -> int:
        return self.last.toordinal() - self.first.toordinal() + 1

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last

    def days(self) -> list[date]:
        """Every day of the range, in order."""
        start = self.first.toordinal()
        return [date.fromordinal(start + offset) for offset in range(len(self))]

    def before(self) -> "DayRange":
        """The range of the same length that ends the day before this one begins."""
        last = self.first - timedelta(days=1)
        return DayRange(last - timedelta(days=len(self) - 1), last)


def window(days: int, today: date) -> DayRange:
    """The last `days` account days, today included."""
    return DayRange(today - timedelta(days=days - 1), today)


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name; ValueError where there is none."""
    if name not in zone_names():
        raise ValueError(f"{name!r} is not an IANA timezone such as Europe/Berlin")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not an IANA timezone such as Europe/Berlin") from None


def find_zone(text: str) -> ZoneInfo:
    """The zone that somebody wrote, whatever the case, with spaces or underscores: `america/new york`; ValueError where there is none."""
    wanted = text.strip().replace(" ", "_")
    if wanted in zone_names():
        return zone(wanted)
    return zone(next((name for name in sorted(zone_names()) if name.casefold() == wanted.casefold()), text.strip()))


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Every IANA zone known here."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def today(now_us: int, in_zone: ZoneInfo) -> date:
    """The account day of an instant."""
    return date.fromordinal(_EPOCH_ORDINAL + day_number(now_us // SLOT_US, in_zone))


@lru_cache(maxsize=65_536)
def starts_at_us(day: date, in_zone: ZoneInfo) -> int:
    """The first instant of an account day.

    Where the clock skips midnight that is the instant it skips; where it shows midnight twice, the
    first time. A skipped date (Apia, 30 December 2011) begins and ends at one instant.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=in_zone)
    return instant_us(midnight)


def ends_at_us(now_us: int, in_zone: ZoneInfo) -> int:
    """The instant at which the present account day ends and every limit resets."""
    return starts_at_us(today(now_us, in_zone) + timedelta(days=1), in_zone)


def bounds(days: DayRange, in_zone: ZoneInfo) -> list[int]:
    """The slots at which the days of a range begin, and the one at which the last ends: len + 1 slots."""
    first = days.first.toordinal()
    return [starts_at_us(date.fromordinal(first + offset), in_zone) // SLOT_US for offset in range(len(days) + 1)]


@lru_cache(maxsize=262_144)
def day_number(slot: int, in_zone: ZoneInfo) -> int:
    """The account day of a slot, as days since 1 January 1970."""
    local = (_EPOCH + timedelta(microseconds=slot * SLOT_US)).astimezone(in_zone).date()
    day = local if slot * SLOT_US >= starts_at_us(local, in_zone) else local - timedelta(days=1)
    following = day + timedelta(days=1)
    if slot * SLOT_US >= starts_at_us(following, in_zone):
        day = following
    return day.toordinal() - _EPOCH_ORDINAL


def to_number(day: date) -> int:
    """A date as days since 1 January 1970."""
    return day.toordinal() - _EPOCH_ORDINAL


def from_number(number: int) -> date:
    """Days since 1 January 1970 as a date."""
    return date.fromordinal(number + _EPOCH_ORDINAL)


def instant_us(moment: datetime) -> int:
    """A datetime with a zone as microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def instant(us: int) -> datetime:
    """Microseconds since 1970 as a UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)


def local_text(us: int, in_zone: ZoneInfo) -> str:
    """An instant on a zone's clock, to the minute, as forms carry it: `2026-11-22T09:00`."""
    return instant(us).astimezone(in_zone).replace(tzinfo=None).isoformat(timespec="minutes")


def local_us(text: str, in_zone: ZoneInfo) -> int:
    """An instant from a day and time on a zone's clock, or from a day alone, which means its beginning. ValueError where it is neither.

    Of a time that the clock shows twice it is the first.
    """
    text = text.strip()
    if len(text) == len("2026-11-22"):
        return starts_at_us(date.fromisoformat(text), in_zone)
    local = datetime.fromisoformat(text)
    if local.tzinfo is not None:
        raise ValueError("a time on the account's clock names no zone")
    return instant_us(local.replace(tzinfo=in_zone))


def instant_text(us: int) -> str:
    """An instant as RFC 3339 in UTC with milliseconds: `2026-11-22T10:11:12.345Z`."""
    return instant(us).isoformat(timespec="milliseconds").replace("+00:00", "Z")
