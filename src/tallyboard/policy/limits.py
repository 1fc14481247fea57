"""What one user may consume in one account day, and what is left of it. Pure: values in, values out.

An override beats the account's default; one that has expired does not count. A limit of None is Unlimited. Law 6 rests on
`Standing.fits`: a hold is granted only if used + held + estimate does not exceed the limit.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from tallyboard import credits, days
from tallyboard.errors import Invalid

LIMIT_UNITS_MAX = credits.CELL_UNITS_MAX
UNLIMITED_WORD = "unlimited"
_GROUPED = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?")


class Override(Struct, frozen=True):
    """One user's own limit, in units or None for none, until it expires (microseconds of UTC) if it does."""

    units: int | None
    expires_us: int | None

    def counts(self, now_us: int) -> bool:
        """Whether it is in force."""
        return self.expires_us is None or now_us < self.expires_us


class Origin(StrEnum):
    """Where a user's limit comes from."""

    DEFAULT = "default"
    OVERRIDE = "override"


class Standing(Struct, frozen=True):
    """What decides whether a user may go on: limit, used and held in units, on the account day that ends at `resets_us`.

    `held` counts what is set aside for requests under way. As read at `read_us` it holds until `good_until_us`, unless something is
    written.
    """

    user: str
    account: str
    timezone: str
    day: date
    resets_us: int
    limit: int | None
    origin: Origin
    used: int
    held: int
    read_us: int
    good_until_us: int

    @property
    def may_go_on(self) -> bool:
        """Whether a check is answered yes."""
        return self.limit is None or self.used + self.held < self.limit

    @property
    def remaining(self) -> int | None:
        """What is left, never below nothing; None without a limit."""
        return None if self.limit is None else max(self.limit - self.used - self.held, 0)

    def fits(self, units: int) -> bool:
        """Whether so much may be set aside."""
        return self.limit is None or self.used + self.held + units <= self.limit


class Amount(Struct, frozen=True):
    """An amount as JSON carries it."""

    credits: str
    units: int


class Allowance(Struct, frozen=True):
    """A standing as the API shows it; `limit` and `remaining` are null where there is no limit."""

    user: str
    limit: Amount | None
    used: Amount
    held: Amount
    remaining: Amount | None
    resets_at: str
    day: str


def limit_of(default: int | None, override: Override | None, now_us: int) -> tuple[int | None, Origin]:
    """The limit in force for a user, and where it comes from."""
    if override is not None and override.counts(now_us):
        return override.units, Origin.OVERRIDE
    return default, Origin.DEFAULT


def allowance(standing: Standing) -> Allowance:
    """What is told of a standing."""
    return Allowance(
        standing.user,
        None if standing.limit is None else amount(standing.limit),
        amount(standing.used),
        amount(standing.held),
        None if standing.remaining is None else amount(standing.remaining),
        days.instant_text(standing.resets_us),
        standing.day.isoformat(),
    )


def amount(units: int) -> Amount:
    """Units as JSON carries them."""
    return Amount(credits.credits_text(units), units)


def limit_text(units: int | None) -> str:
    """A limit for a person, to the last decimal: `Unlimited`, `0.5`, `4,000`."""
    return UNLIMITED_WORD.capitalize() if units is None else credits.exact(units)


def parse_limit(text: str) -> int | None:
    """A limit from a text: `unlimited`, or credits with up to eight decimals, thousands grouped or not. Invalid says what is wrong.

    A comma is taken only where it groups: `1,5` means one and a half to many, and must not become fifteen.
    """
    if text.strip().lower() == UNLIMITED_WORD:
        return None
    if "," in text and not _GROUPED.fullmatch(text.strip()):
        raise Invalid(f"limit: {text.strip()[:40]!r} has a comma that groups no thousands; decimals follow a point, such as 1.5")
    try:
        units = credits.parse_credits(text.strip().replace(",", ""))
    except ValueError as error:
        raise Invalid(f"limit: {error}") from None
    if units < 0:
        raise Invalid(f"limit: {text.strip()[:40]!r} is below nothing; 0 pauses, and {UNLIMITED_WORD!r} is no limit")
    return units


def read_limit(shape: object, name: str) -> int | None:
    """A limit as JSON carries it: null, or an object that says `credits` or `units`. Invalid says what is wrong."""
    if shape is None:
        return None
    if isinstance(shape, Mapping) and len(shape.keys() & {"credits", "units"}) >= 1:
        return read_units(shape, name)
    raise Invalid(f'{name} must be null for no limit, or {{"credits": "0.5"}}')


def read_units(shape: Mapping[str, object], name: str) -> int:
    """Units from an object that says `units`, or `credits` as a text or an exact number. Where it says both they must agree."""
    found: set[int] = set()
    if (units := shape.get("units")) is not None:
        if type(units) is not int or not 0 <= units <= LIMIT_UNITS_MAX:
            raise Invalid(f"{name}: units must be a whole number from 0 to {LIMIT_UNITS_MAX}")
        found.add(units)
    if (text := shape.get("credits")) is not None:
        if isinstance(text, bool) or not isinstance(text, str | int | Decimal):
            raise Invalid(f'{name}: credits must be a number of credits such as "0.5"')
        try:
            found.add(credits.parse_credits(str(text)))
        except ValueError as error:
            raise Invalid(f"{name}: {error}") from None
    if len(found) != 1 or min(found) < 0:
        raise Invalid(f"{name}: say an amount of 0 or more, once, as credits or as units")
    return found.pop()
