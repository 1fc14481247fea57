"""What a limit would have done, as the Credit Policy page shows it beside the field. Pure."""

from msgspec import Struct

from tallyboard.credits import shown
from tallyboard.policy.limits import limit_text
from tallyboard.policy.preview import DAYS, WHO_MAX, PausedUser, Preview
from tallyboard.web.pages import figures
from tallyboard.web.pages.chart import digits, scaled

NAMED_FIRST = 10


class Bar(Struct, frozen=True):
    """A day: what a pointer reads, and the height in digit classes."""

    title: str
    size: str


class Paused(Struct, frozen=True):
    """One user who would have been paused."""

    name: str
    hint: str
    days: str
    most: str


class Trial(Struct, frozen=True):
    """The preview: a sentence, the extent it is of, what the saved limit would have done, bars, and who.

    `rest` are named on demand; `skipped` is how many came before those named, `beyond` how many come after.
    """

    sentence: str
    extent: str
    compared: str
    bars: tuple[Bar, ...]
    begins: str
    highest: str
    first: tuple[Paused, ...]
    rest: tuple[Paused, ...]
    skipped: int
    beyond: int


def trial(units: int | None, found: Preview, saved_units: int | None, saved: Preview | None, skip: int = 0) -> Trial:
    """The preview of a limit, beside what the saved one would have done where it is another."""
    most = max((users for _, users in found.by_day), default=0)
    paused = tuple(_paused(one) for one in found.who)
    return Trial(
        sentence=_sentence(units, found),
        extent=f"of {figures.count(found.all_users, 'user')} with usage on {found.all_user_days:,} user-days",
        compared="" if saved is None else _compared(saved_units, saved, found),
        bars=tuple(
            Bar(
                f"{figures.weekday_date(day)}: {figures.count(users, 'user')} paused",
                digits(max(scaled(users, most, 1000), 60)) if users else "",
            )
            for day, users in found.by_day
        ),
        begins=figures.short_date(found.by_day[0][0]),
        highest=f"at most {figures.count(most, 'user')} on one day" if most else "",
        first=paused[:NAMED_FIRST],
        rest=paused[NAMED_FIRST:],
        skipped=skip,
        beyond=max(found.users - skip - WHO_MAX, 0),
    )


def _sentence(units: int | None, found: Preview) -> str:
    given = "Without a default limit" if units is None else f"With {limit_text(units)} a day"
    if not found.users:
        return f"{given}, nobody would have been paused in the last {DAYS} days."
    return (
        f"{given}, {figures.count(found.users, 'user')} would have been paused on {figures.count(found.user_days, 'user-day')} "
        f"in the last {DAYS} days."
    )


def _compared(units: int | None, saved: Preview, found: Preview) -> str:
    name = "Without a limit, as saved now" if units is None else f"With the saved {limit_text(units)}"
    if not saved.users:
        return f"{name}: nobody."
    more = found.user_days - saved.user_days
    change = "as many" if not more else f"{abs(more):,} fewer" if more > 0 else f"{abs(more):,} more"
    return f"{name}: {figures.count(saved.users, 'user')} on {figures.count(saved.user_days, 'user-day')}, {change}."


def _paused(one: PausedUser) -> Paused:
    name = one.name or one.label
    hint = one.label if one.name and one.label != one.name else one.user if one.label != one.user else ""
    return Paused(name, hint, figures.count(len(one.days), "day"), f"at most {shown(one.most_units)}")
