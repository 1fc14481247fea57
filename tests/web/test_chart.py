"""The chart: axis, heights, labels."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.usage.overview import View
from tallyboard.web.pages.chart import axis, chart, digits, thousandths
from tests.web.overviews import TODAY, credit, overview, week

ALICE, BOB = "alice", "bob"
UNITS = st.integers(0, 2**63)


@pytest.mark.parametrize(
    ("highest", "labels"),
    [
        (40_894, ["50k", "40k", "30k", "20k", "10k", "0"]),
        (5_405, ["6k", "4k", "2k", "0"]),
        (0.92, ["1", "0.8", "0.6", "0.4", "0.2", "0"]),
        (11, ["12.5", "10", "7.5", "5", "2.5", "0"]),
        (10, ["10", "8", "6", "4", "2", "0"]),
        (0, ["1", "0.8", "0.6", "0.4", "0.2", "0"]),
    ],
)
def test_an_axis_has_at_most_six_round_labels(highest: float, labels: list[str]) -> None:
    assert list(axis(*credit(highest)).labels) == labels


@given(UNITS)
def test_an_axis_holds_what_it_is_for(highest: int) -> None:
    drawn = axis(highest)
    assert drawn.top_units >= highest
    assert 2 <= len(drawn.labels) <= 6


@given(UNITS)
def test_an_axis_made_for_its_own_top_is_the_same(highest: int) -> None:
    once = axis(highest)
    assert axis(once.top_units) == once


def test_an_axis_does_not_break_on_a_floor_out_of_this_world() -> None:
    assert axis(10**40).labels


@given(st.lists(UNITS, min_size=1, max_size=11))
def test_stacked_heights_never_drift_from_the_total(parts: list[int]) -> None:
    top = axis(sum(parts)).top_units
    assert abs(sum(thousandths(parts, top)) - sum(parts) * 1000 / top) <= 4 + 1e-6
    if sum(parts) * 1000 / top >= 4:
        assert abs(sum(thousandths(parts, top)) - sum(parts) * 1000 / top) <= 0.5 + 1e-6


def test_a_trace_is_still_a_line() -> None:
    assert thousandths([0, 2, 1], 1_000_000) == [0, 4, 0]


def test_a_negative_part_is_drawn_as_nothing() -> None:
    assert thousandths([500, -300, 100], 1000) == [500, 0, 100]


def test_a_height_is_three_digits_and_zeros_are_left_out() -> None:
    assert digits(437) == "x4 y3 z7"
    assert digits(1000) == "x10"
    assert digits(5) == "z5"
    assert digits(0) == ""


def test_the_largest_user_is_at_the_base_and_others_on_top() -> None:
    drawn = chart(overview({ALICE: week(3), BOB: week(1)}, others=week(2)))
    assert [part.colour for part in drawn.columns[-1].slices] == ["c0", "c1", "cx"]
    assert [one.name for one in drawn.series] == [ALICE, BOB, "Others"]


def test_there_are_no_others_where_everybody_is_drawn() -> None:
    assert [one.name for one in chart(overview({ALICE: week(3)})).series] == [ALICE]


def test_a_user_without_a_colour_is_counted_under_others() -> None:
    drawn = chart(overview({ALICE: week(3), BOB: week(1)}, drawn=1))
    assert [one.name for one in drawn.series] == [ALICE, "Others"]
    assert drawn.columns[-1].parts == "3.00 75%|1.00 25%"


def test_a_day_says_what_it_is_to_a_screen_reader() -> None:
    yesterday, today = chart(overview({ALICE: week(40_894, 1)})).columns[-2:]
    assert yesterday.spoken == "Thursday 19 November: 40,894 credits"
    assert today.spoken == "Friday 20 November: 1.00 credits, so far today"


def test_pressing_a_pressed_day_clears_it() -> None:
    columns = chart(overview({ALICE: week(1, 1)}, view=View(7, date(2026, 11, 19)))).columns
    assert (columns[-2].pressed, columns[-2].value) == (True, "")
    assert (columns[-1].pressed, columns[-1].value) == (False, "2026-11-20")


def test_seven_days_are_all_labelled() -> None:
    ticks = [column.tick for column in chart(overview({ALICE: week(1)})).columns]
    assert ticks == ["14 Nov", "15 Nov", "16 Nov", "17 Nov", "18 Nov", "19 Nov", "Today"]


def test_thirty_days_are_labelled_on_mondays() -> None:
    columns = chart(overview({ALICE: credit(*[1.0] * 30)}, view=View(30))).columns
    assert [column.tick for column in columns if column.tick] == ["26 Oct", "2 Nov", "9 Nov", "16 Nov", "Today"]


def test_a_label_gives_way_to_the_focused_day_beside_it() -> None:
    view = View(30, date(2026, 11, 10))
    columns = chart(overview({ALICE: credit(*[1.0] * 30)}, view=view)).columns
    assert [column.tick for column in columns if column.tick] == ["26 Oct", "2 Nov", "10 Nov", "16 Nov", "Today"]
    assert [column.tick_kind for column in columns if column.tick == "10 Nov"] == ["focus"]


def test_a_label_too_near_to_today_is_only_for_wide_screens() -> None:
    columns = chart(overview({ALICE: credit(*[1.0] * 30)}, view=View(30))).columns
    assert next(column.tick_kind for column in columns if column.tick == "16 Nov") == "wide"


def test_one_users_chart_has_one_series_in_the_users_colour() -> None:
    drawn = chart(overview({ALICE: week(3), BOB: week(1)}, view=View(7, user=BOB)))
    assert [one.colour for one in drawn.series] == ["c1"]
    assert drawn.columns[-1].total == "1.00"


def test_the_axis_does_not_shrink_below_what_a_live_page_shows() -> None:
    shown = overview({ALICE: week(3)})
    assert chart(shown, 50 * UNITS_PER_CREDIT).axis.top_units == 50 * UNITS_PER_CREDIT
    assert chart(shown, UNITS_PER_CREDIT).axis == chart(shown).axis


def test_weekends_and_today_are_marked() -> None:
    columns = chart(overview({ALICE: week(1)})).columns
    assert [column.weekend for column in columns] == [True, True, False, False, False, False, False]
    assert [column.day for column in columns if column.today] == [TODAY.isoformat()]
