"""Account days in every IANA zone: they follow one another without gap or overlap, and every quarter hour lies in one."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallyboard import days
from tallyboard.days import SLOT_US, DayRange

DAY_US = 86_400_000_000
HOUR_US = 3_600_000_000
FIRST_US = days.EVENT_AT_US_MIN + 7 * DAY_US
"""After Monrovia's last day of 44½ minutes, on 7 January 1972."""
UNEVEN = {"Pacific/Kiritimati": days.instant_us(datetime(1979, 10, 3, tzinfo=UTC))}
"""The one other zone whose days did not begin at a quarter hour (10:40 west of UTC), and until when."""
LAST_US = days.instant_us(datetime(2038, 1, 1, tzinfo=UTC))
ZONES = sorted(days.zone_names())
SKIPPED = [("Pacific/Apia", date(2011, 12, 30)), ("Pacific/Fakaofo", date(2011, 12, 30)), ("Pacific/Kwajalein", date(1993, 8, 21))]


def local(us: int, zone: ZoneInfo) -> datetime:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).astimezone(zone)


def day_of(us: int, zone: ZoneInfo) -> date:
    """The plain definition: the latest date the clock has shown by now; it may have been put back since, by less than two hours."""
    slot = us // SLOT_US
    return max(local(us, zone).date(), *(local((slot - back) * SLOT_US, zone).date() for back in range(9)))


@cache
def changes(name: str) -> list[int]:
    """The instants from 1972 to 2037 at which a zone's offset changes, to the minute."""
    zone = days.zone(name)
    found = []
    fortnight = 14 * DAY_US
    for start in range(FIRST_US, LAST_US, fortnight):
        if local(start, zone).utcoffset() != local(start + fortnight, zone).utcoffset():
            low, high = start, start + fortnight
            while high - low > 60_000_000:
                middle = (low + high) // 120_000_000 * 60_000_000
                low, high = (middle, high) if local(middle, zone).utcoffset() == local(low, zone).utcoffset() else (low, middle)
            found.append(high)
    return found


def test_every_day_of_every_zone_begins_at_a_quarter_hour() -> None:
    for name in ZONES:
        zone = days.zone(name)
        for change in changes(name):
            for near in (change - DAY_US, change, change + DAY_US):
                if near < UNEVEN.get(name, 0):
                    continue
                assert days.starts_at_us(local(near, zone).date(), zone) % SLOT_US == 0, (name, near)


