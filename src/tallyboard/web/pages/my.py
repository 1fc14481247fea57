"""My usage: from a member's own usage to what its template needs. Pure."""

from datetime import date

from msgspec import Struct, structs

from tallyboard import days
from tallyboard.credits import shown
from tallyboard.policy.limits import limit_text
from tallyboard.policy.own import Own
from tallyboard.usage.overview import Overview, Person, View
from tallyboard.web.pages import figures, links
from tallyboard.web.pages.chart import Chart, chart
from tallyboard.web.pages.kpis import Kpi
from tallyboard.web.pages.table import of_limit
from tallyboard.web.pages.usage import Chip, WindowChoice, also_known

MY = "/my"
MY_CSV = "/my.csv"
COLOUR = 0
"""Of whoever looks: which colour a user has among others says who the largest are."""


class DayLine(Struct, frozen=True):
    """A line of the table of days; `level` is `warn` from 80 % of the limit on, `bad` from 100 %."""

    day: str
    credits: str
    limit: str
    level: str
    selected: bool


def context(own: Own, view: View, now_us: int) -> dict[str, object]:
    """What `my.html` needs beside the layout's own keys."""
    first, last = own.report.days[0].day, own.report.days[-1].day
    view = View(view.window, view.day if view.day and first <= view.day <= last else None)
    return {
        "view": view,
        "zone": figures.zone_name(own.report.timezone),
        "windows": tuple(_window(view, length, last) for length in days.WINDOWS),
        "kpis": _kpis(own, view, now_us),
        "paused": _paused(own),
        "chart": _chart(own, view, last),
        "chart_action": MY,
        "person": "you",
        "user_chip": None,
        "also": also_known(own.also_keys, ""),
        "day_chip": Chip(links.address(View(view.window), MY), figures.full_date(view.day), True) if view.day else None,
        "day_fields": links.parameters(view, "day"),
        "lines": _lines(own, view),
        "limited": own.standing.limit is not None,
        "export": links.address(View(view.window), MY_CSV),
    }


def _window(view: View, length: int, today: date) -> WindowChoice:
    kept = view.day if view.day and (today - view.day).days < length else None
    return WindowChoice(links.address(View(length, kept), MY), f"{length} days", view.window == length)


def _kpis(own: Own, view: View, now_us: int) -> tuple[Kpi, ...]:
    standing, zone = own.standing, days.zone(own.report.timezone)
    held = f", {shown(standing.held)} set aside" if standing.held else ""
    used = f"of {limit_text(standing.limit)}" if standing.limit is not None else "no daily limit"
    left = Kpi("Left today", limit_text(None), "you are not limited", words=True)
    if standing.remaining is not None:
        left = Kpi("Left today", shown(standing.remaining), f"credits{held}")
    resets = figures.clock(standing.resets_us, zone, standing.day)
    return (
        _credits(own, view),
        Kpi("Used today", shown(standing.used), used),
        left,
        Kpi("A new day begins in", figures.span((standing.resets_us - now_us) // 1_000_000), resets, words=True),
    )


def _credits(own: Own, view: View) -> Kpi:
    if view.day is None:
        return Kpi(f"Credits, last {view.window} days", shown(own.usage.units), "today included")
    units = own.usage.days[(view.day - own.report.days[0].day).days]
    return Kpi(figures.full_date(view.day), shown(units), f"{figures.share(units, own.usage.units)} of the window")


def _paused(own: Own) -> str:
    """Why one may not go on, where that is so."""
    if own.standing.may_go_on:
        return ""
    if own.standing.limit == 0:
        return "Your usage is paused: your daily limit is 0 credits. Ask an administrator."
    return f"Your daily limit of {limit_text(own.standing.limit)} credits is used up until the next day begins."


def _chart(own: Own, view: View, today: date) -> Chart:
    alone = Overview(
        view=view,
        report=own.report,
        series=(),
        rows=(),
        rows_total=1,
        matches=1,
        rows_units=own.usage.units,
        person=Person(own.usage, 1, COLOUR),
        complete_units=0,
        previous_units=None,
        users_seen=1,
        unrated=0,
        today=today,
    )
    drawn = chart(alone, 0, own.standing.limit)
    return structs.replace(drawn, summary=drawn.summary.replace("The table lists the users' figures.", "The table lists the days."))


def _lines(own: Own, view: View) -> tuple[DayLine, ...]:
    """The days, the newest first."""
    lines = []
    for day, units in zip(own.report.days, own.usage.days, strict=True):
        limit, _, level = of_limit(units, own.standing.limit)
        name = figures.full_date(day.day) if day.complete else f"{figures.full_date(day.day)}, so far"
        lines.append(DayLine(name, shown(units), limit, level, day.day == view.day))
    return tuple(reversed(lines))
