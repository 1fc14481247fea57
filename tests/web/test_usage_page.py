"""The page's figures, table and addresses, and that its HTML keeps the policy."""

import re
from datetime import date
from typing import Any, cast

import pytest
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import structs

from tallyboard.usage.overview import Overview, View
from tallyboard.web.pages.kpis import Kpi
from tallyboard.web.pages.table import Table, trend
from tallyboard.web.pages.usage import context
from tests.web.overviews import TODAY, credit, looking, overview, week

ALICE, BOB, CHARLIE = "alice", "bob", "charlie"
YESTERDAY = date(2026, 11, 19)
PLAIN = {ALICE: week(10, 30, 20, 5), BOB: week(0, 10, 0, 5)}


def kpis(shown: Overview) -> list[tuple[str, str, str]]:
    return [(kpi.label, kpi.value, kpi.note) for kpi in cast("tuple[Kpi, ...]", context(shown)["kpis"])]


def table(shown: Overview) -> Table:
    return cast("Table", context(shown)["table"])


def html(shown: Overview, **changes: Any) -> str:
    environment = Environment(
        loader=PackageLoader("tallyboard.web"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    layout = {
        "account": "Northwind",
        "member": "alice@northwind.example",
        "csrf_token": "token",
        "path": "/usage",
        "switch": [],
        "nav": [("/usage", "Credit Usage", "chart", True)],
        "assets": dict.fromkeys(("app.js", "app.css", "inter.woff2", "favicon.svg"), "file"),
        "state": "7-1",
    }
    return environment.get_template("usage.html").render(**context(shown), **(layout | changes))


def test_the_window_is_summed_up_in_four_figures() -> None:
    assert kpis(overview(PLAIN, previous_units=sum(credit(50)))) == [
        ("Credits, last 7 days", "80.00", "40% vs previous 7 days"),
        ("Daily average", "11.67", "complete days only"),
        ("Active users", "2", "of 50 ever seen"),
        ("Busiest day", "40.00", "Wed, 18 Nov"),
    ]


def test_nothing_is_compared_where_there_is_nothing_before() -> None:
    assert kpis(overview(PLAIN))[0] == ("Credits, last 7 days", "80.00", "today included")


def test_a_fall_points_down() -> None:
    (first, *_) = cast("tuple[Kpi, ...]", context(overview(PLAIN, previous_units=sum(credit(140))))["kpis"])
    assert (first.trend, first.note) == ("down", "50% vs previous 7 days")


def test_an_account_of_today_has_no_average_yet() -> None:
    assert kpis(overview({ALICE: week(5)}))[1][1] == "–"


def test_a_focused_day_is_summed_up_in_four_figures() -> None:
    assert kpis(overview(PLAIN, view=View(7, YESTERDAY))) == [
        ("Thu, 19 Nov 2026", "20.00", "25% of the window"),
        ("Against the daily average", "1.7×", "daily average 11.67"),
        ("Active users", "2", "of 50 ever seen"),
        ("Top user", ALICE, "20.00 credits, 100%"),
    ]


def test_a_filtered_table_does_not_name_a_top_user() -> None:
    assert kpis(overview(PLAIN, view=View(7, YESTERDAY, search="bob")))[3] == ("Place in the window", "2nd", "busiest of 7 days")


def test_today_is_said_to_be_in_progress() -> None:
    assert kpis(overview(PLAIN, view=View(7, TODAY)))[0] == ("Fri, 20 Nov 2026", "10.00", "so far today, 12% of the window")


def test_a_user_is_summed_up_in_four_figures() -> None:
    assert kpis(overview(PLAIN, view=View(7, user=ALICE))) == [
        ("Credits, last 7 days", "65.00", "rank 1 of 2"),
        ("Share of organization", "81%", "of 80.00 credits"),
        ("Peak day", "30.00", "Wed, 18 Nov"),
        ("Active days", "4", "of 7 days"),
    ]


def test_a_users_day_is_summed_up_in_four_figures() -> None:
    assert kpis(overview(PLAIN, view=View(7, date(2026, 11, 18), user=ALICE))) == [
        ("Wed, 18 Nov 2026", "30.00", "46% of the window"),
        ("Against the daily average", "3.0×", "daily average 10.00"),
        ("Share of organization", "75%", "of 40.00 credits"),
        ("Peak day", "30.00", "Wed, 18 Nov"),
    ]


def test_a_user_without_usage_has_no_rank_and_no_peak() -> None:
    shown = kpis(overview(PLAIN | {CHARLIE: week(0)}, view=View(7, user=CHARLIE)))
    assert shown[0] == ("Credits, last 7 days", "0", "no usage in these days")
    assert shown[2] == ("Peak day", "–", "no usage in these days")


def test_a_row_says_who_how_much_and_what_share() -> None:
    (alice, bob) = table(overview(PLAIN, names={ALICE: "Alice Weber"}, emails={ALICE: "alice@northwind.example"})).lines
    assert (alice.name, alice.detail, alice.credits, alice.share, alice.bar) == (
        "Alice Weber",
        "alice@northwind.example",
        "65.00",
        "81%",
        "x10",
    )
    assert (bob.name, bob.detail, bob.credits, bob.share, bob.bar) == ("bob", "", "15.00", "19%", "x2 y3 z1")


def test_a_long_key_is_shortened_and_whole_on_demand() -> None:
    key = "u_8f3a9c2e71b04d6d9ab2c0f1e2d3b4a5"
    (line,) = table(overview({key: week(1)})).lines
    assert (line.name, line.hint) == ("u_8f3a9c2e71…e2d3b4a5", key)


def test_unattributed_usage_is_explained() -> None:
    (line,) = table(overview({"unattributed": week(1)})).lines
    assert (line.name, line.detail) == ("Unattributed", "no user named in the event")


def test_selecting_a_selected_user_clears_the_selection() -> None:
    alice, bob = table(overview(PLAIN, view=View(7, user=ALICE))).lines
    assert (alice.selected, alice.href) == (True, "/usage?window=7")
    assert (bob.selected, bob.href) == (False, "/usage?window=7&user=bob")


def test_a_user_within_others_carries_the_highest_day_as_a_part_of_the_plot() -> None:
    alice, bob = table(overview(PLAIN, drawn=1)).lines
    assert alice.peak == ""
    assert bob.peak == "25"


@pytest.mark.parametrize(
    ("matches", "search", "note"),
    [
        (2, "", ""),
        (312, "", "Showing the top 2 of 312 users by credits. Search and CSV export reach all of them."),
        (250, "o", "Showing the top 1 of 250 matching users by credits. CSV export reaches all of them."),
    ],
)
def test_what_is_not_displayed_is_said(matches: int, search: str, note: str) -> None:
    assert table(overview(PLAIN, view=View(7, search=search), matches=matches)).note == note


def test_a_search_says_how_many_it_found() -> None:
    assert table(overview(PLAIN, view=View(7, search="bob"))).count == "1 of 2 users"
    assert table(overview(PLAIN)).count == "2 users"


def test_a_search_without_a_match_repeats_what_was_sought() -> None:
    assert table(overview(PLAIN, view=View(7, search="okaf"))).nothing == "No users match “okaf”."


def test_a_trend_is_one_path_scaled_to_its_own_peak() -> None:
    assert trend(week(0, 5, 10, 10)) == "M0 20V20h4V10h1V0h2V20z"
    assert trend([1, 10**12]) == "M0 20V19h1V0h1V20z"
    assert trend([0, 0]) == ""


def test_another_window_gives_up_a_day_outside_of_it() -> None:
    shown = overview({ALICE: credit(*[1.0] * 30)}, view=View(30, date(2026, 11, 10), search="ali"))
    assert [choice.href for choice in cast("Any", context(shown)["windows"])] == [
        "/usage?window=7&q=ali",
        "/usage?window=14&day=2026-11-10&q=ali",
        "/usage?window=30&day=2026-11-10&q=ali",
    ]


def test_a_user_nobody_knows_is_passed_over() -> None:
    shown = looking(overview(PLAIN), user="mallory")
    assert context(shown)["person"] == ""
    assert "mallory" not in html(shown)


def test_the_export_asks_for_what_the_page_shows() -> None:
    assert context(overview(PLAIN, view=View(7, YESTERDAY, ALICE)))["export"] == "/usage.csv?window=7&day=2026-11-19&user=alice"


def test_escape_belongs_to_the_day_before_the_user() -> None:
    both = context(overview(PLAIN, view=View(7, YESTERDAY, ALICE)))
    assert cast("Any", both["day_chip"]).escape
    assert not cast("Any", both["user_chip"]).escape
    assert cast("Any", context(overview(PLAIN, view=View(7, user=ALICE)))["user_chip"]).escape


@pytest.mark.parametrize(
    "shown",
    [
        overview(PLAIN),
        overview(PLAIN, others=week(4)),
        overview(PLAIN, view=View(7, YESTERDAY, ALICE)),
        overview(PLAIN, view=View(7, search="okaf")),
        overview({}),
        overview({ALICE: week(0)}),
        overview({ALICE: week(-3, 2)}),
    ],
    ids=["window", "others", "day of a user", "no match", "empty", "usage of nothing", "corrected"],
)
def test_the_html_of_every_state_keeps_the_policy(shown: Overview) -> None:
    page = html(shown)
    assert not re.search(r"<[^>]*\s(style|on[a-z]+|hx-on[^=]*)=", page)
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    assert "js:" not in page


def test_what_people_wrote_is_escaped() -> None:
    key = "<script>alert(1)</script>"
    page = html(overview({key: week(1)}, view=View(7, search=key), names={key: '"><img src=x>'}))
    assert "<script>alert" not in page
    assert "<img" not in page


def test_an_account_without_usage_says_so() -> None:
    page = html(overview({}))
    assert "No usage data for the selected period." in page
    assert "<table" not in page


def test_the_page_never_shows_conversations_but_in_its_one_note() -> None:
    assert re.findall(r"[^<>]*conversation[^<>]*", html(overview(PLAIN))) == ["One credit is 600 conversations."]


def test_ids_are_unique_and_without_spaces() -> None:
    ids = re.findall(r'\sid="([^"]*)"', html(overview({"a b": week(1), "a%20b": week(2), "é/?&": week(3)})))
    assert len(set(ids)) == len(ids)
    assert not [name for name in ids if " " in name]


def test_events_that_no_meter_matched_are_told() -> None:
    shown = structs.replace(overview(PLAIN), unrated=1)
    assert "1 event of this period matched no meter of the rate card and counted 0 credits." in html(shown)
    assert "matched no meter" not in html(overview(PLAIN))
