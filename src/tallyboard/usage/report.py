"""The usage answer as a value: days, users and Others that add up to the unit, and how it is computed from sums.

Law 5: Others = total - shown, from one read. Nothing here reads a clock or a store.
"""

from datetime import date

from msgspec import Struct


class DayUsage(Struct, frozen=True):
    """One account day: its interval (microseconds of UTC), everyone's units, and whether it is over."""

    day: date
    starts_at_us: int
    ends_at_us: int
    units: int
    complete: bool


class UserUsage(Struct, frozen=True):
    """One user of the answer: units ranked by, and units of each day of the answer, in order."""

    user: str
    email: str | None
    name: str | None
    units: int
    days: tuple[int, ...]

    @property
    def label(self) -> str:
        """What the user is called: the email, or a short identifier where there is none."""
        return self.email or short_identifier(self.user)


class Others(Struct, frozen=True):
    """Everyone ranked below the users shown: how many, and what is left of the total."""

    users: int
    units: int
    days: tuple[int, ...]


class Report(Struct, frozen=True):
    """The answer to one question about usage, the same for page, API, export and command line."""

    account: str
    timezone: str
    days: tuple[DayUsage, ...]
    users: tuple[UserUsage, ...]
    others: Others
    units: int
    complete_through_us: int

    @property
    def truncated(self) -> bool:
        """Whether users with usage are counted under Others."""
        return self.others.users > 0

    @property
    def user_count(self) -> int:
        """How many users have usage in the range."""
        return len(self.users) + self.others.users


def short_identifier(key: str) -> str:
    """A user key short enough for a column: whole up to 24 characters, else its two ends."""
    return key if len(key) <= 24 else f"{key[:12]}…{key[-8:]}"
