"""Times as tables state them: text, numbers that count from 1970, a wall clock's. Each becomes one instant of UTC, or is refused.

A wall clock's time names an instant only in a zone. Where the clock was set forward it names none, where it was set back
it names two: both are refused, as either guess could put usage on a wrong day.
"""

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from msgspec import Struct

from tallyboard.intake.event import Reason, Refused
from tallyboard.intake.mapping import TimeUnit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WALL_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  A wall clock's, which has no zone.
_TEXT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,20}))? ?(?:(Z|z|UTC|GMT)|([+-]\d\d):?(\d\d))?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_MICROSECONDS = {"seconds": 1_000_000, "milliseconds": 1_000}
_SHOWN_MAX = 60


class Moment(Struct, frozen=True, array_like=True):
    """A time that a typed table states, in whole microseconds since 1970: of UTC, or of a wall clock (`local`)."""

    us: int
    local: bool


class Clock(Struct, frozen=True):
    """How times of a table are to be read."""

    zone: ZoneInfo | None = None
    unit: TimeUnit | None = None
    format: str | None = None


def instant(found: Moment | str | int, clock: Clock) -> str:
    """The instant, as RFC 3339 in UTC, cut to microseconds. Refused where it names none, or more than one."""
    try:
        if isinstance(found, Moment):
            return _of_wall(_wall(found), clock.zone) if found.local else written(found)
        if clock.unit:
            return _counted(str(found).strip(), clock.unit)
        if isinstance(found, int):
            raise Refused(
                Reason.BAD_TIME, f'time is the number {found}; say in the mapping what it counts: time_unit = "seconds" or "milliseconds"'
            )
        return _read(found.strip(), clock)
    except (ValueError, OverflowError):
        raise Refused(Reason.BAD_TIME, f"there is no such time: {str(found)[:_SHOWN_MAX]!r}") from None


def written(moment: Moment) -> str:
    """The time as it was stated, in ISO 8601: with an offset, or without where it is a wall clock's."""
    return (_wall(moment) if moment.local else _wall(moment).replace(tzinfo=UTC)).isoformat()


def _wall(moment: Moment) -> datetime:
    try:
        return _WALL_EPOCH + timedelta(microseconds=moment.us)
    except OverflowError:
        raise Refused(Reason.BAD_TIME, f"there is no such time: {moment.us} microseconds since 1970") from None


def _counted(text: str, unit: TimeUnit) -> str:
    if not _NUMBER.fullmatch(text):
        raise Refused(Reason.BAD_TIME, f"time must be a number of {unit} since 1970 (time_unit), not {text[:_SHOWN_MAX]!r}")
    us = Fraction(text) * _MICROSECONDS[unit] // 1
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat()
    except OverflowError:
        hint = '; are they milliseconds? then time_unit = "milliseconds"' if unit == "seconds" else ""
        raise Refused(Reason.BAD_TIME, f"{text[:_SHOWN_MAX]} {unit} since 1970 are beyond the year 9999{hint}") from None


def _read(text: str, clock: Clock) -> str:
    if clock.format:
        return _by_format(text, clock.format, clock.zone)
    found = _TEXT.fullmatch(text)
    if not found:
        raise Refused(
            Reason.BAD_TIME, f"time must be like 2026-11-22T09:00:01Z or 2026-11-22 09:00:01, not {text[:_SHOWN_MAX]!r}; {_mend(text)}"
        )
    day, minute, second, fraction, utc, hours, minutes = found.groups()
    wall = datetime.fromisoformat(f"{day}T{minute}{second or ':00'}.{(fraction or '0')[:6]:0<6}")
    if utc:
        return wall.replace(tzinfo=UTC).isoformat()
    if hours:
        return datetime.fromisoformat(f"{wall.isoformat()}{hours}:{minutes}").astimezone(UTC).isoformat()
    return _of_wall(wall, clock.zone)


def _mend(text: str) -> str:
    if _NUMBER.fullmatch(text):
        return 'where it counts from 1970, say time_unit = "seconds" or "milliseconds" in the mapping'
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return 'a date alone is midnight only where the mapping says so: time_format = "%Y-%m-%d"'
    return 'say how it is written in the mapping, such as time_format = "%d.%m.%Y %H:%M"'


def _by_format(text: str, format: str, zone: ZoneInfo | None) -> str:
    try:
        found = datetime.strptime(text, format)  # noqa: DTZ007  Without an offset it is a wall clock's time.
    except (ValueError, re.error):
        raise Refused(Reason.BAD_TIME, f"time {text[:_SHOWN_MAX]!r} is not written as time_format = {format[:_SHOWN_MAX]!r} says") from None
    return found.astimezone(UTC).isoformat() if found.tzinfo else _of_wall(found, zone)


def _of_wall(wall: datetime, zone: ZoneInfo | None) -> str:
    """The one instant at which clocks of the zone showed it."""
    if zone is None:
        raise Refused(
            Reason.BAD_TIME,
            f'time {wall} has no offset; say whose clock it is: timezone = "Europe/Berlin" in the mapping, or --timezone Europe/Berlin',
        )
    first = wall.replace(tzinfo=zone).astimezone(UTC)
    second = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    if first.astimezone(zone).replace(tzinfo=None) != wall:
        raise Refused(
            Reason.BAD_TIME, f"time {wall} does not exist in {zone.key}: the clock was set forward over it; write it with an offset"
        )
    if first != second:
        offsets = " or ".join(moment.astimezone(zone).isoformat()[-6:] for moment in (first, second))
        raise Refused(
            Reason.BAD_TIME, f"time {wall} happened twice in {zone.key}: the clock was set back; write it with its offset, {offsets}"
        )
    return first.isoformat()
