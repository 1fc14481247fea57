"""The chart as a picture in whole thousandths: axis, columns, slices and their labels.

A slice's height is written in "digit" classes (`x4 y3 z7` is 43.7 % of the plot), because the page's
policy forbids inline styles. Heights come from rounding running sums, so a stack never drifts from
its total by more than half a thousandth of the plot. Corrections may make a part negative; it is
drawn as nothing, and written as it is.
"""

from collections.abc import Sequence
from datetime import date
from itertools import accumulate, pairwise

from msgspec import Struct

from tallyboard.credits import UNITS_PER_CREDIT, shown
from tallyboard.policy.limits import limit_text
from tallyboard.usage.overview import Overview, Row
from tallyboard.usage.report import DayUsage
from tallyboard.web.pages import figures, links
from tallyboard.web.pages.names import primary

INTERVALS_MAX = 5
OTHERS = "cx"

_STEPS_UNITS = tuple(6 * mantissa * 10**power // 10 for power in range(24) for mantissa in (10, 20, 25, 50))
"""1, 2, 2.5 and 5 times the powers of ten, from a hundred-millionth of a credit (6 units, the finest figure one may set)."""
_PEAK_MIN = 4
_LIMIT_TIMES_MAX = 3
"""A limit more than so many times the highest bar is not drawn, but told."""
_LABEL_ABOVE_MAX = 930
_LABELLED_WEEKDAYS = {30: (0,), 14: (0, 3)}
_CLEARANCE = {30: (1, 4), 14: (0, 1)}
"""How many days a label keeps from a more important one, on wide screens and on narrow ones."""


class Axis(Struct, frozen=True):
    """The axis from 0 to `top_units`; labels from the top down."""

    top_units: int
    labels: tuple[str, ...]


class Slice(Struct, frozen=True):
    """One user's part of a day: colour class and digit classes."""

    colour: str
    size: str


class Column(Struct, frozen=True):
    """One day. `value` is what pressing it submits: the day, or nothing where it is pressed already."""

    day: str
    value: str
    pressed: bool
    spoken: str
    title: str
    total: str
    parts: str
    slices: tuple[Slice, ...]
    weekend: bool
    today: bool
    tick: str
    tick_kind: str


class Series(Struct, frozen=True):
    """One entry of the legend and one line of the tooltip; Others have no address."""

    colour: str
    name: str
    href: str | None


class LimitLine(Struct, frozen=True):
    """A user's daily limit across the plot, its height in digit classes; the label goes below it where it is `high`."""

    label: str
    size: str
    high: bool


class Chart(Struct, frozen=True):
    """What the chart's template draws."""

    axis: Axis
    columns: tuple[Column, ...]
    series: tuple[Series, ...]
    days: int
    summary: str
    limit: LimitLine | None


class _Stack(Struct, frozen=True):
    """The parts of each day, from the baseline up, with their colours."""

    colours: tuple[str, ...]
    days: tuple[tuple[int, ...], ...]
    totals: tuple[int, ...]


def chart(overview: Overview, axis_floor_units: int = 0, limit: int | None = None) -> Chart:
    """The chart of a view; its axis reaches at least `axis_floor_units`, which a live refresh passes on.

    `limit` is the selected user's. It is drawn unless it is so far above the bars that they would be flattened.
    """
    stack = _stack(overview)
    highest = max(sum(max(part, 0) for part in parts) for parts in stack.days)
    drawn = None if limit is None or limit > _LIMIT_TIMES_MAX * highest > 0 else limit
    scale = axis(max(highest, axis_floor_units, drawn or 0))
    ticks = _ticks(overview)
    return Chart(
        axis=scale,
        columns=tuple(
            _column(overview, day, total, parts, stack.colours, scale.top_units, tick, limit)
            for day, total, parts, tick in zip(overview.report.days, stack.totals, stack.days, ticks, strict=True)
        ),
        series=_series(overview, OTHERS in stack.colours),
        days=overview.view.window,
        summary=_summary(overview, stack, limit),
        limit=None if drawn is None else _limit_line(drawn, scale.top_units),
    )


def _limit_line(limit: int, top_units: int) -> LimitLine:
    height = scaled(limit, top_units, 1000)
    return LimitLine(f"Daily limit {limit_text(limit)}", digits(height), height > _LABEL_ABOVE_MAX)


def axis(highest: int) -> Axis:
    """An axis that holds `highest` in at most five steps of 1, 2, 2.5 or 5 times a power of ten credits."""
    highest = min(highest, INTERVALS_MAX * _STEPS_UNITS[-1]) if highest > 0 else UNITS_PER_CREDIT
    step = next(step for step in _STEPS_UNITS if step * INTERVALS_MAX >= highest)
    intervals = -(-highest // step)
    return Axis(step * intervals, tuple(figures.axis_label(step * tick) for tick in range(intervals, -1, -1)))


def digits(thousandths: int) -> str:
    """The classes of a length in thousandths of its container, 0 to 1000; zeros are left out."""
    names = (("x", thousandths // 100), ("y", thousandths // 10 % 10), ("z", thousandths % 10))
    return " ".join(f"{name}{digit}" for name, digit in names if digit)


def thousandths(parts: Sequence[int], top_units: int) -> list[int]:
    """The heights of stacked parts in thousandths of the plot, rounded by running sums.

    A day with any usage is at least a line: its largest part is given `_PEAK_MIN`.
    """
    sums = [0, *accumulate(max(part, 0) for part in parts)]
    edges = [min(scaled(total, top_units, 1000), 1000) for total in sums]
    heights = [upper - lower for lower, upper in pairwise(edges)]
    if sums[-1] > 0 and sum(heights) < _PEAK_MIN:
        heights = [0] * len(heights)
        heights[max(range(len(parts)), key=parts.__getitem__)] = _PEAK_MIN
    return heights


def scaled(part: int, whole: int, steps: int) -> int:
    """A part of a whole in so many steps, to the nearest; in integers, since a page has thousands of them."""
    return (2 * part * steps + whole) // (2 * whole)


def _stack(overview: Overview) -> _Stack:
    totals = tuple(day.units for day in overview.report.days)
    if overview.person is not None:
        days = overview.person.usage.days
        return _Stack((colour(overview.person.slot),), tuple((units,) for units in days), days)
    drawn = [row.days for row in _coloured(overview)]
    others = tuple(total - sum(days[index] for days in drawn) for index, total in enumerate(totals))
    colours = tuple(colour(row.slot) for row in _coloured(overview))
    if any(others) or not drawn:
        drawn, colours = [*drawn, others], (*colours, OTHERS)
    return _Stack(colours, tuple(zip(*drawn, strict=True)), totals)


def _coloured(overview: Overview) -> list[Row]:
    """The users drawn individually; one for whom no colour is left is drawn with Others."""
    return [row for row in overview.series if row.slot is not None]


def colour(slot: int | None) -> str:
    """The class of a colour slot, `c0` to `c9`; users without one are drawn with Others."""
    return OTHERS if slot is None else f"c{slot}"


def _column(
    overview: Overview,
    day: DayUsage,
    total: int,
    parts: Sequence[int],
    colours: Sequence[str],
    top_units: int,
    tick: tuple[str, str],
    limit: int | None,
) -> Column:
    pressed = overview.view.day == day.day
    so_far = "" if day.complete else ", so far today"
    reached = ", at or over the daily limit" if limit is not None and total and total >= limit else ""
    heights = thousandths(parts, top_units)
    return Column(
        day=day.day.isoformat(),
        value="" if pressed else day.day.isoformat(),
        pressed=pressed,
        spoken=f"{figures.spoken_date(day.day)}: {shown(total)} credits{so_far}{reached}",
        title=figures.full_date(day.day),
        total=shown(total),
        parts="|".join(f"{shown(part)} {figures.share(part, total)}" if part else "" for part in parts),
        slices=tuple(Slice(colour, digits(height)) for colour, height in zip(colours, heights, strict=True) if height),
        weekend=day.day.weekday() >= 5,
        today=not day.complete,
        tick=tick[0],
        tick_kind=tick[1],
    )


def _ticks(overview: Overview) -> list[tuple[str, str]]:
    """The label under each day and its kind; a label gives way to a more important one close by."""
    days = [day.day for day in overview.report.days]
    window = overview.view.window
    focus = overview.view.day
    wide, narrow = _CLEARANCE.get(window, (0, 0))
    important = [index for index, day in enumerate(days) if day in (focus, overview.today)]
    return [_tick(day, index, important, (wide, narrow), overview) for index, day in enumerate(days)]


def _tick(day: date, index: int, important: Sequence[int], clearance: tuple[int, int], overview: Overview) -> tuple[str, str]:
    focus, today, window = overview.view.day, overview.today, overview.view.window
    wide, narrow = clearance
    if day == focus:
        return ("Today" if day == today else figures.short_date(day)), "focus"
    distance = min((abs(index - other) for other in important if other != index), default=window)
    kind = "now" if day == today else ""
    labelled = day == today or day.weekday() in _LABELLED_WEEKDAYS.get(window, range(7))
    if not labelled or distance <= wide:
        return "", ""
    text = "Today" if day == today else figures.short_date(day)
    return text, kind if distance > narrow else f"{kind} wide".strip()


def _series(overview: Overview, others: bool) -> tuple[Series, ...]:
    if overview.person is not None:
        person = overview.person
        return (Series(colour(person.slot), primary(person.usage), None),)
    users = tuple(_legend(overview, row) for row in _coloured(overview))
    return (*users, Series(OTHERS, "Others", None)) if others else users


def _legend(overview: Overview, row: Row) -> Series:
    return Series(colour(row.slot), primary(row), links.with_changes(overview.view, user=row.user))


def _summary(overview: Overview, stack: _Stack, limit: int | None) -> str:
    """The chart in words, for who does not see it."""
    days = overview.report.days
    most = f"split by the {len(_coloured(overview))} largest users and Others" if OTHERS in stack.colours else "split by user"
    split = "of one user" if overview.person else most
    busiest = max(range(len(days)), key=stack.totals.__getitem__)
    limited = "" if limit is None else f" The daily limit is {limit_text(limit)} credits."
    return (
        f"Bars of credits for each of {len(days)} days, from {figures.spoken_date(days[0].day)} "
        f"to {figures.spoken_date(days[-1].day)}, {split}. The busiest is {figures.spoken_date(days[busiest].day)} "
        f"with {shown(stack.totals[busiest])} credits.{limited} The table lists the users' figures."
    )
