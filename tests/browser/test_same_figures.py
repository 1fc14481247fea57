"""The page, the API and the export say the same, to the unit."""

import csv
import io
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tallyboard.credits import shown
from tests.browser.conftest import Open
from tests.browser.northwind import BOB, LAST_OF_ALL, Northwind
from tests.browser.sights import credits_of, day, figure, row, rows, spent_by, written

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("days", [7, 14, 30])
def test_total_days_and_every_row_are_those_of_the_api(visit: Open, northwind: Northwind, days: int) -> None:
    page = visit(window=days)
    usage = northwind.server.usage(window=str(days))
    expect(figure(page)).to_have_text(written(usage["total"]))
    assert page.eval_on_selector_all(".day", "days => days.map((day) => [day.value, day.dataset.total])") == [
        [line["day"], written(line)] for line in usage["days"]
    ]
    assert page.eval_on_selector_all("#users tbody tr", "rows => rows.map((row) => row.cells[2].textContent)") == [
        written(user) for user in usage["users"]
    ]


def test_others_and_the_users_drawn_add_up_to_each_day(visit: Open, northwind: Northwind) -> None:
    page = visit()
    usage = northwind.server.usage(top="8")
    assert sum(user["units"] for user in usage["users"]) + usage["others"]["units"] == usage["total"]["units"]
    drawn = page.eval_on_selector_all(".day", "days => days.map((day) => day.dataset.parts.split('|').map((part) => part.split(' ')[0]))")
    for index, line in enumerate(usage["days"]):
        parts = [*(user["days"][index] for user in usage["users"]), usage["others"]["days"][index]]
        assert sum(parts) == line["units"]
        assert drawn[index] == [shown(part) if part else "" for part in parts]


def test_the_bars_are_as_high_as_the_figures(visit: Open, northwind: Northwind) -> None:
    page = visit({"reduced_motion": "reduce"})
    usage = northwind.server.usage()
    top = int(page.locator("#chart").get_attribute("data-axis") or 0)
    script = "bars => bars.map((bar) => [...bar.children].reduce((sum, slice) => sum + slice.getBoundingClientRect().height, 0) / bar.clientHeight)"
    heights = page.eval_on_selector_all(".bar", script)
    for height, line in zip(heights, usage["days"], strict=True):
        assert height == pytest.approx(line["units"] / top, abs=0.002)


def test_a_focused_day_shows_that_days_figures(visit: Open, northwind: Northwind) -> None:
    on = str(northwind.weekday)
    page = visit(day=on)
    usage = northwind.server.usage(first=on, last=on)
    expect(figure(page)).to_have_text(written(usage["total"]))
    expect(rows(page)).to_have_count(len(usage["users"]))
    for user in (usage["users"][0], usage["users"][-1]):
        expect(credits_of(row(page, user["user"]))).to_have_text(written(user))


def test_a_users_view_shows_that_users_days(visit: Open, northwind: Northwind) -> None:
    page = visit(user=LAST_OF_ALL)
    usage = northwind.server.usage(user=LAST_OF_ALL)
    expect(figure(page)).to_have_text(written(usage["total"]))
    expect(day(page, northwind.ago(1))).to_have_attribute("data-total", written(usage["days"][-2]))
    expect(day(page, northwind.ago(2))).to_have_attribute("data-total", "0")


def test_the_export_holds_every_user_also_those_the_table_does_not_show(visit: Open, northwind: Northwind, tmp_path: Path) -> None:
    page = visit()
    usage = northwind.server.usage()
    lines = _exported(page, tmp_path, f"credit-usage-{northwind.ago(29)}-{northwind.today}.csv")
    assert sum(int(line["units"]) for line in lines) == usage["total"]["units"]
    users = {line["user"] for line in lines}
    assert len(users) == len(usage["users"]) + usage["others"]["users"]
    assert {BOB, LAST_OF_ALL, "unattributed"} <= users
    spent = [int(line["units"]) for line in lines if line["user"] == BOB]
    assert spent == [units for units in spent_by(usage, BOB)["days"] if units]


def test_the_export_of_a_day_or_a_user_is_of_that_day_or_user(visit: Open, northwind: Northwind, tmp_path: Path) -> None:
    on: date = northwind.weekday
    lines = _exported(visit(day=on), tmp_path, f"credit-usage-{on}-{on}.csv")
    assert {line["day"] for line in lines} == {str(on)}
    assert sum(int(line["units"]) for line in lines) == northwind.server.usage(first=str(on), last=str(on))["total"]["units"]
    lines = _exported(visit(window=7, user=BOB), tmp_path, f"credit-usage-{northwind.ago(6)}-{northwind.today}.csv")
    assert {line["user"] for line in lines} == {BOB}


def _exported(page: Page, folder: Path, name: str) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("link", name="Export CSV").click()
    assert download.value.suggested_filename == name
    download.value.save_as(folder / name)
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))
