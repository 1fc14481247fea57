"""The four key figures above the chart, for the organization, one user, and one day of either."""

from fractions import Fraction

from msgspec import Struct

from tallyboard.credits import shown, whole_units
from tallyboard.policy.limits import limit_text
from tallyboard.policy.reach import Reach
from tallyboard.usage.overview import Overview, Person
from tallyboard.usage.report import DayUsage
from tallyboard.web.pages import figures
from tallyboard.web.pages.names import primary
from tallyboard.web.pages.table import of_limit


class Kpi(Struct, frozen=True):
    """A label, a figure (or, where `words`, a name) and a note; `trend` is `up`, `down`, `same` or nothing."""

    label: str
    value: str
    note: str
    trend: str = ""
    words: bool = False


def kpis(overview: Overview, reach: Reach | None = None) -> tuple[Kpi, ...]:
    """The four figures of a view; where anybody has a limit the last one is about limits."""
    index = _focused(overview)
    person = overview.person
    if person is not None:
        found = _of_person(overview, person) if index is None else _of_person_on_day(overview, person, index)
        return found if reach is None else (*found[:3], _limit_of_person(person, index, reach))
    found = _of_window(overview) if index is None else _of_day(overview, index)
    return found if reach is None else (*found[:3], _at_limit(index, reach))


def _at_limit(index: int | None, reach: Reach) -> Kpi:
    label = "At or over limit today" if index is None else "At or over limit"
    note = "users with a limit of their own" if reach.default_units is None else f"limit {limit_text(reach.default_units)} per user"
    return Kpi(label, f"{reach.reached:,}", note)


def _limit_of_person(person: Person, index: int | None, reach: Reach) -> Kpi:
    limit = reach.limits.get(person.usage.user)
    if limit is None:
        return Kpi("Daily limit", limit_text(None), "this user is not limited", words=True)
    if index is not None:
        return Kpi("Of daily limit", of_limit(person.usage.days[index], limit)[0], f"limit {limit_text(limit)}")
    return Kpi("Days at or over limit", str(sum(units >= limit for units in person.usage.days if units)), f"limit {limit_text(limit)}")


def _of_window(overview: Overview) -> tuple[Kpi, ...]:
    report = overview.report
    busiest = max(report.days, key=lambda day: day.units)
    return (
        _total(overview),
        Kpi("Daily average", _average_shown(_average(overview)), "complete days only"),
        Kpi("Active users", f"{report.user_count:,}", f"of {overview.users_seen:,} ever seen"),
        Kpi("Busiest day", shown(busiest.units), _dated(busiest)),
    )


def _total(overview: Overview) -> Kpi:
    label = f"Credits, last {overview.view.window} days"
    total = shown(overview.report.units)
    before = overview.previous_units
    if before is None or before <= 0:
        return Kpi(label, total, "today included")
    direction, size = figures.change(overview.complete_units, before)
    return Kpi(label, total, f"{size} vs previous {overview.view.window} days", direction)


def _of_day(overview: Overview, index: int) -> tuple[Kpi, ...]:
    report = overview.report
    day = report.days[index]
    average = _average(overview)
    return (
        Kpi(figures.full_date(day.day), shown(day.units), _of_the_window(day, day.units, report.units)),
        Kpi("Against the daily average", figures.ratio(day.units, average), _average_note(average)),
        Kpi("Active users", f"{overview.rows_total:,}", f"of {overview.users_seen:,} ever seen"),
        _top_user(overview, day) or _rank(overview, index),
    )


def _top_user(overview: Overview, day: DayUsage) -> Kpi | None:
    """Who used most that day; nothing where a search filters the rows, which then cannot tell."""
    if overview.view.search or not overview.rows:
        return None
    first = overview.rows[0]
    return Kpi("Top user", primary(first), f"{shown(first.units)} credits, {figures.share(first.units, day.units)}", words=True)


def _rank(overview: Overview, index: int) -> Kpi:
    units = [day.units for day in overview.report.days]
    rank = 1 + sum(other > units[index] for other in units)
    return Kpi("Place in the window", figures.ordinal(rank), f"busiest of {len(units)} days")


def _of_person(overview: Overview, person: Person) -> tuple[Kpi, ...]:
    report, usage = overview.report, person.usage
    active = sum(units > 0 for units in usage.days)
    rank = f"rank {person.rank:,} of {report.user_count:,}" if usage.units > 0 else "no usage in these days"
    return (
        Kpi(f"Credits, last {overview.view.window} days", shown(usage.units), rank),
        Kpi("Share of organization", figures.share(usage.units, report.units), f"of {shown(report.units)} credits"),
        _peak(overview, person),
        Kpi("Active days", str(active), f"of {len(usage.days)} days"),
    )


def _of_person_on_day(overview: Overview, person: Person, index: int) -> tuple[Kpi, ...]:
    report, usage = overview.report, person.usage
    day, units = report.days[index], usage.days[index]
    complete = [spent for spent, other in zip(usage.days, report.days, strict=True) if other.complete]
    average = whole_units(Fraction(sum(complete), len(complete))) if complete else 0
    return (
        Kpi(figures.full_date(day.day), shown(units), _of_the_window(day, units, usage.units)),
        Kpi("Against the daily average", figures.ratio(units, average), _average_note(average)),
        Kpi("Share of organization", figures.share(units, day.units), f"of {shown(day.units)} credits"),
        _peak(overview, person),
    )


def _peak(overview: Overview, person: Person) -> Kpi:
    days = person.usage.days
    index = max(range(len(days)), key=days.__getitem__)
    if days[index] <= 0:
        return Kpi("Peak day", figures.NOTHING, "no usage in these days")
    return Kpi("Peak day", shown(days[index]), _dated(overview.report.days[index]))


def _focused(overview: Overview) -> int | None:
    days = [day.day for day in overview.report.days]
    return days.index(overview.view.day) if overview.view.day in days else None


def _average(overview: Overview) -> int:
    """Units a complete day of the window; 0 where none is complete."""
    complete = sum(day.complete for day in overview.report.days)
    return whole_units(Fraction(overview.complete_units, complete)) if complete else 0


def _average_shown(average: int) -> str:
    return shown(average) if average else figures.NOTHING


def _average_note(average: int) -> str:
    return f"daily average {shown(average)}" if average > 0 else "no complete day to compare with"


def _of_the_window(day: DayUsage, units: int, whole: int) -> str:
    part = f"{figures.share(units, whole)} of the window"
    return part if day.complete else f"so far today, {part}"


def _dated(day: DayUsage) -> str:
    return figures.weekday_date(day.day) if day.complete else "today so far"
