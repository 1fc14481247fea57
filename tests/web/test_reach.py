"""What Credit Usage says of limits: a column, the last figure, a line across one user's bars; nothing of it where nobody has one."""

import pytest

from tallyboard.credits import UNITS_PER_CREDIT
from tallyboard.policy.reach import Reach
from tallyboard.usage.overview import View
from tallyboard.web.pages.chart import chart
from tallyboard.web.pages.kpis import kpis
from tallyboard.web.pages.table import of_limit, table
from tests.web.overviews import TODAY, overview, week

CREDIT = UNITS_PER_CREDIT
USERS = {"alice": week(1, 12, 8), "bob": week(3, 0, 10), "carol": week(0, 0, 1)}


def reach(default: int | None = 10, reached: int = 1, **own: int | None) -> Reach:
    """Limits in credits; users have the default where they have none of their own."""
    of_default = None if default is None else default * CREDIT
    limits = dict.fromkeys(USERS, of_default)
    limits |= {user: None if limit is None else limit * CREDIT for user, limit in own.items()}
    return Reach(limits, of_default, reached)


@pytest.mark.parametrize(
    ("used", "limit", "text", "level"),
    [
        (0, 10, "0%", ""),
        (799, 1000, "80%", ""),
        (800, 1000, "80%", "warn"),
        (999, 1000, "100%", "warn"),
        (1000, 1000, "100%", "bad"),
        (4910, 1000, "491%", "bad"),
        (5, 0, "Paused", "bad"),
        (0, 0, "Paused", "bad"),
        (-3, 10, "0%", ""),
        (7, None, "–", ""),
    ],
)
def test_how_much_of_a_limit_is_used(used: int, limit: int | None, text: str, level: str) -> None:
    assert of_limit(used, limit)[::2] == (text, level)


def test_a_bar_never_leaves_its_place() -> None:
    assert of_limit(4910, 1000)[1] == "x10"
    assert of_limit(-5, 1000)[1] == ""


def test_without_limits_nothing_is_said_of_them() -> None:
    shown = overview(USERS)
    assert table(shown, CREDIT).limit_title == ""
    assert {line.limit for line in table(shown, CREDIT).lines} == {""}
    assert [kpi.label for kpi in kpis(shown)][-1] == "Busiest day"
    assert chart(overview(USERS, view=View(7, user="alice"))).limit is None


def test_the_column_is_about_today_or_the_focused_day() -> None:
    today = table(overview(USERS), CREDIT, reach(bob=None))
    assert today.limit_title == "Of limit today"
    assert {line.name: line.limit for line in today.lines} == {"alice": "80%", "bob": "–", "carol": "10%"}
    yesterday = TODAY.replace(day=TODAY.day - 1)
    focused = table(overview(USERS, view=View(7, day=yesterday)), CREDIT, reach())
    assert focused.limit_title == "Of daily limit"
    assert focused.lines[0].limit == "120%"


def test_the_last_figure_counts_who_reached_the_limit() -> None:
    last = kpis(overview(USERS), reach(reached=1204))[-1]
    assert (last.label, last.value, last.note) == ("At or over limit today", "1,204", "limit 10 per user")
    assert kpis(overview(USERS), reach(default=None, bob=1))[-1].note == "users with a limit of their own"


def test_a_user_s_view_counts_the_days_and_draws_the_limit() -> None:
    view = View(7, user="alice")
    last = kpis(overview(USERS, view=view), reach())[-1]
    assert (last.label, last.value, last.note) == ("Days at or over limit", "1", "limit 10")
    drawn = chart(overview(USERS, view=view), limit=10 * CREDIT)
    assert drawn.limit is not None
    assert drawn.limit.label == "Daily limit 10"
    assert "at or over the daily limit" in drawn.columns[-2].spoken
    assert "limit" not in drawn.columns[-1].spoken
    assert "The daily limit is 10 credits." in drawn.summary


def test_a_user_without_a_limit_is_told_to_be_unlimited() -> None:
    last = kpis(overview(USERS, view=View(7, user="bob")), reach(bob=None))[-1]
    assert (last.label, last.value) == ("Daily limit", "Unlimited")


def test_the_axis_makes_room_for_the_limit_but_not_for_one_far_above() -> None:
    view = View(7, user="carol")
    near, far = (chart(overview(USERS, view=view), limit=limit * CREDIT) for limit in (3, 4))
    assert near.limit is not None
    assert near.axis.top_units >= 3 * CREDIT
    assert far.limit is None
    assert "The daily limit is 4 credits." in far.summary


def test_a_limit_of_nothing_lies_on_the_ground_and_a_label_at_the_top_goes_below_its_line() -> None:
    view = View(7, user="alice")
    ground, top = (chart(overview(USERS, view=view), limit=limit * CREDIT).limit for limit in (0, 15))
    assert ground is not None
    assert top is not None
    assert (ground.size, ground.high) == ("", False)
    assert top.high
