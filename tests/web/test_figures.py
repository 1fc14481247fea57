"""Figures as a person reads them."""

from datetime import date

import pytest

from tallyboard import days
from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.web.pages import figures
from tests.web.overviews import NOON_US, TODAY, ZONE


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0%"),
        (1, 10_000, "<0.1%"),
        (1, 1000, "0.1%"),
        (98, 1000, "9.8%"),
        (7, 100, "7.0%"),
        (9_949, 100_000, "9.9%"),
        (9_960, 100_000, "10%"),
        (155, 1000, "16%"),
        (10, 10, "100%"),
        (3, 2, "150%"),
        (-5, 10, "0%"),
        (5, 0, "–"),
        (5, -1, "–"),
    ],
)
def test_a_share_has_one_decimal_below_ten_percent_and_none_above(part: int, whole: int, text: str) -> None:
    assert figures.share(part, whole) == text


@pytest.mark.parametrize(("units", "against", "text"), [(22, 10, "2.2×"), (0, 10, "0×"), (999, 10, "100×"), (5, 0, "–")])
def test_a_ratio_says_how_many_times(units: int, against: int, text: str) -> None:
    assert figures.ratio(units, against) == text


@pytest.mark.parametrize(
    ("now", "before", "change"),
    [(120, 100, ("up", "20%")), (80, 100, ("down", "20%")), (1001, 1000, ("same", "0%")), (5000, 100, ("up", "4,900%"))],
)
def test_a_change_has_a_direction_and_a_size(now: int, before: int, change: tuple[str, str]) -> None:
    assert figures.change(now, before) == change


@pytest.mark.parametrize(
    ("credits", "text"),
    [("0", "0"), ("10000", "10k"), ("7500", "7.5k"), ("1200000", "1.2M"), ("999", "999"), ("25000000000", "25B")],
)
def test_an_axis_label_is_short(credits: str, text: str) -> None:
    assert figures.axis_label(int(credits) * UNITS_PER_CREDIT) == text


def test_an_axis_label_goes_down_to_the_finest_figure() -> None:
    assert figures.axis_label(UNITS_PER_CREDIT // 4) == "0.25"
    assert figures.axis_label(6) == "0.00000001"


def test_dates_are_written_in_words_whatever_the_locale() -> None:
    day = date(2026, 11, 10)
    assert figures.full_date(day) == "Tue, 10 Nov 2026"
    assert figures.weekday_date(day) == "Tue, 10 Nov"
    assert figures.short_date(day) == "10 Nov"
    assert figures.spoken_date(day) == "Tuesday 10 November"


def test_an_instant_is_read_on_the_accounts_clock_with_its_date_unless_today() -> None:
    zone = days.zone(ZONE)
    assert figures.clock(NOON_US, zone, TODAY) == "12:00:00"
    assert figures.clock(NOON_US - 86_400_000_000, zone, TODAY) == "Thu, 19 Nov, 12:00:00"


def test_one_is_not_plural() -> None:
    assert [figures.count(number, "user") for number in (0, 1, 1204)] == ["0 users", "1 user", "1,204 users"]


def test_places_are_ordinals() -> None:
    assert [figures.ordinal(number) for number in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "12th",
        "13th",
        "21st",
        "112th",
    ]
