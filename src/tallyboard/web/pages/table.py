"""The table of users: one line a row, with a trend as the path of one SVG and a share bar in digit classes."""

from collections.abc import Sequence
from urllib.parse import quote

from msgspec import Struct

from tallyboard.credits import shown
from tallyboard.policy.reach import Reach
from tallyboard.usage.overview import Overview, Row
from tallyboard.web.pages import figures, links
from tallyboard.web.pages.chart import colour, digits, scaled
from tallyboard.web.pages.names import primary, secondary

SPARK_HEIGHT = 20
_KEY_SHOWN_MAX = 24


class Line(Struct, frozen=True):
    """One user's line. `peak` is the user's highest day in percent of the plot, where Others hide the user.

    `limit` is how much of the user's limit is used on the day shown; `limit_level` is `warn` from 80 % on, `bad` from 100 % on.
    """

    id: str
    href: str
    selected: bool
    colour: str
    name: str
    detail: str
    hint: str
    trend: str
    credits: str
    share: str
    bar: str
    peak: str
    limit: str
    limit_bar: str
    limit_level: str


class Table(Struct, frozen=True):
    """What the table's template draws; `note` says what is not displayed, `nothing` why there are no lines.

    `limit_title` heads the column of limits, which is not there where nobody has one.
    """

    lines: tuple[Line, ...]
    count: str
    note: str
    nothing: str
    days: int
    limit_title: str


def table(overview: Overview, top_units: int, reach: Reach | None = None) -> Table:
    """The table of a view beside a chart whose axis reaches `top_units`; `reach` is None where nobody has a limit."""
    most = max((row.units for row in overview.rows), default=0)
    return Table(
        lines=tuple(_line(overview, row, most, top_units, reach) for row in overview.rows),
        count=_count(overview),
        note=_note(overview),
        nothing=_nothing(overview),
        days=overview.view.window,
        limit_title="" if reach is None else "Of daily limit" if overview.view.day else "Of limit today",
    )


def of_limit(used: int, limit: int | None) -> tuple[str, str, str]:
    """How much of a limit is used: for people, as the length of a bar, and how serious it is."""
    if limit is None:
        return figures.NOTHING, "", ""
    level = "bad" if used >= limit else "warn" if used * 5 >= limit * 4 else ""
    if limit == 0:
        return "Paused", digits(1000), level
    return figures.share(used, limit), digits(min(scaled(max(used, 0), limit, 1000), 1000)), level


def trend(days: Sequence[int]) -> str:
    """The path of a small bar chart, `SPARK_HEIGHT` high and one wide a day, scaled to its own peak."""
    peak = max(days, default=0)
    if peak <= 0:
        return ""
    steps: list[list[int]] = []
    for units in days:
        # A day with usage is never flat: one of the twenty steps at least.
        level = SPARK_HEIGHT - max(scaled(units, peak, SPARK_HEIGHT), 1) if units > 0 else SPARK_HEIGHT
        if steps and steps[-1][0] == level:
            steps[-1][1] += 1
        else:
            steps.append([level, 1])
    return f"M0 {SPARK_HEIGHT}" + "".join(f"V{level}h{width}" for level, width in steps) + f"V{SPARK_HEIGHT}z"


def _line(overview: Overview, row: Row, most: int, top_units: int, reach: Reach | None) -> Line:
    selected = overview.view.user == row.user
    hidden = row.slot is None and overview.person is None
    used = row.units if overview.view.day else row.days[-1]
    limit, limit_bar, limit_level = of_limit(used, reach.limits.get(row.user)) if reach else ("", "", "")
    return Line(
        id=f"u-{quote(row.user, safe='')}",
        href=links.with_changes(overview.view, user=None if selected else row.user),
        selected=selected,
        colour="" if row.slot is None else colour(row.slot),
        name=primary(row),
        detail=secondary(row),
        hint=row.user if row.name is None and row.email is None and len(row.user) > _KEY_SHOWN_MAX else "",
        trend=trend(row.days),
        credits=shown(row.units),
        share=figures.share(row.units, overview.rows_units),
        bar=digits(scaled(max(row.units, 0), most, 1000)) if most > 0 else "",
        peak=f"{max(row.days, default=0) * 100 / top_units:.3g}" if hidden else "",
        limit=limit,
        limit_bar=limit_bar,
        limit_level=limit_level,
    )


def _count(overview: Overview) -> str:
    if overview.view.search:
        return f"{overview.matches:,} of {figures.count(overview.rows_total, 'user')}"
    return figures.count(overview.rows_total, "user")


def _note(overview: Overview) -> str:
    """What is not displayed, and that search and export reach everyone."""
    shown_rows = len(overview.rows)
    if shown_rows >= overview.matches:
        return ""
    if overview.view.search:
        return f"Showing the top {shown_rows:,} of {overview.matches:,} matching users by credits. CSV export reaches all of them."
    return f"Showing the top {shown_rows:,} of {overview.matches:,} users by credits. Search and CSV export reach all of them."


def _nothing(overview: Overview) -> str:
    if overview.rows:
        return ""
    if overview.view.search:
        return f"No users match “{overview.view.search}”."
    if overview.view.day is not None:
        return f"No usage on {figures.full_date(overview.view.day)}."
    return "No usage data for the selected period."