def test_around_every_change_of_a_clock_days_tile_and_slots_lie_in_them() -> None:
    """A few changes of each zone, and all that happen near midnight."""
    chance = Random(15)
    seen: set[tuple[int, object, object]] = set()
    for name in ZONES:
        zone = days.zone(name)
        near_midnight = [
            change for change in changes(name) if local(change - 1, zone).hour in {22, 23, 0, 1} or local(change, zone).hour in {23, 0}
        ]
        for change in {*chance.sample(changes(name), min(2, len(changes(name)))), *near_midnight}:
            kind = (change, local(change - 1, zone).utcoffset(), local(change, zone).utcoffset())
            if kind not in seen and change > UNEVEN.get(name, 0):
                seen.add(kind)
                check_slots(zone, change // SLOT_US, 110)
    assert len(seen) > 1_000


def check_slots(zone: ZoneInfo, middle: int, around: int) -> None:
    """Every slot around one lies in the day of the plain definition, in the interval of that day and in no other."""
    first = local((middle - around) * SLOT_US, zone).date() - timedelta(days=2)
    span = DayRange(first, first + timedelta(days=8))
    edges = days.bounds(span, zone)
    assert edges == sorted(edges)
    assert [edge * SLOT_US for edge in edges[:-1]] == [days.starts_at_us(day, zone) for day in span.days()]
    listed = span.days()
    for slot in range(middle - around, middle + around, 3):
        expected = day_of(slot * SLOT_US, zone)
        index = bisect_right(edges, slot) - 1
        assert days.from_number(days.day_number(slot, zone)) == listed[index] == expected, (zone.key, slot)
        assert edges[index] <= slot < edges[index + 1]


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.sampled_from(sorted(set(ZONES) - set(UNEVEN))), st.integers(FIRST_US, LAST_US))
def test_any_microsecond_lies_in_the_day_of_its_slot(name: str, us: int) -> None:
    zone = days.zone(name)
    day = days.today(us, zone)
    assert day == day_of(us, zone)
    assert days.starts_at_us(day, zone) <= us < days.starts_at_us(day + timedelta(days=1), zone)
    assert days.day_number(us // SLOT_US, zone) == days.to_number(day)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.sampled_from(ZONES), st.dates(date(1972, 1, 10), date(2120, 1, 1)), st.integers(1, 400))
def test_ranges_follow_one_another(name: str, first: date, length: int) -> None:
    zone = days.zone(name)
    span = DayRange(first, first + timedelta(days=length - 1))
    before = span.before()
    assert len(before) == len(span) == len(span.days()) == len(days.bounds(span, zone)) - 1
    assert before.last + timedelta(days=1) == span.first
    assert days.bounds(before, zone)[-1] == days.bounds(span, zone)[0]
    assert all(later - earlier <= 108 for earlier, later in zip(days.bounds(span, zone), days.bounds(span, zone)[1:], strict=False))


@pytest.mark.parametrize("length", days.WINDOWS)
def test_a_window_ends_today_and_today_is_partial(length: int) -> None:
    zone = days.zone("America/New_York")
    now_us = days.instant_us(datetime(2026, 11, 22, 3, 0, tzinfo=UTC))
    today = days.today(now_us, zone)
    span = days.window(length, today)
    assert (today, span.last, len(span)) == (date(2026, 11, 21), today, length)
    assert today in span
    assert days.starts_at_us(today, zone) < now_us < days.starts_at_us(today + timedelta(days=1), zone)
    assert all(days.starts_at_us(day + timedelta(days=1), zone) <= now_us for day in span.days()[:-1])


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Pacific/Chatham", date(2026, 4, 5), 25),
        ("Africa/Cairo", date(2026, 4, 24), 23),
        ("Antarctica/Troll", date(2026, 3, 29), 22),
        ("Asia/Kathmandu", date(1986, 1, 1), 23.75),
        ("Asia/Pyongyang", date(2018, 5, 4), 23.5),
        ("America/Caracas", date(2007, 12, 9), 24.5),
        ("UTC", date(2016, 12, 31), 24),
    ],
)
def test_days_are_as_long_as_the_clock_says(name: str, day: date, hours: float) -> None:
    zone = days.zone(name)
    assert days.starts_at_us(day + timedelta(days=1), zone) - days.starts_at_us(day, zone) == hours * HOUR_US


@pytest.mark.parametrize(("name", "skipped"), SKIPPED)
def test_a_skipped_date_begins_and_ends_at_one_instant(name: str, skipped: date) -> None:
    zone = days.zone(name)
    starts, ends = (days.starts_at_us(skipped + timedelta(days=offset), zone) for offset in (0, 1))
    assert starts == ends
    slot = starts // SLOT_US
    assert [days.from_number(days.day_number(each, zone)) - skipped for each in (slot - 1, slot)] == [timedelta(days=-1), timedelta(days=1)]
    assert skipped not in {days.from_number(days.day_number(each, zone)) for each in range(slot - 200, slot + 200)}
    assert bisect_right(days.bounds(DayRange(skipped - timedelta(days=3), skipped + timedelta(days=3)), zone), slot) - 1 == 4


def test_where_midnight_comes_twice_the_day_begins_at_the_first() -> None:
    """At one minute past midnight St. John's went back to 23:01 of the day before."""
    zone = days.zone("America/St_Johns")
    starts_at_us = days.starts_at_us(date(2006, 10, 29), zone)
    assert starts_at_us == days.instant_us(datetime(2006, 10, 29, 2, 30, tzinfo=UTC))
    assert days.today(starts_at_us - 1, zone) == date(2006, 10, 28)
    assert days.today(starts_at_us + 30 * 60_000_000, zone) == date(2006, 10, 29)


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Atlantis", "europe/berlin ", "../etc/passwd", "localtime", "Factory", "UTC+1", "\0", "a" * 5_000]
)
def test_what_is_no_zone_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="is not an IANA timezone"):
        days.zone(name)


def test_instants_and_numbers_come_back_as_they_went() -> None:
    chance = Random(3)
    for _ in range(300):
        us = chance.randrange(-(10**15), 4 * 10**15)
        assert days.instant_us(days.instant(us)) == us
        day = days.instant(us).date()
        assert days.from_number(days.to_number(day)) == day
    assert days.instant_text(1_795_342_272_345_678) == "2026-11-22T10:11:12.345Z"
    with pytest.raises(ValueError, match="ends before"):
        DayRange(date(2026, 1, 2), date(2026, 1, 1))
