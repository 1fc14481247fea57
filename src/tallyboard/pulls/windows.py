"""What every provider's report comes down to: windows of lines, and whose they are."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from tallyboard.intake.replacing import Line, Window

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class Stretch(Struct, frozen=True):
    """Whole hours of UTC `[start, end)`."""

    start_us: int
    end_us: int

    @property
    def hours(self) -> range:
        """The starts of its hours."""
        return range(self.start_us, self.end_us, HOUR_US)

    def days(self) -> Iterator["Stretch"]:
        """The stretch by days of UTC, the first and last of which may be a part."""
        start_us = self.start_us
        while start_us < self.end_us:
            end_us = min(start_us - start_us % DAY_US + DAY_US, self.end_us)
            yield Stretch(start_us, end_us)
            start_us = end_us


class Names(Struct, frozen=True):
    """By which key somebody is known here whom a provider names otherwise: by id, or by email."""

    map: Mapping[str, str] = {}

    def key(self, *told: str | None) -> str | None:
        """The key of somebody by what the provider calls them, the best name first; None where it names nobody."""
        named = [name.strip() for name in told if name and name.strip()]
        return next((self.map[name] for name in named if name in self.map), named[0] if named else None)


def by_hour(stretch: Stretch, lines: Iterable[tuple[int, Line]]) -> Iterator[Window]:
    """Every hour of a stretch with its lines, given with the start of their hour."""
    found: defaultdict[int, list[Line]] = defaultdict(list)
    for start_us, line in lines:
        found[start_us].append(line)
    for start_us in stretch.hours:
        yield Window(start_us, start_us + HOUR_US, found.get(start_us, ()))
